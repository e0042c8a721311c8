"""What an interpreter asks of the engine beneath it, and what an app may ask of LiteRT alone.

There are two: ``native``, the compiled core, and ``litert``, LiteRT's own (docs/engines.md). Both
give the same faces, which are LiteRT's as far as an app can tell: an ``Engine`` is one line of
execution over a model, and a ``Signature`` runs one of its signatures.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from edgesdk.errors import ConfigurationError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from edgesdk import _native

    Array: TypeAlias = np.ndarray[Any, Any]

EngineName = Literal["native", "litert"]
EngineChoice = Literal["auto", "native", "litert"]
CHOICES = ("auto", "native", "litert")

_INT32_MAX = 2**31 - 1
_MOST_THREADS = 1024


class OpResolverType(enum.Enum):
    """LiteRT's choices of kernels. The core has one, that of AUTO on x86-64."""

    AUTO = 0
    BUILTIN = 1
    BUILTIN_REF = 2
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3


@dataclass(frozen=True)
class Options:
    """What LiteRT's interpreter takes beside a model and a number of threads, by its names
    without ``experimental_``.
    """

    delegates: tuple[object, ...] = ()
    custom_op_registerers: tuple[str | Callable[..., object], ...] = ()
    op_resolver_type: OpResolverType = OpResolverType.AUTO
    preserve_all_tensors: bool = False
    disable_delegate_clustering: bool = False
    default_delegate_latest_features: bool = False
    compress_quantization_zero_points: bool = False
    disable_delegate_node_fusion: bool = False
    force_delegate_node_profiling: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigurationError for what is no choice of kernels."""
        if not isinstance(self.op_resolver_type, OpResolverType):
            raise ConfigurationError(
                "invalid", f"expected an OpResolverType, got {self.op_resolver_type!r}"
            )

    def beyond_the_core(self) -> str | None:
        """The first of these that the core cannot follow, or nothing.

        Of the others it keeps all tensors, as asked. The rest says how LiteRT divides a graph
        among delegates, of which the core has none, or how it stores zero points, and changes no
        answer.
        """
        if self.delegates:
            return f"{len(self.delegates)} delegates"
        if self.custom_op_registerers:
            return f"{len(self.custom_op_registerers)} registerers of custom operators"
        if self.op_resolver_type not in {OpResolverType.AUTO, OpResolverType.BUILTIN}:
            return str(self.op_resolver_type)
        if self.default_delegate_latest_features:
            return "experimental_default_delegate_latest_features=True"
        return None

    def arguments(self) -> dict[str, object]:
        """The flags that are not LiteRT's defaults, as its arguments."""
        flags = [f for f in fields(self) if f.default is False]
        return {f"experimental_{f.name}": True for f in flags if getattr(self, f.name)}


class Spec(NamedTuple):
    """As much of a tensor as an array must fit."""

    name: str
    dtype: Any
    shape: tuple[int, ...]


class Signature(Protocol):
    """One signature of a model."""

    def input_details(self) -> dict[str, dict[str, Any]]:
        """Details of the inputs by their names in the signature."""

    def output_details(self) -> dict[str, dict[str, Any]]:
        """Details of the outputs."""

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Resizes the inputs to the arrays' shapes, allocates, runs; copies of the outputs."""


class Engine(Protocol):
    """One line of execution over a model. It has closed, busy and forked errors of its own."""

    @property
    def name(self) -> EngineName:
        """Which engine it is."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """The indices of the main subgraph's inputs."""

    @property
    def outputs(self) -> tuple[int, ...]:
        """The indices of its outputs."""

    def close(self) -> None:
        """Gives up the memory, into which no array may look; what comes later is a
        LifecycleError.
        """

    def viewed(self) -> bool:
        """Whether an array looks into the memory."""

    def allocate(self) -> None:
        """Infers shapes, plans memory."""

    def invoke(self) -> None:
        """Runs; the interpreter lock is free meanwhile."""

    def resize(self, index: int, shape: tuple[int, ...], *, strict: bool) -> None:
        """Another shape for an input."""

    def spec(self, index: int) -> Spec:
        """Name, type and shape of a tensor of the main subgraph."""

    def details(self, index: int, subgraph: int = 0) -> dict[str, Any]:
        """LiteRT's dictionary of a tensor."""

    def all_details(self, subgraph: int) -> list[dict[str, Any]]:
        """Those of all tensors of a subgraph."""

    def write(self, index: int, array: Array) -> None:
        """Copies an array, which fits, into a tensor that may be written."""

    def read(self, index: int, subgraph: int) -> Array:
        """A copy of a tensor."""

    def view(self, index: int) -> Callable[[], Array]:
        """What makes a view into a tensor's memory. While it is there, a call that may move the
        memory is a LifecycleError.
        """

    def reset_variables(self) -> None:
        """Puts variable tensors back to what they were at first."""

    def subgraphs(self) -> int:
        """How many there are."""

    def signatures(self) -> dict[str, dict[str, list[str]]]:
        """``{key: {"inputs": [names], "outputs": [names]}}``."""

    def signature(self, key: str) -> Signature:
        """One of them."""

    def operators(self) -> list[_native.OperatorInfo]:
        """The operators of the main subgraph, in order."""

    def memory(self) -> dict[str, int]:
        """Bytes: ``packed``, ``mapped``, ``locked``."""


# ---- checks of arguments, the same for both


def check_choice(choice: str) -> None:
    """Raises ConfigurationError for what is no engine."""
    if choice not in CHOICES:
        raise ConfigurationError(
            "invalid", f"expected engine='auto', 'native' or 'litert', got {choice!r}"
        )


def check_threads(num_threads: int | None) -> int:
    """The number of threads to use; raises InputError for what is none."""
    if num_threads is None:
        return 1
    if type(num_threads) is not int or num_threads < 1:
        raise InputError(
            "argument", f"expected num_threads as an int of at least 1, got {num_threads!r}"
        )
    return min(num_threads, _MOST_THREADS)


def check_index(index: int) -> None:
    """Raises InputError for what cannot be a tensor's index in any model."""
    if not 0 <= index <= _INT32_MAX:
        raise InputError("tensor", f"expected a tensor of the model, got index {index}")


def check_input(index: int, inputs: tuple[int, ...]) -> None:
    """Raises InputError for a tensor that is no input."""
    if index not in inputs:
        raise InputError("tensor", f"expected one of the inputs {list(inputs)}, got {index}")


def check_shape(sizes: Sequence[int]) -> tuple[int, ...]:
    """A shape; raises InputError for dimensions that no tensor can have."""
    if np.ndim(sizes) != 1:
        raise InputError("shape", f"expected a list of dimensions, got {sizes!r}")
    shape = tuple(int(n) for n in sizes)
    if any(not 0 <= n <= _INT32_MAX for n in shape):
        raise InputError("shape", f"expected dimensions in 0 ... {_INT32_MAX}, got {list(shape)}")
    return shape


def check_value(spec: Spec, array: Array) -> None:
    """Raises InputError for an array of another type or shape than the tensor's."""
    # Strings have one type in LiteRT and a type for each length in numpy.
    if array.dtype != spec.dtype and spec.dtype not in {np.bytes_, np.str_, np.object_}:
        raise InputError(
            "dtype",
            f"expected {np.dtype(spec.dtype).name} for {spec.name!r}, got {array.dtype.name}",
        )
    if array.shape != spec.shape:
        raise InputError(
            "shape",
            f"expected shape {list(spec.shape)} for {spec.name!r}, got {list(array.shape)}",
        )
