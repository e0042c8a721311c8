"""The short path: from a bundle to a model that runs.

::

    model = edgesdk.load("door.emb")
    outputs = model.run(frame)

``load`` makes checks 0 to 11 of docs/bundle-format.md, section 5, in their order, and then raises
the floors of a provisioned device to the release that has proved itself (section 6). The plaintext
lies in locked memory from the moment it is decrypted until the weights are packed, and is wiped
then, and on every failure (``plaintext``). The packed weights are shared by all models of one
bundle in this process; when the last of them is closed, they are wiped.

Not checked here: what ``trust`` and ``encryption`` say they leave out. A plain ``.tflite`` file is
refused; ``load_unprotected`` is for those, and says so in its name.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from edgesdk import files, floors, keys, plaintext, protection, selection, trust
from edgesdk.bundle import Bundle
from edgesdk.contract import Contract, dequantize
from edgesdk.engine import Options
from edgesdk.errors import (
    ConfigurationError,
    LifecycleError,
    MalformedBundleError,
    UnsupportedOperatorError,
)
from edgesdk.evidence import Policy
from edgesdk.interpreter import Interpreter
from edgesdk.limits import BUNDLE, MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import TypeAlias

    from typing_extensions import Self

    from edgesdk.contract import Array
    from edgesdk.engine import EngineChoice, EngineName
    from edgesdk.files import Home, PathLike
    from edgesdk.keys import SecretKey
    from edgesdk.protection import ProtectionLevel
    from edgesdk.selection import Loaded
    from edgesdk.state import Floors
    from edgesdk.trust import Device, VerifiedBundle, VerifiedGrant

    Outputs: TypeAlias = "Array | dict[str, Array]"

__all__ = ["Model", "load", "load_unprotected"]

MemoryPolicy = Literal["lock", "require-locked"]

_ASK_FOR_LITERT = (
    "LiteRT may run it, with less protection (docs/engines.md): edgesdk.load(..., engine='litert')"
)

logger = logging.getLogger(__name__)


class Model:
    """A model that is ready to run. Safe to share between threads; ``load`` makes one.

    Each thread that runs at a time has an interpreter of its own over the shared weights.
    """

    def __init__(
        self,
        packed: Loaded,
        contract: Contract,
        *,
        model_id: str | None,
        version: str | None,
        num_threads: int | None = None,
        protected: bool,
    ) -> None:
        self._packed: Loaded | None = packed
        self._engine = selection.engine_of(packed)
        self._level = protection.level_of(packed) if protected else protection.PLAIN
        self._contract = contract
        self._model_id, self._version = model_id, version
        self._threads = num_threads
        self._protected = protected
        self._owner = os.getpid()
        self._idle: list[Interpreter] = []
        self._running = 0
        self._face: Interpreter | None = None
        self._changed = threading.Condition()

    @property
    def contract(self) -> Contract:
        """Names, shapes, element types and quantization of inputs and outputs."""
        return self._contract

    @property
    def model_id(self) -> str | None:
        """Which model it is."""
        return self._model_id

    @property
    def version(self) -> str | None:
        """Which release of it, for people."""
        return self._version

    @property
    def engine(self) -> EngineName:
        """What runs it: ``"native"``, the core, or ``"litert"``."""
        return self._engine

    @property
    def protection_level(self) -> ProtectionLevel:
        """How far its plaintext is protected in this process, and what is lost."""
        return self._level

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The names of the first output's classes, where the publisher gave them."""
        return self._contract.outputs[0].labels

    @property
    def interpreter(self) -> Interpreter:
        """LiteRT's face of this model, allocated; for one thread at a time.

        Of a protected model only inputs and outputs can be read.
        """
        self._check_owner()
        with self._changed:
            if self._face is None or self._packed is None:
                self._face = self._another()
            return self._face

    def run(self, frame: Array | Mapping[str, Array]) -> Outputs:
        """The outputs for one array, or for arrays by name.

        Inputs of the model's own element type are taken as they are; floats are normalized and
        quantized as the contract says. Returns the raw output, or a dictionary by name where the
        model has several; ``dequantize`` makes real numbers of it.

        Raises:
            InputError: another name, shape or element type (also ValueError).
            LifecycleError: closed, or in a forked child.
        """
        outputs = self.infer(self._contract.arrays(frame))
        if len(outputs) == 1:
            return outputs[0]
        names = (spec.name for spec in self._contract.outputs)
        return dict(zip(names, outputs, strict=True))

    def infer(self, inputs: Sequence[Array]) -> list[Array]:
        """Raw outputs in order, for inputs in order that fit the contract.

        Raises:
            InputError: another shape or element type.
            LifecycleError: closed, or in a forked child.
        """
        with self._borrow() as runner:
            return plaintext.infer(runner, inputs)

    def dequantize(self, outputs: Outputs) -> Outputs:
        """The real numbers, float32, that raw outputs stand for."""
        specs = self._contract.outputs
        if isinstance(outputs, dict):
            return {spec.name: dequantize(spec, outputs[spec.name]) for spec in specs}
        return dequantize(specs[0], outputs)

    def close(self) -> None:
        """Wipes the memory of this model, once runs under way have ended.

        Weights that another open model shares stay until that is closed as well.
        """
        self._check_owner()
        with self._changed:
            self._packed = None
            self._idle.clear()
            if self._face is not None:
                self._face.close()
            self._changed.wait_for(lambda: self._running == 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._packed is None else "open"
        return f"<Model {self._model_id or 'without id'} {self._version or ''} ({state})>"

    def _check_owner(self) -> None:
        # Before any lock: another thread may have held it when this process was forked.
        if os.getpid() != self._owner:
            raise LifecycleError(
                "forked",
                "expected the process that loaded the model, got a child of it: "
                "load again in the child",
            )

    def _another(self) -> Interpreter:
        if self._packed is None:
            raise LifecycleError("closed", "expected an open model, got a closed one")
        made = Interpreter.over(self._packed, num_threads=self._threads, protected=self._protected)
        made.allocate_tensors()
        return made

    @contextmanager
    def _borrow(self) -> Iterator[Interpreter]:
        self._check_owner()
        with self._changed:
            runner = self._idle.pop() if self._idle else self._another()
            self._running += 1
        try:
            yield runner
        finally:
            with self._changed:
                self._running -= 1
                if self._packed is not None:
                    self._idle.append(runner)
                else:
                    runner.close()
                self._changed.notify_all()


def load(
    path: PathLike,
    *,
    home: PathLike | Home | None = None,
    trust_file: PathLike | None = None,
    device_key: SecretKey | PathLike | None = None,
    grant: PathLike | None = None,
    device: Device | None = None,
    policy: Policy | PathLike | None = None,
    memory: MemoryPolicy = "lock",
    num_threads: int | None = None,
    isa: str | None = None,
    engine: EngineChoice = "auto",
    delegates: Sequence[object] = (),
    now: int | None = None,
    accepted: Floors | None = None,
) -> Model:
    """Verify, decrypt and load a bundle.

    On a device that `edgesdk device init` has provisioned, the release and all later ones of its
    model are from then on the only ones that load. A folder without floors remembers nothing.

    Args:
        path: the ``.emb`` file.
        home: the configuration folder, by default ``$EDGESDK_HOME``, else ``/etc/edgesdk``. It
            has ``trust.json``, ``device.key`` and ``grants/``.
        trust_file: in place of the folder's.
        device_key: an open key, or a URI (``file:``, ``env:``), in place of the folder's.
        grant: a grant file to use, in place of a search.
        device: what a bundle may be restricted to.
        policy: what the device demands of a model's evidence (docs/evidence.md): a file, or
            ``edgesdk.evidence.Policy``. By default ``policy.toml`` of the folder, if there is one.
        memory: ``"lock"`` locks as much as the system allows and warns once when that is not
            all; ``"require-locked"`` raises ResourceError instead.
        num_threads: for each run, at least 1.
        isa: kernel table by name.
        engine: ``"auto"`` and ``"native"`` are the core. ``"litert"`` hands the plaintext to
            LiteRT, which copies it to where it is not protected: ``protection_level`` says what
            is lost.
        delegates: what ``edgesdk.interpreter.load_delegate`` gave, for LiteRT.
        now: seconds since 1970-01-01T00:00:00Z, by default the system's clock.
        accepted: the floors of this device, in place of the folder's: for a counter of your own,
            and for those who name the release that they want (``edgesdk.state.NO_FLOORS``).

    Raises:
        TrustError: checks 0 to 9; ``reason`` says which. StateError: the floors of this device
            are damaged, or cannot be raised.
        ModelError: checks 10 and 11: the model cannot run here, or is not what was signed.
        ConfigurationError: a file that is needed is missing or open to others.
    """
    if memory not in {"lock", "require-locked"}:
        raise ConfigurationError(
            "invalid", f"expected memory='lock' or 'require-locked', got {memory!r}"
        )
    options = Options(delegates=tuple(delegates))
    if engine == "litert" and memory == "require-locked":
        raise ConfigurationError(
            "invalid",
            "expected memory='lock' for LiteRT, whose memory cannot be locked, got "
            "'require-locked'",
        )
    how = plaintext.How(
        selection.protected_engine(engine, options.delegates, isa),
        options,
        isa,
        memory == "require-locked",
    )
    at = int(time.time()) if now is None else now
    folder = home if isinstance(home, files.Home) else files.Home.find(home)
    accepted = floors.find(folder) if accepted is None else accepted
    data = files.read_once(path, limit=BUNDLE.file_bytes)
    bundle = Bundle.parse(data)
    root = trust.TrustRoot.parse(
        files.read_trusted(
            folder.trust if trust_file is None else trust_file, limit=BUNDLE.trust_bytes
        )
    )
    verified = trust.verify(
        bundle,
        root,
        now=at,
        device=device or trust.Device(),
        floors=accepted,
        policy=Policy.find(policy, folder),
    )
    with _device_key(device_key, folder) as key:
        granted = _granted(verified, key, grant_files(path, grant, folder), at, accepted)
        try:
            model = _proven(verified, granted, key, how, num_threads)
        except UnsupportedOperatorError as error:
            if engine != "auto":
                raise
            raise UnsupportedOperatorError(
                error.reason, error.message, hint=_ASK_FOR_LITERT
            ) from None
    return _accepted(model, verified, granted, accepted)


def load_unprotected(
    path: PathLike,
    *,
    model_id: str | None = None,
    version: str | None = None,
    contract: Contract | None = None,
    num_threads: int | None = None,
    isa: str | None = None,
    engine: EngineChoice = "auto",
    delegates: Sequence[object] = (),
) -> Model:
    """Load a plain ``.tflite`` file: nobody has signed it, and its weights are not hidden.

    For servers and experiments. The contract is what the model says of itself, unless one with
    labels or normalization is given. What the core does not run, LiteRT runs where it is
    installed, unless ``engine`` is ``"native"`` (docs/engines.md).

    Raises:
        ModelError: it cannot run here.
        ContractError: it is not what ``contract`` says.
    """
    packed = selection.load_plain(
        selection.read_model(path, MODEL),
        engine=engine,
        options=Options(delegates=selection.renewable(delegates)),
        isa=isa,
    )
    found = Contract.of(Interpreter.over(packed))
    if contract is not None:
        contract.check_model(found)
    return Model(
        packed,
        contract or found,
        model_id=model_id,
        version=version,
        num_threads=num_threads,
        protected=False,
    )


# ---- checks 8 and 9 ------------------------------------------------------------------------


@contextmanager
def _device_key(given: SecretKey | PathLike | None, home: Home) -> Iterator[SecretKey]:
    """The device's key; one that was opened here is wiped again."""
    if isinstance(given, keys.SecretKey):
        yield given
        return
    with keys.open_device_key(home.device_key if given is None else given) as key:
        yield key


def _granted(
    verified: VerifiedBundle,
    key: SecretKey,
    candidates: Iterator[bytes],
    now: int,
    accepted: Floors,
) -> VerifiedGrant:
    found = trust.find_grant(verified, candidates, kid=key.kid)
    return trust.verify_grant(found, verified, kid=key.kid, now=now, floors=accepted)


def grant_files(path: PathLike, given: PathLike | None, home: Home) -> Iterator[bytes]:
    """The grant that was named; else the one beside the bundle and those in the folder."""
    if given is not None:
        yield files.read_once(given, limit=BUNDLE.grant_bytes)
        return
    for candidate in [files.grant_beside(path), *home.grants()]:
        if not os.path.lexists(candidate):
            continue
        try:
            yield files.read_once(candidate, limit=BUNDLE.grant_bytes)
        except (MalformedBundleError, ConfigurationError) as error:
            # One bad file among many must not keep a device from its own grant.
            logger.warning("passed over %s: %s", candidate, error, extra={"reason": error.reason})


# ---- checks 9 to 11, and what comes after them


def _proven(
    verified: VerifiedBundle,
    granted: VerifiedGrant,
    key: SecretKey,
    how: plaintext.How,
    num_threads: int | None,
) -> Model:
    manifest = verified.manifest
    return Model(
        plaintext.shared(verified, granted, key, how),
        manifest.contract,
        model_id=manifest.model_id,
        version=manifest.model_version,
        num_threads=num_threads,
        protected=True,
    )


def _accepted(
    model: Model, verified: VerifiedBundle, granted: VerifiedGrant, accepted: Floors
) -> Model:
    """The model, once the device will never go back behind it; or none at all."""
    try:
        # What was signed before now says that it is not earlier now.
        accepted.commit(
            verified.manifest, signed=max(verified.trust.created, granted.grant.created)
        )
    except BaseException:
        model.close()
        raise
    return model
