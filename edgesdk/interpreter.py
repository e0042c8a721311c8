"""LiteRT's interpreter API over the compiled core.

An app moves here by changing one line::

    from edgesdk.interpreter import Interpreter, load_delegate, OpResolverType

The same names, structures and element types as ``ai_edge_litert.interpreter`` 2.3.0; the same
bits as its default path on x86-64 (docs/numerics.md). What differs: errors are those of
edgesdk.errors, which are ValueError or RuntimeError as well, and operators outside of
docs/numerics.md raise UnsupportedOperatorError when the model is loaded. ``tensor()``, which hands
out a view into the interpreter's memory, is not there: ``get_tensor`` and ``set_tensor`` copy.

An interpreter belongs to one thread at a time and to the process that made it; both are checked.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesdk import files
from edgesdk.errors import (
    ConfigurationError,
    EdgeError,
    InputError,
    LifecycleError,
    MalformedModelError,
    ResourceError,
    UnsupportedOperatorError,
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
    import os
    from collections.abc import Sequence

__all__ = [
    "Interpreter",
    "LockedMemory",
    "OpResolverType",
    "SignatureRunner",
    "load_delegate",
    "machine",
    "pack",
]

LockedMemory = _native.LockedMemory

_INT32_MAX = 2**31 - 1

# Element types by their number in the .tflite schema.
_DTYPES: dict[int, Any] = {
    0: np.float32,
    1: np.float16,
    2: np.int32,
    3: np.uint8,
    4: np.int64,
    6: np.bool_,
    7: np.int16,
    8: np.complex64,
    9: np.int8,
    10: np.float64,
    11: np.complex128,
    12: np.uint64,
    15: np.uint32,
    16: np.uint16,
}


class OpResolverType(enum.Enum):
    """LiteRT's choices of kernels. The core has one, that of AUTO on x86-64."""

    AUTO = 0
    BUILTIN = 1
    BUILTIN_REF = 2
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3


def load_delegate(library: str, options: dict[str, object] | None = None) -> None:
    """Delegates are for LiteRT's own engine, which this release does not drive.

    Raises:
        ConfigurationError: always.
    """
    raise ConfigurationError(
        "invalid",
        f"expected no delegate, got {library!r} with options {options or {}}",
        hint="run the model without a delegate, or with ai_edge_litert.interpreter",
    )


def machine() -> dict[str, object]:
    """What this machine and build run: ``isa``, ``isa_default``, ``threads``, ``kernels``."""
    return {**_native.cpu(), "kernels": _native.kernels()}


def pack(
    content: bytes | bytearray | memoryview | LockedMemory,
    *,
    protected: bool = False,
    require_locked: bool = False,
    isa: str | None = None,
    limits: ModelLimits = MODEL,
) -> _native.Model:
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


class Interpreter:
    """Runs a ``.tflite`` model: load, ``allocate_tensors``, ``set_tensor``, ``invoke``,
    ``get_tensor``.

    Args:
        model_path: path of the model.
        model_content: the model's bytes; exactly one of the two must be given.
        experimental_delegates: must be empty.
        num_threads: at least 1 and by default 1; never more are used than the processors that
            affinity and the cgroup's quota allow.
        experimental_op_resolver_type: AUTO or BUILTIN.
        experimental_preserve_all_tensors: must be false.
        isa: kernel table by name (``machine()["isa"]``), by default the one measured fastest.
        limits: bounds on what the file may ask for.

    Raises:
        MalformedModelError: not a sound model (also ValueError).
        UnsupportedOperatorError: names operator, version and types (also ValueError).
        ResourceError: a limit, or the system gave no memory.
        InputError, ConfigurationError: unusable arguments (also ValueError).
    """

    def __init__(  # noqa: PLR0917 - LiteRT's order
        self,
        model_path: str | os.PathLike[str] | None = None,
        model_content: bytes | bytearray | memoryview | None = None,
        experimental_delegates: Sequence[object] | None = None,
        num_threads: int | None = None,
        experimental_op_resolver_type: OpResolverType = OpResolverType.AUTO,
        experimental_preserve_all_tensors: bool = False,  # noqa: FBT001, FBT002 - LiteRT's order
        *,
        isa: str | None = None,
        limits: ModelLimits = MODEL,
    ) -> None:
        _refuse_foreign(
            experimental_delegates, experimental_op_resolver_type, experimental_preserve_all_tensors
        )
        threads = _check_threads(num_threads)
        content = _read_content(model_path, model_content, limits)
        self._begin(pack(content, isa=isa, limits=limits), threads, protected=False)

    @classmethod
    def over(
        cls, packed: _native.Model, *, num_threads: int | None = None, protected: bool = False
    ) -> Interpreter:
        """Another interpreter over a model that ``pack`` made; they share its weights.

        With ``protected`` only graph inputs and outputs can be read.
        """
        made = cls.__new__(cls)
        made._begin(packed, _check_threads(num_threads), protected=protected)  # noqa: SLF001
        return made

    def _begin(self, packed: _native.Model, threads: int, *, protected: bool) -> None:
        self._open: _native.Interpreter | None = _native.Interpreter(packed, threads)
        self._protected = protected
        info = packed.describe()
        self.input_indices: tuple[int, ...] = info["inputs"]
        self.output_indices: tuple[int, ...] = info["outputs"]

    @property
    def _core(self) -> _native.Interpreter:
        if self._open is None:
            raise LifecycleError("closed", "expected an open interpreter, got a closed one")
        return self._open

    def close(self) -> None:
        """Gives up the memory. Any later use raises LifecycleError."""
        self._open = None

    # ---- LiteRT's face ---------------------------------------------------------------------

    def allocate_tensors(self) -> None:
        """Infers all shapes and plans the memory. Must come before ``invoke``.

        Raises:
            MalformedModelError: shapes do not go together.
            ResourceError: the tensors need more than the limits allow.
        """
        self._core.allocate()

    def get_input_details(self) -> list[dict[str, Any]]:
        """One dictionary for each input, in order: ``name``, ``index``, ``shape`` (int32 array),
        ``shape_signature`` (-1 where a dimension may change), ``dtype`` (numpy type),
        ``quantization`` (scale, zero point), ``quantization_parameters``
        (``scales`` float32, ``zero_points`` int32, ``quantized_dimension``, ``block_size``) and
        ``sparsity_parameters`` (empty).
        """
        return [self._details(i) for i in self.input_indices]

    def get_output_details(self) -> list[dict[str, Any]]:
        """As ``get_input_details``, for the outputs."""
        return [self._details(i) for i in self.output_indices]

    def get_tensor_details(self, subgraph_index: int = 0) -> list[dict[str, Any]]:
        """As ``get_input_details``, for all tensors.

        Raises:
            InputError: another subgraph than 0, or a protected model.
        """
        if subgraph_index != 0:
            raise InputError("tensor", f"expected subgraph 0, got {subgraph_index}")
        if self._protected:
            raise InputError(
                "protected", "expected inputs and outputs of a protected model, got all tensors"
            )
        return [self._details(i) for i in range(self._core.model.describe()["tensors"])]

    def set_tensor(self, tensor_index: int, value: np.ndarray[Any, Any]) -> None:
        """Copies ``value`` into a graph input.

        Raises:
            InputError: not an input, another dtype, or another shape (also ValueError).
            LifecycleError: ``allocate_tensors`` has not been called.
        """
        if tensor_index not in self.input_indices:
            raise InputError(
                "tensor",
                f"expected one of the inputs {list(self.input_indices)}, got {tensor_index}",
            )
        info = self._core.tensor(tensor_index)
        array = np.asarray(value)
        dtype = _dtype_of(info)
        if array.dtype != dtype:
            raise InputError(
                "dtype",
                f"expected {np.dtype(dtype).name} for {info['name']!r}, got {array.dtype.name}",
            )
        if array.shape != info["shape"]:
            raise InputError(
                "shape",
                f"expected shape {list(info['shape'])} for {info['name']!r}, "
                f"got {list(array.shape)}",
            )
        self._core.write(tensor_index, _as_bytes(array))

    def invoke(self) -> None:
        """Runs the model on what ``set_tensor`` left. The interpreter lock is free meanwhile.

        Raises:
            LifecycleError: not allocated, in use by another thread, or in a forked child.
        """
        self._core.invoke()

    def get_tensor(self, tensor_index: int, subgraph_index: int = 0) -> np.ndarray[Any, Any]:
        """A copy of a tensor: an output after ``invoke``, an input, or a constant.

        Tensors in between share memory, so that what they hold after ``invoke`` is undefined.

        Raises:
            InputError: no such tensor; or, of a protected model, neither input nor output.
            LifecycleError: ``allocate_tensors`` has not been called.
        """
        if subgraph_index != 0:
            raise InputError("tensor", f"expected subgraph 0, got {subgraph_index}")
        if self._protected and tensor_index not in self.input_indices + self.output_indices:
            raise InputError(
                "protected",
                f"expected an input or output of a protected model, got tensor {tensor_index}",
            )
        if not 0 <= tensor_index <= _INT32_MAX:
            raise InputError("tensor", f"expected a tensor of the model, got index {tensor_index}")
        info = self._core.tensor(tensor_index)
        array = np.empty(info["shape"], _dtype_of(info))
        self._core.read(tensor_index, _as_bytes(array))
        return array

    def resize_tensor_input(
        self,
        input_index: int,
        tensor_size: Sequence[int],
        strict: bool = False,  # noqa: FBT001, FBT002 - LiteRT's order
    ) -> None:
        """Gives an input another shape; ``allocate_tensors`` must follow.

        With ``strict`` only dimensions that the shape signature marks with -1 may change.

        Raises:
            InputError: not an input, or a shape that may not be (also ValueError).
        """
        shape = tuple(int(n) for n in tensor_size)
        if any(not 0 <= n <= _INT32_MAX for n in shape):
            raise InputError(
                "shape", f"expected dimensions in 0 ... {_INT32_MAX}, got {list(shape)}"
            )
        if input_index not in self.input_indices:
            raise InputError(
                "tensor",
                f"expected one of the inputs {list(self.input_indices)}, got {input_index}",
            )
        if strict:
            self._check_strict(input_index, shape)
        self._core.resize(input_index, shape)

    def get_signature_list(self) -> dict[str, dict[str, list[str]]]:
        """``{key: {"inputs": [names], "outputs": [names]}}``."""
        return {
            s["key"]: {
                "inputs": [name for name, _ in s["inputs"]],
                "outputs": [name for name, _ in s["outputs"]],
            }
            for s in self._core.model.signatures()
        }

    def get_signature_runner(self, signature_key: str | None = None) -> SignatureRunner:
        """A callable that takes and returns arrays by name. ``None`` where there is one signature.

        Raises:
            InputError: no such signature (also ValueError).
        """
        signatures = {s["key"]: s for s in self._core.model.signatures()}
        if signature_key is None and len(signatures) == 1:
            signature_key = next(iter(signatures))
        if signature_key not in signatures:
            raise InputError(
                "argument",
                f"expected one of the signatures {sorted(signatures)}, got {signature_key!r}",
            )
        return SignatureRunner(self, signatures[signature_key])

    # ---- ours ------------------------------------------------------------------------------

    def operators(self) -> list[tuple[str, int]]:
        """Names and versions of the operators, sorted, each once."""
        found = self._core.model.operators()
        return sorted({(o["name"], o["version"]) for o in found})

    def operator_details(self) -> list[_native.OperatorInfo]:
        """One dictionary for each operator in order: ``name``, ``version``, ``kernel``, ``macs``
        (multiply-accumulates of one run), ``inputs``, ``outputs`` (tensor indices).
        """
        return self._core.model.operators()

    def memory(self) -> dict[str, int]:
        """Bytes of packed weights, of all the model's memory, and of it, locked."""
        info = self._core.model.describe()
        return {
            "packed": info["packed_bytes"],
            "mapped": info["mapped_bytes"],
            "locked": info["locked_bytes"],
        }

    def _details(self, index: int) -> dict[str, Any]:
        info = self._core.tensor(index)
        scales = np.frombuffer(info["scales"], np.float32).copy()
        zero_points = np.frombuffer(info["zero_points"], np.int64).astype(np.int32)
        one = (float(scales[0]), int(zero_points[0])) if len(scales) == 1 else (0.0, 0)
        shape = np.array(info["shape"], np.int32)
        return {
            "name": info["name"],
            "index": index,
            "shape": shape,
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

    def _check_strict(self, index: int, shape: tuple[int, ...]) -> None:
        info = self._core.tensor(index)
        marks = info["signature"] or info["shape"]
        fits = len(shape) == len(marks)
        if not fits or any(m not in (-1, n) for m, n in zip(marks, shape, strict=True)):
            raise InputError(
                "shape", f"expected a shape that fits {list(marks)}, got {list(shape)}"
            )


class SignatureRunner:
    """Runs one signature of a model: arrays in and out by name."""

    def __init__(self, interpreter: Interpreter, signature: _native.SignatureInfo) -> None:
        if signature["subgraph"] != 0:
            raise UnsupportedOperatorError(
                "unsupported-operator",
                f"expected a signature over subgraph 0, got one over {signature['subgraph']}",
            )
        self._interpreter = interpreter
        self._inputs = dict(signature["inputs"])
        self._outputs = dict(signature["outputs"])

    def __call__(self, **inputs: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Resizes inputs to the arrays' shapes, runs, and returns copies of the outputs.

        Raises:
            InputError: a name too many or too few, another dtype (also ValueError).
        """
        if inputs.keys() != self._inputs.keys():
            raise InputError(
                "argument", f"expected inputs {sorted(self._inputs)}, got {sorted(inputs)}"
            )
        run = self._interpreter
        arrays = {self._inputs[name]: np.asarray(value) for name, value in inputs.items()}
        for index, array in arrays.items():
            if run._core.tensor(index)["shape"] != array.shape:  # noqa: SLF001 - one room
                run.resize_tensor_input(index, array.shape)
        run.allocate_tensors()
        for index, array in arrays.items():
            run.set_tensor(index, array)
        run.invoke()
        return {name: run.get_tensor(index) for name, index in self._outputs.items()}

    def get_input_details(self) -> dict[str, dict[str, Any]]:
        """Details as ``Interpreter.get_input_details`` gives them, by name."""
        return {n: self._interpreter._details(i) for n, i in self._inputs.items()}  # noqa: SLF001

    def get_output_details(self) -> dict[str, dict[str, Any]]:
        """Details as ``Interpreter.get_output_details`` gives them, by name."""
        return {n: self._interpreter._details(i) for n, i in self._outputs.items()}  # noqa: SLF001


# ---- parts ---------------------------------------------------------------------------------


def _refuse_foreign(
    delegates: Sequence[object] | None,
    resolver: OpResolverType,
    preserve: bool,  # noqa: FBT001 - one caller
) -> None:
    if delegates:
        load_delegate("experimental_delegates")
    if resolver not in {OpResolverType.AUTO, OpResolverType.BUILTIN}:
        raise ConfigurationError(
            "invalid", f"expected OpResolverType.AUTO or BUILTIN, got {resolver}"
        )
    if preserve:
        raise ConfigurationError(
            "invalid", "expected experimental_preserve_all_tensors=False, got True"
        )


def _check_threads(num_threads: int | None) -> int:
    if num_threads is None:
        return 1
    if type(num_threads) is not int or num_threads < 1:
        raise InputError(
            "argument", f"expected num_threads as an int of at least 1, got {num_threads!r}"
        )
    return min(num_threads, 1024)


def _read_content(
    path: str | os.PathLike[str] | None,
    content: bytes | bytearray | memoryview | None,
    limits: ModelLimits,
) -> bytes | bytearray | memoryview:
    if (path is None) == (content is None):
        raise InputError(
            "argument", "expected either model_path or model_content, got both or none"
        )
    if content is not None:
        return content
    assert path is not None  # noqa: S101 - for the type checker
    return read_model(path, limits)


def read_model(path: str | os.PathLike[str], limits: ModelLimits) -> bytes:
    """The bytes of a plain model file, which may be a symbolic link.

    Raises:
        ConfigurationError: ``missing``, ``permissions``.
        MalformedModelError, ResourceError: not a regular file, or too large.
    """
    return files.read_once(path, limit=limits.model_bytes, error=_not_a_model, follow=True)


def _not_a_model(reason: str, text: str) -> EdgeError:
    """A file that cannot be a model, as the error that a model's bytes would give."""
    if reason == "too-large":
        return ResourceError("limit", text)
    return MalformedModelError("malformed-model", text)


def _dtype_of(info: _native.TensorInfo) -> Any:  # noqa: ANN401 - a numpy scalar type
    if info["type"] not in _DTYPES:
        raise MalformedModelError(
            "malformed-model",
            f"expected a tensor of a type that numpy has, got type {info['type']} "
            f"of {info['name']!r}",
        )
    return _DTYPES[info["type"]]


def _as_bytes(array: np.ndarray[Any, Any]) -> memoryview:
    """The array's memory; a copy of it where it is not in C order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
