"""What a device demands of a model's evidence, and whether it is met: check 7.

A ``Policy`` is a list of demands, each for a kind of claim: by whom, on what, how new, and within
which bound. ``Policy.parse`` reads one from TOML (docs/evidence.md); what it does not know, it
refuses. ``Policy.judge`` tells of each demand which claims there are and what is wrong with them.

Each claim of a demanded kind passes these gates in their order, and the first that it fails is its
finding:

1. ``claim-signature``, ``claim-signer``: enough signers of the role, with every algorithm of the
   suite, and one of them named by the demand, if it names any; the model in the role's scope.
   A signature by a known key that does not verify refuses the bundle, even where other claims
   would suffice.
2. ``claim-subject``: about this model id, and about the data set, board, attack or measure that is
   demanded.
3. ``claim-expired``: its time is not over, and it is no older than demanded.
4. ``claim-weak``: samples, radius and percentile as demanded.

All claims that come so far count, and the value of each must be accepted: of two that contradict
each other the stricter decides. None at all is ``claim-missing``.

Not checked here: the digest of the subject, which takes the plaintext
(``encryption.check_evidence``); and whether a claim is true. A signature proves who said it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgesdk import files, toml
from edgesdk.claim import DIGEST_BYTES, FORMAT, FORMS, Digest, Number, in_words
from edgesdk.errors import ConfigurationError, EvidenceError, ScopeError, SignatureError
from edgesdk.limits import EVIDENCE
from edgesdk.manifest import LONGEST_MODEL_ID
from edgesdk.record import LONGEST_LABEL
from edgesdk.root import OPTIONAL_ROLES, REQUIRED_ROLES, SCOPE, in_scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesdk.canonical import JSON, Fields
    from edgesdk.claim import Claim, Evidence, Form, Statement, Value
    from edgesdk.files import Home, PathLike
    from edgesdk.manifest import Manifest
    from edgesdk.root import TrustRoot

_DAY_SECONDS = 86_400
# How far a claim has come, for the one finding that tells most.
_PROGRESS = ("claim-signer", "claim-subject", "claim-expired", "claim-weak")


@dataclass(frozen=True)
class Demand:
    """One demand of a policy, for the models of ``models``.

    ``value`` is the bound of the kind's value: a least or greatest number, the texts of which it
    must be one, or the texts that it must include. ``equal``, ``least`` and ``most`` bound the
    other members, by their names.
    """

    kind: str
    value: Value
    role: str = "auditor"
    by: tuple[str, ...] = ()
    models: tuple[str, ...] = ("*",)
    max_age_days: int | None = None
    equal: Mapping[str, str] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)
    most: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, fields: Fields) -> Demand:
        """Read an entry of ``require``."""
        kind = fields.choice("claim", tuple(FORMS))
        form = FORMS[kind]
        others = {name: m for name, m in form.members.items() if name != form.value}
        numbers = {name: m for name, m in others.items() if isinstance(m, Number)}
        demand = cls(
            kind=kind,
            value=_bound(fields, form),
            role=fields.choice("role", _ROLES) if "role" in fields else "auditor",
            by=_texts(fields, "by", LONGEST_LABEL) if "by" in fields else (),
            models=_scope(fields) if "models" in fields else ("*",),
            max_age_days=_age(fields) if "max_age_days" in fields else None,
            equal={
                name: str(member.read(fields, name))
                for name, member in others.items()
                if name not in numbers and name in fields
            },
            least=_numbers(fields, "min", numbers),
            most=_numbers(fields, "max", numbers),
        )
        fields.end()
        return demand

    def __str__(self) -> str:
        """For people: the kind, its bound, and the conditions."""
        form = FORMS[self.kind]
        words = {"min": "at least", "max": "at most", "one-of": "one of", "includes": "including"}
        conditions = [
            *(f"{name} {_short(value)}" for name, value in self.equal.items()),
            *(f"{name} at least {value}" for name, value in self.least.items()),
            *(f"{name} at most {value}" for name, value in self.most.items()),
            *([f"by {' or '.join(self.by)}"] if self.by else [f"by role {self.role}"]),
            *([f"at most {self.max_age_days} days old"] if self.max_age_days else []),
        ]
        bound = in_words(form, self.value)
        return f"{self.kind} {words[form.bound]} {bound}, {', '.join(conditions)}"


@dataclass(frozen=True)
class Finding:
    """What is wrong with one claim for one demand; ``reason`` is None where nothing is."""

    entry: Evidence
    claim: Claim
    reason: str | None
    text: str
    counts: bool


@dataclass(frozen=True)
class Verdict:
    """What has become of one demand. ``reason`` is None where it is met."""

    demand: Demand
    findings: tuple[Finding, ...]
    reason: str | None
    text: str


@dataclass(frozen=True)
class Policy:
    """What a device demands of the models that it runs."""

    demands: tuple[Demand, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Policy:
        """Read a policy.

        Raises:
            ConfigurationError: ``invalid``.
        """
        fields = toml.parse(data, "policy", error=_invalid)
        fields.constant("format", FORMAT)
        entries = fields.entries("require", longest=EVIDENCE.demands, least=1)
        fields.end()
        return cls(tuple(Demand.read(fields.check_nested("require", e)) for e in entries))

    @classmethod
    def read(cls, path: PathLike) -> Policy:
        """Read a policy's file, which nobody but root and this user may write.

        Raises:
            ConfigurationError: ``missing``, ``permissions``, ``invalid``.
            MalformedBundleError: ``not-a-regular-file``, ``too-large``.
        """
        return cls.parse(files.read_trusted(path, limit=EVIDENCE.toml_bytes))

    @classmethod
    def find(cls, given: Policy | PathLike | None, home: Home) -> Policy:
        """The policy that was given, else the folder's; where there is none, nothing is demanded.

        Raises:
            ConfigurationError, MalformedBundleError: as ``read``.
        """
        if isinstance(given, Policy):
            return given
        if given is None and not os.path.lexists(home.policy):
            return EMPTY_POLICY
        return cls.read(home.policy if given is None else given)

    def check(self, manifest: Manifest, trust: TrustRoot, *, now: int) -> tuple[Evidence, ...]:
        """What the demands rely on, if all are met.

        Raises:
            EvidenceError: the reason is that of the first demand that is not met.
        """
        relied: dict[bytes, Evidence] = {}
        for verdict in self.judge(manifest, trust, now=now):
            if verdict.reason is not None:
                raise EvidenceError(verdict.reason, verdict.text)
            for finding in verdict.findings:
                if finding.counts:
                    relied[finding.entry.statement.digest] = finding.entry
        return tuple(relied.values())

    def judge(self, manifest: Manifest, trust: TrustRoot, *, now: int) -> list[Verdict]:
        """Each demand for this model, in the order of the policy. Raises nothing."""
        return [
            _verdict(demand, manifest, _Judge(manifest.model_id, trust, now))
            for demand in self.demands
            if in_scope(demand.models, manifest.model_id)
        ]


EMPTY_POLICY = Policy()


# ---- judging


@dataclass(frozen=True)
class _Judge:
    """What claims are measured by: the model, whom the device trusts, and the time."""

    model_id: str
    trust: TrustRoot
    now: int


def _verdict(demand: Demand, manifest: Manifest, judge: _Judge) -> Verdict:
    findings = tuple(
        _finding(demand, entry, claim, judge)
        for entry in manifest.evidence
        for claim in entry.statement.claims
        if claim.kind == demand.kind
    )
    deciding = _deciding(findings)
    if not findings:
        return Verdict(demand, (), "claim-missing", f"expected a claim of {demand.kind}, got none")
    if deciding is None:
        return Verdict(demand, findings, None, "")
    return Verdict(demand, findings, deciding.reason, f"{demand.kind}: {deciding.text}")


def _deciding(findings: tuple[Finding, ...]) -> Finding | None:
    """The finding for which the demand is not met, or nothing."""
    for finding in findings:
        if finding.reason == "claim-signature" or (finding.counts and finding.reason is not None):
            return finding
    if not findings or any(finding.counts for finding in findings):
        return None
    return max(findings, key=lambda finding: _PROGRESS.index(finding.reason or ""))


def _finding(demand: Demand, entry: Evidence, claim: Claim, judge: _Judge) -> Finding:
    statement = entry.statement
    try:
        _check_signers(demand, statement, judge)
        _check_subject(demand, statement, claim, judge.model_id)
        _check_age(demand, statement, judge.now)
        _check_members(demand, claim)
    except EvidenceError as error:
        return Finding(entry, claim, error.reason, error.message, counts=False)
    try:
        _check_value(demand, claim)
    except EvidenceError as error:
        return Finding(entry, claim, error.reason, error.message, counts=True)
    return Finding(entry, claim, None, "", counts=True)


def _check_signers(demand: Demand, statement: Statement, judge: _Judge) -> None:
    trust = judge.trust
    envelope, name = statement.envelope, demand.role
    if name not in trust.roles:
        raise EvidenceError("claim-signer", f"expected a trust file with role {name}, got none")
    try:
        found = trust.look_up(name, envelope.signatures)
        kids = trust.check_threshold(name, found, envelope.message, envelope.domain)
        trust.roles[name].check_scope(judge.model_id)
    except (SignatureError, ScopeError) as error:
        reason = "claim-signature" if error.reason == "signature" else "claim-signer"
        raise EvidenceError(reason, error.message) from None
    signers = {trust.signers[kid].name for kid in kids}
    if demand.by and not signers & set(demand.by):
        came = ", ".join(sorted(signers))
        raise EvidenceError(
            "claim-signer", f"expected a claim by {' or '.join(demand.by)}, got one by {came}"
        )


def _check_subject(demand: Demand, statement: Statement, claim: Claim, model_id: str) -> None:
    if statement.model_id != model_id:
        raise EvidenceError(
            "claim-subject", f"expected a claim about {model_id}, got {statement.model_id}"
        )
    for name, expected in demand.equal.items():
        if claim[name] != expected:
            raise EvidenceError("claim-subject", f"expected {name} {expected}, got {claim[name]}")


def _check_age(demand: Demand, statement: Statement, now: int) -> None:
    if statement.expires is not None and now >= statement.expires:
        raise EvidenceError(
            "claim-expired", f"expected a claim for time {now}, got one until {statement.expires}"
        )
    if demand.max_age_days is None:
        return
    age = now - statement.created
    # A claim from the future has no age: it would never grow too old.
    if not -EVIDENCE.clock_seconds <= age <= demand.max_age_days * _DAY_SECONDS:
        raise EvidenceError(
            "claim-expired",
            f"expected a claim of at most {demand.max_age_days} days at time {now},"
            f" got one of {statement.created}",
        )


def _check_members(demand: Demand, claim: Claim) -> None:
    """The numbers beside the value: a claim that lacks them says too little to count."""
    for name, least in demand.least.items():
        value = claim[name]
        if not (isinstance(value, int) and value >= least):
            raise EvidenceError("claim-weak", f"expected {name} at least {least}, got {value}")
    for name, most in demand.most.items():
        value = claim[name]
        if not (isinstance(value, int) and value <= most):
            raise EvidenceError("claim-weak", f"expected {name} at most {most}, got {value}")


def _check_value(demand: Demand, claim: Claim) -> None:
    """Each branch says what is accepted, so that whatever else comes is refused."""
    form = FORMS[demand.kind]
    value, bound = claim[form.value], demand.value
    words = {"min": "at least", "max": "at most", "one-of": "one of", "includes": "including"}
    if isinstance(value, int) and isinstance(bound, int):
        accepted = value >= bound if form.bound == "min" else value <= bound
    elif isinstance(value, str) and isinstance(bound, tuple):
        accepted = value in bound
    else:
        both = isinstance(value, tuple) and isinstance(bound, tuple)
        accepted = both and set(bound) <= set(value)  # type: ignore[arg-type]
    if not accepted:
        raise EvidenceError(
            "claim-weak",
            f"expected {words[form.bound]} {in_words(form, bound)}, got {in_words(form, value)}",
        )


# ---- reading

_ROLES = tuple(sorted((*REQUIRED_ROLES, *OPTIONAL_ROLES)))


def _bound(fields: Fields, form: Form) -> Value:
    """The bound of the value, in the one direction that makes sense for it."""
    member = form.members[form.value]
    if isinstance(member, Number):
        return fields.integer(f"{form.bound}_{form.value}", least=member.least, most=member.most)
    entries = fields.entries(form.value, longest=EVIDENCE.entries, least=1)
    return tuple(_text(fields, form.value, entry, member) for entry in entries)


def _text(fields: Fields, name: str, entry: JSON, member: object) -> str:
    if isinstance(member, Digest):
        return fields.check_hexadecimal(name, entry, DIGEST_BYTES).hex()
    return fields.check_text(name, entry, longest=EVIDENCE.text, least=1)


def _numbers(fields: Fields, prefix: str, numbers: Mapping[str, Number]) -> dict[str, int]:
    return {
        name: fields.integer(f"{prefix}_{name}", least=member.least, most=member.most)
        for name, member in numbers.items()
        if f"{prefix}_{name}" in fields
    }


def _texts(fields: Fields, name: str, longest: int) -> tuple[str, ...]:
    entries = fields.entries(name, longest=EVIDENCE.entries, least=1)
    return tuple(fields.check_text(name, entry, longest=longest, least=1) for entry in entries)


def _scope(fields: Fields) -> tuple[str, ...]:
    entries = fields.entries("models", longest=EVIDENCE.entries, least=1)
    return tuple(
        fields.check_text("models", entry, longest=LONGEST_MODEL_ID, pattern=SCOPE)
        for entry in entries
    )


def _age(fields: Fields) -> int:
    return fields.integer("max_age_days", least=1, most=EVIDENCE.age_days)


def _short(value: str) -> str:
    return f"{value[:16]}..." if len(value) == 2 * DIGEST_BYTES else value


def _invalid(text: str) -> ConfigurationError:
    return ConfigurationError("invalid", f"a policy: {text}")
