"""A provisioned device: a configuration folder and bundles of real networks in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import networks
from edgesdk.publish.metadata import Additions
from edgesdk.publish.pack import Release, grant, pack, sign
from fixtures_protect import NOW

EXAMPLES = Path(__file__).parents[1] / "examples"
LABELS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


@dataclass
class Provisioned:
    """Where everything of one device lies."""

    home: Path
    world: object

    def release(self, name, model, *, signer=None, device=None, where=None, issue=True, **options):
        """Pack, sign and grant a model; the bundle's path."""
        packed = pack(
            model,
            Release(model_id=f"test/{name}", model_version="1.0", sequence=1),
            created=NOW,
            generator=np.random.default_rng(5),
            **options,
        )
        bundle = sign(packed.bundle, signer or self.world.release)
        path = (where or self.home) / f"{name}.emb"
        path.write_bytes(bundle)
        if issue:
            record = device or self.world.device_record
            issued = grant(bundle, packed.content_key, record, self.world.issuer, created=NOW)
            path.with_suffix(".grant").write_bytes(issued)
        return path


@pytest.fixture
def provisioned(world, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (home / "trust.json").write_bytes(world.trust_bytes)
    world.device.save(home / "device.key")
    monkeypatch.setenv("EDGESDK_HOME", str(home))
    return Provisioned(home, world)


@pytest.fixture
def digits(provisioned):
    """The device network of the digits example, as a bundle with labels."""
    model = (EXAMPLES / "digits" / "digits_device.tflite").read_bytes()
    return provisioned.release("digits", model, additions={"output_0": Additions(labels=LABELS)})


@pytest.fixture
def two_headed(provisioned):
    """A network of two inputs and two outputs, by signature."""
    net = networks.Network(6)
    left, right = net.input([1, 6], name="left"), net.input([1, 6], name="right")
    both = net.add(left, right)
    half = net.dense(both, 3)
    model = net.build(
        both, half, signature=({"left": left, "right": right}, {"sum": both, "half": half})
    )
    return provisioned.release("two", model)
