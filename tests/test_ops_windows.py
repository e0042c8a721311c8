"""CONV_3D and LOCAL_RESPONSE_NORMALIZATION against LiteRT's default path."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import peer
from edgesdk.errors import EdgeError, UnsupportedOperatorError
from edgesdk.interpreter import Interpreter
from networks import Network, output_size

TRIALS = 25


def conv3d_options(random):
    options = schema.Conv3DOptionsT()
    options.strideD, options.strideH, options.strideW = (int(n) for n in random.integers(1, 3, 3))
    options.dilationDFactor, options.dilationHFactor, options.dilationWFactor = (
        int(n) for n in random.integers(1, 3, 3)
    )
    options.padding = int(random.integers(2))
    options.fusedActivationFunction = int(random.integers(4))
    return options


def conv3d(random, **changes):
    net = Network(1)
    options = conv3d_options(random)
    kernel = [int(n) for n in random.integers(1, 4, 3)]
    channels, outputs = (int(n) for n in random.integers(1, 12, 2))
    shape = [int(random.integers(1, 3)), *(int(n) for n in random.integers(5, 9, 3)), channels]
    for name, value in changes.items():
        setattr(options, name, value)
    strides = (options.strideD, options.strideH, options.strideW)
    dilations = (options.dilationDFactor, options.dilationHFactor, options.dilationWFactor)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    sizes = [
        output_size(n, span, stride or 1, same=options.padding == 0)
        for n, span, stride in zip(shape[1:4], spans, strides, strict=True)
    ]
    x = net.input(shape, "float32")
    full = [*kernel, channels, outputs]
    values = peer.values(full, "float32", random)
    computed = random.random() < 0.2
    weights = net.tensor(full, "float32", data=None if computed else values)
    if computed:
        net.inputs.append(weights)
    bias = net.tensor([outputs], "float32", data=peer.values([outputs], "float32", random))
    y = net.tensor([shape[0], *sizes, outputs], "float32")
    operands = [x, weights, bias] if random.random() < 0.7 else [x, weights, -1]
    net.operator("CONV_3D", operands, [y], options, version=1)
    return net.build(y), [peer.values(shape, "float32", random), *([values] if computed else [])]


def norm(random, *, dtype="float32", rank=4, **changes):
    net = Network(1)
    shape = [int(n) for n in random.integers(1, [3, 5, 5, 20])][:rank]
    options = schema.LocalResponseNormalizationOptionsT()
    options.radius = int(random.integers(0, 12))
    options.bias = float(random.uniform(0.5, 3))
    options.alpha = float(random.uniform(0.01, 1))
    options.beta = float(random.choice([0.5, 1.0, 0.75, 0.3]))
    for name, value in changes.items():
        setattr(options, name, value)
    x = net.tensor(shape, dtype)
    net.inputs.append(x)
    y = net.tensor(shape, dtype)
    net.operator("LOCAL_RESPONSE_NORMALIZATION", [x], [y], options, version=1)
    return net.build(y), [peer.values(shape, dtype, random)]


@pytest.mark.parametrize("operator", [conv3d, norm])
def test_windows_are_near_those_of_litert(operator):
    compared = 0
    for trial in range(TRIALS):
        content, frame = operator(np.random.default_rng(trial))
        compared += peer.agrees(content, frame, why=f"trial {trial}")
    assert compared > TRIALS // 2


@pytest.mark.parametrize(
    "content",
    [
        conv3d(np.random.default_rng(1), strideD=0)[0],
        conv3d(np.random.default_rng(1), dilationDFactor=1 << 20)[0],
        conv3d(np.random.default_rng(1), padding=7)[0],
        norm(np.random.default_rng(1), rank=3)[0],
        norm(np.random.default_rng(1), radius=-1)[0],
    ],
)
def test_what_has_no_meaning_is_refused(content):
    with pytest.raises(EdgeError, match="expected"):
        Interpreter(model_content=content, engine="native").allocate_tensors()


def test_types_without_arithmetic_are_refused():
    content = norm(np.random.default_rng(1), dtype="int32")[0]
    with pytest.raises(UnsupportedOperatorError, match="expected an input of type float32"):
        Interpreter(model_content=content, engine="native")
