"""Durable floors, raised by several threads and processes at once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading

import pytest

from edgesdk import files, floors
from edgesdk.errors import RollbackError, StateError
from edgesdk.files import Home
from edgesdk.floors import DurableFloors
from edgesdk.limits import FloorLimits
from test_floors import refused


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def test_a_lock_that_stays_taken_ends_in_an_error(kept, home, release, monkeypatch):
    monkeypatch.setattr(floors, "FLOORS", FloorLimits(lock_seconds=0.0))
    descriptor = os.open(home.state / "floors.lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    refused(StateError, "state", kept.commit, release(7))
    os.close(descriptor)
    kept.commit(release(7))


def test_a_later_release_that_was_accepted_meanwhile_counts(kept, home, release, monkeypatch):
    """Both were checked before either was accepted."""
    kept.check(release(7))
    kept.check(release(8))
    locked = files.locked

    def late(path, **options):
        monkeypatch.setattr(files, "locked", locked)
        DurableFloors(home).commit(release(8))
        return locked(path, **options)

    monkeypatch.setattr(files, "locked", late)
    refused(RollbackError, "sequence", kept.commit, release(7))
    assert kept.marks().models["door/person"].sequence == 8


def test_a_release_that_was_accepted_meanwhile_is_not_written_again(
    kept, home, release, monkeypatch
):
    locked = files.locked

    def late(path, **options):
        monkeypatch.setattr(files, "locked", locked)
        DurableFloors(home).commit(release(8))
        return locked(path, **options)

    monkeypatch.setattr(files, "locked", late)
    kept.commit(release(8))
    assert [each.generation for each in kept.copies()] == [2, 2]


def test_threads_lose_nothing(kept, release, monkeypatch):
    monkeypatch.setattr(floors, "FLOORS", FloorLimits(lock_seconds=120))  # disks may be slow

    def commit(name):
        for sequence in range(1, 11):
            kept.commit(release(sequence, model_id=name))

    threads = [threading.Thread(target=commit, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: a.sequence for n, a in kept.marks().models.items()} == dict.fromkeys("abcd", 10)


RAISES = """
import sys
from edgesdk import floors
from edgesdk.files import Home
from edgesdk.files import Home
from edgesdk.floors import DurableFloors
from edgesdk.limits import FloorLimits
from edgesdk.manifest import Binding

floors.FLOORS = FloorLimits(lock_seconds=120)  # disks may be slow

class Released:
    min_revocation_seq = created = 0

kept, name = DurableFloors(Home(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for sequence in range(1, 41):
    for model in (name, f"{name}/{sequence}"):
        manifest = Released()
        manifest.binding = Binding(bytes(32), model, 0, sequence)
        kept.commit(manifest)
    assert kept.marks().models[name].sequence == sequence
"""


def test_processes_lose_nothing(home, kept):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RAISES, str(home.folder), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in ("left", "right")
    ]
    for process in started:
        assert process.stdout.readline() == b"ready\n"
    for process in started:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in started:
        with process:
            process.communicate()
        assert process.returncode == 0
    models = kept.marks().models
    assert len(models) == 82
    for name in ("left", "right"):
        assert models[name].sequence == 40
        assert all(models[f"{name}/{each}"].sequence == each for each in range(1, 41))
    generations = [each.generation for each in kept.copies()]
    assert generations == [161, 161]  # one of provisioning, one of each commit: none was lost
