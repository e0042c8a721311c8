"""What a ``.tflite`` file says of its inputs and outputs beyond their shapes.

TFLite Metadata is a flatbuffer of its own (identifier ``M001``) in one of the model's buffers;
the label files that it names lie in a ZIP archive that follows the model's bytes. ``read`` takes
from them what a contract can hold: the order of colours, mean and standard deviation, and labels.

The reader here knows the dozen fields that it needs, and checks each offset against the bytes
before it follows it. Order of checks: the model's identifier; its table of metadata; the
metadata's identifier; then field by field, and at last the archive, each file within its bound.

Not checked here: whether it is true. The publisher signs it, and can say otherwise.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace

from edgesdk.contract import MOST_TENSORS
from edgesdk.flatbuffer import Table, malformed
from edgesdk.limits import PUBLISHER

_MODEL_IDENTIFIER = b"TFL3"
_METADATA_IDENTIFIER = b"M001"
_METADATA_NAME = "TFLITE_METADATA"

# Fields by their number in schema.fbs and metadata_schema.fbs of TensorFlow Lite.
_MODEL_BUFFERS, _MODEL_METADATA = 4, 6
_ENTRY_NAME, _ENTRY_BUFFER = 0, 1
_BUFFER_DATA = 0
_METADATA_SUBGRAPHS = 3
_SUBGRAPH_INPUTS, _SUBGRAPH_OUTPUTS = 2, 3
_TENSOR_CONTENT, _TENSOR_UNITS, _TENSOR_FILES = 3, 4, 6
_UNION_TYPE = 0
_IMAGE, _NORMALIZATION = 2, 1
_IMAGE_COLOUR = 0
_NORMALIZATION_MEAN, _NORMALIZATION_STD = 0, 1
_FILE_NAME, _FILE_TYPE, _FILE_LOCALE = 0, 2, 3
_AXIS_LABELS = 2
_MOST = PUBLISHER.metadata_entries
_COLOURS = {1: "rgb", 2: "gray"}


@dataclass(frozen=True)
class Additions:
    """What a publisher adds to the contract of one tensor."""

    colour: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    labels: tuple[str, ...] | None = None


def read(model: bytes) -> tuple[list[Additions], list[Additions]]:
    """Additions for the inputs and outputs in order; empty lists where a model says nothing.

    Raises:
        MalformedModelError: ``malformed-model``: metadata that contradicts itself.
    """
    if model[4:8] != _MODEL_IDENTIFIER:
        raise malformed("the identifier TFL3", repr(model[4:8]))
    metadata = _find(Table.root(model))
    if metadata is None:
        return [], []
    if metadata[4:8] != _METADATA_IDENTIFIER:
        raise malformed("the identifier M001", repr(metadata[4:8]))
    subgraph = next(Table.root(metadata).tables(_METADATA_SUBGRAPHS, _MOST), None)
    if subgraph is None:
        return [], []
    return (
        [_additions(tensor) for tensor in subgraph.tables(_SUBGRAPH_INPUTS, MOST_TENSORS)],
        [_output(tensor, model) for tensor in subgraph.tables(_SUBGRAPH_OUTPUTS, MOST_TENSORS)],
    )


def _find(model: Table) -> bytes | None:
    """The buffer that the model's table of metadata calls by the name."""
    for entry in model.tables(_MODEL_METADATA, _MOST):
        if entry.text(_ENTRY_NAME) == _METADATA_NAME:
            index = entry.uint32(_ENTRY_BUFFER)
            for number, buffer in enumerate(model.tables(_MODEL_BUFFERS, 2**31)):
                if number == index:
                    return buffer.octets(_BUFFER_DATA)
            raise malformed("a buffer that is there", f"buffer {index}")
    return None


def _additions(tensor: Table) -> Additions:
    content = tensor.table(_TENSOR_CONTENT)
    image = content.union(_UNION_TYPE, _IMAGE) if content else None
    units = (
        unit.union(_UNION_TYPE, _NORMALIZATION) for unit in tensor.tables(_TENSOR_UNITS, _MOST)
    )
    normalization = next((unit for unit in units if unit), None)
    mean = normalization.floats(_NORMALIZATION_MEAN) if normalization else ()
    std = normalization.floats(_NORMALIZATION_STD) if normalization else ()
    return Additions(
        colour=_COLOURS.get(image.uint8(_IMAGE_COLOUR)) if image else None,
        mean=mean or None,
        std=std or None,
    )


def _output(tensor: Table, model: bytes) -> Additions:
    """An output's entries may have names; the files of an input are vocabularies and the like."""
    files = [f for f in tensor.tables(_TENSOR_FILES, _MOST) if f.uint8(_FILE_TYPE) == _AXIS_LABELS]
    # The first without a locale: others are translations of it.
    files.sort(key=lambda file: file.text(_FILE_LOCALE) is not None)
    labels = _labels(model, files[0].text(_FILE_NAME)) if files else None
    return replace(_additions(tensor), labels=labels or None)


def _labels(model: bytes, name: str | None) -> tuple[str, ...]:
    """The lines of a file in the archive behind the model."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive, archive.open(name or "") as file:
            data = file.read(PUBLISHER.label_bytes + 1)
    except (KeyError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        raise malformed(f"a file {name!r} behind the model", str(error)) from None
    except (EOFError, zipfile.BadZipFile, struct.error, zlib.error) as error:
        raise malformed("a sound archive behind the model", str(error)) from None
    if len(data) > PUBLISHER.label_bytes:
        raise malformed(f"at most {PUBLISHER.label_bytes} bytes of labels", "more")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise malformed("labels in UTF-8", "another encoding") from None
    while lines and not lines[-1].strip():
        lines.pop()
    return tuple(" ".join(line.split()) for line in lines)
