"""Durable floors: what they refuse, that they never fall, and that they fail closed."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
import struct
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesdk import canonical, floors, state
from edgesdk.errors import RollbackError, StateError
from edgesdk.files import Home
from edgesdk.floors import DurableFloors
from edgesdk.limits import FLOORS, FloorLimits
from edgesdk.state import NO_FLOORS, Accepted, Marks
from fixtures_protect import NOW

NOBODY = 65534


def refused(error, reason, call, /, *args, **kwargs):
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    assert type(caught.value) is error
    assert caught.value.reason == reason
    return caught.value


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


# ---- what they refuse


def test_an_older_release_is_refused(kept, release):
    kept.check(release(7))
    kept.commit(release(7))
    error = refused(RollbackError, "sequence", kept.check, release(6))
    assert str(error) == "expected door/person of sequence 7 or above, got 6"
    for sequence in (7, 8, 2**53 - 1):
        kept.check(release(sequence))
    kept.check(release(1, model_id="gate"))


def test_another_bundle_of_the_same_sequence_is_refused(kept, release):
    kept.commit(release(7))
    error = refused(RollbackError, "sequence", kept.check, release(7, bundle="other"))
    assert "another one of that sequence" in str(error)
    assert "--sequence" in error.hint


def test_a_later_epoch_begins_anew_and_an_older_one_is_refused(kept, release):
    """Recovery from a stolen release key that has signed the largest sequence there is."""
    kept.commit(release(2**53 - 1))
    kept.check(release(1, epoch=1))
    kept.commit(release(1, epoch=1))
    assert kept.marks().models["door/person"].sequence == 1
    error = refused(RollbackError, "epoch", kept.check, release(2**53 - 1))
    assert str(error) == "expected epoch 1 or a later one, got 0"
    refused(RollbackError, "epoch", kept.commit, release(2**53 - 1))


def test_a_release_that_needs_a_newer_revocation_list_is_refused(kept, release):
    error = refused(RollbackError, "revocation", kept.check, release(7, needs=1))
    assert "needs revocation list 0 at most, got one that needs list 1" in str(error)
    kept.raise_to(revocation=4)
    kept.check(release(7, needs=4))
    refused(RollbackError, "revocation", kept.check, release(7, needs=5))
    refused(RollbackError, "revocation", kept.check, release(7, needs=4, epoch=1))
    kept.raise_to(revocation=2)
    assert kept.marks().revocation == 4
    kept.raise_to(epoch=1, revocation=2)
    assert kept.marks() == Marks(epoch=1, revocation=2)
    kept.raise_to(epoch=0, revocation=9)
    assert kept.marks() == Marks(epoch=1, revocation=2)


def test_time_is_the_latest_that_was_signed(kept, release):
    assert kept.time(5) == 5
    kept.commit(release(7, created=NOW), signed=NOW - 1)
    assert kept.time(5) == NOW
    assert kept.time(NOW + 1) == NOW + 1
    kept.commit(release(8, created=NOW - 5))
    assert kept.time(5) == NOW
    kept.commit(release(9, created=NOW - 5), signed=NOW + 9)
    assert kept.time(5) == NOW + 9
    kept.raise_to(time=NOW + 20)
    kept.raise_to(time=NOW + 1)
    assert kept.time(NOW) == NOW + 20


def test_a_refused_commit_changes_nothing(home, kept, release):
    kept.commit(release(7))
    before = contents(home)
    for worse in (release(6), release(7, bundle="other"), release(9, needs=1)):
        with pytest.raises(RollbackError):
            kept.commit(worse)
    assert contents(home) == before


def test_floors_that_are_only_asked_do_not_move(home, kept, release):
    kept.commit(release(7))
    before = contents(home)
    asked = state.Unmoved(kept)
    assert asked.time(5) == NOW
    asked.check(release(8))
    asked.commit(release(8))
    refused(RollbackError, "sequence", asked.check, release(6))
    assert contents(home) == before


def test_a_device_has_a_bounded_number_of_models(kept, release, monkeypatch):
    monkeypatch.setattr(state, "FLOORS", FloorLimits(models=2))
    kept.commit(release(1, model_id="a"))
    kept.commit(release(1, model_id="b"))
    refused(StateError, "state", kept.commit, release(1, model_id="c"))
    kept.commit(release(2, model_id="b"))
    kept.commit(release(1, model_id="c", epoch=1))


def test_the_largest_floors_fit_the_limit_of_their_file():
    names = [f"{number:04d}{'x' * 124}" for number in range(FLOORS.models)]
    most = 2**53 - 1
    marks = Marks(most, most, most, dict.fromkeys(names, Accepted(most, bytes(32))))
    assert len(floors._encode(2**64 - 1, marks)) <= FLOORS.file_bytes
    assert floors._decode(floors._encode(2**64 - 1, marks)) == (2**64 - 1, marks)


# ---- they never fall

MODELS = st.sampled_from(["a", "b"])
SMALL = st.integers(1, 4)
OPERATIONS = st.one_of(
    st.tuples(st.just("commit"), MODELS, SMALL, st.integers(0, 2), st.integers(0, 9)),
    st.tuples(st.just("raise"), st.integers(0, 9), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("lose"), st.sampled_from("ab")),
    st.tuples(st.just("rot"), st.sampled_from("ab")),
    st.tuples(st.just("provision")),
)


def not_below(after, before):
    """Time rises; within an epoch all sequences do; an epoch is left for later ones only."""
    assert after.time >= before.time
    assert after.epoch >= before.epoch
    if after.epoch == before.epoch:
        assert after.revocation >= before.revocation
        for name, accepted in before.models.items():
            assert after.models[name].sequence >= accepted.sequence


@given(st.lists(OPERATIONS, max_size=12))
def test_floors_never_fall(operations):
    """Under any sequence of operations, accepted or not, and the loss of one copy at a time."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(folder)
        floors.provision(home)
        before = Marks()
        for operation, *values in operations:
            perform(home, operation, values)
            after = DurableFloors(home).marks()
            not_below(after, before)
            if operation in {"lose", "rot", "provision"}:
                assert after == before
            before = after


def perform(home, operation, values):
    kept = DurableFloors(home)
    if operation == "commit":
        model_id, sequence, epoch, created = values
        with_or_without_success(kept, model_id, sequence, epoch, created)
    elif operation == "raise":
        time, epoch, revocation = values
        kept.raise_to(time=time, epoch=epoch, revocation=revocation)
    elif operation == "provision":
        floors.provision(home)
    else:
        kept.raise_to()  # mends what was lost before: one copy at a time
        path = home.state / f"floors.{values[0]}"
        path.unlink() if operation == "lose" else path.write_bytes(b"x" * 60)


class Released:
    """As much of a manifest as floors look at."""

    min_revocation_seq = 0

    def __init__(self, model_id, sequence, epoch, created):
        from edgesdk.manifest import Binding

        self.binding = Binding(bytes(32), model_id, epoch, sequence)
        self.created = created


def with_or_without_success(kept, *released):
    before = kept.marks()
    manifest = Released(*released)
    try:
        kept.commit(manifest)
    except RollbackError:
        assert kept.marks() == before
        return
    after = kept.marks()
    assert after.models[manifest.binding.model_id].sequence == manifest.binding.sequence
    assert after.time >= manifest.created


# ---- provisioning, and failing closed


def contents(home):
    return {each.name: each.read_bytes() for each in home.state.iterdir()}


def test_a_folder_without_floors_has_none(home):
    assert floors.find(home) is NO_FLOORS
    assert floors.find(Home(home.folder / "absent")) is NO_FLOORS
    (home.folder / "device.key").touch()
    home.state.mkdir()
    assert floors.find(home) is NO_FLOORS


def test_a_folder_that_cannot_be_looked_into_may_have_floors(home):
    """An ordinary user on a device of another one: nobody can say what it remembers."""
    home.state.mkdir()
    home.folder.chmod(0o600)
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        refused(StateError, "state", floors.find(home).time, 5)
    finally:
        os.seteuid(was)
        home.folder.chmod(0o700)
    assert floors.find(home) is NO_FLOORS
    assert floors.find(Home(f"{home.folder}/zero\0byte")) is NO_FLOORS


def test_provisioning_makes_private_files(home, kept):
    assert isinstance(floors.find(home), DurableFloors)
    assert kept.marks() == Marks()
    assert stat.S_IMODE(home.state.stat().st_mode) == 0o700
    for path in (home.floors_required, *home.state.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_provisioning_again_keeps_what_is_there(home, kept, release):
    kept.commit(release(7))
    before = contents(home)
    floors.provision(home)
    assert contents(home) == before
    home.floors_required.unlink()
    floors.provision(home)
    assert contents(home) == before
    assert home.floors_required.exists()
    (home.state / "floors.a").write_bytes(b"rotten")
    floors.provision(home)
    assert [each.marks for each in kept.copies()] == [kept.marks()] * 2


def test_any_trace_of_provisioning_counts(home, kept, release):
    kept.commit(release(7))
    for path in (home.floors_required, home.state / "floors.a"):
        path.unlink()
    refused(RollbackError, "sequence", floors.find(home).check, release(6))


def lose(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


def flip(path):
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)


def link(path):
    path.rename(path.with_suffix(".other"))
    path.symlink_to(path.with_suffix(".other"))


def open_to_others(path):
    path.chmod(0o666)


def enlarge(path):
    os.truncate(path, FLOORS.file_bytes + 1)


DAMAGES = [lose, empty, cut, lengthen, flip, link, open_to_others, enlarge]


@pytest.mark.parametrize("damage", DAMAGES)
def test_both_copies_lost_fails_closed(home, kept, release, damage):
    kept.commit(release(7))
    for name in ("floors.a", "floors.b"):
        damage(home.state / name)
    found = floors.find(home)
    for call, *arguments in (
        (found.time, 5),
        (found.check, release(7)),
        (found.commit, release(8)),
        (found.raise_to,),
        (floors.provision, home),
    ):
        error = refused(StateError, "state", call, *arguments)
        assert "floors.a" in str(error)
        assert "floors.b" in str(error)
        assert error.hint


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["floors.a", "floors.b"])
def test_one_copy_lost_is_mended_from_the_other(home, kept, release, damage, name):
    kept.commit(release(7))
    damage(home.state / name)
    refused(RollbackError, "sequence", kept.check, release(6))
    assert [each.path.name for each in kept.copies() if each.fault] == [name]
    kept.commit(release(7))
    assert [each.marks for each in kept.copies()] == [kept.marks()] * 2
    assert kept.marks().models["door/person"].sequence == 7


@pytest.mark.parametrize("bit", range(8))
def test_every_damaged_byte_is_seen(home, kept, release, bit):
    kept.commit(release(7))
    data = (home.state / "floors.a").read_bytes()
    for offset in range(len(data)):
        spoiled = bytearray(data)
        spoiled[offset] ^= 1 << bit
        refused(StateError, "state", floors._decode, bytes(spoiled))
    for size in range(len(data)):
        refused(StateError, "state", floors._decode, data[:size])


def enclosed(body):
    head = struct.pack("<8sQI", b"EDGEFLR\x01", 3, len(body))
    return head + body + hashlib.sha256(head + body).digest()


GOOD = {"epoch": 0, "format": 1, "models": {}, "revocation": 0, "time": 0}
ENTRY = {"bundle_id": "00" * 32, "sequence": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"time": -1},
        {"epoch": True},
        {"revocation": "0"},
        {"more": 1},
        {"models": []},
        {"models": {"Door": ENTRY}},
        {"models": {"../x": ENTRY}},
        {"models": {"a": {**ENTRY, "sequence": 0}}},
        {"models": {"a": {**ENTRY, "bundle_id": "00"}}},
        {"models": {"a": {**ENTRY, "more": 1}}},
        {"models": {f"a{number}": ENTRY for number in range(1025)}},
    ],
)
def test_the_document_has_one_form(changes):
    assert floors._decode(enclosed(canonical.encode(GOOD))) == (3, Marks())
    refused(StateError, "state", floors._decode, enclosed(canonical.encode({**GOOD, **changes})))


def test_the_document_is_canonical():
    refused(StateError, "state", floors._decode, enclosed(json.dumps(GOOD).encode()))
    refused(StateError, "state", floors._decode, enclosed(b"{}"))


def test_the_bytes_are_those_of_the_page(home, kept, release):
    """docs/bundle-format.md, section 6."""
    kept.commit(release(7))
    data = (home.state / "floors.b").read_bytes()
    body = (
        '{"epoch":0,"format":1,"models":{"door/person":{"bundle_id":"'
        + release(7).binding.bundle_id.hex()
        + f'","sequence":7}}}},"revocation":0,"time":{NOW}}}'
    ).encode()
    head = b"EDGEFLR\x01" + (2).to_bytes(8, "little") + len(body).to_bytes(4, "little")
    assert data == head + body + hashlib.sha256(head + body).digest()


def test_the_newest_whole_copy_counts(home, kept, release):
    kept.commit(release(7))
    older = (home.state / "floors.a").read_bytes()
    kept.commit(release(8))
    for name, other in (("floors.a", "floors.b"), ("floors.b", "floors.a")):
        newer = (home.state / other).read_bytes()
        (home.state / name).write_bytes(older)
        assert kept.marks().models["door/person"].sequence == 8
        (home.state / name).write_bytes(newer)


# ---- disks that cannot be written


def fail(number):
    def failing(*_, **__):
        raise OSError(number, os.strerror(number))

    return failing


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("failing", [fail(n) for n in (errno.ENOSPC, errno.EIO, errno.EROFS)])
def test_floors_that_cannot_be_raised_stop_the_release(kept, release, monkeypatch, call, failing):
    kept.commit(release(7))
    before = kept.copies()
    monkeypatch.setattr(os, call, failing)
    error = refused(StateError, "state", kept.commit, release(8))
    assert "expected to raise the floors of this device, got: " in str(error)
    monkeypatch.undo()
    assert kept.copies() == before
    assert {each.name.count(".") for each in before[0].path.parent.iterdir()} == {1}


def test_a_folder_that_fails_to_sync_stops_the_release(kept, release, monkeypatch):
    real = os.fsync

    def failing(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    refused(StateError, "state", kept.commit, release(8))


def test_a_disk_that_is_full_does_not_stop_the_release_that_runs(
    kept, home, release, monkeypatch, caplog
):
    """Also when there is something to mend."""
    kept.commit(release(7))
    monkeypatch.setattr(os, "write", fail(errno.ENOSPC))
    kept.commit(release(7))
    lose(home.state / "floors.a")
    with caplog.at_level(logging.WARNING, "edgesdk.floors"):
        kept.commit(release(7))
    assert "is not mended" in caplog.text
    refused(RollbackError, "sequence", kept.check, release(6))


def test_the_release_that_runs_writes_and_locks_nothing(kept, home, release):
    kept.commit(release(7))
    lose(home.state / "floors.lock")
    before = contents(home)
    kept.commit(release(7))
    assert contents(home) == before
