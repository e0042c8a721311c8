"""A device with durable floors, and releases for them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from edgesdk import floors
from fixtures_protect import NOW


@pytest.fixture
def release(world):
    """A manifest, by what the floors look at."""

    def made(sequence, *, model_id="door/person", epoch=0, created=NOW, bundle=None, needs=0):
        bundle_id = hashlib.sha256(repr(bundle or sequence).encode()).digest()
        binding = replace(
            world.packed.manifest.binding,
            model_id=model_id,
            epoch=epoch,
            sequence=sequence,
            bundle_id=bundle_id,
        )
        return replace(
            world.packed.manifest, binding=binding, created=created, min_revocation_seq=needs
        )

    return made


@pytest.fixture
def kept(home):
    """Of the folder that the test's own ``home`` names."""
    return floors.provision(home)
