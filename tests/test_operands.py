"""Operands where one does not expect them: constants as data, biases of odd shapes or computed."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from edgesdk.interpreter import Interpreter
from networks import Network
from test_numerics import OPERATORS, entries, outputs, values_for

TRIALS = 12


def differences(content, seed=0):
    """How many elements differ from LiteRT's; None: LiteRT refuses the model."""
    try:
        reference = litert.Interpreter(model_content=content)
        reference.allocate_tensors()
    except (ValueError, RuntimeError):
        return None
    made = Interpreter(model_content=content, engine="native")
    made.allocate_tensors()
    random = np.random.default_rng(seed)
    frame = [values_for(detail, random) for detail in reference.get_input_details()]
    (expected,), (came,) = outputs(reference, frame), outputs(made, frame)
    assert came.shape == expected.shape
    return int((came != expected).sum())


def make_constant(net, tensor, random):
    """What was an input of the graph becomes a constant."""
    made = net.graph.tensors[tensor]
    buffer = schema.BufferT()
    values = entries(net.shape(tensor), random)
    if made.type == schema.TensorType.FLOAT32:
        values = values.astype(np.float32) / 16
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    net.model.buffers.append(buffer)
    made.buffer = len(net.model.buffers) - 1


def quantized(net, x):
    """The same as int8."""
    if net.graph.tensors[x].type == schema.TensorType.INT8:
        return x
    y = net.tensor(net.shape(x), scale=0.03, zero_point=1)
    return net.operator("QUANTIZE", [x], [y], schema.QuantizeOptionsT())


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_constants_as_data_give_the_bits_of_litert(name):
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([trial, sum(name.encode())])
        net = Network(int(random.integers(2**31)))
        out = OPERATORS[name](net, random)
        for tensor in net.inputs:
            make_constant(net, tensor, random)
        net.inputs.clear()
        out = quantized(net, out)
        x = net.input(net.shape(out), scale=net.scale(out), zero_point=net.zero_point(out))
        found = differences(net.build(net.add(x, out)), trial)
        assert found in {0, None}, trial
        compared += found is not None
    assert compared > TRIALS // 3


@pytest.mark.parametrize("kind", ["conv", "dense"])
@pytest.mark.parametrize(("shape", "axis"), [([1, 16], 1), ([16, 1], 0), ([1, 1, 16], 2)])
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_bias_of_another_rank_gives_the_bits_of_litert(kind, shape, axis, per_channel):
    net = Network(axis)
    if kind == "conv":
        y = net.conv(net.input([3, 40, 40, 16]), 16, per_channel=per_channel)
    else:
        y = net.dense(net.input([3000, 16]), 16, per_channel=per_channel)
    bias = net.graph.tensors[net.graph.operators[-1].inputs[2]]
    bias.shape = np.array(shape, np.int32)
    bias.quantization.quantizedDimension = axis if per_channel else 0
    assert differences(net.build(y)) == 0


def test_an_int8_constant_is_dequantized_as_litert_unpacks_it():
    for trial in range(40):
        random = np.random.default_rng(trial)
        net = Network(trial)
        values = np.arange(-128, 128).astype(np.int8)
        scale = float(np.float32(random.uniform(0.01, 2)))
        k = net.tensor([1, 256], scale=scale, zero_point=int(random.integers(-9, 9)), data=values)
        y = net.tensor([1, 256], "float32")
        net.operator("DEQUANTIZE", [k], [y], schema.DequantizeOptionsT())
        q = net.tensor([1, 256], scale=scale * float(random.choice([0.5, 2, 4])), zero_point=1)
        net.operator("QUANTIZE", [y], [q], schema.QuantizeOptionsT())
        x = net.input([1, 256], scale=net.scale(q))
        assert differences(net.build(net.add(x, q))) == 0, trial
