"""A model on this core against LiteRT, tensor by tensor.

The same inputs go through both. Outputs are compared as they are. Then the model is taken apart:
every tensor that an operator writes is made an output in a copy of the file, so that both engines
show it, and the first one that differs, in the order of execution, names the operator to look at.

Needs LiteRT: ``pip install "edgesdk[litert]"``. LiteRT's default path is the reference; where its
XNNPACK delegate refuses a sound model, its own optimised kernels are.
"""

# ruff: noqa: ANN401 - LiteRT ships no types
from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesdk.errors import ConfigurationError, InputError, UnsupportedOperatorError
from edgesdk.interpreter import Interpreter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesdk.contract import Array

# Differences of floats, relative to the largest value of the tensor, that count as none: each
# engine sums in an order of its own.
FLOAT_TOLERANCE = 1e-5
# Whole numbers at an input may be indices: small ones are in range more often.
_INDEX_BOUND = 4
_INPUTS = 8


@dataclass(frozen=True)
class TensorDifference:
    """One tensor on both engines, over all inputs.

    ``largest`` is in units of the last place for whole numbers, and relative to the tensor's
    largest magnitude for floats. ``differing`` counts elements of ``elements``.
    """

    index: int
    name: str
    operator: str
    dtype: str
    shape: tuple[int, ...]
    elements: int
    differing: int
    largest: float

    @property
    def same(self) -> bool:
        """Equal bits; for floats, a difference that follows from the order of sums alone."""
        if self.dtype.startswith(("float", "complex")):
            return self.largest <= FLOAT_TOLERANCE
        return self.differing == 0


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found: the graph's outputs, and every tensor in order of execution."""

    reference: str
    inputs: int
    operators: tuple[str, ...]
    outputs: tuple[TensorDifference, ...]
    tensors: tuple[TensorDifference, ...] = field(default=())

    @property
    def same(self) -> bool:
        """Whether all outputs are the same."""
        return all(output.same for output in self.outputs)

    @property
    def equal_bits(self) -> bool:
        """Whether no bit of any output differs, floats included."""
        return all(output.differing == 0 for output in self.outputs)

    @property
    def first(self) -> TensorDifference | None:
        """The first tensor that differs."""
        return next((tensor for tensor in self.tensors if not tensor.same), None)

    @property
    def reason(self) -> str:
        """Where the difference begins, in a sentence."""
        if self.same:
            return "the outputs are the same"
        first = self.first
        if first is None:
            return (
                "every tensor is the same when all of them are kept: LiteRT computes several "
                "operators as one when nobody looks in between"
            )
        return f"{first.operator} differs although its inputs are the same (tensor {first.index})"


def compare(
    content: bytes,
    frames: Sequence[Sequence[Array]] | None = None,
    *,
    tensors: bool = True,
    num_threads: int = 1,
    seed: int = 0,
) -> Comparison:
    """Runs a model on both engines.

    Args:
        content: a ``.tflite`` file.
        frames: inputs in the model's order, once for each run; by default 8 random and 8 natural
            ones (``make_frames``).
        tensors: whether to look at the tensors between inputs and outputs as well.
        num_threads: of the core.
        seed: of the inputs.

    Raises:
        ConfigurationError: LiteRT is not installed.
        UnsupportedOperatorError: LiteRT refuses the model.
        ModelError: the core does.
    """
    ours = Interpreter(model_content=content, num_threads=num_threads, engine="native")
    ours.allocate_tensors()
    if frames is None:
        frames = make_frames(ours.get_input_details(), seed=seed)
    theirs, reference = _litert(content)
    outputs = _run_both(ours, theirs, frames, [""] * len(ours.output_indices))
    operators = tuple(sorted({name for name, _ in ours.operators()}))
    taken: tuple[TensorDifference, ...] = ()
    if tensors:
        exposed, writers = _expose(content)
        apart = Interpreter(model_content=exposed, num_threads=num_threads, engine="native")
        apart.allocate_tensors()
        taken = _run_both(apart, _litert(exposed)[0], frames, writers)
    return Comparison(reference, len(frames), operators, outputs, taken)


def spread(content: bytes, frames: Sequence[Sequence[Array]]) -> float:
    """How far LiteRT is from itself on the outputs: with XNNPACK and without, and for inputs that
    are off by the tolerance.

    A yardstick for networks of floats: some make much of the last bit of a sum.

    Raises:
        ConfigurationError: LiteRT is not installed.
        UnsupportedOperatorError: LiteRT refuses the model.
    """
    made, taken = _litert(content)
    others: list[Any] = [_Nudged(_litert(content, [taken])[0])]
    with contextlib.suppress(UnsupportedOperatorError):  # it has the one path only
        others.append(_litert(content, [name for name in _PATHS if name != taken])[0])
    operators = [""] * len(made.get_output_details())
    found = [o for other in others for o in _run_both(made, other, frames, operators)]
    return max((output.largest for output in found), default=0.0)


class _Nudged:
    """An interpreter whose inputs of floats are larger by the tolerance than those it is given."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    def set_tensor(self, index: int, value: Array) -> None:
        more = (
            value.dtype.type(1 + FLOAT_TOLERANCE)
            if value.dtype.kind == "f"
            else value.dtype.type(1)
        )
        self._made.set_tensor(index, value * more)


# ---- inputs


def make_frames(
    details: Sequence[dict[str, Any]], count: int = _INPUTS, *, seed: int = 0
) -> list[list[Array]]:
    """``count`` random frames, then as many natural ones: smooth and bounded, as images are."""
    random = np.random.default_rng(seed)
    makers = [_random_input] * count + [_natural_input] * count
    return [[maker(detail, random) for detail in details] for maker in makers]


def _random_input(detail: dict[str, Any], random: np.random.Generator) -> Array:
    """Every value that the type can hold, alike; floats well beyond the quantized range."""
    shape, dtype = tuple(detail["shape"]), np.dtype(detail["dtype"])
    if dtype.kind == "f":
        return random.uniform(-40, 40, shape).astype(dtype)
    if dtype.kind == "c":
        return (random.normal(0, 1, shape) + 1j * random.normal(0, 1, shape)).astype(dtype)
    if dtype == np.bool_:
        return random.integers(0, 2, shape).astype(dtype)
    if dtype.itemsize > np.dtype(np.int16).itemsize:
        return random.integers(0, _INDEX_BOUND, shape).astype(dtype)
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max + 1, shape).astype(dtype)


def _natural_input(detail: dict[str, Any], random: np.random.Generator) -> Array:
    """A coarse pattern, blown up, plus a little noise."""
    shape, dtype = tuple(detail["shape"]), np.dtype(detail["dtype"])
    if dtype.kind not in "iuf" or (dtype.kind != "f" and dtype.itemsize > np.dtype("i2").itemsize):
        return _random_input(detail, random)
    coarse = random.normal(0, 1, [max(1, -(-n // 8)) for n in shape])
    for axis, size in enumerate(shape):
        coarse = np.repeat(coarse, -(-size // coarse.shape[axis]), axis)
        coarse = np.take(coarse, range(size), axis)
    values = coarse + random.normal(0, 0.2, shape)
    if dtype.kind == "f":
        return values.astype(dtype)
    info = np.iinfo(dtype)
    middle, spread = (info.max + info.min + 1) / 2, (info.max - info.min) / 6
    return np.clip(np.rint(middle + spread * values), info.min, info.max).astype(dtype)


# ---- LiteRT


# LiteRT's name of each path, in the order in which they are tried.
_PATHS = {
    "LiteRT with XNNPACK": "AUTO",
    "LiteRT without XNNPACK": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
}


def _litert(content: bytes, names: Sequence[str] = tuple(_PATHS)) -> tuple[Any, str]:
    """LiteRT's interpreter with its tensors allocated, and which of its paths it takes."""
    try:
        from ai_edge_litert import interpreter as litert  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigurationError(
            "extra", f"expected LiteRT, got {error}", hint='pip install "edgesdk[litert]"'
        ) from error
    said: Exception | None = None
    for name in names:
        resolver = litert.OpResolverType[_PATHS[name]]
        try:
            made = litert.Interpreter(
                model_content=content, experimental_op_resolver_type=resolver, num_threads=1
            )
            made.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            said = error
        else:
            return made, name
    raise UnsupportedOperatorError(
        "unsupported-operator", f"expected a model that LiteRT takes, got {said}"
    )


def _has_data(model: Any, tensor: Any) -> bool:
    buffer = model.buffers[tensor.buffer]
    return (buffer.data is not None and len(buffer.data) > 0) or buffer.offset > 1


def _expose(content: bytes) -> tuple[bytes, list[str]]:
    """A copy whose outputs are all tensors that operators of the main subgraph write, in order, and
    the operators' names.

    What follows from constants alone is left out: LiteRT with XNNPACK computes it while loading,
    and leaves the tensor as it was.
    """
    import flatbuffers  # noqa: PLC0415 - comes with LiteRT
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name[0].isupper()}
    hidden = {schema.TensorType.RESOURCE, schema.TensorType.VARIANT, schema.TensorType.STRING}
    graph = model.subgraphs[0]
    written: list[int] = []
    writers: list[str] = []
    known = {i for i, tensor in enumerate(graph.tensors) if _has_data(model, tensor)} | {-1}
    for operator in graph.operators or []:
        inputs = set(map(int, operator.inputs if operator.inputs is not None else []))
        if inputs and inputs <= known:
            known.update(map(int, operator.outputs))
            continue
        code = model.operatorCodes[operator.opcodeIndex]
        name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")
        for tensor in operator.outputs if operator.outputs is not None else []:
            if graph.tensors[tensor].type not in hidden:
                written.append(int(tensor))
                writers.append(name)
    graph.outputs = np.array(written, np.int32)
    model.signatureDefs = []
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), writers


# ---- both


def _run_both(
    ours: Any, theirs: Any, frames: Sequence[Sequence[Array]], operators: Sequence[str]
) -> tuple[TensorDifference, ...]:
    pairs = list(zip(ours.get_output_details(), theirs.get_output_details(), strict=True))
    tallies = [_Tally() for _ in pairs]
    for frame in frames:
        for made in (ours, theirs):
            _fill(made, frame)
            made.invoke()
        for tally, (mine, its) in zip(tallies, pairs, strict=True):
            tally.add(ours.get_tensor(mine["index"]), theirs.get_tensor(its["index"]))
    return tuple(
        tally.result(mine, operator)
        for tally, (mine, _), operator in zip(tallies, pairs, operators, strict=True)
    )


def _fill(made: Any, frame: Sequence[Array]) -> None:
    details = made.get_input_details()
    if len(details) != len(frame):
        raise InputError("argument", f"expected {len(details)} inputs, got {len(frame)}")
    for detail, value in zip(details, frame, strict=True):
        made.set_tensor(detail["index"], value)


class _Tally:
    """Differences of one tensor, gathered over the runs."""

    def __init__(self) -> None:
        self.elements = self.differing = 0
        self.largest = 0.0

    def add(self, ours: Array, theirs: Array) -> None:
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            self.elements += max(ours.size, theirs.size)
            self.differing += max(ours.size, theirs.size)
            self.largest = float("inf")
            return
        self.elements += ours.size
        floats = ours.dtype.kind in "fc"
        unlike = ours != theirs
        if floats:
            unlike &= ~(np.isnan(ours) & np.isnan(theirs))
        self.differing += int(np.count_nonzero(unlike))
        if not unlike.any():
            return
        self.largest = max(self.largest, _float_gap(ours, theirs) if floats else _gap(ours, theirs))

    def result(self, detail: dict[str, Any], operator: str) -> TensorDifference:
        return TensorDifference(
            index=detail["index"],
            name=detail["name"],
            operator=operator,
            dtype=np.dtype(detail["dtype"]).name,
            shape=tuple(int(n) for n in detail["shape"]),
            elements=self.elements,
            differing=self.differing,
            largest=self.largest,
        )


def _gap(ours: Array, theirs: Array) -> float:
    return float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max())


def _float_gap(ours: Array, theirs: Array) -> float:
    """The largest difference over the largest finite magnitude; infinite where one is no number."""
    finite = np.isfinite(ours) & np.isfinite(theirs)
    alike = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    if not (finite | alike).all():
        return float("inf")
    if not finite.any():
        return 0.0
    peak = float(np.abs(theirs[finite]).max())
    gap = float(np.abs(ours[finite] - theirs[finite]).max())
    return gap / peak if peak > 0 else (0.0 if gap == 0 else float("inf"))
