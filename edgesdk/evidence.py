"""Signed claims about a model, and what a device demands of them: check 7.

This release reads no claims: a manifest that carries any is refused by check 4. The place in the
order is kept, after freshness and before the first byte of the payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgesdk.bundle import Manifest


class Policy(Protocol):
    """What a device demands of a model's evidence."""

    def check(self, manifest: Manifest) -> None:
        """Return if the demands are met, else raise EvidenceError."""


class EmptyPolicy:
    """Demands nothing, and so passes."""

    def check(self, manifest: Manifest) -> None:
        """Pass."""


EMPTY_POLICY = EmptyPolicy()
