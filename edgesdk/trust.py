"""Whom a device trusts, and whether a bundle and its grant come from them.

``verify`` makes a ``VerifiedBundle`` of a ``Bundle``, ``verify_grant`` a ``VerifiedGrant`` of a
``Grant``; nothing else can. The order is that of docs/bundle-format.md, section 5, and each step
uses only what an earlier one has established:

2. The signers are looked up in the trust file, by role. Keys in the bundle do not exist, unknown
   key ids are skipped, and a signature by a known key that does not verify is refused even where
   others would suffice.
3. The threshold of the role ``release`` is met over the statement, with every algorithm that the
   trust file's suite names. From here the lengths and the digests of manifest, table and
   recipients are authentic.
4. The manifest is parsed.
5. Manifest, prelude and table agree; the core is new enough; the bundle is for this vendor and
   class; the release role may sign for this model.
6. The trust file has not expired, the epoch is the trust file's own, the time is right, and the
   floors pass.
7. The evidence policy passes (``evidence``). That the claims are about this very model is proven
   by the plaintext, after check 9.
8. Each segment of the payload has the digest that the table gives (``check_payload``).
9. The grant: form, threshold of the role ``grant``, binding, device, scope, ``not_after``. What
   follows (unwrapping and decryption) is ``encryption.open_``'s.

Check 1 and the form of check 2 are ``Bundle.parse``'s: a ``Bundle`` is the proof.

Not checked here: who may read or write the files (``files``); ``plaintext_mac``, as signed digests,
key commitment and AEAD tags fix the plaintext; the model itself (``Contract.check_model`` and the
golden vectors, once it has been loaded). The trust file is believed because it was put on the
device; its own signature shows that it is whole, and counts when it is replaced (``rotate``).
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import InitVar, dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from edgesdk.bundle import Bundle, Manifest, check_manifest, check_segments
from edgesdk.envelope import Domain, Signature
from edgesdk.errors import (
    ExpiredError,
    KeyUnavailableError,
    MalformedBundleError,
    RollbackError,
    ScopeError,
    TrustError,
)
from edgesdk.evidence import EMPTY_POLICY, Policy
from edgesdk.grant import Grant
from edgesdk.manifest import CORE_LEVEL
from edgesdk.primitives import SIGNATURE_IDS
from edgesdk.root import Role, TrustedKey, TrustRoot, rotate
from edgesdk.state import NO_FLOORS, Floors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgesdk.claim import Evidence

__all__ = [
    "Device",
    "Role",
    "TrustRoot",
    "VerifiedBundle",
    "VerifiedGrant",
    "check_threshold",
    "find_grant",
    "look_up",
    "rotate",
    "verify",
    "verify_grant",
]

logger = logging.getLogger(__name__)

# Proofs are made in this module only; whoever else constructs one has no token to show.
_PROOF = object()


@dataclass(frozen=True)
class Device:
    """What a bundle may be restricted to."""

    vendor_id: str | None = None
    class_id: str | None = None


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle that has passed checks 1 to 7. Only ``verify`` makes one."""

    bundle: Bundle
    manifest: Manifest
    trust: TrustRoot
    proof: InitVar[object]
    # What the policy relied on. Whether it is about this model, the plaintext will show
    # (``encryption.check_evidence``).
    relied: tuple[Evidence, ...] = ()

    def __post_init__(self, proof: object) -> None:
        _check_proof(proof)

    def check_payload(self) -> None:
        """Check 8: every segment of the ciphertext has the digest that was signed.

        It is made once: a ``Bundle`` lies in memory that nobody changes.

        Raises:
            DecryptionError: ``payload``.
        """
        with _refusals_logged(self.manifest.model_id):
            _ = self._intact

    @cached_property
    def _intact(self) -> None:
        check_segments(self.bundle)


@dataclass(frozen=True)
class VerifiedGrant:
    """A grant that has passed check 9 up to unwrapping. Only ``verify_grant`` makes one."""

    grant: Grant
    verified: VerifiedBundle
    proof: InitVar[object]

    def __post_init__(self, proof: object) -> None:
        _check_proof(proof)


def verify(
    bundle: Bundle,
    trust: TrustRoot,
    *,
    now: int,
    device: Device,
    floors: Floors = NO_FLOORS,
    policy: Policy = EMPTY_POLICY,
) -> VerifiedBundle:
    """Checks 2 to 7. ``now`` is in seconds since 1970-01-01T00:00:00Z.

    Raises:
        SignatureError: checks 2 and 3.
        MalformedBundleError: checks 4 and 5.
        ScopeError: check 5.
        RollbackError, ExpiredError, RevokedError: check 6.
        EvidenceError: check 7.
    """
    with _refusals_logged("a bundle"):
        check_threshold(bundle, trust)
        manifest = Manifest.parse(bundle.manifest_bytes)
        check_manifest(bundle, manifest)
        _check_core(manifest)
        _check_device(manifest, device)
        trust.roles["release"].check_scope(manifest.model_id)
        at = floors.time(now)
        _check_freshness(manifest, trust, at)
        floors.check(manifest)
        relied = policy.check(manifest, trust, now=at)
        return VerifiedBundle(bundle, manifest, trust, proof=_PROOF, relied=relied)


def look_up(bundle: Bundle, trust: TrustRoot) -> list[tuple[TrustedKey, Signature]]:
    """Check 2: the signatures that claim to be by signers of the role ``release``.

    Raises:
        SignatureError: ``unsigned``, ``unknown-signer``.
    """
    known = [s for s in bundle.signatures if s.algorithm in SIGNATURE_IDS.values()]
    return trust.look_up("release", known)


def check_threshold(bundle: Bundle, trust: TrustRoot) -> list[str]:
    """Checks 2 and 3: the names of the signers that count.

    Raises:
        SignatureError: ``unsigned``, ``unknown-signer``, ``signature``, ``threshold``.
    """
    found = look_up(bundle, trust)
    signers = trust.check_threshold("release", found, bundle.message, Domain.BUNDLE)
    return [trust.signers[kid].name for kid in signers]


def find_grant(verified: VerifiedBundle, others: Iterable[bytes], *, kid: bytes) -> Grant:
    """The first grant that names this bundle and this device: in the bundle, then in ``others``.

    Grants for something else are passed over. It is not verified here.

    Raises:
        KeyUnavailableError: ``no-grant``.
        MalformedBundleError: ``recipients``; or ``grant``, when none fits and one is malformed.
    """
    verified.check_payload()
    with _refusals_logged(verified.manifest.model_id):
        inside = verified.bundle.grants().get(kid)
        malformed = None
        for data in chain([] if inside is None else [inside], others):
            try:
                grant = Grant.parse(data)
            except MalformedBundleError as error:
                malformed = malformed or error
                continue
            if grant.binding == verified.manifest.binding and grant.device == kid:
                return grant
        raise malformed or KeyUnavailableError(
            "no-grant",
            f"expected a grant of {verified.manifest.model_id} for {kid.hex()}, got none",
            hint="ask the publisher for one; the device's public record is what they need",
        )


def verify_grant(
    grant: Grant,
    verified: VerifiedBundle,
    *,
    kid: bytes,
    now: int,
    floors: Floors = NO_FLOORS,
) -> VerifiedGrant:
    """Check 9 up to unwrapping, after check 8, for the device of this ``kid``.

    Raises:
        DecryptionError: check 8.
        SignatureError: not signed by the role ``grant``.
        ScopeError: ``bundle``, ``device``, ``model``.
        ExpiredError: ``expired``.
    """
    verified.check_payload()
    trust, manifest = verified.trust, verified.manifest
    with _refusals_logged(f"a grant of {manifest.model_id}"):
        trust.check_signed("grant", grant.envelope)
        if grant.binding != manifest.binding:
            raise ScopeError("bundle", "expected a grant for this bundle, got one for another")
        if grant.device != kid:
            raise ScopeError(
                "device", f"expected a grant for {kid.hex()}, got one for {grant.device.hex()}"
            )
        trust.roles["grant"].check_scope(manifest.model_id)
        if grant.not_after is not None and floors.time(now) > grant.not_after:
            raise ExpiredError(
                "expired", f"expected a grant for time {now}, got one until {grant.not_after}"
            )
        return VerifiedGrant(grant, verified, proof=_PROOF)


# ---- the single checks


def _check_core(manifest: Manifest) -> None:
    if manifest.min_core > CORE_LEVEL:
        raise ScopeError(
            "core",
            f"expected a bundle for core level {CORE_LEVEL} or below, got {manifest.min_core}",
            hint="install a newer edgesdk",
        )


def _check_device(manifest: Manifest, device: Device) -> None:
    for what, expected, came in (
        ("vendor", manifest.vendor_id, device.vendor_id),
        ("class", manifest.class_id, device.class_id),
    ):
        # A device that does not know what it is cannot be what a bundle asks for.
        if expected is not None and expected != came:
            raise ScopeError(
                "device", f"made for devices of {what} {expected}, got {came or 'none'}"
            )


def _check_freshness(manifest: Manifest, trust: TrustRoot, now: int) -> None:
    if trust.expires is not None and now >= trust.expires:
        raise ExpiredError(
            "expired", f"expected a trust file for time {now}, got one until {trust.expires}"
        )
    # A later epoch is refused as well: a stolen release key must not be able to raise the floors
    # beyond those that the next trust file will set.
    if manifest.binding.epoch != trust.epoch:
        raise RollbackError("epoch", f"expected epoch {trust.epoch}, got {manifest.binding.epoch}")
    if manifest.not_before is not None and now < manifest.not_before:
        raise ExpiredError(
            "not-yet-valid", f"expected a time from {manifest.not_before}, got {now}"
        )
    if manifest.expires is not None and now >= manifest.expires:
        raise ExpiredError("expired", f"expected a time before {manifest.expires}, got {now}")


def _check_proof(proof: object) -> None:
    if proof is not _PROOF:
        raise TypeError("expected to be made by verify or verify_grant, got a call from elsewhere")


@contextmanager
def _refusals_logged(what: str) -> Iterator[None]:
    try:
        yield
    except TrustError as error:
        logger.warning("refused %s: %s", what, error, extra={"reason": error.reason})
        raise
