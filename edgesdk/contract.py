"""The contract of a model: its inputs and outputs, as the publisher has signed them.

``Contract.arrays`` turns what an app has into what the model takes, or says why it cannot:

* an array of the input's own element type and shape is passed on as it is; one leading dimension
  of 1 may be missing;
* floats for an integer input are normalized, ``(x - mean) / std`` where the contract says so, and
  quantized: ``clip(rint(x * float32(1 / scale)) + zero_point)``, all in float32;
* floats for a float32 input are normalized where the contract says so.

Whatever else comes is an ``InputError``; nothing is cast, cropped or resized in silence.

Order of checks: names; a numpy array; shape; element type; and then the values.

Not checked here: whether the model is as the contract says. ``Contract.check_model`` does that,
once the model has been loaded.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from edgesdk.canonical import JSON, Fields
from edgesdk.errors import ContractError, InputError, UnsupportedOperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

MOST_TENSORS = 64
MOST_DIMENSIONS = 8
MOST_LABELS = 4096
LONGEST_NAME = 256
LARGEST_DIMENSION = 2**31 - 1

DTYPES = (
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "bool"),
)
COLOURS = ("rgb", "bgr", "gray")

# Wider integers are not quantized from float32, which does not hold all of them.
_QUANTIZED_FROM_FLOATS = frozenset({"int8", "uint8", "int16", "uint16"})
_SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


class Details(Protocol):
    """As much of LiteRT's interpreter as tells what a model's inputs and outputs are."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """One dictionary for each input of the main subgraph."""

    def get_output_details(self) -> list[dict[str, Any]]:
        """The same for the outputs."""

    def get_signature_list(self) -> dict[str, Any]:
        """Signatures by name."""

    def get_signature_runner(self, signature_key: str) -> Any:  # noqa: ANN401 - LiteRT's own type
        """What runs one signature; it has details by the signature's own names."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...] | None = None
    scale: float | None = None
    zero_point: int | None = None
    colour: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    labels: tuple[str, ...] | None = None

    @property
    def nbytes(self) -> int:
        """The size of its elements."""
        return math.prod(self.shape) * self.dtype.itemsize

    @classmethod
    def from_json(cls, fields: Fields) -> TensorSpec:
        """Read a tensor's members (docs/bundle-format.md, section 1.6)."""
        name = fields.text("name", longest=LONGEST_NAME, least=1)
        dtype = np.dtype(fields.choice("dtype", DTYPES))
        # A tensor without elements would make a golden vector without bytes.
        shape = _dimensions(fields, "shape", 1)
        signature = _shape_signature(fields, shape)
        scale, zero_point = read_quantization(fields, dtype)
        colour = fields.choice("colour", COLOURS) if "colour" in fields else None
        mean, std = _normalization(fields, shape)
        labels = _labels(fields)
        fields.end()
        return cls(name, dtype, shape, signature, scale, zero_point, colour, mean, std, labels)

    def to_json(self) -> dict[str, JSON]:
        """The inverse of ``from_json``."""
        found: dict[str, JSON] = {
            "dtype": self.dtype.name,
            "name": self.name,
            "shape": list(self.shape),
        }
        if self.shape_signature is not None:
            found["shape_signature"] = list(self.shape_signature)
        if self.scale is not None and self.zero_point is not None:
            found["scale_f32"] = _hexadecimal(self.scale)
            found["zero_point"] = self.zero_point
        if self.colour is not None:
            found["colour"] = self.colour
        if self.mean is not None and self.std is not None:
            found["mean_f32"] = [_hexadecimal(x) for x in self.mean]
            found["std_f32"] = [_hexadecimal(x) for x in self.std]
        if self.labels is not None:
            found["labels"] = list(self.labels)
        return found

    def array(self, value: object) -> Array:
        """What the model takes for what an app has.

        Raises:
            InputError: ``dtype``, ``shape``, ``argument``.
        """
        if not isinstance(value, np.ndarray):
            raise InputError(
                "dtype", f"{self.name}: expected a numpy array, got a {type(value).__name__}"
            )
        shaped = self._shaped(value)
        if value.dtype.kind == "f" and self.dtype.name in _QUANTIZED_FROM_FLOATS and self.scale:
            return self._quantized(shaped)
        if value.dtype != self.dtype:
            raise InputError(
                "dtype", f"{self.name}: expected {self.dtype.name}, got {value.dtype.name}"
            )
        if self.dtype == np.float32 and self.mean is not None:
            shaped = self._normalized(shaped)
        return np.asarray(shaped, order="C")

    def random(self, generator: np.random.Generator) -> Array:
        """Integers over the full range of their type; floats as a network's inputs usually are."""
        if self.dtype.kind == "f":
            return np.asarray(generator.standard_normal(self.shape)).astype(self.dtype)
        if self.dtype.kind == "b":
            return np.asarray(generator.integers(0, 2, self.shape)).astype(self.dtype)
        bounds = np.iinfo(self.dtype)
        return np.asarray(
            generator.integers(bounds.min, bounds.max, self.shape, self.dtype.type, endpoint=True)
        )

    def _shaped(self, value: Array) -> Array:
        if value.shape == self.shape:
            return value
        if self.shape[:1] == (1,) and value.shape == self.shape[1:]:
            return value[np.newaxis]
        raise InputError(
            "shape", f"{self.name}: expected shape {list(self.shape)}, got {list(value.shape)}"
        )

    def _normalized(self, value: Array) -> Array:
        real = value.astype(np.float32)
        if self.mean is None or self.std is None:
            return real
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return np.asarray((real - mean) / std)

    def _quantized(self, value: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            real = self._normalized(value) * (np.float32(1) / np.float32(self.scale))
            steps = np.rint(real) + np.float32(self.zero_point)
        if np.isnan(steps).any():
            raise InputError("argument", f"{self.name}: expected numbers, got NaN")
        bounds = np.iinfo(self.dtype)
        return np.asarray(np.clip(steps, bounds.min, bounds.max), dtype=self.dtype, order="C")


def dequantize(spec: TensorSpec, array: Array) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The real numbers that an output stands for; those of a float output as they are."""
    if spec.scale is None or spec.zero_point is None:
        return array.astype(np.float32)
    steps = array.astype(np.int64) - spec.zero_point
    return np.asarray(steps.astype(np.float32) * np.float32(spec.scale))


@dataclass(frozen=True)
class Contract:
    """All inputs and outputs, in the order of the model's main subgraph."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @classmethod
    def from_json(cls, fields: Fields) -> Contract:
        """Read a contract (docs/bundle-format.md, section 1.6)."""
        contract = cls(_tensors(fields, "inputs"), _tensors(fields, "outputs"))
        fields.end()
        return contract

    def to_json(self) -> dict[str, JSON]:
        """The inverse of ``from_json``."""
        return {
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
        }

    @classmethod
    def of(cls, model: Details) -> Contract:
        """What a loaded model says of itself.

        Raises:
            ContractError: ``contract``: an input or output that no contract can hold.
        """
        inputs, outputs = model.get_input_details(), model.get_output_details()
        names = _signature_names(model, inputs, outputs)
        found = cls(
            tuple(_describe(d, names[0], f"input_{i}") for i, d in enumerate(inputs)),
            tuple(_describe(d, names[1], f"output_{i}") for i, d in enumerate(outputs)),
        )
        # What is written must be readable, by the same rules.
        return cls.from_json(Fields(found.to_json(), "contract", _not_describable))

    def check_model(self, model: Contract) -> None:
        """Return if a loaded model is what was signed, else raise ContractError."""
        for mine, theirs in ((self.inputs, model.inputs), (self.outputs, model.outputs)):
            if len(mine) != len(theirs):
                raise ContractError(
                    "contract", f"expected {len(mine)} tensors, got {len(theirs)} in the model"
                )
            for expected, came in zip(mine, theirs, strict=True):
                bare = replace(expected, colour=None, mean=None, std=None, labels=None)
                if bare != came:
                    raise ContractError(
                        "contract", f"expected {bare.to_json()}, got {came.to_json()} in the model"
                    )

    def arrays(self, frame: Array | Mapping[str, Array]) -> list[Array]:
        """The inputs in order, from one array or from a mapping by name.

        Raises:
            InputError: ``tensor``, ``dtype``, ``shape``, ``argument``.
        """
        if isinstance(frame, np.ndarray):
            if len(self.inputs) != 1:
                raise InputError("tensor", f"expected arrays by name, {self._names()}, got one")
            return [self.inputs[0].array(frame)]
        if not hasattr(frame, "keys"):
            raise InputError(
                "dtype", f"expected a numpy array or arrays by name, got a {type(frame).__name__}"
            )
        if set(frame.keys()) != {spec.name for spec in self.inputs}:
            came = ", ".join(sorted(map(str, frame.keys())))
            raise InputError("tensor", f"expected the inputs {self._names()}, got {came or 'none'}")
        return [spec.array(frame[spec.name]) for spec in self.inputs]

    def _names(self) -> str:
        return ", ".join(spec.name for spec in self.inputs)

    @property
    def vector_bytes(self) -> int:
        """The size of one golden vector."""
        return sum(spec.nbytes for spec in (*self.inputs, *self.outputs))

    def join_vector(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> bytes:
        """One golden vector: raw little-endian elements, inputs before outputs."""
        specs = (*self.inputs, *self.outputs)
        parts = []
        for spec, array in zip(specs, (*inputs, *outputs), strict=True):
            if array.dtype != spec.dtype or array.shape != spec.shape:
                raise ContractError(
                    "contract",
                    f"{spec.name}: expected {spec.dtype.name} {list(spec.shape)},"
                    f" got {array.dtype.name} {list(array.shape)}",
                )
            parts.append(array.astype(spec.dtype.newbyteorder("<")).tobytes())
        return b"".join(parts)

    def vectors(self, section: bytes | memoryview) -> Iterator[tuple[list[Array], list[Array]]]:
        """The golden vectors of a section: copies, so that the section can be wiped."""
        for start in range(0, len(section), self.vector_bytes):
            yield self._split_vector(memoryview(section)[start : start + self.vector_bytes])

    def _split_vector(self, vector: memoryview) -> tuple[list[Array], list[Array]]:
        arrays = []
        for spec in (*self.inputs, *self.outputs):
            raw = np.frombuffer(vector[: spec.nbytes], spec.dtype.newbyteorder("<"))
            arrays.append(raw.astype(spec.dtype).reshape(spec.shape))
            vector = vector[spec.nbytes :]
        return arrays[: len(self.inputs)], arrays[len(self.inputs) :]


# ---- from JSON


def _tensors(fields: Fields, name: str) -> tuple[TensorSpec, ...]:
    entries = fields.entries(name, longest=MOST_TENSORS, least=1)
    specs = tuple(TensorSpec.from_json(fields.check_nested(name, entry)) for entry in entries)
    if len({spec.name for spec in specs}) != len(specs):
        raise fields.refuse(name, "each name once", "one twice")
    return specs


def _dimensions(fields: Fields, name: str, least: int) -> tuple[int, ...]:
    entries = fields.entries(name, longest=MOST_DIMENSIONS)
    return tuple(
        fields.check_integer(name, entry, least=least, most=LARGEST_DIMENSION) for entry in entries
    )


def _shape_signature(fields: Fields, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    if "shape_signature" not in fields:
        return None
    signature = _dimensions(fields, "shape_signature", -1)
    fitting = len(signature) == len(shape) and all(
        dimension in {-1, loaded} for dimension, loaded in zip(signature, shape, strict=True)
    )
    if not fitting or signature == shape:
        raise fields.refuse("shape_signature", "the shape with some -1", str(list(signature)))
    return signature


def read_quantization(fields: Fields, dtype: np.dtype[Any]) -> tuple[float | None, int | None]:
    """Scale and zero point of a tensor of integers: both, or none (section 1.6)."""
    if "scale_f32" not in fields and "zero_point" not in fields:
        return None, None
    if dtype.kind not in "iu":
        raise fields.refuse("scale_f32", "an integer tensor", dtype.name)
    scale = _real(fields, "scale_f32", fields.hexadecimal("scale_f32", 4))
    if scale < _SMALLEST_SCALE:
        raise fields.refuse("scale_f32", f"at least {_SMALLEST_SCALE:g}", f"{scale:g}")
    bounds = np.iinfo(dtype)
    zero_point = fields.integer("zero_point", least=int(bounds.min), most=int(bounds.max))
    return scale, zero_point


def _normalization(
    fields: Fields, shape: tuple[int, ...]
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    if "mean_f32" not in fields and "std_f32" not in fields:
        return None, None
    mean, std = _reals(fields, "mean_f32", shape), _reals(fields, "std_f32", shape)
    if min(std) < _SMALLEST_SCALE:
        raise fields.refuse("std_f32", f"at least {_SMALLEST_SCALE:g}", f"{min(std):g}")
    return mean, std


def _reals(fields: Fields, name: str, shape: tuple[int, ...]) -> tuple[float, ...]:
    channels = shape[-1] if shape else 1
    entries = fields.entries(name, longest=MOST_LABELS, least=1)
    if len(entries) not in {1, channels}:
        raise fields.refuse(name, f"1 or {channels} entries", str(len(entries)))
    return tuple(_real(fields, name, fields.check_hexadecimal(name, e, 4)) for e in entries)


def _real(fields: Fields, name: str, data: bytes) -> float:
    (value,) = struct.unpack(">f", data)
    if not math.isfinite(value):
        raise fields.refuse(name, "a finite number", str(value))
    return float(value)


def _labels(fields: Fields) -> tuple[str, ...] | None:
    if "labels" not in fields:
        return None
    entries = fields.entries("labels", longest=MOST_LABELS, least=1)
    return tuple(fields.check_text("labels", e, longest=LONGEST_NAME) for e in entries)


def _hexadecimal(value: float) -> str:
    return struct.pack(">f", value).hex()


# ---- from a loaded model


def _signature_names(
    model: Details, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]
) -> tuple[dict[int, str], dict[int, str]]:
    """The names that the main subgraph's signature gives to its tensors, by index.

    LiteRT does not tell which subgraph a signature runs; it is the main one when all its tensors
    are those of the main one.
    """
    found = model.get_signature_list()
    for key in sorted(found, key=lambda key: (key != "serving_default", key)):
        try:
            runner = model.get_signature_runner(key)
        except UnsupportedOperatorError:
            continue  # it runs another subgraph
        names = runner.get_input_details(), runner.get_output_details()
        if _same_tensors(names[0], inputs) and _same_tensors(names[1], outputs):
            by_index = [{detail["index"]: name for name, detail in side.items()} for side in names]
            return by_index[0], by_index[1]
    return {}, {}


def _same_tensors(named: Mapping[str, dict[str, Any]], details: list[dict[str, Any]]) -> bool:
    mine = sorted((detail["index"], detail["name"]) for detail in named.values())
    return mine == sorted((detail["index"], detail["name"]) for detail in details)


def _describe(detail: dict[str, Any], names: Mapping[int, str], place: str) -> TensorSpec:
    name = names.get(detail["index"]) or detail["name"]
    if not 0 < len(name) <= LONGEST_NAME:
        # Converters leave names out, or make them of all operators that were fused.
        name = place
    dtype = np.dtype(detail["dtype"])
    if dtype.name not in DTYPES:
        raise _not_describable(f"{name}: expected numbers, got {dtype.name}")
    shape = tuple(int(dimension) for dimension in detail["shape"])
    signature = tuple(int(dimension) for dimension in detail.get("shape_signature", shape))
    scale, zero_point = detail["quantization"]
    quantized = dtype.kind in "iu" and scale > 0
    return TensorSpec(
        name,
        dtype,
        shape,
        shape_signature=None if signature == shape or not signature else signature,
        scale=float(scale) if quantized else None,
        zero_point=int(zero_point) if quantized else None,
    )


def _not_describable(text: str) -> ContractError:
    return ContractError("contract", f"no contract can hold this model: {text}")
