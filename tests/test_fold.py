"""Chains of elementwise nodes, which XNNPACK makes one table of (csrc/fold.h).

Scales are powers of two, so that products fall on halves, where a square and a product round
differently. Every input byte is shown.
"""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from edgesdk.interpreter import Interpreter
from networks import NONE, RELU, RELU6, RELU_N1_TO_1, Network

GRAPHS = 400
BYTES = np.arange(-128, 128, dtype=np.int8).reshape(1, 2, 16, 8)


def square(net, x, activation):
    """Of an odd number of bits more than the product: q * q / 2**7 has halves."""
    out = net.mul(x, x, activation=activation)
    net.graph.tensors[out].quantization.scale = np.array([net.scale(x) ** 2 * 2.0**7], np.float32)
    return out


def by_number(net, x, random, activation):
    number = net.tensor(
        [1], scale=2.0**-5, zero_point=3, data=random.integers(-128, 128, 1, np.int8)
    )
    operator = net.mul if random.random() < 0.5 else net.add
    pair = (x, number) if random.random() < 0.5 else (number, x)
    out = operator(*pair, activation=activation)
    net.graph.tensors[out].quantization.scale = np.array([2.0**-5], np.float32)
    return out


def through_floats(net, x, random, activation):
    """An operator of floats, and of a number."""
    name = str(random.choice(["ADD", "SUB", "MUL", "DIV", "MAXIMUM", "SQUARED_DIFFERENCE"]))
    words = {"MAXIMUM": "MaximumMinimum", "SQUARED_DIFFERENCE": "SquaredDifference"}
    options = getattr(schema, words.get(name, name.capitalize()) + "OptionsT")()
    if hasattr(options, "fusedActivationFunction"):
        options.fusedActivationFunction = activation
    number = net.tensor([1], "float32", data=np.array([random.choice([0.5, 1, 2])], np.float32))
    y = net.tensor(net.shape(x), "float32")
    net.operator(name, [net.dequantize(x), number], [y], options, version=1)
    return net.quantize(y, scale=2.0**-5)


def minus(net, x, random, activation):
    options = schema.SubOptionsT()
    options.fusedActivationFunction = activation
    number = net.tensor(
        [1], scale=2.0**-5, zero_point=3, data=random.integers(-128, 128, 1, np.int8)
    )
    pair = [x, number] if random.random() < 0.5 else [number, x]
    return net.operator("SUB", pair, [net.tensor(net.shape(x), scale=2.0**-5)], options)


def there_and_back(net, x):
    return net.quantize(net.dequantize(x), scale=2.0**-5)


def by_floats(net, x, random):
    """An exact function of float32 between the two."""
    name = str(random.choice(["ABS", "NEG", "FLOOR", "RELU", "SQUARE"]))
    floats = net.dequantize(x)
    made = net.operator(name, [floats], [net.tensor(net.shape(x), "float32")], version=1)
    return net.quantize(made, scale=2.0**-5)


def leaky(net, x):
    options = schema.LeakyReluOptionsT()
    options.alpha = 0.25
    out = net.like(x, net.shape(x), scale=2.0**-4)
    return net.operator("LEAKY_RELU", [x], [out], options)


STEPS = {
    "square": lambda net, x, _, activation: square(net, x, activation),
    "number": by_number,
    "logistic": lambda net, x, *_: net.unary("LOGISTIC", x),
    "tanh": lambda net, x, *_: net.unary("TANH", x),
    "requantize": lambda net, x, *_: net.quantize(x, scale=2.0**-4),
    "there and back": lambda net, x, *_: there_and_back(net, x),
    "clamp": lambda net, x, _, activation: net.pool(
        x, "MAX", 1, 1, same=True, activation=activation
    ),
    "swish": lambda net, x, *_: net.mul(x, net.unary("LOGISTIC", x)),
    "floats": through_floats,
    "minus": minus,
    "relu": lambda net, x, *_: net.unary("RELU", x),
    "leaky": lambda net, x, *_: leaky(net, x),
    "elu": lambda net, x, *_: net.unary("ELU", x, version=1),
    "exact": lambda net, x, random, _: by_floats(net, x, random),
}


def grow(random):
    """A graph, and the tensors that one may ask it for."""
    net = Network(1)
    tensors = [net.input(BYTES.shape, scale=2.0**-5, zero_point=int(random.integers(-20, 20)))]
    for _ in range(int(random.integers(2, 14))):
        base = tensors[-1] if random.random() < 0.8 else int(random.choice(tensors))
        name = "square" if random.random() < 0.35 else str(random.choice(list(STEPS)))
        if net.scale(base) > 1:  # squares of squares grow without end
            name = "requantize"
        activation = int(random.choice([NONE, NONE, RELU, RELU6, RELU_N1_TO_1]))
        tensors.append(STEPS[name](net, base, random, activation))
    return net, tensors[1:]


def run(made):
    made.allocate_tensors()
    made.set_tensor(made.get_input_details()[0]["index"], BYTES)
    made.invoke()
    return [made.get_tensor(d["index"]).copy() for d in made.get_output_details()]


def count_differences(graph):
    """Of the bytes of all ends of a graph, and of some tensors between, which are asked for too."""
    random = np.random.default_rng(graph)
    net, tensors = grow(random)
    read = {int(t) for node in net.graph.operators for t in node.inputs}
    asked = [t for t in tensors if t not in read or random.random() < 0.2]
    content = net.build(*asked)
    expected = run(litert.Interpreter(model_content=content))
    came = run(Interpreter(model_content=content, engine="native"))
    return sum(int((a != b).sum()) for a, b in zip(expected, came, strict=True))


def test_chains_have_the_bits_of_litert():
    differing = {graph: count_differences(graph) for graph in range(GRAPHS)}
    assert {graph: n for graph, n in differing.items() if n} == {}


def end_of(*names, ask=()):
    """The last output of a chain of steps; ``ask`` names steps whose outputs are asked for too."""
    net, random = Network(1), np.random.default_rng(5)
    x = net.input(BYTES.shape, scale=2.0**-5, zero_point=0)
    asked = []
    for number, name in enumerate(names):
        x = STEPS[name](net, x, random, NONE)
        asked += [x] if number in ask else []
    content = net.build(*asked, x)
    expected, came = (
        run(kind(model_content=content))[-1] for kind in (litert.Interpreter, Interpreter)
    )
    assert np.array_equal(came, expected)
    return came


@pytest.mark.parametrize("before", ["requantize", "there and back", "clamp", "number"])
def test_asking_for_a_tensor_within_a_chain_changes_bits_as_it_does_in_litert(before):
    assert not np.array_equal(end_of(before, "square"), end_of(before, "square", ask=[0]))


@pytest.mark.parametrize("length", [8, 9, 10, 11, 12])
def test_a_chain_ends_after_ten_nodes(length):
    end_of(*["requantize"] * length, "square")


def test_a_chain_that_would_end_at_floats_ends_before():
    for length in range(7, 11):
        end_of(*["requantize"] * length, "there and back", "square")
