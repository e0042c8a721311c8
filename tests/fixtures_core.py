"""Models for tests of the core, made once; where real models lie; which ISAs run here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import networks
from edgesdk import interpreter

ISAS = list(interpreter.machine()["isa"])
NETWORKS = {
    "mobilenet_v1": networks.mobilenet_v1,
    "mobilenet_v2": networks.mobilenet_v2,
    "resnet_8": networks.resnet_8,
    "every_operator": networks.every_operator,
}
_built: dict[str, bytes] = {}


def network(name):
    """The bytes of a network of ``NETWORKS``; built on first use."""
    if name not in _built:
        _built[name] = NETWORKS[name]()
    return _built[name]


def public_data(name):
    """A file or folder of published models and vectors; skips the test where there is none.

    ``name`` is in ``$EDGESDK_TEST_DATA``, else in ``shared`` beside the checkout.
    """
    folder = os.environ.get("EDGESDK_TEST_DATA")
    path = (Path(folder) if folder else Path(__file__).parents[2] / "shared") / name
    if not path.exists():
        pytest.skip(f"needs {name} in the folder of test data (CONTRIBUTING.md)")
    return path


@pytest.fixture(scope="session")
def tiny():
    """A network of one dense layer, softmax and a signature: quick to load, easy to follow."""
    net = networks.Network(7)
    x = net.input([1, 8], name="frame")
    y = net.softmax(net.dense(x, 4))
    return net.build(y, signature=({"frame": x}, {"scores": y}))


@pytest.fixture(scope="session")
def every_operator():
    return network("every_operator")


@pytest.fixture(scope="session", params=ISAS)
def isa(request):
    return request.param
