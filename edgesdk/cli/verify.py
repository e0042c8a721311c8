"""``edgesdk verify``: the checks of docs/bundle-format.md, section 5, one by one.

The checks are the library's own, called as a device calls them; this module says which of them
have passed, and which one an error belongs to. ``--deep`` goes on to the end: it decrypts,
compares ``plaintext_mac``, which a device does not, and then loads the bundle as a device does.
"""

# ruff: noqa: PLC0415 - verifying brings cryptography, and the core with --deep
from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from edgesdk.cli.exits import Misuse
from edgesdk.cli.options import (
    FILE,
    KEY,
    PATH,
    WHEN,
    command,
    date,
    device_options,
    home_hint,
    home_option,
    now,
)
from edgesdk.cli.streams import PIPE, read
from edgesdk.cli.trust import read_trust
from edgesdk.errors import (
    ContractError,
    EdgeError,
    EvidenceError,
    ExpiredError,
    MalformedBundleError,
    RevokedError,
    RollbackError,
    ScopeError,
    SignatureError,
    StateError,
)
from edgesdk.files import Home
from edgesdk.limits import BUNDLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgesdk.bundle import Bundle
    from edgesdk.cli.output import Output
    from edgesdk.evidence import Policy, Verdict
    from edgesdk.keys import SecretKey
    from edgesdk.state import Floors
    from edgesdk.trust import Device, TrustRoot, VerifiedBundle, VerifiedGrant

# Numbers and names of the checks.
_NAMES = {
    0: "file",
    1: "prelude",
    2: "signatures",
    3: "threshold",
    4: "manifest",
    5: "scope",
    6: "freshness",
    7: "evidence",
    8: "payload",
    9: "grant",
    10: "model",
    11: "golden vectors",
}
_WELL_FORMED = "version 1, suite 1, the parts add up to the file"


@command(
    "verify",
    examples=[
        "edgesdk verify digits.emb",
        "edgesdk verify digits.emb --trust trust.json",
        "edgesdk verify digits.emb --deep",
        "edgesdk verify audited.emb --policy policy.toml",
    ],
)
@click.argument("bundle", type=FILE)
@home_option
@click.option("--trust", type=PATH, metavar="FILE", help="Whom to trust.  [trust.json of --home]")
@click.option(
    "--policy",
    type=PATH,
    metavar="FILE",
    help="Which claims are demanded.  [policy.toml of --home, if there is one]",
)
@click.option("--deep", is_flag=True, help="Decrypt and run it too, with this device's key.")
@click.option("--device-key", type=KEY, metavar="URI", help="For --deep.  [device.key of --home]")
@click.option("--grant", type=PATH, metavar="FILE", help="For --deep.  [where a device looks]")
@device_options
@click.option("--now", "moment", type=WHEN, metavar="TIME", help="Another time than now.")
def verify(
    out: Output,
    *,
    bundle: str,
    home: str | None,
    trust: str | None,
    policy: str | None,
    deep: bool,
    device_key: str | None,
    grant: str | None,
    vendor_id: str | None,
    class_id: str | None,
    moment: int | None,
) -> None:
    """Check a bundle as a device would.

    Makes the checks of a device in their order, and says what each has found. The
    first that fails ends it, and its error is the result. Without a key they end
    with the digests of the encrypted model.

    With a policy (docs/evidence.md) it shows for each demand which claims there are,
    and what is wrong with them.

    --deep needs this device's key and grant: it decrypts the model, compares the
    digest of the plaintext, loads the model and runs its golden vectors. It does
    not make the device accept the release.
    """
    from edgesdk import floors
    from edgesdk.state import Unmoved
    from edgesdk.trust import Device

    if deep and bundle == PIPE:
        raise Misuse("expected a file for --deep, got standard input")
    if not deep and (device_key, grant) != (None, None):
        raise Misuse("expected --device-key and --grant with --deep, got them without")
    folder = Home.find(home)
    checks = _Checks(out)
    out.document.update({"bundle": bundle, "verified": False, "deep": deep, "checks": checks.made})
    at = now() if moment is None else moment
    device = Device(vendor_id=vendor_id, class_id=class_id)
    with home_hint(folder):
        demanded = _policy(checks, policy, folder)
        accepted = Unmoved(floors.find(folder))
        where = _Where(bundle, folder, trust, device_key, grant, demanded, accepted)
        verified = _shallow(checks, where, device, at)
        if deep:
            _deep(checks, verified, where, device, at)
    out.document["verified"] = True
    out.line()
    out.line("Verified." if deep else "Verified. Checks 9 to 11 need a device's key: --deep.")


class _Checks:
    """What has passed so far, told as it passes."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self.made: list[dict[str, Any]] = []

    def passed(self, number: int | None, detail: str, *, name: str | None = None) -> None:
        """``number`` is that of the page; None for what a device does not check."""
        self._tell(number, name, "ok", detail)

    def failed(self, number: int | None, error: EdgeError, *, name: str | None = None) -> None:
        """The error itself is told at the end."""
        self._tell(number, name, "FAILED", f"{type(error).__name__}[{error.reason}]")

    @contextmanager
    def making(self, number: int | None, name: str | None = None) -> Iterator[None]:
        """Whatever is raised meanwhile is the failure of this check."""
        try:
            yield
        except EdgeError as error:
            self.failed(number, error, name=name)
            raise

    def explain(self, verdicts: Sequence[Verdict], root: TrustRoot) -> None:
        """Show what has become of each demand."""
        from edgesdk.cli.claim import show_verdicts

        show_verdicts(self._out, verdicts, root)

    def _tell(self, number: int | None, name: str | None, result: str, detail: str) -> None:
        name = name or _NAMES[number or 0]
        self.made.append({"check": number, "name": name, "ok": result == "ok", "detail": detail})
        shown = "" if number is None else str(number)
        self._out.fields([(f"{result:6} {shown:>2}  {name:<14}", detail)])


@dataclass(frozen=True)
class _Where:
    """Where everything lies that a device needs."""

    bundle: str
    home: Home
    trust: str | None
    device_key: str | None
    grant: str | None
    policy: Policy
    accepted: Floors


def _policy(checks: _Checks, path: str | None, home: Home) -> Policy:
    from edgesdk.evidence import Policy

    with checks.making(None, "policy"):
        return Policy.find(path, home)


# ---- checks 0 to 8


def _shallow(checks: _Checks, where: _Where, device: Device, at: int) -> VerifiedBundle:
    from edgesdk import trust
    from edgesdk.bundle import Bundle
    from edgesdk.manifest import Manifest

    try:
        data = read(where.bundle, limit=BUNDLE.file_bytes, what="the bundle")
        checks.passed(0, f"{len(data):,} bytes, read once")
        bundle = Bundle.parse(data)
    except MalformedBundleError as error:
        if _first(error) > 1:
            checks.passed(1, _WELL_FORMED)
        checks.failed(_first(error), error)
        raise
    checks.passed(1, _WELL_FORMED)
    trust_path = str(where.home.trust) if where.trust is None else where.trust
    with checks.making(None, "trust file"):
        root = read_trust(trust_path)
    checks.passed(
        None, f"{trust_path}, version {root.version}, signed by its own root", name="trust file"
    )
    try:
        verified = trust.verify(
            bundle, root, now=at, device=device, floors=where.accepted, policy=where.policy
        )
    except EdgeError as error:
        _tell_until(checks, bundle, root, _of_verify(error), at)
        checks.failed(_of_verify(error), error)
        if isinstance(error, EvidenceError):
            manifest = Manifest.parse(bundle.manifest_bytes)
            checks.explain(where.policy.judge(manifest, root, now=where.accepted.time(at)), root)
        raise
    _tell_until(checks, bundle, root, 7, at)
    verdicts = where.policy.judge(verified.manifest, root, now=where.accepted.time(at))
    checks.passed(7, _demands(len(verdicts)))
    checks.explain(verdicts, root)
    with checks.making(8):
        verified.check_payload()
    segments = len(bundle.table) // 32
    checks.passed(8, f"{segments} encrypted segment{'s' * (segments != 1)} as signed")
    return verified


def _demands(met: int) -> str:
    return f"{met} demand{'s' * (met != 1)} met" if met else "none is demanded"


def _first(error: MalformedBundleError) -> int:
    """Checks 0 and 1, and what of check 2 is form."""
    return {"not-a-regular-file": 0, "too-large": 0, "signatures": 2}.get(error.reason, 1)


def _of_verify(error: EdgeError) -> int:
    """Which of the checks 2 to 7 raised it."""
    if isinstance(error, SignatureError):
        return 2 if error.reason in {"unsigned", "unknown-signer"} else 3
    if isinstance(error, MalformedBundleError):
        return 5 if error.reason == "manifest-mismatch" else 4
    by_class: dict[type[EdgeError], int] = {
        ScopeError: 5,
        RollbackError: 6,
        ExpiredError: 6,
        RevokedError: 6,
        StateError: 6,
        EvidenceError: 7,
    }
    return by_class.get(type(error), 2)


def _tell_until(checks: _Checks, bundle: Bundle, root: TrustRoot, last: int, at: int) -> None:
    """The checks from 2 on that have passed, in words; ``last`` is the one that has not."""
    from edgesdk import trust

    if last > 2:  # noqa: PLR2004 - numbers of checks, here and below
        known = trust.look_up(bundle, root)
        checks.passed(2, f"{len(known)} of {len(bundle.signatures)} by keys of the role release")
    if last > 3:  # noqa: PLR2004
        signers = ", ".join(sorted(trust.check_threshold(bundle, root)))
        suite = " and ".join(algorithm.label for algorithm in root.suite)
        needed = root.roles["release"].threshold
        checks.passed(3, f"{signers}, by {suite}; {needed} needed")
    if last > 4:  # noqa: PLR2004
        from edgesdk.manifest import Manifest

        manifest = Manifest.parse(bundle.manifest_bytes)
        binding = manifest.binding
        checks.passed(
            4,
            f"{manifest.model_id} {manifest.model_version}, sequence {binding.sequence}, "
            f"packed {date(manifest.created)}",
        )
    if last > 5:  # noqa: PLR2004
        devices = [each for each in (manifest.vendor_id, manifest.class_id) if each]
        made_for = " ".join(devices) or "any device"
        checks.passed(5, f"for {made_for}; release may sign for {manifest.model_id}")
    if last > 6:  # noqa: PLR2004
        checks.passed(
            6,
            f"epoch {binding.epoch}; bundle expires {date(manifest.expires)}, trust file "
            f"{date(root.expires)}; now is {date(at)}",
        )


# ---- checks 9 to 11


def _deep(
    checks: _Checks, verified: VerifiedBundle, where: _Where, device: Device, at: int
) -> None:
    from edgesdk import trust
    from edgesdk.keys import open_device_key
    from edgesdk.model import grant_files

    with ExitStack() as stack:
        with checks.making(9):
            uri = where.home.device_key if where.device_key is None else where.device_key
            key = stack.enter_context(open_device_key(uri))
            candidates = grant_files(where.bundle, where.grant, where.home)
            found = trust.find_grant(verified, candidates, kid=key.kid)
            granted = trust.verify_grant(
                found, verified, kid=key.kid, now=at, floors=where.accepted
            )
        checks.passed(9, f"for {key.name}, ends {date(found.not_after)}")
        with checks.making(9, "decryption"):
            _decrypt(verified, granted, key)
    size = verified.manifest.plaintext_len
    checks.passed(9, f"{size:,} bytes, every tag is right", name="decryption")
    checks.passed(None, "that of the manifest", name="plaintext_mac")
    _load(checks, verified, where, device, at)


def _decrypt(verified: VerifiedBundle, granted: VerifiedGrant, key: SecretKey) -> None:
    """Into locked memory, compared, and wiped."""
    from edgesdk import encryption
    from edgesdk.plaintext import decrypted

    with decrypted(verified, granted, key) as (_, plaintext):
        encryption.check_plaintext(verified, granted, key, plaintext)


def _load(
    checks: _Checks, verified: VerifiedBundle, where: _Where, device: Device, at: int
) -> None:
    from edgesdk.model import load

    try:
        model = load(
            where.bundle,
            home=where.home,
            trust_file=where.trust,
            device_key=where.device_key,
            grant=where.grant,
            device=device,
            policy=where.policy,
            now=at,
            accepted=where.accepted,
        )
    except EdgeError as error:
        checks.failed(11 if isinstance(error, ContractError) else 10, error)
        raise
    with model:
        packed = model.interpreter.memory()["packed"]
        about = "the claims are about these bytes; " if verified.relied else ""
        checks.passed(
            10,
            f"{about}{len(model.interpreter.operator_details())} operators, "
            f"{packed:,} bytes of packed weights",
        )
    checks.passed(11, "contract and operators as signed; the same bits as when it was packed")
