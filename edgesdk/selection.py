"""Which engine runs a model, and why.

``native`` is the core and never anything else. ``litert`` is LiteRT. ``auto`` is the core, and
LiteRT for plain models that the core refuses as unsupported, where LiteRT is installed; and for
what only LiteRT has: delegates, other kernels. Each such choice is logged, and an interpreter's
``engine`` tells it.

``auto`` never leaves the core for a protected model, whose weights LiteRT would copy to where they
are neither locked nor wiped; nor where an app names a kernel table or limits of its own, which
only the core obeys; nor for a file that is malformed, whatever LiteRT makes of it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edgesdk import files, litert, native
from edgesdk.engine import Options, check_choice
from edgesdk.errors import (
    ConfigurationError,
    EdgeError,
    InputError,
    MalformedModelError,
    ResourceError,
    UnsupportedOperatorError,
)
from edgesdk.limits import MODEL, ModelLimits
from edgesdk.litert import LiteRTModel
from edgesdk.litertlibrary import Delegate
from edgesdk.native import NativeEngine

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from typing import TypeAlias

    from edgesdk.engine import Engine, EngineChoice, EngineName

    Loaded: TypeAlias = "native.Model | LiteRTModel"

logger = logging.getLogger(__name__)


def load_plain(
    content: bytes | bytearray | memoryview,
    *,
    engine: EngineChoice = "auto",
    options: Options = Options(),  # noqa: B008 - frozen
    isa: str | None = None,
    limits: ModelLimits = MODEL,
) -> Loaded:
    """A plain model, loaded by the engine that is asked for, or that ``auto`` finds.

    Raises:
        MalformedModelError, UnsupportedOperatorError, ResourceError, IsaError.
        ConfigurationError: the engine cannot do what is asked, or is not installed.
    """
    check_choice(engine)
    foreign = options.beyond_the_core()
    of_the_core = _asked_of_the_core(isa, limits)
    if engine == "litert" or (engine == "auto" and foreign and not of_the_core):
        if of_the_core:
            raise ConfigurationError(
                "invalid", f"expected no {of_the_core} for LiteRT, which has none, got one"
            )
        if engine == "auto":
            logger.info("LiteRT runs the model: it was asked for %s", foreign)
        return LiteRTModel(content, options)
    if foreign:
        raise ConfigurationError(
            "invalid",
            f"expected what the core can do, got {foreign}",
            hint="engine='litert' hands it to LiteRT (docs/engines.md)",
        )
    try:
        return native.pack(content, isa=isa, limits=limits)
    except UnsupportedOperatorError as error:
        if engine == "native" or of_the_core:
            raise
        return _fallen(content, options, error)


def _asked_of_the_core(isa: str | None, limits: ModelLimits) -> str | None:
    if isa is not None:
        return f"isa ({isa!r})"
    return None if limits == MODEL else "limits of its own"


def _fallen(
    content: bytes | bytearray | memoryview, options: Options, error: UnsupportedOperatorError
) -> LiteRTModel:
    """What ``auto`` does about an operator that the core does not run."""
    try:
        made = LiteRTModel(content, options)
    except ConfigurationError as reason:
        # The operator is what the app must hear of; that LiteRT is missing is how to help it.
        raise UnsupportedOperatorError(error.reason, error.message, hint=reason.hint) from None
    logger.warning(
        "%s runs the model, not the core: %s",
        made.library,
        error.message,
        extra={"engine": "litert", "reason": error.reason},
    )
    return made


def load_protected(
    content: memoryview,
    *,
    engine: EngineName,
    options: Options = Options(),  # noqa: B008 - frozen
    isa: str | None = None,
    require_locked: bool = False,
) -> Loaded:
    """A decrypted model. Nothing refers to ``content`` afterwards, so that it can be wiped.

    Raises:
        MalformedModelError, UnsupportedOperatorError, IsaError.
        ResourceError: with ``require_locked``, which is the core's alone, also ``lock``.
    """
    if engine == "native":
        return native.pack(content, protected=True, require_locked=require_locked, isa=isa)
    return LiteRTModel(content, options, protected=True)


def protected_engine(
    engine: EngineChoice, delegates: tuple[object, ...], isa: str | None
) -> EngineName:
    """The engine for a protected model, of which ``auto`` is always the core.

    Raises:
        ConfigurationError: ``invalid``: an engine that cannot do what is asked of it.
    """
    check_choice(engine)
    if engine != "litert":
        if delegates:
            raise ConfigurationError(
                "invalid",
                f"expected engine='litert' together with delegates, got {engine!r}: LiteRT and a "
                "delegate keep copies of a protected model's weights that are not protected",
                hint="see docs/engines.md before asking for engine='litert'",
            )
        return "native"
    if isa is not None:
        raise ConfigurationError("invalid", f"expected no isa for LiteRT, got {isa!r}")
    renewable(delegates)
    return "litert"


def renewable(delegates: Iterable[object]) -> tuple[object, ...]:
    """Delegates that each of a model's interpreters can have for itself.

    Raises:
        ConfigurationError: ``invalid``: one that ``load_delegate`` here has not made.
    """
    found = tuple(delegates)
    for each in found:
        if not isinstance(each, Delegate):
            raise ConfigurationError(
                "invalid",
                "expected delegates from edgesdk.interpreter.load_delegate, got "
                f"{type(each).__module__}.{type(each).__name__}",
            )
    return found


def engine_of(loaded: Loaded) -> EngineName:
    """Which engine has loaded a model."""
    return "litert" if isinstance(loaded, LiteRTModel) else "native"


def execution(loaded: Loaded, threads: int, *, preserve_all_tensors: bool = False) -> Engine:
    """A line of execution over a loaded model; LiteRT has been told of tensors when it loaded."""
    if isinstance(loaded, LiteRTModel):
        return litert.LiteRTEngine(loaded, threads)
    return NativeEngine(loaded, threads, preserve_all_tensors=preserve_all_tensors)


# ---- bytes


def read_content(
    path: str | os.PathLike[str] | None,
    content: bytes | bytearray | memoryview | None,
    limits: ModelLimits,
) -> bytes | bytearray | memoryview:
    """The model's bytes from the one of the two that is given.

    Raises:
        InputError: both or none.
        ConfigurationError, MalformedModelError, ResourceError: as ``read_model``.
    """
    if content is not None and path is None:
        return content
    if path is not None and content is None:
        return read_model(path, limits)
    raise InputError("argument", "expected either model_path or model_content, got both or none")


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
