"""Floors and power cuts: every state of the disk that a cut could leave, opened again."""

from __future__ import annotations

import itertools
import shutil

import pytest

from edgesdk import files, floors
from edgesdk.errors import StateError
from edgesdk.files import Home
from edgesdk.floors import DurableFloors
from edgesdk.state import Marks
from powercut import Disk, plant, recording, tree_of

A, B = "state/floors.a", "state/floors.b"
REFUSED = "refused"


class Reader:
    """What a device would find in a tree: marks, None for one without floors, or REFUSED."""

    def __init__(self, folder):
        self._folder, self._known, self._numbers = folder, {}, itertools.count()

    def __call__(self, tree):
        key = frozenset(tree.items())
        if key not in self._known:
            place = self._folder / f"disk-{next(self._numbers)}"
            plant(tree, place)
            self._known[key] = self._read(Home(place))
            shutil.rmtree(place)
        return self._known[key]

    def _read(self, home):
        found = floors.find(home)
        if not isinstance(found, DurableFloors):
            return None
        try:
            return found.marks()
        except StateError:
            return REFUSED


@pytest.fixture
def reader(tmp_path):
    folder = tmp_path / "disks"
    folder.mkdir()
    return Reader(folder)


def without(tree, *names):
    return {path: data for path, data in tree.items() if path not in names}


def damaged(tree, name):
    return {**tree, name: bytes(len(tree.get(name, b"")))}


def violations(start, events, reader, *, before):
    """Every broken promise: (event, what could be read, what may be read)."""
    promised = [before, *(each[1] for each in events if each[0] == "done")]
    disk, reached = Disk(start), 0
    for number, event in enumerate([("done", before), *events]):
        disk.replay(event)
        finished = event[0] == "done" and number > 0
        reached += finished
        allowed = promised[reached : reached + 2]
        for tree in disk.trees():
            if (came := reader(tree)) not in allowed:
                yield number, came, allowed
            if not finished:
                continue
            for lost in (without(tree, A), without(tree, B), damaged(tree, A), damaged(tree, B)):
                # What a copy is for: the other one may rot.
                if (came := reader(lost)) != promised[reached]:
                    yield number, came, promised[reached]
            if (came := reader(without(tree, A, B))) != REFUSED:
                yield number, came, REFUSED


def provisioned(home):
    home.folder.mkdir()
    return floors.provision(home)


def stale(home, name, made):
    """Put an older copy back, as a cut between the two leaves it."""
    copy = (home.folder / name).read_bytes()
    made()
    (home.folder / name).write_bytes(copy)


def spoiled(home, name):
    (home.folder / name).write_bytes(b"rotten")


STARTS = {
    "both whole": lambda *_: None,
    "a older": lambda home, raised: stale(home, A, raised),
    "b older": lambda home, raised: stale(home, B, raised),
    "a rotten": lambda home, _: spoiled(home, A),
    "b rotten": lambda home, _: spoiled(home, B),
    "a lost": lambda home, _: (home.folder / A).unlink(),
    "b lost": lambda home, _: (home.folder / B).unlink(),
    "leftovers": lambda home, _: (home.state / ".floors.a.0.new").write_bytes(b"half"),
}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def recorded_commits(home, release, monkeypatch, start, *, count=2):
    made = provisioned(home)
    made.commit(release(1))
    STARTS[start](home, lambda: made.commit(release(2)))
    before = made.marks()
    with recording(home.folder, monkeypatch) as noted:
        for sequence in range(3, 3 + count):
            made.commit(release(sequence))
            noted.done(made.marks())
    return before, noted


def recorded_provisioning(home, monkeypatch):
    home.folder.mkdir()
    with recording(home.folder, monkeypatch) as noted:
        floors.provision(home)
        noted.done(Marks())
    return noted


def replayed(noted):
    disk = Disk(noted.start)
    for event in noted.events:
        disk.replay(event)
    return disk


@pytest.mark.parametrize("start", STARTS)
def test_the_recording_is_complete(home, release, monkeypatch, start):
    """What it replays is what lies on the disk, and nothing is left to chance at the end."""
    _, noted = recorded_commits(home, release, monkeypatch, start)
    disk = replayed(noted)
    assert disk.live() == tree_of(home.folder)
    assert list(disk.trees()) == [tree_of(home.folder)]


@pytest.mark.parametrize("start", STARTS)
def test_a_power_cut_leaves_the_old_floors_or_the_new(home, release, monkeypatch, reader, start):
    before, noted = recorded_commits(home, release, monkeypatch, start)
    assert len(before.models) == 1
    assert list(violations(noted.start, noted.events, reader, before=before)) == []
    assert len(reader._known) > 20


def test_a_power_cut_while_a_device_is_provisioned(home, monkeypatch, reader):
    noted = recorded_provisioning(home, monkeypatch)
    assert list(violations(noted.start, noted.events, reader, before=None)) == []


def test_a_device_goes_on_after_any_power_cut(home, release, monkeypatch, tmp_path):
    """Whatever lies about, the next release raises the floors in both copies."""
    _, noted = recorded_commits(home, release, monkeypatch, "leftovers")
    disk, seen = Disk(noted.start), set()
    for event in noted.events:
        disk.replay(event)
        for tree in disk.trees():
            if (key := frozenset(tree.items())) in seen:
                continue
            seen.add(key)
            place = tmp_path / f"again-{len(seen)}"
            plant(tree, place)
            again = DurableFloors(Home(place))
            again.commit(release(9))
            assert [each.marks.models["door/person"].sequence for each in again.copies()] == [9, 9]
            assert sorted(each.name for each in (place / "state").iterdir()) == [
                "floors.a",
                "floors.b",
                "floors.lock",
            ]
            shutil.rmtree(place)
    assert len(seen) > 20


def test_the_worse_copy_must_be_written_first(home, release, monkeypatch, reader):
    """Else a cut may take the only whole one: the enumeration sees that as well."""
    monkeypatch.setattr(floors, "sorted", lambda copies, **_: copies, raising=False)
    before, noted = recorded_commits(home, release, monkeypatch, "b rotten", count=1)
    came = {came for _, came, _ in violations(noted.start, noted.events, reader, before=before)}
    assert came == {REFUSED}


def syncs(events):
    return [number for number, event in enumerate(events) if event[0].startswith("sync")]


def caught(noted, reader, number, before):
    """Whether the enumeration sees that this event is missing."""
    events = noted.events[:number] + noted.events[number + 1 :]
    return any(True for _ in violations(noted.start, events, reader, before=before))


def test_each_sync_of_a_commit_is_needed(home, release, monkeypatch, reader):
    before, noted = recorded_commits(home, release, monkeypatch, "both whole", count=1)
    kinds = [noted.events[number][0] for number in syncs(noted.events)]
    assert kinds == ["sync file", "sync folder"] * 2
    for number in syncs(noted.events):
        assert caught(noted, reader, number, before), noted.events[number]


def test_each_sync_of_provisioning_is_needed(home, monkeypatch, reader):
    noted = recorded_provisioning(home, monkeypatch)
    numbers = syncs(noted.events)
    kinds = [noted.events[number][0].removeprefix("sync ") for number in numbers]
    assert kinds == ["folder", "file", "folder", "file", "folder", "file", "folder"]
    found = [caught(noted, reader, number, None) for number in numbers]
    # The third is of the first copy's name: nothing is promised until the second's is synced in
    # the same folder. The sixth is of the marker's bytes, of which there are none.
    assert found == [True, True, False, True, True, False, True]


@pytest.mark.parametrize("name", ["folder", "file"])
def test_a_writer_that_does_not_sync_is_caught(home, release, monkeypatch, reader, name):
    """The same in the code itself: the promise hangs on what ``files`` does."""
    real = files.os.fsync

    def forgetful(descriptor):
        if files.stat.S_ISDIR(files.os.fstat(descriptor).st_mode) != (name == "folder"):
            real(descriptor)

    made = provisioned(home)
    made.commit(release(1))
    before = made.marks()
    with recording(home.folder, monkeypatch) as noted:
        noting = files.os.fsync
        real = noting
        monkeypatch.setattr(files.os, "fsync", forgetful)
        made.commit(release(3))
        noted.done(made.marks())
    assert any(True for _ in violations(noted.start, noted.events, reader, before=before))
