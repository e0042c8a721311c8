"""Operators with a state, each operand of which is wrong once: refused with a reason, or run.

Every dimension of every operand is changed, every operand left out, given another type, made
computed, or put in the place of another one. What the core then accepts, it runs; the sanitized
build (.ci/sanitize) sees what such a run reads and writes.
"""

from __future__ import annotations

import struct

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import recurrent
from edgesdk.errors import EdgeError, MalformedModelError
from edgesdk.interpreter import Interpreter
from networks import Network

TYPES = (
    -1, 99, schema.TensorType.FLOAT32, schema.TensorType.INT8, schema.TensorType.INT16,
    schema.TensorType.INT32, schema.TensorType.INT64, schema.TensorType.FLOAT16,
)  # fmt: skip
SIZES = (-1, 0, 1, 2, 63, 1 << 12, 2**31 - 1)


def lstm(kind, **fixed):
    def make(net, random):
        config = recurrent.lstm_config(
            kind, random, batch=2, time=3, inputs=5, cells=6, outputs=4, coupled=False,
            peephole=True, norm=True, projection=True, projection_bias=True, **fixed,
        )  # fmt: skip
        return [recurrent.lstm(net, "UNIDIRECTIONAL_SEQUENCE_LSTM", config, random)]

    return make


def basic_lstm(net, random):
    config = recurrent.lstm_config("float32", random, batch=2, inputs=5, cells=6, outputs=4)
    return [recurrent.lstm(net, "LSTM", config, random)]


def bidirectional_lstm(net, random):
    config = recurrent.lstm_config(
        "hybrid", random, batch=2, time=2, inputs=3, cells=4, outputs=4, norm=False,
        projection=False, peephole=True, coupled=False,
    )  # fmt: skip
    return recurrent.bidirectional_lstm(net, config, random, merge=True, aux="weighted")


def rnn(name, kind, **more):
    def make(net, random):
        config = recurrent.rnn_config(kind, random, batch=2, time=2, inputs=3, units=4)
        return recurrent.rnn(net, name, config, random, **more)

    return make


def svdf(kind, **fixed):
    def make(net, random):
        config = recurrent.svdf_config(
            kind, random, batch=2, inputs=3, units=4, rank=2, memory=5, bias=True, **fixed
        )
        return [recurrent.svdf(net, config, random)]

    return make


OPERATORS = {
    "LSTM float32": basic_lstm,
    "UNIDIRECTIONAL_SEQUENCE_LSTM float32": lstm("float32"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM hybrid": lstm("hybrid", asymmetric=True),
    "UNIDIRECTIONAL_SEQUENCE_LSTM int8": lstm("int8"),
    "BIDIRECTIONAL_SEQUENCE_LSTM hybrid": bidirectional_lstm,
    "RNN float32": rnn("RNN", "float32"),
    "UNIDIRECTIONAL_SEQUENCE_RNN hybrid": rnn("UNIDIRECTIONAL_SEQUENCE_RNN", "hybrid"),
    "BIDIRECTIONAL_SEQUENCE_RNN float32": rnn(
        "BIDIRECTIONAL_SEQUENCE_RNN", "float32", merge=False, aux="weighted"
    ),
    "SVDF float32": svdf("float32"),
    "SVDF hybrid": svdf("hybrid"),
    "SVDF int8": svdf("int8"),
    "SVDF int8 narrow": svdf("int8", wide=False, state_quantization=(0.02, 3)),
}


class Patched:
    """A model's bytes, in which fields are overwritten where they lie: quicker than to build it."""

    SHAPE, TYPE, BUFFER, QUANTIZATION, VARIABLE = 4, 6, 8, 12, 14  # of Tensor
    SCALE, ZERO_POINT = 8, 10  # of QuantizationParameters
    INPUTS = 6  # of Operator

    def __init__(self, net, outputs):
        net.build(*outputs)
        builder = flatbuffers.Builder(1024)
        builder.ForceDefaults(True)
        builder.Finish(net.model.Pack(builder), b"TFL3")
        self.content = bytes(builder.Output())
        graph = schema.Model.GetRootAs(self.content).Subgraphs(0)
        self.tensors = [graph.Tensors(i) for i in range(graph.TensorsLength())]
        self.node = graph.Operators(0)

    def scalar(self, tensor, field, form, value):
        table = self.tensors[tensor]._tab
        return struct.Struct(form), table.Pos + table.Offset(field), value

    def entry(self, table, field, form, i, value):
        """None: there is no such entry."""
        if not table.Offset(field) or i >= table.VectorLen(table.Offset(field)):
            return None
        packed = struct.Struct(form)
        return packed, table.Vector(table.Offset(field)) + i * packed.size, value

    def dimension(self, tensor, axis, size):
        return self.entry(self.tensors[tensor]._tab, self.SHAPE, "<i", axis, size)

    def rank(self, tensor, rank):
        """A vector's length is the word before it; what follows are then some other bytes."""
        table = self.tensors[tensor]._tab
        return struct.Struct("<I"), table.Vector(table.Offset(self.SHAPE)) - 4, rank

    def quantization(self, tensor, field, form, value):
        made = self.tensors[tensor].Quantization()
        return made and self.entry(made._tab, field, form, 0, value)

    def operand(self, i, tensor):
        return self.entry(self.node._tab, self.INPUTS, "<i", i, tensor)

    def count(self, operands):
        table = self.node._tab
        return struct.Struct("<I"), table.Vector(table.Offset(self.INPUTS)) - 4, operands

    def refused_or_run(self, change):
        """True: refused, and in words that name what was expected."""
        content = bytearray(self.content)
        packed, place, value = change
        packed.pack_into(content, place, value)
        return refused_or_run(bytes(content))


def refused_or_run(content):
    try:
        made = Interpreter(model_content=content, engine="native")
        made.allocate_tensors()
    except EdgeError as error:
        assert "expected" in str(error)
        return True
    for _ in range(2):
        for detail in made.get_input_details():
            made.set_tensor(detail["index"], np.full(detail["shape"], 1, detail["dtype"]))
        made.invoke()
    return False


def built(name):
    net = Network(1)
    outputs = OPERATORS[name](net, np.random.default_rng(1))
    return net, outputs


def operands_of(net, outputs):
    node = net.graph.operators[0]
    more = [] if node.intermediates is None else node.intermediates
    return sorted({int(t) for t in [*node.inputs, *more] if t >= 0} | set(outputs))


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operand_of_another_shape_or_type(name):
    net, outputs = built(name)
    model = Patched(net, outputs)
    refused = 0
    for t in operands_of(net, outputs):
        changes = [model.scalar(t, Patched.TYPE, "<b", kind) for kind in TYPES]
        changes += [model.dimension(t, axis, size) for axis in range(3) for size in SIZES]
        changes += [model.rank(t, rank) for rank in (0, 1, 2, 3, 4, 9)]
        changes.append(model.scalar(t, Patched.BUFFER, "<I", 0))
        changes += [model.scalar(t, Patched.VARIABLE, "<b", flag) for flag in (0, 1)]
        for change in changes:
            refused += change is not None and model.refused_or_run(change)
    assert refused > 8 * len(outputs)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operand_quantized_in_another_way(name):
    net, outputs = built(name)
    model = Patched(net, outputs)
    for t in operands_of(net, outputs):
        scales = (0.0, -1.0, float("nan"), float("inf"), 1e-40, 3e38, 1.0)
        changes = [model.quantization(t, Patched.SCALE, "<f", scale) for scale in scales]
        for zero_point in (-129, -128, 127, 1 << 40):
            changes.append(model.quantization(t, Patched.ZERO_POINT, "<q", zero_point))
        for change in changes:
            if change is not None:
                model.refused_or_run(change)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operand_left_out_or_in_anothers_place(name):
    net, outputs = built(name)
    model = Patched(net, outputs)
    kept = net.graph.operators[0].inputs
    for place in range(len(kept)):
        for other in {-1, *(int(t) for t in kept), *outputs}:
            model.refused_or_run(model.operand(place, other))
    for count in range(len(kept)):
        if model.refused_or_run(model.count(count)):
            continue
        assert "LSTM" in name, count
        assert count == 20  # the form without normalization


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_a_state_that_is_not_a_variable_is_refused(name):
    """Else an operator would write to an input, or to memory that others use."""
    net, outputs = built(name)
    states = [
        t for t in net.graph.operators[0].inputs if t >= 0 and net.graph.tensors[t].isVariable
    ]
    assert states
    for index in states:
        net.graph.tensors[index].isVariable = False
        net.inputs.append(int(index))
        with pytest.raises(MalformedModelError, match="state in a variable tensor, got one"):
            Interpreter(model_content=net.build(*outputs), engine="native")
        net.inputs.pop()
        net.graph.tensors[index].isVariable = True


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_inputs_of_other_shapes(name):
    """By resizing: what the file says stays sound."""
    net, outputs = built(name)
    content = net.build(*outputs)
    made = Interpreter(model_content=content, engine="native")
    detail = made.get_input_details()[0]
    shape = list(detail["shape"])
    wrong = [[], shape[:-1], [*shape, 1], [*shape[:-1], 99], [7, *shape[1:]], [0, *shape[1:]]]
    for each in [*wrong, shape]:
        made.resize_tensor_input(detail["index"], each)
        if each == shape:
            made.allocate_tensors()
            made.invoke()
            continue
        try:
            made.allocate_tensors()
        except EdgeError as error:
            assert "expected" in str(error)
        else:
            made.invoke()


@pytest.mark.parametrize("count", [0, 1, 4, 6, 12])
def test_an_integer_lstm_without_its_intermediates(count):
    net, outputs = built("UNIDIRECTIONAL_SEQUENCE_LSTM int8")
    node = net.graph.operators[0]
    node.intermediates = np.resize(node.intermediates, count)
    assert refused_or_run(net.build(*outputs))


@pytest.mark.parametrize("index", [-2, -1, 10_000])
def test_intermediates_outside_of_the_graph(index):
    net, outputs = built("UNIDIRECTIONAL_SEQUENCE_LSTM int8")
    net.graph.operators[0].intermediates[2] = index
    assert refused_or_run(net.build(*outputs))


@pytest.mark.parametrize("name", ["SVDF float32", "SVDF int8"])
@pytest.mark.parametrize("rank", [-(2**31), -1, 0, 3, 9, 2**31 - 1])
def test_a_rank_that_does_not_divide_the_filters(name, rank):
    net, outputs = built(name)
    net.graph.operators[0].builtinOptions.rank = rank
    assert refused_or_run(net.build(*outputs))


@pytest.mark.parametrize("clip", [-1.0, float("nan"), float("-inf")])
@pytest.mark.parametrize("field", ["cellClip", "projClip"])
def test_clips_below_zero(field, clip):
    net, outputs = built("UNIDIRECTIONAL_SEQUENCE_LSTM float32")
    setattr(net.graph.operators[0].builtinOptions, field, clip)
    assert refused_or_run(net.build(*outputs))


@pytest.mark.parametrize("name", sorted(OPERATORS))
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 3e38, 1e-45])
def test_odd_floats_run(name, value):
    net, outputs = built(name)
    made = Interpreter(model_content=net.build(*outputs), engine="native")
    made.allocate_tensors()
    for detail in made.get_input_details():
        if detail["dtype"] is np.float32:
            made.set_tensor(detail["index"], np.full(detail["shape"], value, np.float32))
    for _ in range(2):
        made.invoke()
