"""The configuration folder: what is in it, and who may change it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from edgesdk import files
from edgesdk.cli.options import date, now
from edgesdk.cli.trust import read_trust
from edgesdk.errors import EdgeError
from edgesdk.limits import BUNDLE

if TYPE_CHECKING:
    from pathlib import Path

    from edgesdk.cli.doctor import Findings
    from edgesdk.files import Home

_SECTION = "configuration"


def examine(found: Findings, home: Home) -> None:
    """All of it; a machine that is no device has none."""
    try:
        status = home.folder.stat()
    except OSError as cause:
        found.add(
            _SECTION,
            [
                ("folder", f"{home.folder}: {cause.strerror}"),
                ("", "`edgesdk device init` makes it"),
            ],
            folder=str(home.folder),
            exists=False,
        )
        return
    mode = stat.S_IMODE(status.st_mode)
    found.add(
        _SECTION,
        [("folder", f"{home.folder}, mode {mode:04o}")],
        folder=str(home.folder),
        exists=True,
        mode=f"{mode:04o}",
    )
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        found.fault(
            _SECTION,
            f"{home.folder}: expected a folder that only its owner may write, got mode {mode:04o}",
            f"chmod go-w {home.folder}; and see who has put the files in it there",
        )
    if not os.access(home.folder, os.R_OK | os.X_OK):
        found.fault(
            _SECTION,
            f"{home.folder}: expected a folder that this user may look into, got another's",
            "run it as the user that runs the models",
        )
        return
    for name, path, look in (
        ("trust file", home.trust, _trust),
        ("device key", home.device_key, _device_key),
        ("gateway", home.gateway, _gateway),
    ):
        _look(found, name, path, look)
    there = os.path.lexists(home.broker_ca)
    authorities = "there" if there else "none: the system's authorities count"
    found.add(_SECTION, [("broker-ca.pem", authorities)], broker_ca=there)
    _floors(found, home)
    _grants(found, home)


def _look(found: Findings, name: str, path: Path, look: Any) -> None:  # noqa: ANN401 - a function
    """One file: what it is, that there is none, or what is wrong with it."""
    key = name.replace(" ", "_")
    if not os.path.lexists(path):
        found.add(_SECTION, [(name, f"none ({path.name})")], **{key: None})
        return
    try:
        text, facts = look(found, path)
    except EdgeError as error:
        found.add(_SECTION, [(name, f"unusable ({path.name})")], **{key: None})
        found.fault_of(name, error)
        return
    found.add(_SECTION, [(name, text)], **{key: facts})


def _trust(found: Findings, path: Path) -> tuple[str, dict[str, Any]]:
    root = read_trust(str(path))
    at = now()
    if root.expires is not None and at >= root.expires:
        found.fault(
            "trust file",
            f"expected one for {date(at)}, got one until {date(root.expires)}",
            "ask the publisher for the next one",
        )
    if root.created > at:
        found.warning(
            "clock", f"the trust file was made {date(root.created)}, after now, {date(at)}"
        )
    text = f"version {root.version}, epoch {root.epoch}, expires {date(root.expires)}"
    return text, {"version": root.version, "epoch": root.epoch, "expires": root.expires}


def _device_key(found: Findings, path: Path) -> tuple[str, dict[str, Any]]:
    from edgesdk.keys import open_device_key  # noqa: PLC0415 - brings cryptography

    del found
    with open_device_key(path) as key:
        return f"of {key.name}", {"device_name": key.name, "kid": key.kid.hex()}


def _gateway(found: Findings, path: Path) -> tuple[str, dict[str, Any]]:
    from edgesdk.record import PublicRecord  # noqa: PLC0415 - brings cryptography

    record = PublicRecord.parse(files.read_trusted(path, limit=BUNDLE.record_bytes))
    if record.kind != "gateway":
        found.fault("gateway", f"expected the record of a gateway, got one of a {record.kind}")
    return f"{record.label}, {record.name}", {"name": record.label, "kid": record.kid.hex()}


def _floors(found: Findings, home: Home) -> None:
    from edgesdk import floors  # noqa: PLC0415 - brings cryptography

    there = floors.find(home)
    if not isinstance(there, floors.DurableFloors):
        found.add(_SECTION, [("floors", "none: older releases load as well")], floors=None)
        return
    try:
        marks = there.marks()
    except EdgeError as error:
        found.add(_SECTION, [("floors", "unusable (state)")], floors=None)
        found.fault_of("floors", error)
        return
    for copy in there.copies():
        if copy.fault is not None:
            found.warning("floors", f"{copy.fault}; the other copy counts, and mends it")
    models = {name: accepted.sequence for name, accepted in sorted(marks.models.items())}
    shown = ", ".join(f"{name} from sequence {least}" for name, least in models.items())
    found.add(
        _SECTION,
        [
            (
                "floors",
                f"epoch {marks.epoch}, time {date(marks.time or None)}, {shown or 'no model'}",
            )
        ],
        floors={
            "epoch": marks.epoch,
            "time": marks.time,
            "revocation": marks.revocation,
            "models": models,
        },
    )


def _grants(found: Findings, home: Home) -> None:
    from edgesdk.grant import Grant  # noqa: PLC0415 - brings cryptography

    def model_of(path: Path) -> str | None:
        try:
            binding = Grant.parse(files.read_once(path, limit=BUNDLE.grant_bytes)).binding
        except EdgeError as error:
            found.warning("grants", f"{path.name}: {type(error).__name__}[{error.reason}]: {error}")
            return None
        return f"{binding.model_id} (sequence {binding.sequence})"

    models = [model for path in home.grants() if (model := model_of(path))]
    found.add(_SECTION, [("grants", ", ".join(models) or "none")], grants=models)
