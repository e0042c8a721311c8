"""The plaintext of a bundle: decrypted, loaded, proven, wiped.

Checks 9 to 11 of docs/bundle-format.md, section 5.

It lies in locked memory from the moment it is decrypted until an engine has taken what it needs,
and is wiped then, and on every failure. What the core has packed is shared by all models of one
bundle in this process; when the last of them is gone, it is wiped.
"""

from __future__ import annotations

import hashlib
import os
import threading
import traceback
import weakref
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesdk import encryption, primitives, protection, selection
from edgesdk.contract import Contract
from edgesdk.errors import ContractError, LifecycleError
from edgesdk.interpreter import Interpreter, LockedMemory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgesdk.contract import Array
    from edgesdk.engine import EngineName, Options
    from edgesdk.keys import SecretKey
    from edgesdk.selection import Loaded
    from edgesdk.trust import VerifiedBundle, VerifiedGrant


@dataclass(frozen=True)
class How:
    """How a decrypted model is to be loaded."""

    engine: EngineName
    options: Options
    isa: str | None
    require: bool


# Packed weights that some open model uses, by what was verified and how it was loaded.
_packed: weakref.WeakValueDictionary[tuple[object, ...], Loaded] = weakref.WeakValueDictionary()
_packing = threading.Lock()


def _forget_after_fork() -> None:
    """A child has no use for its parent's secrets, and perhaps a lock that nobody will free."""
    global _packed, _packing
    _packed, _packing = weakref.WeakValueDictionary(), threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)


def shared(verified: VerifiedBundle, granted: VerifiedGrant, key: SecretKey, how: How) -> Loaded:
    """The packed weights of this very bundle: those of another open model, or new ones.

    Raises:
        DecryptionError, EvidenceError, ModelError: checks 9 to 11.
    """
    statement = hashlib.sha256(verified.bundle.statement).digest()
    # What evidence was relied on is part of it: packed weights do not show what it is about.
    relied = tuple(entry.statement.digest for entry in verified.relied)
    name = statement, relied, how.engine, how.options, how.isa
    with _packing:
        packed = _packed.get(name)
        if packed is not None and (_is_locked(packed) or not how.require):
            # What others have opened is no answer to whether this grant opens it.
            encryption.check_grant(verified, granted, key)
            return packed
        try:
            packed = _unpacked(verified, granted, key, how)
        except BaseException as error:
            # Whoever keeps the error would keep what its frames knew: the packed weights.
            traceback.clear_frames(error.__traceback__)
            raise
        _packed[name] = packed
        return packed


def _is_locked(packed: Loaded) -> bool:
    wanted, locked = protection.sizes(packed)
    return locked >= wanted


def _unpacked(verified: VerifiedBundle, granted: VerifiedGrant, key: SecretKey, how: How) -> Loaded:
    """Decrypt, pack, check, wipe."""
    with decrypted(verified, granted, key, require=how.require) as (memory, plaintext):
        with plaintext[: verified.manifest.model_len] as model:
            encryption.check_evidence(verified, granted, key, model)
            packed = selection.load_protected(
                model,
                engine=how.engine,
                options=how.options,
                isa=how.isa,
                require_locked=how.require,
            )
        with plaintext[verified.manifest.model_len :] as golden:
            _check_model(packed, verified, golden)
        protection.warn_of_unlocked(memory, packed)
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


def _check_model(packed: Loaded, verified: VerifiedBundle, golden: memoryview) -> None:
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
        came = infer(runner, inputs)
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


def infer(runner: Interpreter, inputs: Sequence[Array]) -> list[Array]:
    """One run: the inputs in order, the outputs in order."""
    for index, array in zip(runner.input_indices, inputs, strict=True):
        runner.set_tensor(index, array)
    runner.invoke()
    return [runner.get_tensor(index) for index in runner.output_indices]
