"""LiteRT's interpreter API over the compiled core, or over LiteRT itself.

An app moves here by changing one line::

    from edgesdk.interpreter import Interpreter, load_delegate, OpResolverType

The same names, structures and element types as ``ai_edge_litert.interpreter`` 2.3.0; the same
bits as its default path on x86-64 (docs/numerics.md). Errors are those of edgesdk.errors, which
are ValueError or RuntimeError as well. What the core does not run, LiteRT runs where it is
installed (docs/engines.md); ``engine`` says which of the two it is. docs/litert-compatibility.md
lists member by member what is the same and what is not.

An interpreter belongs to one thread at a time and to the process that made it; both are checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgesdk import selection
from edgesdk.engine import (
    EngineChoice,
    EngineName,
    OpResolverType,
    Options,
    check_index,
    check_input,
    check_shape,
    check_threads,
    check_value,
)
from edgesdk.errors import ConfigurationError, InputError
from edgesdk.limits import MODEL, ModelLimits
from edgesdk.litertlibrary import Delegate, load_delegate
from edgesdk.native import LockedMemory, machine, pack
from edgesdk.signature import SignatureRunner, runner

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from edgesdk import _native
    from edgesdk.engine import Array
    from edgesdk.selection import Loaded

__all__ = [
    "Delegate",
    "Interpreter",
    "InterpreterWithCustomOps",
    "LockedMemory",
    "OpResolverType",
    "SignatureRunner",
    "load_delegate",
    "machine",
    "pack",
]


class Interpreter:
    """Runs a ``.tflite`` model: load, ``allocate_tensors``, ``set_tensor``, ``invoke``,
    ``get_tensor``.

    Args:
        model_path: path of the model.
        model_content: the model's bytes; exactly one of the two must be given.
        experimental_delegates: what ``load_delegate`` gave, for LiteRT.
        num_threads: at least 1 and by default 1; the core never uses more than the processors
            that affinity and the cgroup's quota allow.
        experimental_op_resolver_type: AUTO or BUILTIN; the others are LiteRT's.
        experimental_preserve_all_tensors: keep what tensors in between held, for ``get_tensor``
            after ``invoke``; for debugging, as it takes memory.
        experimental_disable_delegate_clustering: for LiteRT; the core has no delegates.
        experimental_default_delegate_latest_features: true is LiteRT's.
        experimental_compress_quantization_zero_points: for LiteRT; the core always does.
        experimental_disable_delegate_node_fusion: for LiteRT.
        experimental_force_delegate_node_profiling: for LiteRT.
        engine: ``"native"``, the core; ``"litert"``; or ``"auto"``, the core, and LiteRT for what
            the core does not run (docs/engines.md).
        delegates: another name of ``experimental_delegates``.
        custom_op_registerers: for LiteRT: names of functions, or functions, that add kernels of
            custom operators to its resolver, as its ``InterpreterWithCustomOps`` takes them.
        isa: kernel table by name (``machine()["isa"]``), by default the one measured fastest;
            with it, ``auto`` is the core.
        limits: bounds on what the file may ask for; with other ones than the default, ``auto`` is
            the core.

    Raises:
        MalformedModelError: not a sound model (also ValueError).
        UnsupportedOperatorError: names operator, version and types (also ValueError).
        ResourceError: a limit, or the system gave no memory.
        InputError, ConfigurationError: unusable arguments (also ValueError).
        EngineError: a delegate refuses the model (also ValueError and RuntimeError).
    """

    def __init__(  # noqa: PLR0917 - LiteRT's order
        self,
        model_path: str | os.PathLike[str] | None = None,
        model_content: bytes | bytearray | memoryview | None = None,
        experimental_delegates: Sequence[object] | None = None,
        num_threads: int | None = None,
        experimental_op_resolver_type: OpResolverType = OpResolverType.AUTO,
        experimental_preserve_all_tensors: bool = False,  # noqa: FBT001, FBT002 - LiteRT's order
        experimental_disable_delegate_clustering: bool = False,  # noqa: FBT001, FBT002
        experimental_default_delegate_latest_features: bool = False,  # noqa: FBT001, FBT002
        experimental_compress_quantization_zero_points: bool = False,  # noqa: FBT001, FBT002
        experimental_disable_delegate_node_fusion: bool = False,  # noqa: FBT001, FBT002
        experimental_force_delegate_node_profiling: bool = False,  # noqa: FBT001, FBT002
        *,
        engine: EngineChoice = "auto",
        delegates: Sequence[object] | None = None,
        custom_op_registerers: Sequence[str | Callable[..., object]] | None = None,
        isa: str | None = None,
        limits: ModelLimits = MODEL,
    ) -> None:
        if delegates and experimental_delegates:
            raise ConfigurationError(
                "invalid", "expected delegates or experimental_delegates, got both"
            )
        options = Options(
            delegates=tuple(delegates or experimental_delegates or ()),
            custom_op_registerers=tuple(custom_op_registerers or ()),
            op_resolver_type=experimental_op_resolver_type,
            preserve_all_tensors=experimental_preserve_all_tensors,
            disable_delegate_clustering=experimental_disable_delegate_clustering,
            default_delegate_latest_features=experimental_default_delegate_latest_features,
            compress_quantization_zero_points=experimental_compress_quantization_zero_points,
            disable_delegate_node_fusion=experimental_disable_delegate_node_fusion,
            force_delegate_node_profiling=experimental_force_delegate_node_profiling,
        )
        threads = check_threads(num_threads)
        content = selection.read_content(model_path, model_content, limits)
        loaded = selection.load_plain(
            content, engine=engine, options=options, isa=isa, limits=limits
        )
        preserve = experimental_preserve_all_tensors
        self._begin(loaded, threads, protected=False, preserve=preserve)
        self._compressed = experimental_compress_quantization_zero_points

    @classmethod
    def over(
        cls, loaded: Loaded, *, num_threads: int | None = None, protected: bool = False
    ) -> Interpreter:
        """Another interpreter over a model that ``pack`` made; they share its weights.

        With ``protected`` only graph inputs and outputs can be read.
        """
        made = cls.__new__(cls)
        made._begin(loaded, check_threads(num_threads), protected=protected)  # noqa: SLF001
        return made

    def _begin(
        self, loaded: Loaded, threads: int, *, protected: bool, preserve: bool = False
    ) -> None:
        self._engine = selection.execution(loaded, threads, preserve_all_tensors=preserve)
        self._protected = protected
        self._compressed = False
        self.input_indices = self._engine.inputs
        self.output_indices = self._engine.outputs

    def close(self) -> None:
        """Gives up the memory. Any later use raises LifecycleError.

        Raises:
            LifecycleError: an array that ``tensor`` gave looks into it.
        """
        self._engine.close()

    # ---- LiteRT's face ---------------------------------------------------------------------

    def allocate_tensors(self) -> None:
        """Infers all shapes and plans the memory. Must come before ``invoke``.

        Raises:
            LifecycleError: an array that ``tensor`` gave looks into the memory.
            MalformedModelError: shapes do not go together.
            ResourceError: the tensors need more than the limits allow.
            EngineError, UnsupportedOperatorError: LiteRT cannot run it.
        """
        self._engine.allocate()

    def get_input_details(self) -> list[dict[str, Any]]:
        """One dictionary for each input, in order: ``name``, ``index``, ``shape`` (int32 array),
        ``shape_signature`` (-1 where a dimension may change), ``dtype`` (numpy type),
        ``quantization`` (scale, zero point), ``quantization_parameters``
        (``scales`` float32, ``zero_points`` int32, ``quantized_dimension``, ``block_size``) and
        ``sparsity_parameters`` (empty).
        """
        return [self._engine.details(i) for i in self.input_indices]

    def get_output_details(self) -> list[dict[str, Any]]:
        """As ``get_input_details``, for the outputs."""
        return [self._engine.details(i) for i in self.output_indices]

    def get_tensor_details(self, subgraph_index: int = 0) -> list[dict[str, Any]]:
        """As ``get_input_details``, for all tensors.

        Raises:
            InputError: no such subgraph, or a protected model.
        """
        if self._protected:
            raise InputError(
                "protected", "expected inputs and outputs of a protected model, got all tensors"
            )
        return self._engine.all_details(subgraph_index)

    def num_subgraphs(self) -> int:
        """How many subgraphs the model has."""
        return self._engine.subgraphs()

    def set_tensor(self, tensor_index: int, value: Array) -> None:
        """Copies ``value``, an array or what numpy makes one of, into an input.

        The core takes values of variable tensors as well, and writes outputs to no effect.

        Raises:
            InputError: not such a tensor, another dtype, or another shape.
            LifecycleError: ``allocate_tensors`` has not been called.
        """
        self._check_readable(tensor_index, 0)
        array = np.asarray(value)
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        check_value(self._engine.spec(tensor_index), array)
        self._engine.write(tensor_index, array)

    def invoke(self) -> None:
        """Runs the model on what ``set_tensor`` left. The interpreter lock is free meanwhile.

        Raises:
            LifecycleError: not allocated, in use by another thread, in a forked child, or an array
                that ``tensor`` gave looks into the memory.
            MalformedModelError: what an operator cannot take, such as an index out of range.
            EngineError: LiteRT failed.
        """
        self._engine.invoke()

    def get_tensor(self, tensor_index: int, subgraph_index: int = 0) -> Array:
        """A copy of a tensor: an output after ``invoke``, an input, or a constant. One without
        dimensions is a number, as LiteRT has it.

        Tensors in between share memory, so that what they hold after ``invoke`` is undefined,
        unless ``experimental_preserve_all_tensors`` was asked for.

        Raises:
            InputError: no such tensor; or, of a protected model, neither input nor output.
            LifecycleError: ``allocate_tensors`` has not been called.
        """
        self._check_readable(tensor_index, subgraph_index)
        return self._engine.read(tensor_index, subgraph_index)

    def tensor(self, tensor_index: int) -> Callable[[], Array]:
        """A function that gives a view into a tensor's memory, without a copy.

        Keep the function, not the view: while there is one, ``allocate_tensors``, ``invoke``,
        ``resize_tensor_input``, ``close`` and signature runners raise LifecycleError. Views of
        inputs, outputs and variables can be written; the core's of all others cannot.

        Raises:
            InputError: of a protected model, neither input nor output. The function raises it when
                there is no such tensor, and LifecycleError before ``allocate_tensors``.
        """
        self._check_protected(tensor_index, 0)

        def look() -> Array:
            check_index(tensor_index)
            return self._engine.view(tensor_index)()

        return look

    def resize_tensor_input(
        self,
        input_index: int,
        tensor_size: Sequence[int],
        strict: bool = False,  # noqa: FBT001, FBT002 - LiteRT's order
    ) -> None:
        """Gives an input another shape; ``allocate_tensors`` must follow.

        With ``strict`` only dimensions that the shape signature marks with -1 may change.

        Raises:
            InputError: not an input, or a shape that may not be.
            LifecycleError: an array that ``tensor`` gave looks into the memory.
        """
        shape = check_shape(tensor_size)
        check_input(input_index, self.input_indices)
        self._engine.resize(input_index, shape, strict=strict)

    def reset_all_variables(self) -> None:
        """Puts what a model remembers between runs back to what it was at first."""
        self._engine.reset_variables()

    def get_signature_list(self) -> dict[str, dict[str, list[str]]]:
        """``{key: {"inputs": [names], "outputs": [names]}}``."""
        return self._engine.signatures()

    def get_signature_runner(self, signature_key: str | None = None) -> SignatureRunner:
        """A callable that takes and returns arrays by name. ``None`` where there is one signature.

        Raises:
            InputError: no such signature (also ValueError).
        """
        return runner(self._engine, signature_key)

    @property
    def experimental_compress_quantization_zero_points(self) -> bool:
        """What was asked for."""
        return self._compressed

    # ---- LiteRT's, undocumented: tools for models use them

    def _get_tensor_details(self, tensor_index: int, subgraph_index: int) -> dict[str, Any]:
        """As ``get_tensor_details``, of one tensor."""
        self._check_readable(tensor_index, subgraph_index)
        return self._engine.details(tensor_index, subgraph_index)

    def _get_op_details(self, op_index: int) -> dict[str, Any]:
        """``index``, ``op_name``; ``inputs``, ``outputs``: tensor indices as int32 arrays, -1 for
        an absent one; ``operand_types``, ``result_types``: numpy types of those that are there.
        """
        found = self._engine.operators()
        if not 0 <= op_index < len(found):
            raise InputError("argument", f"expected one of {len(found)} operators, got {op_index}")
        node = found[op_index]
        types = [
            [self._engine.details(i)["dtype"] for i in tensors if i >= 0]
            for tensors in (node["inputs"], node["outputs"])
        ]
        return {
            "index": int(op_index),
            "op_name": node["name"],
            "inputs": np.array(node["inputs"], np.int32),
            "outputs": np.array(node["outputs"], np.int32),
            "operand_types": types[0],
            "result_types": types[1],
        }

    def _get_ops_details(self) -> list[dict[str, Any]]:
        """Those of all operators of the main subgraph; nodes that delegates add are not listed."""
        return [self._get_op_details(i) for i in range(len(self._engine.operators()))]

    def _safe_to_run(self) -> bool:
        """Whether no array looks into the memory."""
        return not self._engine.viewed()

    # ---- ours ------------------------------------------------------------------------------

    @property
    def engine(self) -> EngineName:
        """What runs the model: ``"native"``, the core, or ``"litert"``."""
        return self._engine.name

    def operators(self) -> list[tuple[str, int]]:
        """Names and versions of the operators, sorted, each once."""
        return sorted({(o["name"], o["version"]) for o in self._engine.operators()})

    def operator_details(self) -> list[_native.OperatorInfo]:
        """One dictionary for each operator in order: ``name``, ``version``, ``kernel``, ``macs``
        (multiply-accumulates of one run; 0 by LiteRT), ``inputs``, ``outputs`` (tensor indices).
        """
        return self._engine.operators()

    def memory(self) -> dict[str, int]:
        """Bytes of packed weights, of all the model's memory, and of it, locked.

        LiteRT tells only of the model's own bytes.
        """
        return self._engine.memory()

    def _check_readable(self, tensor_index: int, subgraph_index: int) -> None:
        self._check_protected(tensor_index, subgraph_index)
        check_index(tensor_index)

    def _check_protected(self, tensor_index: int, subgraph_index: int) -> None:
        ends = self.input_indices + self.output_indices
        if self._protected and (subgraph_index != 0 or tensor_index not in ends):
            raise InputError(
                "protected",
                f"expected an input or output of a protected model, got tensor {tensor_index}",
            )


class InterpreterWithCustomOps(Interpreter):
    """LiteRT's name of an interpreter with ``custom_op_registerers``; without any it is the same as
    ``Interpreter``.
    """

    def __init__(
        self,
        custom_op_registerers: Sequence[str | Callable[..., object]] | None = None,
        **options: Any,  # noqa: ANN401 - those of Interpreter
    ) -> None:
        super().__init__(custom_op_registerers=custom_op_registerers, **options)
