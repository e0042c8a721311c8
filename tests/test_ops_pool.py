"""Pooling against LiteRT's default path, over random parameters."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import peer
from edgesdk.errors import EdgeError, UnsupportedOperatorError
from edgesdk.interpreter import Interpreter
from networks import Network, output_size

TRIALS = 30
OPERATORS = [
    *[(n, t) for n in ("AVERAGE_POOL_2D", "MAX_POOL_2D") for t in (*peer.QUANTIZED, "float32")],
    ("L2_POOL_2D", "float32"),
]


def pooling(name, dtype, random):
    net = Network(1)
    batch, height, width, channels = (int(n) for n in random.integers(1, [3, 14, 14, 40]))
    options = schema.Pool2DOptionsT()
    options.filterHeight = int(random.integers(1, height + 1))
    options.filterWidth = int(random.integers(1, width + 1))
    options.strideH, options.strideW = (int(n) for n in random.integers(1, 4, 2))
    options.padding = int(random.integers(2))
    options.fusedActivationFunction = int(random.integers(4))
    scale, zero = peer.quantization(dtype, random)
    x = net.input([batch, height, width, channels], dtype, scale, zero)
    sizes = (
        (height, options.filterHeight, options.strideH),
        (width, options.filterWidth, options.strideW),
    )
    size = [output_size(*each, same=options.padding == 0) for each in sizes]
    y = net.tensor([batch, *size, channels], dtype, scale, zero)
    if scale is not None and random.random() < 0.4:
        peer.own_kernels(net, x)
    net.operator(name, [x], [y], options, version=1 if name == "L2_POOL_2D" else 2)
    return net.build(y), [peer.values([batch, height, width, channels], dtype, random)]


@pytest.mark.parametrize(("name", "dtype"), OPERATORS)
def test_pooling_has_the_bits_of_litert(name, dtype):
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([trial, len(name), len(dtype)])
        content, frame = pooling(name, dtype, random)
        compared += peer.agrees(content, frame, why=f"trial {trial}")
    assert compared > TRIALS // 2


def built(name, dtype, **changes):
    net = Network(1)
    options = schema.Pool2DOptionsT()
    options.filterHeight = options.filterWidth = options.strideH = options.strideW = 2
    for field, value in changes.items():
        setattr(options, field, value)
    x = net.input([1, 4, 4, 3], dtype, 0.1, 0)
    y = net.tensor([1, 2, 2, 3], dtype, None if dtype == "float32" else 0.1, 0)
    net.operator(name, [x], [y], options, version=1)
    return net.build(y)


@pytest.mark.parametrize("field", ["filterHeight", "filterWidth", "strideH", "strideW"])
@pytest.mark.parametrize("value", [0, -1, 1 << 20])
def test_windows_without_meaning_are_refused(field, value):
    with pytest.raises(EdgeError, match="expected"):
        Interpreter(
            model_content=built("MAX_POOL_2D", "float32", **{field: value}), engine="native"
        )


@pytest.mark.parametrize(
    ("name", "dtype"), [("L2_POOL_2D", "int8"), ("MAX_POOL_2D", "int32"), ("MAX_POOL_2D", "bool")]
)
def test_types_without_arithmetic_are_refused(name, dtype):
    with pytest.raises(UnsupportedOperatorError, match="expected an input of"):
        Interpreter(model_content=built(name, dtype), engine="native")
