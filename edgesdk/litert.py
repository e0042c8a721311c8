"""The engine ``litert``: LiteRT's own interpreter, from ai-edge-litert or from tflite-runtime.

Their errors are ValueError and RuntimeError with a text; here they become edgesdk's own. LiteRT
itself checks neither threads nor processes, and may crash or hang where an app gets them wrong; an
engine checks both.
"""

from __future__ import annotations

import functools
import os
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from edgesdk.engine import Options, Spec
from edgesdk.errors import (
    ConfigurationError,
    EdgeError,
    EngineError,
    InputError,
    LifecycleError,
    MalformedModelError,
    UnsupportedOperatorError,
)
from edgesdk.flatbuffer import operator_versions, subgraph_count
from edgesdk.limits import MODEL
from edgesdk.litertlibrary import Delegate, library, text_of
from edgesdk.lockedbytes import LockedBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edgesdk import _native
    from edgesdk.engine import Array

_UNSUPPORTED = re.compile(
    r"didn't find op|unresolved custom op|op builtin_code out of range|registration failed"
    r"|not supported|unsupported",
    re.IGNORECASE,
)

# ---- models


class LiteRTModel:
    """A model's bytes and how LiteRT shall run them; interpreters share the bytes.

    With ``protected`` they are a copy in locked memory, which is wiped when the last interpreter
    over it is gone. What LiteRT copies out of it is LiteRT's.

    Raises:
        MalformedModelError: there are no bytes.
        ResourceError: ``memory``.
        ConfigurationError: ``extra``: LiteRT is not installed.
    """

    def __init__(
        self,
        content: bytes | bytearray | memoryview,
        options: Options,
        *,
        protected: bool = False,
    ) -> None:
        self.library = library()[1]
        self.options = options
        size = memoryview(content).nbytes
        if size == 0:
            raise MalformedModelError("malformed-model", "expected a model, got 0 bytes")
        self._secret: LockedBytes | None = None
        self._plain = b""
        if protected:
            self._secret = LockedBytes(memoryview(content))
        else:
            self._plain = bytes(content)
        self.mapped_bytes = size
        self.locked_bytes = self._secret.locked if self._secret else 0

    @property
    def content(self) -> bytes:
        """The bytes that LiteRT reads."""
        return self._secret.value if self._secret else self._plain

    def loaded(self, threads: int) -> Any:  # noqa: ANN401 - LiteRT's interpreter
        """An interpreter of LiteRT's own."""
        module, _ = library()
        arguments = self.options.arguments()
        make, custom = module.Interpreter, self.options.custom_op_registerers
        if custom:
            make = functools.partial(module.InterpreterWithCustomOps, list(custom))
        kernels = self.options.op_resolver_type.name
        delegates = [d.take() if isinstance(d, Delegate) else d for d in self.options.delegates]
        try:
            return make(
                model_content=self.content,
                num_threads=threads,
                experimental_delegates=delegates,
                experimental_op_resolver_type=module.OpResolverType[kernels],
                **arguments,
            )
        except TypeError as error:
            # tflite-runtime has fewer of them.
            raise ConfigurationError(
                "invalid", f"expected what {self.library} takes, got {', '.join(arguments)}"
            ) from error
        except (ValueError, RuntimeError) as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> NoReturn:
        text = text_of(error)
        if _UNSUPPORTED.search(text):
            raise _unsupported(text) from None
        if self.options.delegates or self.options.custom_op_registerers:
            raise EngineError("prepare", f"expected LiteRT to load the model, got: {text}")
        raise MalformedModelError(
            "malformed-model", f"expected a model that LiteRT loads, got: {text}"
        )


class _Opened:
    """LiteRT's interpreter and the bytes that it reads, which must outlive it."""

    def __init__(self, model: LiteRTModel, threads: int) -> None:
        self.model = model
        self.interpreter = model.loaded(threads)
        # LiteRT's texts pile up; what one of them begins with is known by then.
        self.said = ""

    def __del__(self) -> None:
        self.interpreter = None


class _View:
    """LiteRT's view of a tensor, and the bytes that it may look into."""

    def __init__(self, opened: _Opened, array: Array) -> None:
        self._opened, self._array = opened, array
        self.__array_interface__ = array.__array_interface__


class LiteRTEngine:
    """One line of execution in LiteRT."""

    name: Literal["litert"] = "litert"

    def __init__(self, model: LiteRTModel, threads: int) -> None:
        self._open: _Opened | None = _Opened(model, threads)
        self._owner = os.getpid()
        self._turn = threading.Lock()
        self._allocated = False
        self._specs: dict[int, Spec] = {}
        found = self._open.interpreter
        self.inputs = tuple(int(d["index"]) for d in found.get_input_details())
        self.outputs = tuple(int(d["index"]) for d in found.get_output_details())

    @contextmanager
    def _entered(self, *, allocated: bool = False) -> Iterator[_Opened]:
        """LiteRT, for one thread at a time, its errors translated."""
        # First: another thread may have held the lock when this process was forked.
        if os.getpid() != self._owner:
            raise LifecycleError(
                "forked",
                "expected the process that made the interpreter, got a child of it: "
                "load again in the child",
            )
        if not self._turn.acquire(blocking=False):
            raise LifecycleError("busy", "expected an idle interpreter, got one that runs")
        try:
            if (opened := self._open) is None:
                raise LifecycleError("closed", "expected an open interpreter, got a closed one")
            if allocated and not self._allocated:
                raise LifecycleError("not-allocated", "expected allocated tensors, got none yet")
            try:
                yield opened
            except EdgeError:
                raise
            except (ValueError, RuntimeError) as error:
                _refuse(opened, error)
        finally:
            self._turn.release()

    def close(self) -> None:
        # What another thread still runs stays until it is done.
        if self._open is not None and self._turn.acquire(blocking=False):
            try:
                if not self._open.interpreter._safe_to_run():  # noqa: SLF001
                    raise _referenced()
            finally:
                self._turn.release()
        self._open = None

    def viewed(self) -> bool:
        with self._entered() as opened:
            return not opened.interpreter._safe_to_run()  # noqa: SLF001

    def allocate(self) -> None:
        self._specs.clear()
        with self._entered() as opened:
            self._allocated = False
            opened.interpreter.allocate_tensors()
            self._allocated = True

    def invoke(self) -> None:
        with self._entered(allocated=True) as opened:
            opened.interpreter.invoke()

    def resize(self, index: int, shape: tuple[int, ...], *, strict: bool) -> None:
        with self._entered() as opened:
            try:
                opened.interpreter.resize_tensor_input(index, shape, strict)
            except (ValueError, RuntimeError) as error:
                if _views(error):
                    raise
                raise InputError(
                    "shape", f"expected a shape that fits, got {list(shape)}: {_new(opened, error)}"
                ) from None
            # LiteRT asks for a new allocation even where the shape is the old one.
            self._allocated = False
            self._specs.clear()

    def spec(self, index: int) -> Spec:
        if index not in self._specs:
            found = self.details(index)
            shape = tuple(int(n) for n in found["shape"])
            self._specs[index] = Spec(found["name"], found["dtype"], shape)
        return self._specs[index]

    def details(self, index: int, subgraph: int = 0) -> dict[str, Any]:
        # LiteRT looks for tensors of subgraphs that are not there.
        if not 0 <= subgraph < self.subgraphs():
            raise InputError("tensor", f"expected a subgraph of the model, got {subgraph}")
        with self._entered() as opened, _as_tensor(opened, f"tensor {index}"):
            return _completed(opened.interpreter._get_tensor_details(index, subgraph))  # noqa: SLF001

    def all_details(self, subgraph: int) -> list[dict[str, Any]]:
        with self._entered() as opened, _as_tensor(opened, f"subgraph {subgraph}"):
            # tflite-runtime knows no others than the main one.
            others = (subgraph,) if subgraph else ()
            found = opened.interpreter.get_tensor_details(*others)
            return [_completed(each) for each in found]

    def write(self, index: int, array: Array) -> None:
        # LiteRT would write to constants, too.
        if index not in self.inputs + self.outputs:
            raise InputError("tensor", f"expected an input, got tensor {index}")
        with self._entered(allocated=True) as opened:
            opened.interpreter.set_tensor(index, array)

    def read(self, index: int, subgraph: int) -> Array:
        with (
            self._entered(allocated=True) as opened,
            _as_tensor(opened, f"tensor {index} of subgraph {subgraph}"),
        ):
            found: Array = opened.interpreter.get_tensor(index, subgraph)
            return found

    def view(self, index: int) -> Callable[[], Array]:
        def look() -> Array:
            with self._entered(allocated=True) as opened, _as_tensor(opened, f"tensor {index}"):
                return np.asarray(_View(opened, opened.interpreter.tensor(index)()))

        return look

    def reset_variables(self) -> None:
        with self._entered(allocated=True) as opened:
            opened.interpreter.reset_all_variables()

    def subgraphs(self) -> int:
        with self._entered() as opened:
            # tflite-runtime does not tell, the file does.
            return subgraph_count(opened.model.content)

    def signatures(self) -> dict[str, dict[str, list[str]]]:
        with self._entered() as opened:
            found: dict[str, dict[str, list[str]]] = opened.interpreter.get_signature_list()
            return found

    def signature(self, key: str) -> LiteRTSignature:
        return LiteRTSignature(self, key)

    def operators(self) -> list[_native.OperatorInfo]:
        with self._entered() as opened:
            # LiteRT lists the nodes that delegates have added after those of the file, and no
            # versions, which the file has.
            versions = operator_versions(opened.model.content, most=MODEL.operators)
            found = (opened.interpreter._get_op_details(i) for i in range(len(versions)))  # noqa: SLF001
            return [
                {
                    "name": node["op_name"],
                    "version": version,
                    "kernel": "litert",
                    "macs": 0,
                    "inputs": tuple(int(i) for i in node["inputs"]),
                    "outputs": tuple(int(i) for i in node["outputs"]),
                }
                for node, version in zip(found, versions, strict=True)
            ]

    def memory(self) -> dict[str, int]:
        """Of the model's bytes; LiteRT does not say what else it holds."""
        with self._entered() as opened:
            model = opened.model
            return {"packed": 0, "mapped": model.mapped_bytes, "locked": model.locked_bytes}


class LiteRTSignature:
    """One signature, of any subgraph, run by LiteRT."""

    def __init__(self, engine: LiteRTEngine, key: str) -> None:
        self._engine, self._key = engine, key

    @contextmanager
    def _runner(self) -> Iterator[Any]:
        # LiteRT's runner is not kept: it would keep the interpreter beyond close().
        with self._engine._entered() as opened:  # noqa: SLF001 - one room
            yield opened.interpreter.get_signature_runner(self._key)

    def input_details(self) -> dict[str, dict[str, Any]]:
        with self._runner() as runner:
            return {n: _completed(d) for n, d in runner.get_input_details().items()}

    def output_details(self) -> dict[str, dict[str, Any]]:
        with self._runner() as runner:
            return {n: _completed(d) for n, d in runner.get_output_details().items()}

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        for name, spec in self.input_details().items():
            if spec["dtype"] is not np.bytes_ and arrays[name].dtype != spec["dtype"]:
                raise InputError(
                    "dtype",
                    f"expected {np.dtype(spec['dtype']).name} for {name!r}, "
                    f"got {arrays[name].dtype.name}",
                )
        engine = self._engine
        engine._specs.clear()  # noqa: SLF001 - one room
        with self._runner() as runner:
            engine._allocated = False  # noqa: SLF001
            found: dict[str, Array] = runner(**arrays)
            engine._allocated = runner._subgraph_index == 0  # noqa: SLF001
            return found


# ---- LiteRT's texts


@contextmanager
def _as_tensor(opened: _Opened, what: str) -> Iterator[None]:
    """Refusals of reading mean that there is no such tensor."""
    try:
        yield
    except (ValueError, RuntimeError, TypeError) as error:
        raise InputError("tensor", f"expected {what}, got: {_new(opened, error)}") from None


def _refuse(opened: _Opened, error: Exception) -> NoReturn:
    if _views(error):
        raise _referenced() from None
    text = _new(opened, error)
    if _UNSUPPORTED.search(text):
        raise _unsupported(text) from None
    raise EngineError("invoke", f"expected LiteRT to run the model, got: {text}") from None


def _referenced() -> LifecycleError:
    return LifecycleError(
        "referenced", "expected no array that looks into the interpreter's memory, got one"
    )


def _views(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and "reference to internal data" in str(error)


def _new(opened: _Opened, error: Exception) -> str:
    """What LiteRT says now: its texts begin with all that it has said before."""
    text = str(error)
    before, opened.said = opened.said, text
    return text_of(text.removeprefix(before))


def _unsupported(text: str) -> UnsupportedOperatorError:
    return UnsupportedOperatorError(
        "unsupported-operator", f"expected operators that LiteRT runs, got: {text}"
    )


def _completed(details: dict[str, Any]) -> dict[str, Any]:
    """With what tflite-runtime leaves out."""
    details["quantization_parameters"].setdefault("block_size", 0)
    return details
