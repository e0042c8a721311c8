"""The trust file: who may sign what (docs/bundle-format.md, section 4).

``TrustRoot.parse`` checks in this order: size; the envelope's form; canonical JSON; members, types
and bounds; keys of the suite, none of small order, each once; the ``kid`` of each signer; roles
that name signers of the file; and the threshold of its own role ``root`` over all of it.

``rotate`` replaces it: the next version must be signed by the root role of the version before, and
then by its own.

Not checked here: who put the file on the device (``files.read_trusted`` sees to its owner and
mode), and ``expires``, which is a matter of freshness (``trust``): an old trust file must still be
able to lead to the next one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgesdk import canonical, primitives
from edgesdk.envelope import Domain, Envelope, Signature
from edgesdk.errors import MalformedBundleError, RollbackError, ScopeError, SignatureError
from edgesdk.limits import BUNDLE
from edgesdk.manifest import FORMAT, LONGEST_MODEL_ID
from edgesdk.primitives import SIGNATURE_IDS, Algorithm
from edgesdk.record import KID_BYTES, LONGEST_LABEL, kid_of_signer, parse_public_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgesdk.canonical import JSON, Fields

REQUIRED_ROLES = ("root", "release", "grant")
OPTIONAL_ROLES = ("auditor", "revoke", "time")
MOST_SCOPES = 64

SCOPE = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*|[a-z0-9._/-]*\*")


@dataclass(frozen=True)
class TrustedKey:
    """A public key of a signer."""

    signer: bytes
    algorithm: Algorithm
    public: bytes


@dataclass(frozen=True)
class TrustedSigner:
    """A signer as the trust file names it."""

    kid: bytes
    name: str
    keys: Mapping[Algorithm, bytes]


@dataclass(frozen=True)
class Role:
    """Who may do something, how many of them it takes, and for which models."""

    name: str
    signers: tuple[bytes, ...]
    threshold: int
    scope: tuple[str, ...]

    def check_scope(self, model_id: str) -> None:
        """Return if the role may sign for this model, else raise ScopeError."""
        if not in_scope(self.scope, model_id):
            raise ScopeError(
                "model", f"expected a model in the scope of role {self.name}, got {model_id}"
            )


@dataclass(frozen=True)
class TrustRoot:
    """A trust file, signed by its own root role."""

    version: int
    epoch: int
    created: int
    expires: int | None
    suite: tuple[Algorithm, ...]
    signers: Mapping[bytes, TrustedSigner]
    roles: Mapping[str, Role]
    envelope: Envelope

    @classmethod
    def parse(cls, data: bytes) -> TrustRoot:
        """Read a trust file that somebody has put on this device.

        Raises:
            MalformedBundleError: ``trust-file``, ``weak-key``.
            SignatureError: not signed by its own root role.
        """
        root = _read(_open(data))
        root.check_signed("root", root.envelope)
        return root

    def check_signed(self, role: str, envelope: Envelope) -> None:
        """Return if enough signers of a role have signed it, else raise SignatureError."""
        found = self.look_up(role, envelope.signatures)
        self.check_threshold(role, found, envelope.message, envelope.domain)

    def look_up(
        self, role: str, signatures: Sequence[Signature]
    ) -> list[tuple[TrustedKey, Signature]]:
        """Which of the signatures claim to be by signers of a role; the others prove nothing."""
        if not signatures:
            raise SignatureError("unsigned", f"expected signatures of role {role}, got none")
        known = {
            primitives.keyid(algorithm, public): TrustedKey(kid, algorithm, public)
            for kid in self.roles[role].signers
            for algorithm, public in self.signers[kid].keys.items()
        }
        found = [(known[s.keyid], s) for s in signatures if s.keyid in known]
        if not found:
            raise SignatureError(
                "unknown-signer", f"expected a signer of role {role}, got others only"
            )
        return found

    def check_threshold(
        self,
        role: str,
        found: Iterable[tuple[TrustedKey, Signature]],
        message: bytes,
        domain: Domain,
    ) -> list[bytes]:
        """Who has signed with each algorithm of the suite, if they are enough: their ``kid``."""
        verified: dict[bytes, set[Algorithm]] = {}
        for key, signature in found:
            primitives.verify(key.algorithm, key.public, signature.value, message, domain.context)
            verified.setdefault(key.signer, set()).add(key.algorithm)
        complete = [kid for kid, algorithms in verified.items() if algorithms == set(self.suite)]
        if len(complete) < self.roles[role].threshold:
            names = " and ".join(algorithm.label for algorithm in self.suite)
            raise SignatureError(
                "threshold",
                f"expected {self.roles[role].threshold} signers of role {role} with {names},"
                f" got {len(complete)}",
            )
        return complete


def in_scope(scope: Iterable[str], model_id: str) -> bool:
    """Whether a model is one of these ids, or begins like one of the prefixes that end in ``*``."""
    for entry in scope:
        prefix = entry.removesuffix("*")
        if model_id == entry or (prefix != entry and model_id.startswith(prefix)):
            return True
    return False


def read_envelope(data: bytes) -> Envelope:
    """The envelope around a trust file of the right form, for those who sign it.

    Raises:
        MalformedBundleError: ``trust-file``, ``weak-key``.
    """
    envelope = _open(data)
    _read(envelope)
    return envelope


def rotate(current: TrustRoot, data: bytes) -> TrustRoot:
    """The next trust file: by its own root role, and by the root role of the one before it.

    Raises:
        MalformedBundleError: ``trust-file``, ``weak-key``.
        SignatureError: not signed by both.
        RollbackError: ``version``: not the next; ``epoch``: an earlier one.
    """
    # First by those who are believed already: nobody else's bytes are read any further.
    current.check_signed("root", _open(data))
    following = TrustRoot.parse(data)
    if following.version != current.version + 1:
        raise RollbackError(
            "version", f"expected version {current.version + 1}, got {following.version}"
        )
    if following.epoch < current.epoch:
        raise RollbackError(
            "epoch", f"expected epoch {current.epoch} or later, got {following.epoch}"
        )
    return following


def _open(data: bytes) -> Envelope:
    limit = BUNDLE.trust_bytes
    return Envelope.parse(data, expect=Domain.ROOT, limit=limit, error=_malformed)


def _read(envelope: Envelope) -> TrustRoot:
    """The members of a trust file, docs/bundle-format.md, section 4."""
    value = canonical.parse(envelope.payload, error=_malformed)
    fields = canonical.Fields(value, "trust", _malformed)
    fields.constant("format", FORMAT)
    suite = _suite(fields)
    signers = _signers(fields, suite)
    root = TrustRoot(
        version=fields.integer("version", least=1),
        epoch=fields.integer("epoch"),
        created=fields.integer("created"),
        expires=fields.integer("expires") if "expires" in fields else None,
        suite=suite,
        signers=MappingProxyType(signers),
        roles=MappingProxyType(_roles(fields.nested("roles"), signers)),
        envelope=envelope,
    )
    fields.end()
    return root


def _suite(fields: Fields) -> tuple[Algorithm, ...]:
    known = {algorithm.label: algorithm for algorithm in SIGNATURE_IDS}
    names = fields.entries("suite", longest=len(known), least=1)
    found = [known[name] for name in names if isinstance(name, str) and name in known]
    if len(found) != len(names) or found != sorted(set(found)):
        raise fields.refuse("suite", "ed25519, ml-dsa-65 or both", "something else")
    return tuple(found)


def _signers(fields: Fields, suite: tuple[Algorithm, ...]) -> dict[bytes, TrustedSigner]:
    entries = fields.nested("signers")
    signers: dict[bytes, TrustedSigner] = {}
    for text in list(entries.names()):
        kid = entries.check_hexadecimal("kid", text, KID_BYTES)
        signer = entries.nested(text)
        name = signer.text("name", longest=LONGEST_LABEL, least=1)
        keys = parse_public_keys(signer.nested("keys"))
        signer.end()
        if tuple(keys) != suite:
            raise fields.refuse(f"signers.{text}", "the keys of the suite", "others")
        if kid != kid_of_signer(keys):
            raise fields.refuse(f"signers.{text}", "the kid of its keys", "another")
        signers[kid] = TrustedSigner(kid, name, MappingProxyType(keys))
    publics = [public for signer in signers.values() for public in signer.keys.values()]
    if len(set(publics)) != len(publics):
        raise fields.refuse("signers", "each public key once", "one twice")
    return signers


def _roles(fields: Fields, signers: Mapping[bytes, TrustedSigner]) -> dict[str, Role]:
    present = [name for name in OPTIONAL_ROLES if name in fields]
    roles = {name: _role(name, fields, signers) for name in (*REQUIRED_ROLES, *present)}
    fields.end()
    return roles


def _role(name: str, roles: Fields, signers: Mapping[bytes, TrustedSigner]) -> Role:
    fields = roles.nested(name)
    entries = fields.entries("signers", longest=len(signers))
    kids = [fields.check_hexadecimal("signers", entry, KID_BYTES) for entry in entries]
    if kids != sorted(set(kids)) or set(kids) - signers.keys():
        raise fields.refuse("signers", "signers of this file, each once, in order", "others")
    idle = not kids and name in OPTIONAL_ROLES
    threshold = fields.integer("threshold", least=1, most=BUNDLE.signatures if idle else len(kids))
    scope = [_scope(fields, entry) for entry in fields.entries("scope", longest=MOST_SCOPES)]
    fields.end()
    return Role(name, tuple(kids), threshold, tuple(scope))


def _scope(fields: Fields, entry: JSON) -> str:
    return fields.check_text("scope", entry, longest=LONGEST_MODEL_ID, pattern=SCOPE)


def _malformed(text: str) -> MalformedBundleError:
    return MalformedBundleError("trust-file", text)
