"""Tensors on the wire: the body of docs/cloud-protocol.md, section 6.

``len u32 | JSON | tensors``, the layout of the Open Inference Protocol's binary tensor
extension. The JSON names the tensors; their elements follow, raw and little-endian.

Order of checks: length of the JSON; its form; for each tensor its type, shape and size against
each other; the sum against what came; and only then are elements copied. A size is never
believed before the bytes are there. Members that nobody knows are refused, except inside of
``parameters``, which is where the Open Inference Protocol lets others add theirs.

Not checked while decoding: whether the tensors fit a model. ``Tensor.fit`` does that.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgesdk import canonical
from edgesdk.contract import dequantize, read_quantization
from edgesdk.errors import (
    BusyError,
    DeadlineExceededError,
    InputError,
    QuotaError,
    RemoteError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesdk.canonical import JSON, Fields
    from edgesdk.contract import Array, TensorSpec


@dataclass(frozen=True)
class BodyLimits:
    """Bounds of a body; those of the page are its own, the others ours."""

    json_bytes: int = 16_384
    json_depth: int = 8
    tensors: int = 16
    dimensions: int = 8
    dimension: int = 2**31 - 1
    name_characters: int = 256
    model_id_characters: int = 128
    version_characters: int = 64
    engine_characters: int = 64
    message_characters: int = 512


LIMITS = BodyLimits()

_DATATYPES: dict[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}
_NAMES = {dtype: name for name, dtype in _DATATYPES.items()}

# What a refusal means at the device.
_REFUSALS: dict[str, type[TransportError]] = {
    "busy": BusyError,
    "quota": QuotaError,
    "expired": DeadlineExceededError,
    "clock": RemoteError,
    "unknown-model": RemoteError,
    "bad-input": RemoteError,
    "model-failed": RemoteError,
}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named array. Its quantization, where it has one: real = scale * (q - zero_point)."""

    name: str
    array: Array
    scale: float | None = None
    zero_point: int | None = None

    @classmethod
    def of(cls, spec: TensorSpec, array: Array) -> Tensor:
        """An input or output of a model, with the quantization that its contract gives it."""
        return cls(spec.name, array, spec.scale, spec.zero_point)

    def fit(self, spec: TensorSpec) -> Array:
        """The same numbers as another model takes or gives them.

        Two models for one purpose may quantize differently. Where both sides say what their
        elements stand for, as floats always do, numbers are converted; where they do not,
        elements must be of the same type.

        Raises:
            InputError: ``dtype``, ``shape``, ``argument``.
        """
        array = self.array
        mine, theirs = (self.scale, self.zero_point), (spec.scale, spec.zero_point)
        real = spec.scale is not None or spec.dtype.kind == "f"
        if self.scale is not None and real and (array.dtype != spec.dtype or mine != theirs):
            # A scale that makes infinities of it is the sender's; they end in the range's ends.
            with np.errstate(over="ignore"):
                array = dequantize(
                    replace(spec, scale=self.scale, zero_point=self.zero_point), array
                )
        # What comes over the wire has been normalized already.
        return replace(spec, mean=None, std=None).array(array)


@dataclass(frozen=True, eq=False)
class Question:
    """What a device asks. Without a version: the newest that the gateway has."""

    request_id: bytes
    model_id: str
    version: str | None
    inputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Provenance:
    """Who computed an answer from what, for the record. Digests are SHA-256.

    A refusal has no model and no outputs, and so no digest of them.
    """

    request_digest: bytes
    engine: str
    worker: bytes
    time_ms: int
    model_digest: bytes | None = None
    output_digest: bytes | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model said. ``output_digest`` is filled in when it is encoded."""

    request_id: bytes
    model_id: str
    version: str
    outputs: tuple[Tensor, ...]
    provenance: Provenance


@dataclass(frozen=True)
class Refusal:
    """Why there is no answer."""

    request_id: bytes
    reason: str
    message: str
    provenance: Provenance

    def error(self) -> TransportError:
        """What it means at the device."""
        return _REFUSALS[self.reason](self.reason, f"the gateway refused: {self.message}")


def digest_of(body: bytes) -> bytes:
    """The digest by which an answer names the question that it answers."""
    return hashlib.sha256(body).digest()


def encode_question(question: Question) -> bytes:
    """The body of a request."""
    described, elements = _describe(question.inputs)
    document: dict[str, JSON] = {
        "id": question.request_id.hex(),
        "inputs": described,
        "model_name": question.model_id,
    }
    if question.version is not None:
        document["model_version"] = question.version
    return _join(document, elements)


def decode_question(body: bytes) -> Question:
    """Read the body of a request.

    Raises:
        RemoteError: ``malformed``.
    """
    fields, elements = _split(body)
    question = Question(
        request_id=fields.hexadecimal("id", 16),
        model_id=fields.text("model_name", least=1, longest=LIMITS.model_id_characters),
        version=_version(fields) if "model_version" in fields else None,
        inputs=_tensors(fields, "inputs", elements),
    )
    fields.end()
    return question


def encode_answer(answer: Answer | Refusal) -> bytes:
    """The body of an answer, or of a refusal."""
    document: dict[str, JSON] = {"id": answer.request_id.hex()}
    about = answer.provenance
    parameters: dict[str, JSON] = {
        "engine": about.engine,
        "request_digest": about.request_digest.hex(),
        "time": about.time_ms,
        "worker": about.worker.hex(),
    }
    document["parameters"] = parameters
    if isinstance(answer, Refusal):
        text = _printable(answer.message)[: LIMITS.message_characters]
        document["error"] = {"message": text, "reason": answer.reason}
        return _join(document, [])
    described, elements = _describe(answer.outputs)
    document["model_name"] = answer.model_id
    document["model_version"] = answer.version
    document["outputs"] = described
    parameters["model_digest"] = (about.model_digest or b"").hex()
    parameters["output_digest"] = _digest(elements).hex()
    return _join(document, elements)


def decode_answer(body: bytes) -> Answer | Refusal:
    """Read the body of an answer; the digest of its outputs is checked.

    Raises:
        RemoteError: ``malformed``.
    """
    fields, elements = _split(body)
    request_id = fields.hexadecimal("id", 16)
    about = fields.nested("parameters")
    if "error" in fields:
        refusal = _refusal(request_id, fields, about)
        if len(elements):
            raise malformed(f"expected no tensors in a refusal, got {len(elements)} bytes")
        return refusal
    answer = Answer(
        request_id=request_id,
        model_id=fields.text("model_name", least=1, longest=LIMITS.model_id_characters),
        version=_version(fields),
        outputs=_tensors(fields, "outputs", elements),
        provenance=_provenance(about, answered=True),
    )
    fields.end()
    if answer.provenance.output_digest != _digest([elements]):
        raise malformed("expected the digest of the outputs, got another")
    return answer


def malformed(text: str) -> RemoteError:
    """The error for what is not a message of the protocol."""
    return RemoteError("malformed", text)


def _printable(text: str) -> str:
    """Without what a reader refuses: a refusal that quotes an input must still arrive."""
    return "".join(character if character.isprintable() else " " for character in text)


def _refusal(request_id: bytes, fields: Fields, about: Fields) -> Refusal:
    error = fields.nested("error")
    refusal = Refusal(
        request_id=request_id,
        reason=error.choice("reason", tuple(_REFUSALS)),
        message=error.text("message", longest=LIMITS.message_characters),
        provenance=_provenance(about, answered=False),
    )
    error.end()
    fields.end()
    return refusal


def _provenance(about: Fields, *, answered: bool) -> Provenance:
    return Provenance(
        request_digest=about.hexadecimal("request_digest", 32),
        engine=about.text("engine", longest=LIMITS.engine_characters),
        worker=about.hexadecimal("worker", 16),
        time_ms=about.integer("time"),
        model_digest=about.hexadecimal("model_digest", 32) if answered else None,
        output_digest=about.hexadecimal("output_digest", 32) if answered else None,
    )


def _version(fields: Fields) -> str:
    return fields.text("model_version", longest=LIMITS.version_characters)


def _split(body: bytes) -> tuple[Fields, memoryview]:
    view = memoryview(body)
    if len(view) < 4:  # noqa: PLR2004  (the size of the length)
        raise malformed(f"expected a body of at least 4 bytes, got {len(view)}")
    length = int.from_bytes(view[:4], "little")
    if length > LIMITS.json_bytes or length > len(view) - 4:
        most = min(LIMITS.json_bytes, len(view) - 4)
        raise malformed(f"expected a JSON part of at most {most} bytes, got {length}")
    text = bytes(view[4 : 4 + length])
    value = canonical.parse_lenient(text, error=malformed, depth=LIMITS.json_depth)
    return canonical.Fields(value, "body", malformed), view[4 + length :]


def _join(document: dict[str, JSON], elements: Sequence[bytes]) -> bytes:
    text = canonical.encode(document)
    if len(text) > LIMITS.json_bytes:
        raise InputError(
            "argument",
            f"expected a JSON part of at most {LIMITS.json_bytes} bytes, got {len(text)}",
        )
    return b"".join([len(text).to_bytes(4, "little"), text, *elements])


def _digest(elements: Sequence[bytes | memoryview]) -> bytes:
    digest = hashlib.sha256()
    for part in elements:
        digest.update(part)
    return digest.digest()


def _describe(tensors: Sequence[Tensor]) -> tuple[list[JSON], list[bytes]]:
    if not 0 < len(tensors) <= LIMITS.tensors:
        raise InputError("tensor", f"expected 1 to {LIMITS.tensors} tensors, got {len(tensors)}")
    described: list[JSON] = []
    elements = []
    for tensor in tensors:
        name = _NAMES.get(tensor.array.dtype.newbyteorder("="))
        if name is None or tensor.array.ndim > LIMITS.dimensions or tensor.array.size == 0:
            raise InputError(
                "tensor",
                f"{tensor.name}: expected a filled array of {', '.join(_DATATYPES)}, "
                f"got {tensor.array.dtype} of shape {tensor.array.shape}",
            )
        raw = tensor.array.astype(tensor.array.dtype.newbyteorder("<"), copy=False).tobytes()
        parameters: dict[str, JSON] = {"binary_data_size": len(raw)}
        if tensor.scale is not None and tensor.zero_point is not None:
            parameters["scale_f32"] = struct.pack(">f", tensor.scale).hex()
            parameters["zero_point"] = tensor.zero_point
        described.append(
            {
                "datatype": name,
                "name": tensor.name,
                "parameters": parameters,
                "shape": [int(extent) for extent in tensor.array.shape],
            }
        )
        elements.append(raw)
    return described, elements


def _tensors(fields: Fields, name: str, elements: memoryview) -> tuple[Tensor, ...]:
    entries = fields.entries(name, least=1, longest=LIMITS.tensors)
    tensors: list[Tensor] = []
    for entry in entries:
        tensor, elements = _tensor(fields.check_nested(name, entry), elements)
        tensors.append(tensor)
    if len(elements):
        raise malformed(f"expected nothing after the last tensor, got {len(elements)} bytes")
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise malformed("expected each tensor once, got one twice")
    return tuple(tensors)


def _tensor(fields: Fields, elements: memoryview) -> tuple[Tensor, memoryview]:
    name = fields.text("name", longest=LIMITS.name_characters)
    dtype = _DATATYPES[fields.choice("datatype", tuple(_DATATYPES))]
    shape = tuple(
        fields.check_integer("shape", extent, least=1, most=LIMITS.dimension)
        for extent in fields.entries("shape", longest=LIMITS.dimensions)
    )
    parameters = fields.nested("parameters")
    fields.end()
    size = parameters.integer("binary_data_size")
    expected = math.prod(shape) * dtype.itemsize
    if size != expected or size > len(elements):
        raise malformed(
            f"{name}: expected {expected} bytes of {len(elements)} that are left, got {size}"
        )
    scale, zero_point = read_quantization(parameters, dtype)
    if dtype.kind == "b" and int(np.frombuffer(elements[:size], np.uint8).max()) > 1:
        raise malformed(f"{name}: expected booleans of 0 and 1, got another byte")
    array = np.frombuffer(elements[:size], dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    return Tensor(name, array, scale, zero_point), elements[size:]
