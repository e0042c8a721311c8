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
    ("float32", "int8", "float32"),
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
    if types[0] != "int8" or random.random() < 0.5:
        b_zero = 0
    dynamic = types[:2] == ("float32", "int8")
    if dynamic and random.random() < 0.5:
        columns = b_shape[-2 if options.adjY else -1]
        b_scale = np.exp2(random.uniform(-8, -2, columns))
    a = net.tensor(a_shape, types[0], a_scale, a_zero)
    constant = dynamic or random.random() < 0.5
    b_values = peer.values(b_shape, types[1], random)
    axis = len(b_shape) - (2 if options.adjY else 1) if np.size(b_scale) > 1 else 0
    b = net.tensor(
        b_shape, types[1], b_scale, b_zero, data=b_values if constant else None, axis=axis
    )
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


@pytest.mark.parametrize("transposed", [False, True])
def test_int16_by_columns_of_int8_takes_each_columns_scale(transposed):
    """LiteRT takes the scale for 0, and gives zeros: here the sums mean what the file says."""
    random = np.random.default_rng(1)
    net = Network(1)
    a = net.tensor([5, 40], "int16", 0.001)
    net.inputs = [a]
    scales = np.exp2(random.uniform(-8, -5, 7)).astype(np.float32)
    values = random.integers(-127, 128, [40, 7]).astype(np.int8)
    shape = [7, 40] if transposed else [40, 7]
    stored = values.T if transposed else values
    b = net.tensor(shape, "int8", scales, 0, data=stored, axis=0 if transposed else 1)
    y = net.tensor([5, 7], "int16", 0.01)
    options = schema.BatchMatMulOptionsT()
    options.adjY = transposed
    net.operator("BATCH_MATMUL", [a, b], [y], options, version=4)
    frame = [random.integers(-9000, 9000, [5, 40]).astype(np.int16)]
    came = peer.run(Interpreter(model_content=net.build(y), engine="native"), frame)[0]
    meant = (frame[0] * 0.001) @ (values * scales.astype(np.float64)) / 0.01
    assert np.max(np.abs(came - meant)) < 0.6
    assert np.max(np.abs(came)) > 100


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
