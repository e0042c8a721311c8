"""The durable floors of a device: the versions and times below which it never goes again.

This release keeps none: ``NoFloors`` says so by its name. ``Floors`` is the interface that
durable ones will have. ``trust`` asks ``time`` and ``check`` while it verifies; ``commit`` comes
last, when the model has proved that it runs, so that a bad release cannot burn the counter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgesdk.bundle import Manifest


class Floors(Protocol):
    """What a device has already accepted."""

    def time(self, clock: int) -> int:
        """The clock's seconds, or the latest signed time that was seen if that is later."""

    def check(self, manifest: Manifest) -> None:
        """Return if the release is none that was left behind or withdrawn.

        Raises:
            RollbackError: ``sequence``, ``revocation``.
            RevokedError: ``revoked``.
            StateError: ``state``: the floors cannot be read.
        """

    def commit(self, manifest: Manifest) -> None:
        """Raise the floors to this release, durably."""


class NoFloors:
    """Remembers nothing: any release of the trust file's epoch will do, old ones too."""

    def time(self, clock: int) -> int:
        """The clock as it is."""
        return clock

    def check(self, manifest: Manifest) -> None:
        """Pass."""

    def commit(self, manifest: Manifest) -> None:
        """Forget."""


NO_FLOORS = NoFloors()
