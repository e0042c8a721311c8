"""The short path: from a bundle to a model that runs.

::

    model = edgesdk.load("door.emb")
    outputs = model.run(frame)

``load`` makes checks 0 to 11 of docs/bundle-format.md, section 5, in their order. The plaintext
lies in locked memory from the moment it is decrypted until the weights are packed, and is wiped
then, and on every failure. The packed weights are shared by all models of one bundle in this
process; when the last of them is closed, they are wiped.

Not checked here: what ``trust`` and ``encryption`` say they leave out. A plain ``.tflite`` file is
refused; ``load_unprotected`` is for those, and says so in its name.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
import traceback
import warnings
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgesdk import encryption, files, interpreter, keys, primitives, trust
from edgesdk.bundle import Bundle
from edgesdk.contract import Contract, dequantize
from edgesdk.errors import (
    ConfigurationError,
    ContractError,
    LifecycleError,
    MalformedBundleError,
)
from edgesdk.interpreter import Interpreter, LockedMemory
from edgesdk.limits import BUNDLE, MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import TypeAlias

    from typing_extensions import Self

    from edgesdk import _native
    from edgesdk.contract import Array
    from edgesdk.files import Home, PathLike
    from edgesdk.keys import SecretKey
    from edgesdk.trust import Device, VerifiedBundle, VerifiedGrant

    Outputs: TypeAlias = "Array | dict[str, Array]"

__all__ = ["Model", "load", "load_unprotected"]

MemoryPolicy = Literal["lock", "require-locked"]

logger = logging.getLogger(__name__)


class Model:
    """A model that is ready to run. Safe to share between threads; ``load`` makes one.

    Each thread that runs at a time has an interpreter of its own over the shared weights.
    """

    def __init__(
        self,
        packed: _native.Model,
        contract: Contract,
        *,
        model_id: str | None,
        version: str | None,
        num_threads: int | None = None,
        protected: bool,
    ) -> None:
        self._packed: _native.Model | None = packed
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
            return _infer(runner, inputs)

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
    memory: MemoryPolicy = "lock",
    num_threads: int | None = None,
    isa: str | None = None,
    now: int | None = None,
) -> Model:
    """Verify, decrypt and load a bundle.

    Args:
        path: the ``.emb`` file.
        home: the configuration folder, by default ``$EDGESDK_HOME``, else ``/etc/edgesdk``. It
            has ``trust.json``, ``device.key`` and ``grants/``.
        trust_file: in place of the folder's.
        device_key: an open key, or a URI (``file:``, ``env:``), in place of the folder's.
        grant: a grant file to use, in place of a search.
        device: what a bundle may be restricted to.
        memory: ``"lock"`` locks as much as the system allows and warns once when that is not
            all; ``"require-locked"`` raises ResourceError instead.
        num_threads: for each run, at least 1.
        isa: kernel table by name.
        now: seconds since 1970-01-01T00:00:00Z, by default the system's clock.

    Raises:
        TrustError: checks 0 to 9; ``reason`` says which.
        ModelError: checks 10 and 11: the model cannot run here, or is not what was signed.
        ConfigurationError: a file that is needed is missing or open to others.
    """
    if memory not in {"lock", "require-locked"}:
        raise ConfigurationError(
            "invalid", f"expected memory='lock' or 'require-locked', got {memory!r}"
        )
    at = int(time.time()) if now is None else now
    folder = home if isinstance(home, files.Home) else files.Home.find(home)
    data = files.read_once(path, limit=BUNDLE.file_bytes)
    bundle = Bundle.parse(data)
    root = trust.TrustRoot.parse(
        files.read_trusted(
            folder.trust if trust_file is None else trust_file, limit=BUNDLE.trust_bytes
        )
    )
    verified = trust.verify(bundle, root, now=at, device=device or trust.Device())
    with _device_key(device_key, folder) as key:
        granted = _granted(verified, key, grant_files(path, grant, folder), at)
        packed = _shared(verified, granted, key, isa=isa, require=memory == "require-locked")
    manifest = verified.manifest
    return Model(
        packed,
        manifest.contract,
        model_id=manifest.model_id,
        version=manifest.model_version,
        num_threads=num_threads,
        protected=True,
    )


def load_unprotected(
    path: PathLike,
    *,
    model_id: str | None = None,
    version: str | None = None,
    contract: Contract | None = None,
    num_threads: int | None = None,
    isa: str | None = None,
) -> Model:
    """Load a plain ``.tflite`` file: nobody has signed it, and its weights are not hidden.

    For servers and experiments. The contract is what the model says of itself, unless one with
    labels or normalization is given.

    Raises:
        ModelError: it cannot run here.
        ContractError: it is not what ``contract`` says.
    """
    packed = interpreter.pack(interpreter.read_model(path, MODEL), isa=isa)
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
    verified: VerifiedBundle, key: SecretKey, candidates: Iterator[bytes], now: int
) -> VerifiedGrant:
    found = trust.find_grant(verified, candidates, kid=key.kid)
    return trust.verify_grant(found, verified, kid=key.kid, now=now)


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


# ---- decryption, and checks 10 and 11 -------------------------------------------------------

# Packed weights that some open model uses, by what was verified and for which kernels.
_packed: weakref.WeakValueDictionary[tuple[bytes, str | None], _native.Model] = (
    weakref.WeakValueDictionary()
)
_packing = threading.Lock()


def _forget_after_fork() -> None:
    """A child has no use for its parent's secrets, and perhaps a lock that nobody will free."""
    global _packed, _packing
    _packed, _packing = weakref.WeakValueDictionary(), threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)


def _shared(
    verified: VerifiedBundle,
    granted: VerifiedGrant,
    key: SecretKey,
    *,
    isa: str | None,
    require: bool,
) -> _native.Model:
    """The packed weights of this very bundle: those of another open model, or new ones."""
    name = hashlib.sha256(verified.bundle.statement).digest(), isa
    with _packing:
        packed = _packed.get(name)
        if packed is not None and (_is_locked(packed) or not require):
            # What others have opened is no answer to whether this grant opens it.
            encryption.check_grant(verified, granted, key)
            return packed
        try:
            packed = _unpacked(verified, granted, key, isa=isa, require=require)
        except BaseException as error:
            # Whoever keeps the error would keep what its frames knew: the packed weights.
            traceback.clear_frames(error.__traceback__)
            raise
        _packed[name] = packed
        return packed


def _is_locked(packed: _native.Model) -> bool:
    info = packed.describe()
    return info["locked_bytes"] >= info["mapped_bytes"]


def _unpacked(
    verified: VerifiedBundle,
    granted: VerifiedGrant,
    key: SecretKey,
    *,
    isa: str | None,
    require: bool,
) -> _native.Model:
    """Decrypt, pack, check, wipe."""
    with decrypted(verified, granted, key, require=require) as (memory, plaintext):
        with plaintext[: verified.manifest.model_len] as model:
            packed = interpreter.pack(model, protected=True, require_locked=require, isa=isa)
        with plaintext[verified.manifest.model_len :] as golden:
            _check_model(packed, verified, golden)
        _warn_of_unlocked(memory, packed)
        return packed


@contextmanager
def decrypted(
    verified: VerifiedBundle, granted: VerifiedGrant, key: SecretKey, *, require: bool = False
) -> Iterator[tuple[LockedMemory, memoryview]]:
    """The plaintext in locked memory, which is wiped however the block is left.

    Raises:
        DecryptionError: ``payload``.
        ResourceError: ``memory``; with ``require`` also ``lock``.
    """
    memory = LockedMemory(verified.manifest.plaintext_len, require=require)
    try:
        with memoryview(memory) as plaintext:
            encryption.open_(verified, granted, key, plaintext)
            yield memory, plaintext
    except BaseException:
        # Frames of the traceback may hold views, so that it cannot be closed yet: they see zeros.
        primitives.wipe(memoryview(memory))
        with suppress(LifecycleError):
            memory.close()
        raise
    memory.close()


def _check_model(packed: _native.Model, verified: VerifiedBundle, golden: memoryview) -> None:
    """Check 11: the model is what was signed, and gives here what it gave when it was packed."""
    manifest = verified.manifest
    runner = Interpreter.over(packed, protected=True)
    runner.allocate_tensors()
    manifest.contract.check_model(Contract.of(runner))
    if tuple(runner.operators()) != manifest.operators:
        raise ContractError(
            "contract",
            f"expected the operators {manifest.operators}, got {tuple(runner.operators())}",
        )
    for number, (inputs, expected) in enumerate(manifest.contract.vectors(golden)):
        came = _infer(runner, inputs)
        for spec, want, got in zip(manifest.contract.outputs, expected, came, strict=True):
            differing = int(np.count_nonzero(_bits(want) != _bits(got)))
            if differing:
                raise ContractError(
                    "golden",
                    f"expected the signed bits of {spec.name!r} for golden vector {number}, "
                    f"got {differing} other bytes",
                    hint="report this machine (edgesdk doctor) to the publisher of the model",
                )


def _bits(array: Array) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


_warned = False


def _warn_of_unlocked(memory: LockedMemory, packed: _native.Model) -> None:
    global _warned  # noqa: PLW0603 - once for each process
    info = packed.describe()
    wanted = len(memory) + info["mapped_bytes"]
    locked = memory.locked + info["locked_bytes"]
    if locked >= wanted or _warned:
        return
    _warned = True
    warnings.warn(
        f"expected {wanted} bytes of locked memory for a protected model, got {locked}: the rest "
        "may reach the swap; raise the limit (ulimit -l, LimitMEMLOCK=) or insist with "
        "memory='require-locked'",
        RuntimeWarning,
        stacklevel=2,
    )


def _infer(runner: Interpreter, inputs: Sequence[Array]) -> list[Array]:
    """One run: the inputs in order, the outputs in order."""
    for index, array in zip(runner.input_indices, inputs, strict=True):
        runner.set_tensor(index, array)
    runner.invoke()
    return [runner.get_tensor(index) for index in runner.output_indices]
