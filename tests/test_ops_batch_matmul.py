"""BATCH_MATMUL against LiteRT's default path, over random parameters."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import peer
from edgesdk.errors import EdgeError, UnsupportedOperatorError
from edgesdk.interpreter import Interpreter
from networks import Network

TRIALS = 40
TYPES = [
    ("int8", "int8", "int8"),
    ("int8", "int8", "int32"),
    ("int16", "int16", "int16"),
    ("int16", "int8", "int16"),
    ("float32", "float32", "float32"),
]


def shapes(random):
    """Two operands whose leading dimensions broadcast, as they are before any transposition."""
    rows, depth, columns = (int(n) for n in random.integers(1, [9, 40, 20]))
    lead = [int(n) for n in random.integers(1, 4, int(random.integers(0, 4)))]
    leads = [[n if random.random() < 0.7 else 1 for n in lead] for _ in range(2)]
    leads = [each[int(random.integers(0, len(each) + 1)) :] for each in leads]
    return [[*leads[0], rows, depth], [*leads[1], depth, columns]]


def product(types, random):
    """A model of one product, and its inputs."""
    net = Network(1)
    a_shape, b_shape = shapes(random)
    out = [*np.broadcast_shapes(a_shape[:-2], b_shape[:-2]), a_shape[-2], b_shape[-1]]
    depth = a_shape[-1]
    options = schema.BatchMatMulOptionsT()
    options.adjX, options.adjY = (bool(n) for n in random.integers(2, size=2))
    for shape, swapped in ((a_shape, options.adjX), (b_shape, options.adjY)):
        if swapped:
            shape[-2:] = shape[:-3:-1]
    a_scale, a_zero = peer.quantization(types[0], random)
    b_scale, b_zero = peer.quantization(types[1], random)
    if types[0] == "int16" or random.random() < 0.5:
        b_zero = 0
    a = net.tensor(a_shape, types[0], a_scale, a_zero)
    constant = random.random() < 0.5
    b_values = peer.values(b_shape, types[1], random)
    b = net.tensor(b_shape, types[1], b_scale, b_zero, data=b_values if constant else None)
    net.inputs = [a] if constant else [a, b]
    scale, zero = peer.quantization(types[2], random)
    if scale is not None:
        spread = 70.0 if types[1] == "int8" else 2.0**14
        scale = float(np.float32(a_scale * b_scale * spread * np.sqrt(depth)))
        scale *= float(random.choice([0.01, 1.0, 1.0, 1.0, 50.0]))
    y = net.tensor(out, types[2], scale, zero)
    if a_scale is not None and random.random() < 0.3:
        peer.own_kernels(net, a)
    net.operator("BATCH_MATMUL", [a, b], [y], options, version=3)
    frame = [peer.values(a_shape, types[0], random), *([] if constant else [b_values])]
    return net.build(y), frame


@pytest.mark.parametrize("types", TYPES, ids="-".join)
def test_products_have_the_bits_of_litert(types):
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([trial, len("".join(types))])
        content, frame = product(types, random)
        compared += peer.agrees(content, frame, why=f"trial {trial}")
    assert compared > TRIALS // 2


def built(a_shape=(2, 3), b_shape=(3, 4), types=("float32",) * 3, **quantization):
    net = Network(1)
    a = net.tensor(a_shape, types[0], **quantization)
    b = net.tensor(b_shape, types[1], **quantization)
    net.inputs = [a, b]
    y = net.tensor([2, 4], types[2], **quantization)
    net.operator("BATCH_MATMUL", [a, b], [y], schema.BatchMatMulOptionsT(), version=1)
    return net.build(y)


def test_without_depth_sums_are_zero():
    made = Interpreter(model_content=built((2, 0), (0, 4)), engine="native")
    frame = [np.zeros((2, 0), np.float32), np.zeros((0, 4), np.float32)]
    assert np.array_equal(peer.run(made, frame)[0], np.zeros((2, 4)))


@pytest.mark.parametrize(
    "content",
    [
        built((3,), (3, 4)),
        built((2, 3), (4, 4)),
        built((2, 2, 3), (3, 3, 4)),
        built(types=("int8",) * 3),
        built(types=("int16",) * 3, scale=0.1, zero_point=1),
    ],
)
def test_what_has_no_meaning_is_refused(content):
    with pytest.raises(EdgeError, match="expected"):
        Interpreter(model_content=content, engine="native").allocate_tensors()


@pytest.mark.parametrize("types", [("uint8",) * 3, ("int8", "float32", "float32"), ("int32",) * 3])
def test_types_without_arithmetic_are_refused(types):
    with pytest.raises(UnsupportedOperatorError, match="expected operands"):
        Interpreter(model_content=built(types=types), engine="native")
