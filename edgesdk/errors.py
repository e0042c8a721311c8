"""Every error that edgesdk raises, in one tree.

::

    EdgeError
    +-- TrustError                  never retried, never masked by the cloud
    |   +-- MalformedBundleError    bytes that are not a bundle, grant, key or trust file
    |   +-- SignatureError          not signed by whom the trust file demands
    |   +-- ScopeError              signed, but not for this model or device
    |   +-- RollbackError           older than what this device has already accepted
    |   +-- ExpiredError            too late, or too early
    |   +-- RevokedError            withdrawn
    |   +-- EvidenceError           a claim that the device demands is absent or too weak
    |   +-- DecryptionError         the payload does not open; one reason for all causes
    |   +-- KeyUnavailableError     no key or grant for this device
    |   +-- StateError              the device's durable floors are damaged
    +-- ModelError                  may be answered by the cloud instead
    |   +-- MalformedModelError     (*)
    |   +-- UnsupportedOperatorError  (*)
    |   +-- ContractError           the model is not what its signed contract says
    |   +-- ResourceError           (*) a limit, memory, threads
    |   +-- IsaError                a kernel table that this processor cannot run
    |   +-- EngineError             (*) LiteRT failed, with its text
    +-- TransportError              ends the fallback
    |   +-- NotConnectedError
    |   +-- DeadlineExceededError   (also TimeoutError)
    |   +-- BusyError
    |   +-- QuotaError
    |   +-- RemoteError             a signed refusal by the gateway
    +-- UpdateError
    +-- InputError                  (*) what the caller passed
    +-- LifecycleError              (*) closed, forked, in use, not allocated
    +-- ConfigurationError          (also ValueError)

(*) also ValueError and RuntimeError. LiteRT raises now the one, now the other for the same cause: a
model that cannot run is a ValueError when it is loaded and a RuntimeError when it is allocated. An
app that catches what LiteRT raises catches these.

Every error has a ``reason``, a stable code for programs, and a text for people that says
what was expected and what came. ``hint``, when there is one, says what to do next.
Each class lists its reasons in ``reasons``.
"""

from __future__ import annotations

import sys
from typing import ClassVar


class EdgeError(Exception):
    """The root of the tree.

    ``reason`` is one of the class's ``reasons``; ``str(error)`` is the text for people.
    """

    reasons: ClassVar[dict[str, str]] = {}

    def __init__(self, reason: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.hint = hint
        if hint is not None and sys.version_info >= (3, 11):
            # For those who read it at the end of a traceback.
            self.add_note(f"hint: {hint}")

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (multiprocessing, pytest-xdist) with their hint.
        return (_rebuild, (type(self), self.reason, self.message, self.hint))


def _rebuild(cls: type[EdgeError], reason: str, message: str, hint: str | None) -> EdgeError:
    return cls(reason, message, hint=hint)


class TrustError(EdgeError):
    """What came cannot be trusted. Never retried, never masked by the cloud."""


class MalformedBundleError(TrustError):
    """Bytes that are not what docs/bundle-format.md says they must be."""

    reasons: ClassVar = {
        "not-a-regular-file": "a directory, device, pipe, socket or symbolic link",
        "too-large": "more bytes than the limit for this kind of file",
        "prelude": "the first 64 bytes are not those of a bundle",
        "unsupported-suite": "a suite, or a version, that this release does not know",
        "size": "the parts do not add up to the file, or a part is out of its bounds",
        "signatures": "the signature block has not the form it must have",
        "manifest": "the manifest is not the canonical document it must be",
        "manifest-mismatch": "manifest, prelude and table contradict each other",
        "recipients": "the recipients have not the form they must have",
        "grant": "a grant is not the canonical document it must be",
        "trust-file": "the trust file is not the canonical document it must be",
        "key-file": "a key file has not the form it must have",
        "record": "a public record is not the canonical document it must be",
        "claim": "a claim is not the canonical document it must be",
        "weak-key": "a public key of small order or in a non-canonical encoding",
    }


class SignatureError(TrustError):
    """Not signed by those whom the trust file demands."""

    reasons: ClassVar = {
        "unsigned": "there is no signature at all",
        "unknown-signer": "signed, but by nobody in the role that may",
        "signature": "a signature by a known key does not verify",
        "threshold": "too few signers of the role, or one lacks an algorithm of the suite",
    }


class ScopeError(TrustError):
    """Signed, but not for this model or this device."""

    reasons: ClassVar = {
        "model": "the signer may not sign for this model id",
        "device": "made for another vendor, class or device",
        "bundle": "a grant for another bundle, model or release",
        "core": "needs a newer edgesdk",
    }


class RollbackError(TrustError):
    """Older than what this device has already accepted."""

    reasons: ClassVar = {
        "epoch": "of another epoch than the trust file's, or of one that was left behind",
        "version": "a trust file that does not follow the one before",
        "sequence": "an older release than the one accepted before, or another of its sequence",
        "revocation": "needs a newer revocation list than this device has seen",
    }


class ExpiredError(TrustError):
    """Outside the time for which it was signed."""

    reasons: ClassVar = {
        "expired": "its time is over",
        "not-yet-valid": "its time has not come",
    }


class RevokedError(TrustError):
    """Withdrawn by the revoke role."""

    reasons: ClassVar = {"revoked": "named in the revocation list"}


class EvidenceError(TrustError):
    """A claim that the device's policy demands is absent, too weak or by the wrong role."""

    reasons: ClassVar = {
        "claim-missing": "the bundle carries no claim of a kind that is demanded",
        "claim-signature": "a signature under a claim does not verify",
        "claim-signer": "a claim by nobody whom the policy accepts for it",
        "claim-subject": "a claim about another model, data set, board or measure",
        "claim-expired": "a claim that is older than the policy allows, or whose time is over",
        "claim-weak": "a claim whose value the policy does not accept",
    }


class DecryptionError(TrustError):
    """The payload does not open. One reason for every cause, so that it is no oracle."""

    reasons: ClassVar = {"payload": "damaged ciphertext, wrong key, or altered plaintext"}


class KeyUnavailableError(TrustError):
    """There is no key, or no grant, with which this device could open it."""

    reasons: ClassVar = {
        "no-key": "no key file where one is expected",
        "no-grant": "no grant for this device and this bundle",
        "key-permissions": "a key file that others may read or change",
        "key-exists": "a key file is never overwritten",
        "provider": "an external signer failed, or gave something else than a signature",
    }


class StateError(TrustError):
    """The device's durable floors are missing or damaged after provisioning."""

    reasons: ClassVar = {"state": "see the text"}


class ModelError(EdgeError):
    """The model cannot run here. The cloud may answer instead."""


class MalformedModelError(ModelError, ValueError, RuntimeError):
    """Bytes that are not a sound ``.tflite`` model."""

    reasons: ClassVar = {
        "malformed-model": "the text names table, index, what was expected and came"
    }


class UnsupportedOperatorError(ModelError, ValueError, RuntimeError):
    """An operator, version, type or option that the core does not run."""

    reasons: ClassVar = {"unsupported-operator": "the text names operator, version and types"}


class ContractError(ModelError):
    """The model is not what its signed contract says."""

    reasons: ClassVar = {
        "contract": "inputs, outputs or operators differ from the manifest",
        "golden": "a golden vector gives other bits on this machine",
    }


class ResourceError(ModelError, ValueError, RuntimeError):
    """A limit is exceeded, or the system gave no memory, threads or locked pages."""

    reasons: ClassVar = {
        "limit": "more than a limit of edgesdk.limits allows",
        "memory": "the system gave no memory",
        "lock": "memory could not be locked, and the caller insisted",
        "thread": "the system gave no thread",
    }


class IsaError(ModelError):
    """A kernel table was asked for that this processor cannot run."""

    reasons: ClassVar = {
        "isa": "see the text",
        "core-missing": "the compiled core cannot be imported",
    }


class EngineError(ModelError, ValueError, RuntimeError):
    """LiteRT, or a delegate of it, could not make a model ready or run it."""

    reasons: ClassVar = {
        "prepare": "refused when the model was loaded; the text is LiteRT's",
        "invoke": "refused later, at allocate_tensors() or in mid-run; the text is LiteRT's",
    }


class TransportError(EdgeError):
    """The way to the cloud failed. It ends the fallback."""


class NotConnectedError(TransportError):
    """There is no connection to the broker, or nobody listens behind it."""

    reasons: ClassVar = {
        "not-connected": "no connection to the broker",
        "no-worker": "the broker says that no gateway listens",
        "refused": "the broker refused this client",
        "circuit-open": "too many failures; the link is left alone for a while",
    }


class DeadlineExceededError(TransportError, TimeoutError):
    """No answer in time."""

    reasons: ClassVar = {
        "deadline": "the deadline passed",
        "expired": "the gateway got it too late",
    }


class BusyError(TransportError):
    """The gateway, or this device's own cap on open requests, has no room now."""

    reasons: ClassVar = {
        "busy": "the gateway's queue is full",
        "outstanding": "too many open requests",
    }


class QuotaError(TransportError):
    """This device has had its share."""

    reasons: ClassVar = {
        "quota": "refused by the gateway",
        "budget": "refused by the device's own budget",
    }


class RemoteError(TransportError):
    """The gateway refused, signed and sealed; or its answer is not usable."""

    reasons: ClassVar = {
        "clock": "clocks are more than 30 s apart",
        "unknown-model": "the gateway does not have this model",
        "bad-input": "the gateway found the input unfit for the model",
        "model-failed": "the model failed at the gateway",
        "too-large": "more bytes than broker or gateway take",
        "malformed": "not a message of docs/cloud-protocol.md",
        "answer": "an answer that does not fit the model's contract",
    }


class UpdateError(EdgeError):
    """An update could not be made."""


class InputError(EdgeError, ValueError, RuntimeError):
    """What the caller passed does not fit."""

    reasons: ClassVar = {
        "argument": "an argument outside of what the function takes",
        "tensor": "no tensor of that index or name",
        "dtype": "another element type than the tensor has",
        "shape": "another shape than the tensor has",
        "protected": "a protected model gives out its inputs and outputs only",
    }


class LifecycleError(EdgeError, ValueError, RuntimeError):
    """Used at the wrong time."""

    reasons: ClassVar = {
        "closed": "used after close()",
        "forked": "used in a child process; load again in the child",
        "busy": "in use by another thread",
        "not-allocated": "allocate_tensors() must come first",
        "referenced": "an array still looks into the memory that is about to change",
    }


class ConfigurationError(EdgeError, ValueError):
    """The configuration folder, or an option, is not usable."""

    reasons: ClassVar = {
        "missing": "a file or setting that is needed is not there",
        "permissions": "a file that must not be open to others is",
        "invalid": "a setting has a value that cannot be used",
        "extra": "an optional dependency is not installed, or does not go with another",
        "delegate": "a delegate's library could not be loaded, or refuses its options or device",
    }
