"""Layers whose files leave shapes to be found while planning, against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

import peer
from edgesdk.errors import MalformedModelError
from edgesdk.interpreter import Interpreter
from networks import Network

SHAPE = [1, 7, 6, 8]


def convolution(kind, *, channels=8):
    """A convolution behind an ABS or a RELU, with every shape between input and output left out."""
    random = np.random.default_rng(len(kind))
    net = Network(2)
    if kind == "int8":
        x = net.input(SHAPE)
        y = net.conv(net.unary("RELU", x), 12)
        net.graph.tensors[net.graph.operators[-1].inputs[0]].shape = None
        net.graph.tensors[y].shape = None
        return net.build(y)
    x = net.input(SHAPE, "float32")
    between = net.operator("ABS", [x], [net.tensor([], "float32")], version=1)
    values = random.integers(-127, 128, (12, 3, 3, channels))
    dtype, scale = ("int8", 0.01) if kind == "dynamic" else ("float32", None)
    weights = net.tensor(values.shape, dtype, scale, data=values.astype(dtype))
    bias = net.tensor([12], "float32", data=random.normal(size=12).astype(np.float32))
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    out = net.tensor([], "float32")
    return net.build(net.operator("CONV_2D", [between, weights, bias], [out], options))


def answer(made, values):
    made.allocate_tensors()
    made.set_tensor(made.get_input_details()[0]["index"], values)
    made.invoke()
    return made.get_tensor(made.get_output_details()[0]["index"])


@pytest.mark.parametrize("kind", ["int8", "float32", "dynamic"])
def test_convolutions_of_unknown_shapes_agree(kind):
    content = convolution(kind)
    random = np.random.default_rng(1)
    for _ in range(8):
        dtype = "int8" if kind == "int8" else "float32"
        values = peer.values(SHAPE, dtype, random)
        got = answer(Interpreter(model_content=content, engine="native"), values)
        wanted = answer(litert.Interpreter(model_content=content), values)
        assert got.shape == wanted.shape == (1, 7, 6, 12)
        if kind == "int8":
            assert np.array_equal(got, wanted)
        else:
            assert np.abs(got - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_groups_are_not_guessed():
    made = Interpreter(model_content=convolution("float32", channels=4), engine="native")
    with pytest.raises(MalformedModelError, match="4"):
        made.allocate_tensors()


def test_the_size_of_a_resize_is_found_too():
    net = Network(1)
    x = net.input([1, 3, 4, 2], "float32")
    size = net.input([2], "int32")
    between = net.operator("ABS", [size], [net.tensor([], "int32")], version=1)
    options = schema.ResizeNearestNeighborOptionsT()
    out = net.tensor([1, 1, 1, 2], "float32")
    content = net.build(net.operator("RESIZE_NEAREST_NEIGHBOR", [x, between], [out], options))
    made = Interpreter(model_content=content, engine="native")
    made.allocate_tensors()
    values = np.random.default_rng(1).normal(size=(1, 3, 4, 2)).astype(np.float32)
    made.set_tensor(x, values)
    made.set_tensor(size, np.array([6, 8], np.int32))
    made.invoke()
    assert np.array_equal(made.get_tensor(out), values.repeat(2, 1).repeat(2, 2))
