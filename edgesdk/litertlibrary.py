"""LiteRT as it is installed, from ai-edge-litert or from tflite-runtime, and delegates for it.

The only importer of either, and only when the engine litert is asked for.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from edgesdk.errors import ConfigurationError

if TYPE_CHECKING:
    from types import ModuleType

# The newer first; both are never needed.
_LIBRARIES = {
    "ai_edge_litert": "ai-edge-litert",
    "tflite_runtime": "tflite-runtime",
}
_FIRST_NUMPY_WITHOUT_TFLITE_RUNTIME = 2
_LONGEST_TEXT = 500


def library() -> tuple[ModuleType, str]:
    """LiteRT's module with Interpreter and load_delegate; its package's name and version.

    Raises:
        ConfigurationError: ``extra``: neither package is there, or NumPy is too new for
            tflite-runtime. ``hint`` is the one line that mends it.
    """
    failures = []
    for module, package in _LIBRARIES.items():
        if importlib.util.find_spec(module) is None:
            continue
        version = importlib.metadata.version(package)
        if module == "tflite_runtime":
            _check_numpy(version)
        try:
            return importlib.import_module(f"{module}.interpreter"), f"{package} {version}"
        except ImportError as error:
            failures.append(f"{package} {version}: {error}")
    raise ConfigurationError(
        "extra",
        "expected ai-edge-litert or tflite-runtime for the engine litert, got "
        + ("; ".join(failures) or "neither"),
        hint='pip install "edgesdk[litert]"',
    )


def _check_numpy(version: str) -> None:
    """Before the import: what was built for NumPy 1 prints pages and ends in a SystemError."""
    if int(np.__version__.split(".")[0]) >= _FIRST_NUMPY_WITHOUT_TFLITE_RUNTIME:
        raise ConfigurationError(
            "extra",
            f"expected NumPy below 2 beside tflite-runtime {version}, got {np.__version__}",
            hint="pip install 'numpy<2'",
        )


# ---- delegates


class Delegate:
    """A delegate's library and its options; ``load_delegate`` makes one.

    Each interpreter gets a delegate of its own from it: the state that a delegate keeps is of one
    graph. The first has been loaded already, so that a missing device shows at once.
    """

    def __init__(self, name: str, options: dict[str, object]) -> None:
        self.name = name
        self.options = options
        self._ready = [self._load()]

    def take(self) -> object:
        """LiteRT's delegate, for one interpreter, which keeps it.

        Raises:
            ConfigurationError: ``delegate``.
        """
        try:
            return self._ready.pop()
        except IndexError:
            return self._load()

    def _load(self) -> object:
        module, _ = library()
        try:
            found = ctypes.CDLL(self.name)
            for function in ("create", "destroy"):
                getattr(found, f"tflite_plugin_{function}_delegate")
            return module.load_delegate(self.name, self.options)
        except (OSError, AttributeError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                "delegate", f"expected a delegate in {self.name!r}, got {text_of(error)}"
            ) from None

    def __repr__(self) -> str:
        return f"<Delegate {self.name}>"


def load_delegate(library: str, options: dict[str, object] | None = None) -> Delegate:
    """A delegate for the engine litert, as LiteRT's function of this name.

    Args:
        library: name or path of a shared library with ``tflite_plugin_create_delegate`` and
            ``tflite_plugin_destroy_delegate``.
        options: what it understands; keys and values are given to it as strings.

    Raises:
        ConfigurationError: ``delegate``: there is no such library, it is none of a delegate, or
            it refuses, for example as its device is missing (also ValueError). ``extra``: LiteRT
            is not installed.
    """
    return Delegate(library, dict(options or {}))


def text_of(error: object) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())[:_LONGEST_TEXT] or type(error).__name__
