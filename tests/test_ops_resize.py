"""RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR against LiteRT's default path."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import peer
from edgesdk.errors import EdgeError, UnsupportedOperatorError
from edgesdk.interpreter import Interpreter
from networks import Network

TRIALS = 40
OPTIONS = {
    "RESIZE_BILINEAR": schema.ResizeBilinearOptionsT,
    "RESIZE_NEAREST_NEIGHBOR": schema.ResizeNearestNeighborOptionsT,
}
OPERATORS = [
    *[("RESIZE_BILINEAR", t) for t in (*peer.QUANTIZED, "float32")],
    *[("RESIZE_NEAREST_NEIGHBOR", t) for t in (*peer.QUANTIZED, "float32", "int32", "bool")],
]


def resizing(name, dtype, random, *, computed):
    net = Network(1)
    shape = [int(n) for n in random.integers(1, [3, 14, 14, 20])]
    size = random.integers(1, 40, 2).astype(np.int32)
    if random.random() < 0.3:
        size = np.array([shape[1] * 2, shape[2] * 2], np.int32)
    options = OPTIONS[name]()
    options.alignCorners, options.halfPixelCenters = (
        bool(b) for b in [(0, 0), (0, 1), (1, 0)][int(random.integers(3))]
    )
    scale, zero = peer.quantization(dtype, random)
    x = net.input(shape, dtype, scale, zero)
    if scale is None:
        net.graph.tensors[x].quantization = None
    wanted = net.tensor([2], "int32", data=None if computed else size)
    if computed:
        net.inputs.append(wanted)
    y = net.tensor([shape[0], *size, shape[3]], dtype, scale, zero)
    if scale is not None and random.random() < 0.4:
        peer.own_kernels(net, x)
    net.operator(name, [x, wanted], [y], options, version=3)
    return net.build(y), [peer.values(shape, dtype, random), *([size] if computed else [])]


@pytest.mark.parametrize(("name", "dtype"), OPERATORS)
def test_resizing_has_the_bits_of_litert(name, dtype):
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([trial, len(name), len(dtype)])
        content, frame = resizing(name, dtype, random, computed=trial % 5 == 4)
        compared += peer.agrees(content, frame, why=f"trial {trial}")
    assert compared > TRIALS // 2


def built(name, *, size=(3, 3), shape=(1, 4, 4, 2), dtype="float32", size_type="int32", **flags):
    net = Network(1)
    options = OPTIONS[name]()
    for flag, value in flags.items():
        setattr(options, flag, value)
    x = net.tensor(shape, dtype)
    net.inputs.append(x)
    wanted = net.tensor([len(size)], size_type, data=np.array(size, size_type))
    y = net.tensor([1, 3, 3, 2], dtype)
    net.operator(name, [x, wanted], [y], options, version=3)
    return net.build(y)


@pytest.mark.parametrize(
    "content",
    [
        *[
            built(name, size=size)
            for name in OPTIONS
            for size in [(0, 3), (3, -1), (3,), (3, 3, 3)]
        ],
        *[built(name, shape=shape) for name in OPTIONS for shape in [(1, 0, 4, 2), (4, 4, 2)]],
        built("RESIZE_BILINEAR", alignCorners=True, halfPixelCenters=True),
        built("RESIZE_BILINEAR", size=(1 << 30, 1 << 30)),
    ],
)
def test_what_has_no_meaning_is_refused(content):
    with pytest.raises(EdgeError, match="expected"):
        Interpreter(model_content=content, engine="native").allocate_tensors()


@pytest.mark.parametrize(
    "content",
    [
        built("RESIZE_BILINEAR", dtype="int32"),
        *[built(name, size_type="int64") for name in OPTIONS],
    ],
)
def test_types_without_arithmetic_are_refused(content):
    with pytest.raises(UnsupportedOperatorError, match="expected"):
        Interpreter(model_content=content, engine="native")
