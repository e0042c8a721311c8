"""What a device has accepted: the versions and times below which it never goes again.

``trust`` asks ``time`` and ``check`` while it verifies; ``commit`` comes last, when the model has
proved that it runs, so that a bad release cannot burn the counter. ``Floors`` is what they ask,
``Marks`` are the numbers and their rules (docs/bundle-format.md, section 6), and ``NoFloors`` is
a device that was never provisioned. How marks survive a power cut is ``floors``' part.

Not checked here: signatures, and that the epoch is the trust file's own (``trust``). The clock of
the device is not among the marks: it is signed by nobody, and one wrong day would be for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from edgesdk import canonical
from edgesdk.errors import RollbackError, StateError
from edgesdk.limits import FLOORS
from edgesdk.manifest import BUNDLE_ID_BYTES, LONGEST_MODEL_ID, MODEL_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesdk.canonical import JSON, Fields
    from edgesdk.manifest import Binding, Manifest

FORMAT = 1


class Floors(Protocol):
    """What a device has already accepted."""

    def time(self, clock: int) -> int:
        """The clock's seconds, or the latest signed time that was seen if that is later."""

    def check(self, manifest: Manifest) -> None:
        """Return if the release is none that was left behind or withdrawn.

        Raises:
            RollbackError: ``epoch``, ``sequence``, ``revocation``.
            RevokedError: ``revoked``.
            StateError: ``state``: the floors cannot be read.
        """

    def commit(self, manifest: Manifest, *, signed: int = 0) -> None:
        """Raise the floors to this release, durably.

        ``signed`` is the latest time, in seconds, that was signed in what came with it.

        Raises:
            RollbackError: another process has accepted a later one meanwhile.
            StateError: ``state``: they cannot be read, or cannot be raised.
        """


class NoFloors:
    """Remembers nothing: any release of the trust file's epoch will do, old ones too."""

    def time(self, clock: int) -> int:
        """The clock as it is."""
        return clock

    def check(self, manifest: Manifest) -> None:
        """Pass."""

    def commit(self, manifest: Manifest, *, signed: int = 0) -> None:
        """Forget."""


NO_FLOORS = NoFloors()


@dataclass(frozen=True)
class Unmoved:
    """Floors that are asked and stay where they are: for tools that look at a release."""

    floors: Floors

    def time(self, clock: int) -> int:
        """As the device's floors have it."""
        return self.floors.time(clock)

    def check(self, manifest: Manifest) -> None:
        """As the device's floors have it."""
        self.floors.check(manifest)

    def commit(self, manifest: Manifest, *, signed: int = 0) -> None:
        """Forget."""


@dataclass(frozen=True)
class Accepted:
    """The latest release of a model that was accepted."""

    sequence: int
    bundle_id: bytes


@dataclass(frozen=True)
class Marks:
    """The high-water marks of a device. They are compared within an epoch, except ``time``.

    ``time`` is in seconds since 1970-01-01T00:00:00Z; ``revocation`` is the sequence of the
    newest revocation list that was seen; ``models`` are by model id.
    """

    time: int = 0
    epoch: int = 0
    revocation: int = 0
    models: Mapping[str, Accepted] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes) -> Marks:
        """Read the canonical document that ``encode`` writes.

        Raises:
            StateError: ``state``.
        """
        fields = canonical.Fields(canonical.parse(data, error=_damaged), "floors", _damaged)
        fields.constant("format", FORMAT)
        time, epoch = fields.integer("time"), fields.integer("epoch")
        revocation, models = fields.integer("revocation"), _models(fields.nested("models"))
        fields.end()
        return cls(time, epoch, revocation, models)

    def encode(self) -> bytes:
        """Canonical JSON, of which ``parse`` makes the same marks."""
        models: dict[str, JSON] = {
            name: {"bundle_id": accepted.bundle_id.hex(), "sequence": accepted.sequence}
            for name, accepted in self.models.items()
        }
        return canonical.encode(
            {
                "epoch": self.epoch,
                "format": FORMAT,
                "models": models,
                "revocation": self.revocation,
                "time": self.time,
            }
        )

    def check(self, manifest: Manifest) -> None:
        """Return if the release is not below the marks.

        Raises:
            RollbackError: ``epoch``, ``sequence``, ``revocation``.
        """
        binding = manifest.binding
        if binding.epoch < self.epoch:
            raise RollbackError(
                "epoch", f"expected epoch {self.epoch} or a later one, got {binding.epoch}"
            )
        marks = self.within(binding.epoch)
        _check_sequence(marks.models.get(binding.model_id), binding)
        if manifest.min_revocation_seq > marks.revocation:
            raise RollbackError(
                "revocation",
                f"expected a release that needs revocation list {marks.revocation} at most, got "
                f"one that needs list {manifest.min_revocation_seq}",
            )

    def within(self, epoch: int) -> Marks:
        """What counts in this epoch: the sequences begin anew when the trust root raises it."""
        if epoch <= self.epoch:
            return self
        return replace(self, epoch=epoch, revocation=0, models={})

    def accepting(self, manifest: Manifest, *, signed: int = 0) -> Marks:
        """Marks raised to this release, and to the latest time that was signed with it.

        Raises:
            RollbackError: as ``check``.
            StateError: ``state``: more models than a device may have.
        """
        self.check(manifest)
        binding = manifest.binding
        marks = self.within(binding.epoch)
        models = {
            **marks.models,
            binding.model_id: Accepted(binding.sequence, binding.bundle_id),
        }
        if len(models) > FLOORS.models:
            raise StateError("state", f"expected at most {FLOORS.models} models, got one more")
        return replace(marks, time=max(marks.time, manifest.created, signed), models=models)

    def raised(self, *, time: int = 0, epoch: int = 0, revocation: int = 0) -> Marks:
        """Marks raised to what else was signed; what is lower leaves them as they are."""
        marks = self.within(epoch)
        seen = revocation if epoch == marks.epoch else 0
        return replace(marks, time=max(marks.time, time), revocation=max(marks.revocation, seen))


def _check_sequence(accepted: Accepted | None, binding: Binding) -> None:
    if accepted is None:
        return
    if binding.sequence < accepted.sequence:
        raise RollbackError(
            "sequence",
            f"expected {binding.model_id} of sequence {accepted.sequence} or above, got "
            f"{binding.sequence}",
        )
    # Two bundles of one sequence have no order: whoever has both could put either in place.
    if binding.sequence == accepted.sequence and binding.bundle_id != accepted.bundle_id:
        raise RollbackError(
            "sequence",
            f"expected the bundle of {binding.model_id} that was accepted as sequence "
            f"{accepted.sequence}, got another one of that sequence",
            hint="each release of a model has a sequence above the last: edgesdk pack --sequence",
        )


def _models(fields: Fields) -> dict[str, Accepted]:
    names = list(fields.names())
    if len(names) > FLOORS.models:
        raise _damaged(f"expected at most {FLOORS.models} models, got {len(names)}")
    found = {}
    for name in names:
        fields.check_text("model", name, longest=LONGEST_MODEL_ID, pattern=MODEL_ID)
        entry = fields.nested(name)
        found[name] = Accepted(
            entry.integer("sequence", least=1), entry.hexadecimal("bundle_id", BUNDLE_ID_BYTES)
        )
        entry.end()
    return found


def _damaged(text: str) -> StateError:
    return StateError("state", text)
