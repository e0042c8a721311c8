"""Durable floors: ``state.Marks`` in two copies, that survive a power cut at any moment.

``find`` says what a device has: durable floors if it was provisioned, else none. Once it was,
floors that cannot be read are an error and never a fresh start: whoever could make a device
forget could also give it an old model.

Each copy is written whole beside its place, made durable, renamed, and the name made durable,
before the other is touched; the worse copy goes first. So at every moment one copy at least is
whole and holds the old marks or the new, and after ``commit`` either copy by itself will do.
The bytes are those of docs/bundle-format.md, section 6.

Not checked here: whether somebody has put older copies in place of both. Who may write in the
folder can; only a counter in a chip would tell.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesdk import files
from edgesdk.errors import ConfigurationError, EdgeError, StateError
from edgesdk.limits import FLOORS
from edgesdk.state import NO_FLOORS, Floors, Marks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgesdk.files import Home
    from edgesdk.manifest import Manifest

__all__ = ["Copy", "DurableFloors", "find", "provision"]

_MAGIC = b"EDGEFLR\x01"
_HEADER = struct.Struct("<8sQI")  # magic, generation, length of the body
_DIGEST_BYTES = hashlib.sha256().digest_size

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copy:
    """One of the two files: what it holds, or what is wrong with it."""

    path: Path
    generation: int = -1  # below that of any whole copy
    marks: Marks | None = None
    fault: str | None = None


class DurableFloors:
    """The floors of a provisioned device. Safe to share between threads and processes."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def time(self, clock: int) -> int:
        """The clock's seconds, or the latest signed time that was seen if that is later.

        Raises:
            StateError: ``state``.
        """
        return max(clock, self.marks().time)

    def check(self, manifest: Manifest) -> None:
        """Return if the release is none that was left behind.

        Raises:
            RollbackError: ``epoch``, ``sequence``, ``revocation``.
            StateError: ``state``.
        """
        self.marks().check(manifest)

    def commit(self, manifest: Manifest, *, signed: int = 0) -> None:
        """Raise the floors to this release, durably, and to the time that was signed with it.

        Raises:
            RollbackError: another process has accepted a later one meanwhile.
            StateError: ``state``: they cannot be read, or cannot be raised.
        """
        self._raise_by(lambda marks: marks.accepting(manifest, signed=signed))

    def raise_to(self, *, time: int = 0, epoch: int = 0, revocation: int = 0) -> None:
        """Raise the floors to what else was signed: a time, or a revocation list of an epoch.

        Raises:
            StateError: ``state``: they cannot be read, or cannot be raised.
        """
        self._raise_by(lambda marks: marks.raised(time=time, epoch=epoch, revocation=revocation))

    def marks(self) -> Marks:
        """What the newest whole copy says.

        Raises:
            StateError: ``state``: there is none.
        """
        return _newest(self.copies())[1]

    def copies(self) -> tuple[Copy, Copy]:
        """Both copies as they are, without judging them."""
        # In this order each time: a writer renames over them one by one, so that whoever comes
        # in between finds at least what was newest when the reading began.
        first, second = _places(self._home)
        return _read(first), _read(second)

    def _raise_by(self, raised: Callable[[Marks], Marks]) -> None:
        before = self.copies()
        marks = _newest(before)[1]
        rises = raised(marks) != marks
        if not rises and _agree(before):
            return  # the usual start of a device: nothing is locked or written
        try:
            self._write_raised(raised)
        except ConfigurationError as error:
            if not rises:
                # One whole copy has it: a disk that cannot be written must not stop the device.
                logger.warning("one copy of the floors is not mended: %s", error)
                return
            raise StateError(
                "state",
                f"expected to raise the floors of this device, got: {error}",
                hint="the user that runs the models must be able to write in the folder `state`",
            ) from None

    def _write_raised(self, raised: Callable[[Marks], Marks]) -> None:
        with files.locked(_lock(self._home), seconds=FLOORS.lock_seconds):
            copies = self.copies()
            generation, marks = _newest(copies)
            wanted = raised(marks)
            if wanted != marks or not _agree(copies):
                _write(copies, generation + 1, wanted)


def find(home: Home) -> Floors:
    """The floors of this device: durable ones, or none if it was never provisioned.

    Any trace of provisioning counts, so that floors are not lost with one file; and so does a
    folder that this user may not look into, as nobody can say what it remembers.
    """
    places = [home.floors_required, *_places(home)]
    return DurableFloors(home) if any(map(files.is_there, places)) else NO_FLOORS


def provision(home: Home) -> DurableFloors:
    """Give a device its floors, at zero. Those that it has already stay as they are.

    The marker comes last: before it is there, nothing has been promised.

    Raises:
        StateError: ``state``: it has floors, and they cannot be read.
        ConfigurationError: ``missing``, ``permissions``, ``invalid``: not to be written.
    """
    floors = DurableFloors(home)
    files.make_private_folder(home.state)
    with files.locked(_lock(home), seconds=FLOORS.lock_seconds):
        copies = floors.copies()
        if isinstance(find(home), DurableFloors):
            generation, marks = _newest(copies)
        else:
            generation, marks = 0, Marks()
        if not _agree(copies):
            _write(copies, generation + 1, marks)
        if not files.is_there(home.floors_required):
            files.write_replace(home.floors_required, b"", mode=0o600)
    return floors


# ---- the two copies


def _places(home: Home) -> tuple[Path, Path]:
    return home.state / "floors.a", home.state / "floors.b"


def _lock(home: Home) -> Path:
    return home.state / "floors.lock"


def _read(path: Path) -> Copy:
    try:
        data = files.read_trusted(path, limit=FLOORS.file_bytes)
    except EdgeError as error:
        return Copy(path, fault=f"{error}")
    try:
        generation, marks = _decode(data)
    except StateError as error:
        return Copy(path, fault=f"{path}: {error}")
    return Copy(path, generation, marks)


def _newest(copies: tuple[Copy, Copy]) -> tuple[int, Marks]:
    best = max(copies, key=lambda each: each.generation)
    if best.marks is None:
        raise StateError(
            "state",
            "expected the floors of this device in one of two copies, got neither: "
            + "; ".join(f"{each.fault}" for each in copies),
            hint="docs/bundle-format.md, section 6, says how to begin anew, and what that costs",
        )
    return best.generation, best.marks


def _agree(copies: tuple[Copy, Copy]) -> bool:
    first, second = copies
    return first.marks is not None and first.marks == second.marks


def _write(copies: tuple[Copy, Copy], generation: int, marks: Marks) -> None:
    """Both, the worse one first: until it is durable, the better one must not be touched."""
    data = _encode(generation, marks)
    for each in sorted(copies, key=lambda copy: copy.generation):
        files.remove_leftovers(each.path)
        files.write_replace(each.path, data, mode=0o600)


# ---- the bytes of a copy


def _encode(generation: int, marks: Marks) -> bytes:
    body = marks.encode()
    head = _HEADER.pack(_MAGIC, generation, len(body))
    return head + body + hashlib.sha256(head + body).digest()


def _decode(data: bytes) -> tuple[int, Marks]:
    if len(data) < _HEADER.size + _DIGEST_BYTES:
        raise StateError("state", f"expected a copy of the floors, got {len(data)} bytes")
    magic, generation, length = _HEADER.unpack_from(data)
    if magic != _MAGIC or len(data) != _HEADER.size + length + _DIGEST_BYTES:
        raise StateError("state", "expected a copy of the floors, got another or cut file")
    content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise StateError("state", "expected the digest of a copy of the floors, got another")
    return generation, Marks.parse(content[_HEADER.size :])
