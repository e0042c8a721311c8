"""Three bundles that a device must not load, and what it says to each."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesdk.errors import TrustError
from edgesdk.model import load

if TYPE_CHECKING:
    from pathlib import Path

    from edgesdk.demo.workshop import Workshop


@dataclass(frozen=True)
class Refusal:
    """What was tried, and the error that came; ``error`` is None where none came."""

    attempt: str
    error: TrustError | None

    @property
    def verdict(self) -> str:
        """The class and the reason."""
        if self.error is None:
            return "LOADED"
        return f"{type(self.error).__name__}[{self.error.reason}]"


def try_all(workshop: Workshop) -> list[Refusal]:
    """Each attempt on the device that the true bundle was made for, but the last."""
    return [
        _attempt("one bit of the model flipped", _flip_bit(workshop), workshop.device),
        _attempt("signed by a key nobody named", _by_stranger(workshop), workshop.device),
        _attempt("copied to another device", workshop.bundle, _other_device(workshop)),
    ]


def _attempt(what: str, bundle: Path, home: Path) -> Refusal:
    try:
        with load(bundle, home=home):
            return Refusal(what, None)
    except TrustError as error:
        return Refusal(what, error)


def _flip_bit(workshop: Workshop) -> Path:
    data = bytearray(workshop.bundle.read_bytes())
    data[len(data) - 1000] ^= 0x10
    path = workshop.publisher / "flipped.emb"
    path.write_bytes(data)
    shutil.copy(workshop.bundle.with_suffix(".grant"), path.with_suffix(".grant"))
    return path


def _by_stranger(workshop: Workshop) -> Path:
    workshop.run("publisher", "keygen stranger.key")
    workshop.run("publisher", "sign unsigned.emb --key stranger.key -o stranger.emb")
    path = workshop.publisher / "stranger.emb"
    shutil.copy(workshop.bundle.with_suffix(".grant"), path.with_suffix(".grant"))
    return path


def _other_device(workshop: Workshop) -> Path:
    home = workshop.folder / "other"
    home.mkdir(mode=0o700)
    workshop.run("other", "device init --home . --name kiosk-2")
    workshop.hand_over("publisher/trust.json", "other")
    return home
