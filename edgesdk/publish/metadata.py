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
from typing import TYPE_CHECKING

from edgesdk.contract import MOST_TENSORS
from edgesdk.errors import MalformedModelError
from edgesdk.limits import PUBLISHER

if TYPE_CHECKING:
    from collections.abc import Iterator

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
_UNION_TYPE, _UNION_VALUE = 0, 1
_IMAGE, _NORMALIZATION = 2, 1
_IMAGE_COLOUR = 0
_NORMALIZATION_MEAN, _NORMALIZATION_STD = 0, 1
_FILE_NAME, _FILE_TYPE, _FILE_LOCALE = 0, 2, 3
_AXIS_LABELS = 2
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
        raise _malformed("the identifier TFL3", repr(model[4:8]))
    metadata = _find(_Table.root(model))
    if metadata is None:
        return [], []
    if metadata[4:8] != _METADATA_IDENTIFIER:
        raise _malformed("the identifier M001", repr(metadata[4:8]))
    subgraph = next(_Table.root(metadata).tables(_METADATA_SUBGRAPHS), None)
    if subgraph is None:
        return [], []
    return (
        [_additions(tensor) for tensor in subgraph.tables(_SUBGRAPH_INPUTS, MOST_TENSORS)],
        [_output(tensor, model) for tensor in subgraph.tables(_SUBGRAPH_OUTPUTS, MOST_TENSORS)],
    )


def _find(model: _Table) -> bytes | None:
    """The buffer that the model's table of metadata calls by the name."""
    for entry in model.tables(_MODEL_METADATA):
        if entry.text(_ENTRY_NAME) == _METADATA_NAME:
            index = entry.uint32(_ENTRY_BUFFER)
            for number, buffer in enumerate(model.tables(_MODEL_BUFFERS, 2**31)):
                if number == index:
                    return buffer.octets(_BUFFER_DATA)
            raise _malformed("a buffer that is there", f"buffer {index}")
    return None


def _additions(tensor: _Table) -> Additions:
    content = tensor.table(_TENSOR_CONTENT)
    image = content.union(_UNION_TYPE, _IMAGE) if content else None
    units = (unit.union(_UNION_TYPE, _NORMALIZATION) for unit in tensor.tables(_TENSOR_UNITS))
    normalization = next((unit for unit in units if unit), None)
    mean = normalization.floats(_NORMALIZATION_MEAN) if normalization else ()
    std = normalization.floats(_NORMALIZATION_STD) if normalization else ()
    return Additions(
        colour=_COLOURS.get(image.uint8(_IMAGE_COLOUR)) if image else None,
        mean=mean or None,
        std=std or None,
    )


def _output(tensor: _Table, model: bytes) -> Additions:
    """An output's entries may have names; the files of an input are vocabularies and the like."""
    files = [f for f in tensor.tables(_TENSOR_FILES) if f.uint8(_FILE_TYPE) == _AXIS_LABELS]
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
        raise _malformed(f"a file {name!r} behind the model", str(error)) from None
    except (EOFError, zipfile.BadZipFile, struct.error, zlib.error) as error:
        raise _malformed("a sound archive behind the model", str(error)) from None
    if len(data) > PUBLISHER.label_bytes:
        raise _malformed(f"at most {PUBLISHER.label_bytes} bytes of labels", "more")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise _malformed("labels in UTF-8", "another encoding") from None
    while lines and not lines[-1].strip():
        lines.pop()
    return tuple(" ".join(line.split()) for line in lines)


@dataclass(frozen=True)
class _Table:
    """A table of a flatbuffer: a position, behind which a list of offsets of fields is found."""

    data: bytes
    position: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, _unpack("<I", data, 0))

    def tables(self, field: int, most: int = PUBLISHER.metadata_entries) -> Iterator[_Table]:
        """The tables of a vector."""
        start, count = self._vector(field, 4)
        if count > most:
            raise _malformed(f"at most {most} entries", str(count))
        for slot in range(start, start + 4 * count, 4):
            yield _Table(self.data, slot + _unpack("<I", self.data, slot))

    def table(self, field: int) -> _Table | None:
        at = self._field(field)
        return None if at is None else _Table(self.data, at + _unpack("<I", self.data, at))

    def union(self, field: int, kind: int) -> _Table | None:
        """The value of a union, if it is of this kind."""
        return self.table(field + _UNION_VALUE) if self.uint8(field) == kind else None

    def text(self, field: int) -> str | None:
        if self._field(field) is None:
            return None
        return self.octets(field).decode("utf-8", "replace")

    def octets(self, field: int) -> bytes:
        start, count = self._vector(field, 1)
        return self.data[start : start + count]

    def floats(self, field: int) -> tuple[float, ...]:
        start, count = self._vector(field, 4)
        return struct.unpack_from(f"<{count}f", self.data, start)

    def uint8(self, field: int) -> int:
        at = self._field(field)
        return 0 if at is None else _unpack("<B", self.data, at)

    def uint32(self, field: int) -> int:
        at = self._field(field)
        return 0 if at is None else _unpack("<I", self.data, at)

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        """Where the elements start, and how many there are; all of them lie within the bytes."""
        at = self._field(field)
        if at is None:
            return 0, 0
        at += _unpack("<I", self.data, at)
        count = _unpack("<I", self.data, at)
        if at + 4 + width * count > len(self.data):
            raise _malformed("a vector within the file", f"{count} elements at {at}")
        return at + 4, count

    def _field(self, field: int) -> int | None:
        """Where a field is, or nothing when it has its default."""
        offsets = self.position - _unpack("<i", self.data, self.position)
        entry = 4 + 2 * field
        if entry + 2 > _unpack("<H", self.data, offsets):
            return None
        offset = _unpack("<H", self.data, offsets + entry)
        return self.position + offset if offset else None


def _unpack(form: str, data: bytes, at: int) -> int:
    # Below zero, struct would count from the end.
    if not 0 <= at <= len(data) - struct.calcsize(form):
        raise _malformed("an offset within the file", f"{at} of {len(data)}")
    (value,) = struct.unpack_from(form, data, at)
    return int(value)


def _malformed(expected: str, came: str) -> MalformedModelError:
    return MalformedModelError(
        "malformed-model", f"metadata of the model: expected {expected}, got {came}"
    )
