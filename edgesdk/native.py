"""The engine ``native``: the compiled core (csrc/), as LiteRT's structures show it.

The only importer of ``_native``, which raises errors of edgesdk's own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgesdk.engine import Spec, check_value
from edgesdk.errors import (
    InputError,
    LifecycleError,
    MalformedModelError,
)
from edgesdk.limits import MODEL, ModelLimits

try:
    from edgesdk import _native
except ImportError as error:  # pragma: no cover - a build without the core
    from edgesdk.errors import IsaError

    raise IsaError(
        "core-missing",
        f"expected the compiled core edgesdk._native, got {type(error).__name__}: {error}",
        hint="reinstall edgesdk; on a board without a wheel it needs a C11 compiler",
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgesdk.engine import Array

LockedMemory = _native.LockedMemory
Model = _native.Model

# Element types by their number in the .tflite schema, as LiteRT names them in numpy.
_DTYPES: dict[int, Any] = {
    0: np.float32,
    1: np.float16,
    2: np.int32,
    3: np.uint8,
    4: np.int64,
    5: np.bytes_,
    6: np.bool_,
    7: np.int16,
    8: np.complex64,
    9: np.int8,
    10: np.float64,
    11: np.complex128,
    12: np.uint64,
    13: np.object_,
    14: np.object_,
    15: np.uint32,
    16: np.uint16,
    17: np.int8,
}
_INT4 = 17


def machine() -> dict[str, object]:
    """What this machine and build run: ``isa``, ``isa_default``, ``threads``, ``kernels``.

    Each kernel is listed once, under the table that it was written for; others may take it too.
    """
    own = [kernel for kernel in _native.kernels() if kernel["isa"] == kernel["table"]]
    return {**_native.cpu(), "kernels": own}


def pack(
    content: bytes | bytearray | memoryview | LockedMemory,
    *,
    protected: bool = False,
    require_locked: bool = False,
    isa: str | None = None,
    limits: ModelLimits = MODEL,
) -> Model:
    """Reads, checks and packs a model, once for any number of interpreters.

    With ``protected`` nothing refers to ``content`` afterwards, so that it can be wiped, and the
    packed weights lie in memory that is locked as far as the system allows (all of it with
    ``require_locked``), left out of core dumps and wiped at the end.

    Raises:
        MalformedModelError, UnsupportedOperatorError, ResourceError, IsaError.
    """
    return _native.Model(
        content,
        isa=isa,
        limits=limits,
        transient=protected,
        secret=protected,
        require_locked=require_locked,
    )


class NativeEngine:
    """One line of execution in the core, over a model that ``pack`` made."""

    name: Literal["native"] = "native"

    def __init__(self, packed: Model, threads: int, *, preserve_all_tensors: bool = False) -> None:
        self._open: _native.Interpreter | None = _native.Interpreter(
            packed, threads, preserve_all_tensors=preserve_all_tensors
        )
        info = packed.describe()
        self.inputs, self.outputs = info["inputs"], info["outputs"]

    @property
    def _core(self) -> _native.Interpreter:
        if self._open is None:
            raise LifecycleError("closed", "expected an open interpreter, got a closed one")
        return self._open

    def close(self) -> None:
        if self._open is not None and self._open.views:
            raise LifecycleError(
                "referenced",
                "expected no array that looks into the interpreter's memory, "
                f"got {self._open.views}",
            )
        self._open = None

    def viewed(self) -> bool:
        return self._core.views > 0

    def allocate(self) -> None:
        self._core.allocate()

    def invoke(self) -> None:
        self._core.invoke()

    def resize(self, index: int, shape: tuple[int, ...], *, strict: bool) -> None:
        if strict:
            self._check_strict(index, shape)
        self._core.resize(index, shape)

    def spec(self, index: int, subgraph: int = 0) -> Spec:
        info = self._core.tensor(index, subgraph)
        return Spec(info["name"], _dtype_of(info), info["shape"])

    def details(self, index: int, subgraph: int = 0) -> dict[str, Any]:
        info = self._core.tensor(index, subgraph)
        scales = np.frombuffer(info["scales"], np.float32).copy()
        zero_points = np.frombuffer(info["zero_points"], np.int64).astype(np.int32)
        one = (float(scales[0]), int(zero_points[0])) if len(scales) == 1 else (0.0, 0)
        return {
            "name": info["name"],
            "index": index,
            "shape": np.array(info["shape"], np.int32),
            "shape_signature": np.array(info["signature"] or info["shape"], np.int32),
            "dtype": _dtype_of(info),
            "quantization": one,
            "quantization_parameters": {
                "scales": scales,
                "zero_points": zero_points,
                "quantized_dimension": info["axis"],
                "block_size": 0,
            },
            "sparsity_parameters": {},
        }

    def all_details(self, subgraph: int) -> list[dict[str, Any]]:
        count = self._check_subgraph(subgraph).describe(subgraph)["tensors"]
        return [self.details(i, subgraph) for i in range(count)]

    def write(self, index: int, array: Array) -> None:
        _elements_of(self._core.tensor(index))
        self._core.write(index, _as_bytes(array))

    def read(self, index: int, subgraph: int) -> Array:
        self._check_subgraph(subgraph)
        info = self._core.tensor(index, subgraph)
        dtype = _elements_of(info)
        if info["type"] == _INT4:
            with self._core.view(index, subgraph) as memory:
                return _unpacked(np.frombuffer(memory, np.uint8), info["shape"])
        array = np.empty(info["shape"], dtype)
        self._core.read(index, _as_bytes(array), subgraph)
        # As LiteRT: a number where there are no dimensions.
        return array if array.ndim else array[()]

    def view(self, index: int) -> Callable[[], Array]:
        def look() -> Array:
            # First: from here on neither shape nor place can change.
            memory = self._core.view(index)
            info = self._core.tensor(index)
            if info["type"] == _INT4:
                raise InputError("dtype", f"expected whole bytes in {info['name']!r}, got int4")
            return np.frombuffer(memory, _elements_of(info)).reshape(info["shape"])

        return look

    def reset_variables(self) -> None:
        self._core.reset()

    def subgraphs(self) -> int:
        return self._core.model.describe()["subgraphs"]

    def signatures(self) -> dict[str, dict[str, list[str]]]:
        return {
            each["key"]: {
                "inputs": sorted(name for name, _ in each["inputs"]),
                "outputs": sorted(name for name, _ in each["outputs"]),
            }
            for each in self._core.model.signatures()
        }

    def signature(self, key: str) -> NativeSignature:
        found = {each["key"]: each for each in self._core.model.signatures()}
        return NativeSignature(self, found[key])

    def operators(self) -> list[_native.OperatorInfo]:
        return self._core.model.operators()

    def memory(self) -> dict[str, int]:
        info = self._core.model.describe()
        return {
            "packed": info["packed_bytes"],
            "mapped": info["mapped_bytes"],
            "locked": info["locked_bytes"],
        }

    def _check_subgraph(self, subgraph: int) -> Model:
        model = self._core.model
        count = model.describe()["subgraphs"]
        if not 0 <= subgraph < count:
            raise InputError("tensor", f"expected one of {count} subgraphs, got {subgraph}")
        return model

    def _check_strict(self, index: int, shape: tuple[int, ...]) -> None:
        info = self._core.tensor(index)
        marks = info["signature"] or info["shape"]
        fits = len(shape) == len(marks)
        if not fits or any(m not in (-1, n) for m, n in zip(marks, shape, strict=True)):
            raise InputError(
                "shape", f"expected a shape that fits {list(marks)}, got {list(shape)}"
            )


class NativeSignature:
    """One signature, run by the core."""

    def __init__(self, engine: NativeEngine, info: _native.SignatureInfo) -> None:
        self._engine, self._subgraph = engine, info["subgraph"]
        # LiteRT's order is that of the names.
        self._inputs, self._outputs = (dict(sorted(info[k])) for k in ("inputs", "outputs"))

    def input_details(self) -> dict[str, dict[str, Any]]:
        return {name: self._engine.details(i, self._subgraph) for name, i in self._inputs.items()}

    def output_details(self) -> dict[str, dict[str, Any]]:
        return {name: self._engine.details(i, self._subgraph) for name, i in self._outputs.items()}

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        core, subgraph = self._engine._core, self._subgraph  # noqa: SLF001 - one room
        values = {self._inputs[name]: array for name, array in arrays.items()}
        for index, array in values.items():
            if core.tensor(index, subgraph)["shape"] != array.shape:
                core.resize(index, array.shape, subgraph)
        core.allocate(subgraph)
        for index, array in values.items():
            check_value(self._engine.spec(index, subgraph), array)
            core.write(index, _as_bytes(array), subgraph)
        core.invoke(subgraph)
        return {n: self._engine.read(i, subgraph) for n, i in self._outputs.items()}


def _dtype_of(info: _native.TensorInfo) -> Any:  # noqa: ANN401 - a numpy scalar type
    if info["type"] not in _DTYPES:
        raise MalformedModelError(
            "malformed-model",
            f"expected a tensor of a type that numpy has, got type {info['type']} "
            f"of {info['name']!r}",
        )
    return _DTYPES[info["type"]]


def _elements_of(info: _native.TensorInfo) -> Any:  # noqa: ANN401 - a numpy scalar type
    """The type of arrays that hold the tensor."""
    if (found := _dtype_of(info)) in {np.bytes_, np.object_}:
        raise InputError("dtype", f"expected numbers in {info['name']!r}, got type {info['type']}")
    return found


def _unpacked(packed: Array, shape: tuple[int, ...]) -> Array:
    """int4, two in a byte and the first in the low half, as int8."""
    halves = np.stack([packed << 4, packed & 0xF0], -1).view(np.int8) >> 4
    return halves.reshape(-1)[: math.prod(shape)].reshape(shape)


def _as_bytes(array: Array) -> memoryview:
    """The array's memory; a copy of it where it is not in C order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
