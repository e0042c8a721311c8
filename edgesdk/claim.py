"""Claims: what somebody who has looked at a model says of it, signed (docs/bundle-format.md, 1.9).

A ``Statement`` is a list of claims about one model by one group of signers, as an in-toto
statement under DSSE. ``FORMS`` is the table of kinds: the members of each, their bounds, and the
one that a policy bounds. All numbers are integers of a named scale: there is no ``NaN`` to slip
through a comparison, and one spelling of each value.

The subject is the model's bytes, by a digest under a salt that only holders of the model learn
(``subject_info``): a bare SHA-256 in a public manifest would let anyone confirm which model it is.

Order of checks of ``Statement.of``: size; canonical JSON; subject; members, types and bounds of
each claim; the privacy parameters are complete.

Not checked here: who signed it (``evidence``), whether it is about the model at hand
(``evidence`` by name, ``encryption`` by digest), and whether it is true: nobody but the signer
knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from edgesdk import canonical
from edgesdk.canonical import LARGEST_INTEGER, Fields
from edgesdk.envelope import Domain, Envelope
from edgesdk.errors import InputError, MalformedBundleError
from edgesdk.limits import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgesdk.canonical import JSON

Value: TypeAlias = "int | str | tuple[str, ...]"
Bound: TypeAlias = Literal["min", "max", "one-of", "includes"]

FORMAT = 1
SALT_BYTES = 32
SEALED_SALT_BYTES = SALT_BYTES + 16
DIGEST_BYTES = 32
LONGEST_MODEL_ID = 128
SUBJECT_DIGEST = "edgesdk-model-hmac-sha256"

_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "urn:edgesdk:claim:v1"
_MILLION = 10**6


# ---- the table of kinds


@dataclass(frozen=True)
class Number:
    """An integer; the member's name is its scale, or its unit."""

    least: int
    most: int = LARGEST_INTEGER

    def read(self, fields: Fields, name: str) -> int:
        """The member."""
        return fields.integer(name, least=self.least, most=self.most)


@dataclass(frozen=True)
class Text:
    """A text that is compared as it stands, letter by letter."""

    def read(self, fields: Fields, name: str) -> str:
        """The member."""
        return fields.text(name, longest=EVIDENCE.text, least=1)


@dataclass(frozen=True)
class Digest:
    """A SHA-256 in lower-case hexadecimal digits."""

    def read(self, fields: Fields, name: str) -> str:
        """The member."""
        return fields.hexadecimal(name, DIGEST_BYTES).hex()


@dataclass(frozen=True)
class Word:
    """One of a few words."""

    choices: tuple[str, ...]

    def read(self, fields: Fields, name: str) -> str:
        """The member."""
        return fields.choice(name, self.choices)


@dataclass(frozen=True)
class Texts:
    """Texts in ascending order, each once."""

    def read(self, fields: Fields, name: str) -> tuple[str, ...]:
        """The member."""
        entries = fields.entries(name, longest=EVIDENCE.entries, least=1)
        found = [fields.check_text(name, e, longest=EVIDENCE.text, least=1) for e in entries]
        if found != sorted(set(found)):
            raise fields.refuse(name, "each once and in order", "another order")
        return tuple(found)


Member: TypeAlias = "Number | Text | Digest | Word | Texts"


@dataclass(frozen=True)
class Form:
    """The members of a kind of claim: the one that a policy bounds, how, and the others."""

    value: str
    bound: Bound
    members: Mapping[str, Member]


def _form(value: str, bound: Bound, member: Member, **others: Member) -> Form:
    return Form(value, bound, MappingProxyType({value: member, **others}))


_SHARE = Number(0, _MILLION)
_DATASET, _SAMPLES = Digest(), Number(1)
_ON: Mapping[str, Member] = {"dataset": _DATASET, "samples": _SAMPLES}
_GAPS = Word(("demographic_parity", "equal_opportunity", "equalized_odds"))
_METRICS = Word(("accuracy", "auroc", "f1"))

FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "accuracy": _form("ppm", "min", _SHARE, **_ON),
        "f1": _form("ppm", "min", _SHARE, **_ON),
        "auroc": _form("ppm", "min", _SHARE, **_ON),
        "fairness_gap": _form("ppm", "max", _SHARE, measure=_GAPS, **_ON),
        "dp_epsilon": _form("ppm", "max", Number(0), dataset=_DATASET),
        "dp_delta": _form("per_trillion", "max", Number(0, 10**12), dataset=_DATASET),
        "robust_accuracy": _form("ppm", "min", _SHARE, attack=Text(), radius_ppm=_SHARE, **_ON),
        "int8_drop": _form("ppm", "max", Number(-_MILLION, _MILLION), metric=_METRICS, **_ON),
        "latency": _form("microseconds", "max", Number(1), board=Text(), percentile=Number(1, 100)),
        "licence": _form("spdx", "one-of", Text()),
        "owner": _form("name", "one-of", Text()),
        "dataset_hash": _form("sha256", "one-of", Digest()),
        "training_code_hash": _form("sha256", "one-of", Digest()),
        "base_model": _form("name", "one-of", Text()),
        "prohibited_uses": _form("uses", "includes", Texts()),
    }
)


@dataclass(frozen=True)
class Claim:
    """One claim: its kind, and its members in the order of the table."""

    kind: str
    members: tuple[tuple[str, Value], ...]

    @classmethod
    def read(cls, fields: Fields) -> Claim:
        """Read one from an object, of a signed document or of a file that people write."""
        kind = fields.choice("kind", tuple(FORMS))
        found = [(name, member.read(fields, name)) for name, member in FORMS[kind].members.items()]
        fields.end()
        return cls(kind, tuple(found))

    def __getitem__(self, name: str) -> Value:
        return dict(self.members)[name]

    def to_json(self) -> dict[str, JSON]:
        """The inverse of ``read``."""
        return {
            "kind": self.kind,
            **{n: list(v) if isinstance(v, tuple) else v for n, v in self.members},
        }

    def __str__(self) -> str:
        """For people: the value with its scale, and what it was measured on."""
        form = FORMS[self.kind]
        others = [f"{n} {_short(v)}" for n, v in self.members if n != form.value]
        shown = in_words(form, self[form.value])
        return f"{self.kind} {shown}" + (f" ({', '.join(others)})" if others else "")


def in_words(form: Form, value: Value) -> str:
    """A value with its scale, or the texts of a list."""
    if isinstance(value, int):
        return f"{value:,} {form.value}"
    return ", ".join(value) if isinstance(value, tuple) else value


def _short(value: Value) -> str:
    text = str(value)
    return f"{text[:16]}..." if len(text) == 2 * DIGEST_BYTES else text


# ---- statements


@dataclass(frozen=True)
class Statement:
    """Claims about one model; ``envelope`` is what was signed."""

    model_id: str
    digest: bytes
    created: int
    expires: int | None
    claims: tuple[Claim, ...]
    envelope: Envelope

    @classmethod
    def read(cls, fields: Fields) -> Statement:
        """Read one that lies inside another document.

        Raises:
            MalformedBundleError: ``claim``, or what the document's own refusals are.
        """
        limit = EVIDENCE.statement_bytes
        return cls.of(Envelope.read(fields, expect=Domain.CLAIM, limit=limit, error=_malformed))

    @classmethod
    def of(cls, envelope: Envelope) -> Statement:
        """What an envelope's payload says.

        Raises:
            MalformedBundleError: ``claim``.
        """
        if len(envelope.payload) > EVIDENCE.statement_bytes:
            raise _malformed(f"expected at most {EVIDENCE.statement_bytes} bytes, got more")
        value = canonical.parse(envelope.payload, error=_malformed)
        fields = Fields(value, "claim", _malformed)
        fields.constant("_type", _STATEMENT_TYPE)
        fields.constant("predicateType", _PREDICATE_TYPE)
        model_id, digest = _subject(fields)
        predicate = fields.nested("predicate")
        fields.end()
        predicate.constant("format", FORMAT)
        statement = cls(
            model_id=model_id,
            digest=digest,
            created=predicate.integer("created"),
            expires=predicate.integer("expires") if "expires" in predicate else None,
            claims=read_claims(predicate),
            envelope=envelope,
        )
        predicate.end()
        return statement

    @classmethod
    def build(
        cls,
        model_id: str,
        digest: bytes,
        claims: Iterable[Claim],
        *,
        created: int,
        expires: int | None = None,
    ) -> Statement:
        """An unsigned statement.

        Raises:
            InputError: ``argument``: a member that ``of`` would refuse.
        """
        predicate: dict[str, JSON] = {
            "claims": [claim.to_json() for claim in claims],
            "created": created,
            "format": FORMAT,
        }
        if expires is not None:
            predicate["expires"] = expires
        payload: dict[str, JSON] = {
            "_type": _STATEMENT_TYPE,
            "predicate": predicate,
            "predicateType": _PREDICATE_TYPE,
            "subject": [{"digest": {SUBJECT_DIGEST: digest.hex()}, "name": model_id}],
        }
        try:
            return cls.of(Envelope(Domain.CLAIM, canonical.encode(payload)))
        except MalformedBundleError as error:
            raise InputError("argument", error.message) from None


def read_claims(fields: Fields, name: str = "claims") -> tuple[Claim, ...]:
    """A list of claims, of which those on privacy are complete.

    An epsilon means nothing without its delta: alone, each could be taken from another analysis.
    """
    entries = fields.entries(name, longest=EVIDENCE.claims, least=1)
    claims = tuple(Claim.read(fields.check_nested(name, entry)) for entry in entries)
    epsilons = sorted(str(c["dataset"]) for c in claims if c.kind == "dp_epsilon")
    deltas = sorted(str(c["dataset"]) for c in claims if c.kind == "dp_delta")
    if epsilons != deltas or len(set(deltas)) != len(deltas):
        raise fields.refuse(name, "one dp_epsilon and one dp_delta for a dataset", "others")
    return claims


@dataclass(frozen=True)
class Evidence:
    """A statement as a manifest carries it: the salt of its subject is sealed for the devices."""

    statement: Statement
    sealed_salt: bytes

    @classmethod
    def read(cls, fields: Fields) -> Evidence:
        """Read an entry of a manifest's ``evidence``."""
        found = cls(
            Statement.read(fields.nested("statement")),
            fields.base64("sealed_salt", size=SEALED_SALT_BYTES),
        )
        fields.end()
        return found

    def to_json(self) -> dict[str, JSON]:
        """The inverse of ``read``."""
        return {
            "sealed_salt": canonical.to_base64(self.sealed_salt),
            "statement": self.statement.envelope.to_json(),
        }


@dataclass(frozen=True)
class ClaimFile:
    """What an auditor gives to the publisher: a statement, and the salt of its subject.

    The salt is for holders of the model: with it, anyone can tell whether a model is this one.
    """

    statement: Statement
    salt: bytes

    @classmethod
    def parse(cls, data: bytes) -> ClaimFile:
        """Read a claim's file.

        Raises:
            MalformedBundleError: ``claim``.
        """
        if len(data) > EVIDENCE.claim_file_bytes:
            raise _malformed(f"expected at most {EVIDENCE.claim_file_bytes} bytes, got {len(data)}")
        fields = Fields(canonical.parse(data, error=_malformed), "claim file", _malformed)
        fields.constant("format", FORMAT)
        found = cls(
            Statement.read(fields.nested("statement")), fields.hexadecimal("salt", SALT_BYTES)
        )
        fields.end()
        return found

    def encode(self) -> bytes:
        """The bytes of a claim's file."""
        return canonical.encode(
            {
                "format": FORMAT,
                "salt": self.salt.hex(),
                "statement": self.statement.envelope.to_json(),
            }
        )


def subject_info(model_id: str) -> bytes:
    """HKDF's ``info`` for the key of a subject's digest: a digest is of one model id only."""
    return b"edgesdk/claim-subject/v1\x00" + model_id.encode("utf-8")


def _subject(fields: Fields) -> tuple[str, bytes]:
    (entry,) = fields.entries("subject", longest=1, least=1)
    subject = fields.check_nested("subject", entry)
    digests = subject.nested("digest")
    digest = digests.hexadecimal(SUBJECT_DIGEST, DIGEST_BYTES)
    digests.end()
    name = subject.text("name", longest=LONGEST_MODEL_ID, least=1)
    subject.end()
    return name, digest


def _malformed(text: str) -> MalformedBundleError:
    return MalformedBundleError("claim", text)
