"""Durable floors on the way of a model: what a provisioned device loads, and what no more."""

from __future__ import annotations

import errno
import os

import pytest

import edgesdk
from edgesdk import floors, plaintext
from edgesdk.errors import (
    ContractError,
    ExpiredError,
    KeyUnavailableError,
    RollbackError,
    StateError,
)
from edgesdk.files import Home
from edgesdk.floors import DurableFloors
from edgesdk.publish.pack import Release, grant, pack, sign
from edgesdk.session import _read_manifest
from edgesdk.state import NO_FLOORS
from fixtures_device import EXAMPLES
from fixtures_protect import NOW
from test_floors import fail, lose, refused


@pytest.fixture
def device(provisioned):
    """A provisioned device, and releases of one model for it."""
    floors.provision(Home(provisioned.home))
    model = (EXAMPLES / "digits" / "digits_device.tflite").read_bytes()

    def released(sequence, *, created=NOW, name=None, model=model, until=None, **options):
        packed = pack(
            model,
            Release("test/digits", f"1.{sequence}", sequence, **options),
            created=created,
        )
        world = provisioned.world
        bundle = sign(packed.bundle, world.release)
        path = provisioned.home / f"{name or sequence}.emb"
        path.write_bytes(bundle)
        issued = grant(
            *(bundle, packed.content_key, world.device_record, world.issuer),
            created=created,
            not_after=until,
        )
        path.with_suffix(".grant").write_bytes(issued)
        return path

    released.home = Home(provisioned.home)
    return released


def sequence_of(home):
    accepted = DurableFloors(home).marks().models.get("test/digits")
    return accepted and accepted.sequence


def test_a_device_goes_never_back(device):
    older, newer = device(1), device(2)
    for path, sequence in ((older, 1), (older, 1), (newer, 2), (newer, 2)):
        edgesdk.load(path).close()
        assert sequence_of(device.home) == sequence
    refused(RollbackError, "sequence", edgesdk.load, older)
    assert sequence_of(device.home) == 2
    edgesdk.load(newer).close()


def test_a_folder_without_floors_loads_older_releases(device):
    older, newer = device(1), device(2)
    for path in (device.home.floors_required, *device.home.state.iterdir()):
        path.unlink()
    for path in (newer, older):
        edgesdk.load(path).close()
    assert list(device.home.state.iterdir()) == []


def test_a_release_that_does_not_prove_itself_burns_nothing(device, monkeypatch):
    """Golden vectors come first: the release before it must still load."""
    older, newer = device(1), device(2)
    edgesdk.load(older).close()

    def wrong(runner, inputs):
        return [array + 1 for array in real(runner, inputs)]

    real = plaintext.infer
    monkeypatch.setattr(plaintext, "infer", wrong)
    refused(ContractError, "golden", edgesdk.load, newer)
    monkeypatch.undo()
    monkeypatch.setenv("EDGESDK_HOME", str(device.home.folder))
    assert sequence_of(device.home) == 1
    edgesdk.load(older).close()


def test_a_grant_that_is_missing_burns_nothing(device):
    older, newer = device(1), device(2)
    edgesdk.load(older).close()
    newer.with_suffix(".grant").unlink()
    with pytest.raises(KeyUnavailableError):
        edgesdk.load(newer)
    assert sequence_of(device.home) == 1


def test_a_clock_that_was_set_back_does_not_bring_a_grant_to_life(device):
    ending = device(1, until=NOW + 10)
    edgesdk.load(ending, now=NOW).close()
    later = device(2, created=NOW + 20)
    edgesdk.load(later, now=NOW).close()
    for again in (0, NOW):
        refused(RollbackError, "sequence", edgesdk.load, ending, now=again)
    ending = device(3, created=NOW, until=NOW + 10)
    refused(ExpiredError, "expired", edgesdk.load, ending, now=NOW)


def test_a_device_whose_floors_are_damaged_loads_nothing(device):
    path = device(1)
    edgesdk.load(path).close()
    for name in ("floors.a", "floors.b"):
        lose(device.home.state / name)
    refused(StateError, "state", edgesdk.load, path)
    refused(StateError, "state", edgesdk.Session, path)
    assert sorted(each.name for each in device.home.state.iterdir()) == ["floors.lock"]


def test_a_release_that_cannot_be_accepted_is_not_handed_out(device, monkeypatch):
    """And its weights are gone, also while the error is kept."""
    path = device(1)
    monkeypatch.setattr(os, "fsync", fail(errno.EIO))
    error = refused(StateError, "state", edgesdk.load, path)
    assert len(plaintext._packed) == 0
    assert error.__traceback__
    monkeypatch.undo()


def test_a_session_refuses_older_releases_as_well(device):
    older, newer = device(1), device(2)
    with edgesdk.Session(newer):
        assert sequence_of(device.home) == 2
    refused(RollbackError, "sequence", edgesdk.Session, older)


def test_a_session_that_runs_nothing_accepts_nothing(device):
    """With the cloud alone the bundle is read for its contract; it proves nothing here."""
    older, newer = device(1), device(2)
    edgesdk.load(older).close()
    assert _read_manifest(newer, device.home, None).model_id == "test/digits"
    assert sequence_of(device.home) == 1
    edgesdk.load(newer).close()
    refused(RollbackError, "sequence", _read_manifest, older, device.home, None)


def test_those_who_name_the_release_that_they_want_may_go_back(device):
    older, newer = device(1), device(2)
    edgesdk.load(newer).close()
    edgesdk.load(older, accepted=NO_FLOORS).close()
    assert sequence_of(device.home) == 2
