"""Hostile .tflite bytes: each is refused with one clear error, or runs; nothing else happens."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

import networks
from edgesdk.errors import (
    EdgeError,
    MalformedModelError,
    ResourceError,
    UnsupportedOperatorError,
)
from edgesdk.interpreter import Interpreter
from edgesdk.limits import ModelLimits
from fixtures_core import network, public_data
from networks import Network

# A changed dimension makes a huge network that is sound and slow: not what is tested here.
LIMITS = ModelLimits(tensor_bytes=2**20, arena_bytes=2**22)


def try_to_run(content):
    """Loads, allocates and runs once; True if it went through, and nothing but our errors else."""
    try:
        made = Interpreter(model_content=content, limits=LIMITS, engine="native")
        made.allocate_tensors()
        made.invoke()
        for detail in made.get_output_details():
            made.get_tensor(detail["index"])
    except EdgeError as error:
        assert "expected" in str(error), str(error)
        return False
    return True


def small():
    net = Network(1)
    x = net.input([1, 6, 6, 3])
    y = net.conv(x, 4, 3)
    return net, net.reshape(net.mean(y), [4, 1])


# ---- structure: one fault each, in a file that is otherwise sound

FAULTS = {}


def fault(kind, pattern):
    def register(function):
        FAULTS[function.__name__] = (function, kind, pattern)
        return function

    return register


def conv_of(net):
    return net.graph.operators[0]


def replace_input(net, place, index):
    inputs = np.array(conv_of(net).inputs)
    inputs[place] = index
    conv_of(net).inputs = inputs


@fault(MalformedModelError, r"inputs of subgraph 0: expected tensor indices in 0 \.\.\. ")
def graph_input_too_high(net):
    net.inputs = [999]


@fault(MalformedModelError, "got -1")
def graph_input_negative(net):
    net.inputs = [-1]


@fault(MalformedModelError, "which is a constant")
def graph_input_is_constant(net):
    net.inputs = [int(conv_of(net).inputs[1])]


@fault(MalformedModelError, "operator 0: expected tensor indices")
def operator_input_too_high(net):
    replace_input(net, 0, 99_999)


@fault(MalformedModelError, "got -2147483648")
def operator_input_least(net):
    replace_input(net, 0, -(2**31))


@fault(MalformedModelError, "expected input 0 to be there")
def operator_input_absent(net):
    replace_input(net, 0, -1)


@fault(MalformedModelError, "operator 0: expected tensor indices")
def operator_output_absent(net):
    conv_of(net).outputs = np.array([-1], np.int32)


@fault(MalformedModelError, r"expected 2 \.\.\. 3 inputs, got 0")
def operator_without_inputs(net):
    conv_of(net).inputs = None


@fault(MalformedModelError, "expected 1 output, got 0")
def operator_without_outputs(net):
    conv_of(net).outputs = None
    net.graph.operators = net.graph.operators[:1]
    net.outputs = [0]


@fault(MalformedModelError, "expected inputs that are written before")
def operator_reads_its_own_output(net):
    replace_input(net, 0, int(conv_of(net).outputs[0]))


@fault(MalformedModelError, "expected inputs that are written before")
def operators_reversed(net):
    net.graph.operators.reverse()


@fault(MalformedModelError, "expected outputs that nothing else provides")
def two_writers(net):
    net.graph.operators.append(net.graph.operators[0])


@fault(MalformedModelError, "a constant or a variable")
def writes_a_constant(net):
    conv_of(net).outputs = np.array([int(conv_of(net).inputs[1])], np.int32)


@fault(MalformedModelError, "graph output 0: expected a tensor that some operator writes")
def output_that_nothing_writes(net):
    net.outputs = [net.tensor([1, 4], scale=0.1)]


@fault(MalformedModelError, "expected 1 or more tensors, got 0")
def no_tensors(net):
    net.graph.tensors = []


@fault(MalformedModelError, "expected a buffer index below")
def buffer_index_too_high(net):
    net.graph.tensors[int(conv_of(net).inputs[1])].buffer = 2**32 - 1


@fault(MalformedModelError, r"expected 108 bytes of int8 in buffer \d+, got 107")
def buffer_one_byte_short(net):
    buffer = net.model.buffers[net.graph.tensors[int(conv_of(net).inputs[1])].buffer]
    buffer.data = np.array(buffer.data)[:-1]


@fault(MalformedModelError, r"expected 108 bytes of int8 in buffer \d+, got 124")
def buffer_longer_than_padded(net):
    buffer = net.model.buffers[net.graph.tensors[int(conv_of(net).inputs[1])].buffer]
    buffer.data = np.append(np.array(buffer.data), [1] * 16).astype(np.uint8)


def external(offset, size):
    def change(net):
        buffer = net.model.buffers[net.graph.tensors[int(conv_of(net).inputs[1])].buffer]
        buffer.data, buffer.offset, buffer.size = None, offset, size

    return change


for label, where, length in (
    ("past_the_end", 2**40, 64),
    ("wrapping", 2**64 - 16, 64),
    ("huge", 16, 2**62),
):
    FAULTS[f"external_data_{label}"] = (
        external(where, length),
        MalformedModelError,
        "external data",
    )


@fault(MalformedModelError, "shape entries of at least 0, got -1")
def negative_dimension(net):
    net.graph.tensors[net.inputs[0]].shape = np.array([1, -1, 6, 3], np.int32)


@fault(ResourceError, "a shape for more")
def dimensions_beyond_64_bits(net):
    net.graph.tensors[net.inputs[0]].shape = np.array([2**31 - 1] * 4, np.int32)


@fault(ResourceError, "a shape for more")
def dimensions_that_wrap_to_little(net):
    net.graph.tensors[net.inputs[0]].shape = np.array([65536] * 4, np.int32)


@fault(UnsupportedOperatorError, "rank at most 8, got 40")
def rank_40(net):
    net.graph.tensors[net.inputs[0]].shape = np.ones(40, np.int32)


@fault(MalformedModelError, "shape signature of rank 4, got 2")
def signature_of_another_rank(net):
    net.graph.tensors[net.inputs[0]].shapeSignature = np.array([-1, -1], np.int32)


@fault(UnsupportedOperatorError, "expected a type in 0")
def unknown_type(net):
    net.graph.tensors[net.inputs[0]].type = 127


@fault(UnsupportedOperatorError, "an input of type int8, got string")
def string_input(net):
    net.graph.tensors[net.inputs[0]].type = schema.TensorType.STRING


@fault(MalformedModelError, "expected as many zero points as scales")
def more_scales_than_zero_points(net):
    quant = net.graph.tensors[int(conv_of(net).inputs[1])].quantization
    quant.zeroPoint = np.zeros(1, np.int64)


@fault(MalformedModelError, r"quantized dimension in 0 \.\.\. 3, got 9")
def quantized_dimension_9(net):
    net.graph.tensors[int(conv_of(net).inputs[1])].quantization.quantizedDimension = 9


@fault(MalformedModelError, "expected 4 scales for dimension 0, got 10000")
def ten_thousand_scales(net):
    quant = net.graph.tensors[int(conv_of(net).inputs[1])].quantization
    quant.scale, quant.zeroPoint = np.full(10_000, 0.1, np.float32), np.zeros(10_000, np.int64)


@fault(UnsupportedOperatorError, "zero points of 0, got 7")
def weights_with_zero_points(net):
    quant = net.graph.tensors[int(conv_of(net).inputs[1])].quantization
    quant.zeroPoint = np.full(4, 7, np.int64)


@fault(MalformedModelError, "expected a bias of 4 elements")
def bias_of_another_length(net):
    bias = net.graph.tensors[int(conv_of(net).inputs[2])]
    bias.shape, bias.quantization = np.array([3], np.int32), None
    buffer = net.model.buffers[bias.buffer]
    buffer.data = np.array(buffer.data)[:12]


@fault(MalformedModelError, "expected an operator code below")
def operator_code_too_high(net):
    conv_of(net).opcodeIndex = 1000


@fault(UnsupportedOperatorError, "an unknown one")
def operator_250(net):
    net.model.operatorCodes[0].builtinCode = 250


@fault(MalformedModelError, "operator code of at least 0, got -5")
def operator_code_negative(net):
    code = net.model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = -5


@fault(UnsupportedOperatorError, r"version in 1 \.\.\. 8, got 99")
def version_99(net):
    net.model.operatorCodes[0].version = 99


@fault(UnsupportedOperatorError, r"custom operator a\?\[2J\?b")
def custom_operator_that_writes_to_the_terminal(net):
    code = net.model.operatorCodes[0]
    code.builtinCode, code.customCode = 32, b"a\x1b[2J b"


@fault(MalformedModelError, "expected options of kind 1, got 2")
def options_of_another_operator(net):
    conv_of(net).builtinOptionsType = 2
    conv_of(net).builtinOptions = schema.DepthwiseConv2DOptionsT()


@fault(MalformedModelError, r"horizontal stride in 1 \.\.\. 32768, got 0")
def stride_zero(net):
    conv_of(net).builtinOptions.strideW = 0


@fault(MalformedModelError, "got -2147483648")
def dilation_least(net):
    conv_of(net).builtinOptions.dilationHFactor = -(2**31)


@fault(MalformedModelError, "padding SAME or VALID")
def padding_9(net):
    conv_of(net).builtinOptions.padding = 9


@fault(MalformedModelError, r"axes in -4 \.\.\. 3, got 4")
def axis_beyond_the_rank(net):
    axes = net.graph.tensors[int(net.graph.operators[1].inputs[1])]
    net.model.buffers[axes.buffer].data = np.array([1, 4], np.int32).view(np.uint8)


@fault(MalformedModelError, "expected a shape for 4 elements, got one for 5")
def reshape_to_more(net):
    shape = net.graph.tensors[int(net.graph.operators[2].inputs[1])]
    net.model.buffers[shape.buffer].data = np.array([5, 1], np.int32).view(np.uint8)


@fault(MalformedModelError, "expected a shape for 4 elements")
def reshape_with_two_open_dimensions(net):
    shape = net.graph.tensors[int(net.graph.operators[2].inputs[1])]
    net.model.buffers[shape.buffer].data = np.array([-1, -1], np.int32).view(np.uint8)


@fault(MalformedModelError, "schema version 3, got 4")
def schema_version_4(net):
    net.model.version = 4


@fault(MalformedModelError, r"expected 1 \.\.\. 1024 subgraphs, got 0")
def no_subgraphs(net):
    net.model.subgraphs = []


@fault(MalformedModelError, r"expected 1 \.\.\. 1024 subgraphs, got 0")
def no_list_of_subgraphs(net):
    net.model.subgraphs = None


def softmax_with(beta):
    def change(net):
        options = schema.SoftmaxOptionsT()
        options.beta = beta
        y = net.tensor([1, 4], "float32")
        net.operator("SOFTMAX", [net.input([1, 4], "float32")], [y], options, version=1)

    return change


for beta, text in ((0.0, "0"), (-1.0, "-1"), (float("nan"), "nan")):
    FAULTS[f"softmax_beta_{text}"] = (
        softmax_with(beta),
        MalformedModelError,
        rf"\(SOFTMAX v1\): expected a beta that is finite and above 0, got {text}$",
    )


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_fault_is_named(name):
    change, kind, pattern = FAULTS[name]
    net, out = small()
    net.outputs = [out]
    change(net)
    with pytest.raises(kind, match=pattern):
        Interpreter(model_content=net.build(*net.outputs), engine="native").allocate_tensors()


def test_the_model_without_a_fault_runs():
    net, out = small()
    assert try_to_run(net.build(out))


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        (np.nan, "nan"),
        (-np.inf, "-inf"),
        (0, "0"),
        (-0.5, "-0.5"),
        (-100, "-100"),
        (-999999.9, "-1e6"),
        (-123456, "-123456"),
        (-0.00012345, "-0.00012345"),
        (-1.5e-30, "-1.5e-30"),
        (-1.2345678e20, "-1.23457e20"),
    ],
)
def test_messages_tell_real_numbers(scale, text):
    net, out = small()
    weights = net.graph.tensors[int(conv_of(net).inputs[1])]
    weights.quantization.scale[0] = scale
    with pytest.raises(MalformedModelError, match=f"above 0, got {text}( |$)"):
        Interpreter(model_content=net.build(out), engine="native")


def test_odd_but_sound_models_run():
    net, out = small()
    twice = net.build(out, out)
    assert try_to_run(twice)
    assert try_to_run(net.build(out) + b"label files may follow the flatbuffer")
    net, out = small()
    padded = net.model.buffers[net.graph.tensors[int(conv_of(net).inputs[1])].buffer]
    padded.data = np.append(np.array(padded.data), [1] * 15).astype(np.uint8)
    assert try_to_run(net.build(out))


def test_constants_may_lie_outside_of_the_flatbuffer():
    net, out = small()
    plain = net.build(out)
    buffer = net.model.buffers[net.graph.tensors[int(conv_of(net).inputs[1])].buffer]
    data, buffer.data = bytes(buffer.data), None
    buffer.offset, buffer.size = 2**32, len(data)
    content = bytearray(net.build(out))
    at = content.index(struct.pack("<Q", 2**32))
    struct.pack_into("<Q", content, at, len(content))
    runs = []
    for model in (plain, bytes(content) + data):
        made = Interpreter(model_content=model, engine="native")
        made.allocate_tensors()
        made.set_tensor(net.inputs[0], np.full((1, 6, 6, 3), 9, np.int8))
        made.invoke()
        runs.append(made.get_tensor(out))
    assert np.array_equal(*runs)


@pytest.mark.parametrize("resized", ["weights", "bias"])
def test_computed_operands_of_a_dense_layer_keep_their_shape(resized):
    net = Network(1)
    x = net.input([1, 8])
    weights = net.input([4, 8], scale=0.02)
    bias = net.input([4], "int32", scale=0.001, zero_point=0)
    y = net.tensor([1, 4], scale=0.3)
    net.operator("FULLY_CONNECTED", [x, weights, bias], [y], schema.FullyConnectedOptionsT())
    content = net.build(y)
    assert try_to_run(content)
    made = Interpreter(model_content=content, engine="native")
    made.resize_tensor_input(*{"weights": (weights, [1, 8]), "bias": (bias, [1])}[resized])
    with pytest.raises(MalformedModelError, match="to have the shape in the file"):
        made.allocate_tensors()


def test_an_empty_tensor_that_was_read_is_not_written_afterwards():
    """What reads it was planned for no elements, and would run over those that come later."""
    net = Network(1)
    x = net.input([1, 64])
    late = net.like(x, [0])
    first = net.pad(late, [(1, 2)])
    second = net.operator("RESHAPE", [x, net.tensor([1], "int32", data=np.array([64], np.int32))],
                          [late], schema.ReshapeOptionsT())  # fmt: skip
    with pytest.raises(MalformedModelError, match="outputs that nothing else provides"):
        Interpreter(model_content=net.build(first, second), engine="native")


def test_dimensions_of_zero_hide_no_others():
    """An empty tensor whose other dimensions overflow any product."""
    huge = 2**31 - 1
    for shape, order in (
        ([0, huge, huge, huge], [1, 2, 3, 0]),
        ([huge, huge, 0, huge], [0, 1, 3, 2]),
    ):
        net = Network(1)
        x = net.input(shape)
        y = net.transpose(x, order)
        with pytest.raises(ResourceError, match="a shape for more"):
            Interpreter(model_content=net.build(y), engine="native")
    net = Network(1)
    x = net.input([0, 1, 1, 1])
    made = Interpreter(model_content=net.build(net.transpose(x, [1, 2, 3, 0])))
    with pytest.raises(ResourceError, match="at most 2147483647 bytes"):
        made.resize_tensor_input(x, [0, huge, huge, huge])
    made.resize_tensor_input(x, [0, 3, 5, 7])
    made.allocate_tensors()
    made.invoke()
    assert made.get_tensor(made.output_indices[0]).shape == (3, 5, 7, 0)


def test_limits_beyond_int32_are_cut():
    net = Network(1)
    x = net.input([1, 8])
    content = net.build(net.reshape(x, [8]))
    wide = ModelLimits(tensor_bytes=2**63, arena_bytes=2**63, packed_bytes=2**63)
    made = Interpreter(model_content=content, limits=wide, engine="native")
    with pytest.raises(ResourceError, match="at most 2147483647 bytes"):
        made.resize_tensor_input(x, [2**20, 2**20])


def test_lists_of_tensors_are_bounded_in_all():
    """Each list is allowed; a file that names one list often would make gigabytes of it."""
    net = Network(1)
    x = net.input([1, 1])
    options = schema.ConcatenationOptionsT()
    options.axis = 1
    out = x
    for _ in range(300):
        out = net.operator("CONCATENATION", [out] + [x] * 4000, [net.like(x, [1, 1])], options)
    with pytest.raises(ResourceError, match="lists of at most 1048576 tensors in all"):
        Interpreter(model_content=net.build(out), engine="native")


def test_a_plan_is_within_the_limit_of_the_arena():
    """Windows dilated to a hundred million cells: small to store, and never to be filled."""
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME
    options.strideW = options.strideH = 1
    options.dilationWFactor = 2**15
    net = Network(1)
    x = net.input([1, 1, 2, 1])
    weights = net.tensor([1, 1, 4000, 1], scale=0.1, data=np.zeros(4000, np.int8))
    ends = []
    for _ in range(40):
        ends.append(net.like(x, [1, 1, 2, 1]))
        net.operator("CONV_2D", [x, weights, -1], ends[-1:], options)
    made = Interpreter(model_content=net.build(*ends), limits=LIMITS, engine="native")
    with pytest.raises(ResourceError, match="scratch of at most 4194304 bytes for each thread"):
        made.allocate_tensors()
    # Within the scratch, one after the other: what stays of each is small.
    options.dilationWFactor = 400
    made = Interpreter(
        model_content=net.build(*ends), limits=ModelLimits(arena_bytes=2**22), engine="native"
    )
    made.allocate_tensors()
    made.invoke()


def test_empty_tensors_take_no_time():
    net = Network(1)
    x = net.input([2**16, 2**14, 0])
    options = schema.ConcatenationOptionsT()
    options.axis = 2
    a = net.transpose(x, [2, 1, 0])
    b = net.pad(x, [(0, 0)] * 3)
    c = net.operator("CONCATENATION", [x] * 500, [net.like(x, [2**16, 2**14, 0])], options)
    made = Interpreter(model_content=net.build(a, b, c), engine="native")
    made.allocate_tensors()
    begun = time.process_time()
    made.invoke()
    assert time.process_time() - begun < 1


@pytest.mark.slow
def test_planning_many_tensors_takes_no_minutes():
    """As many as the limits allow, all alive at once, and as many pieces of scratch."""
    net = Network(1)
    x = net.input([1, 1, 1, 1])
    ends = []
    while len(net.graph.operators) < 64_000:
        made = [net.pool(x, "AVERAGE", 1, 1) for _ in range(4000)]
        options = schema.ConcatenationOptionsT()
        options.axis = 3
        ends.append((made, net.like(x, [1, 1, 1, 4000])))
    for made, end in ends:
        net.operator("CONCATENATION", made, [end], options)
    made = Interpreter(model_content=net.build(*[end for _, end in ends]), engine="native")
    begun = time.process_time()
    made.allocate_tensors()
    assert time.process_time() - begun < 2
    made.invoke()


def test_axes_are_bounded():
    net = Network(1)
    x = net.input([1, 6, 6, 3])
    assert try_to_run(net.build(net.mean(x, (1, 2) * 32)))
    with pytest.raises(ResourceError, match="at most 64 axes, got 66"):
        Interpreter(model_content=net.build(net.mean(x, (1, 2) * 33)))


def test_many_tensors_may_not_multiply_one_long_list():
    """A file of a few kilobytes that makes thousands of tables share one long name."""
    net, out = small()
    content = bytearray(net.build(out))
    # The names' lengths are what a reader would copy: make one of them enormous.
    at = content.index(b"\x02\0\0\0t0")
    struct.pack_into("<I", content, at, 2**31 - 1)
    assert not try_to_run(bytes(content))


# ---- bytes


@pytest.mark.parametrize("name", ["every_operator", "resnet_8"])
def test_truncation_anywhere(name):
    content = network(name)
    for length in range(0, len(content), 61):
        assert not try_to_run(content[:length]) or length > len(content) * 0.9


def test_every_byte_of_a_small_file_set_to_extremes():
    net, out = small()
    content = net.build(out)
    ran = 0
    for at in range(len(content)):
        for value in (0, 0x7F, 0x80, 0xFF):
            changed = bytearray(content)
            changed[at] = value
            ran += try_to_run(bytes(changed))
    assert ran > 0


@settings(max_examples=300)
@given(st.data())
def test_random_changes(data):
    content = bytearray(network("every_operator"))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 4))
        word = data.draw(st.sampled_from([0, 1, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
        if data.draw(st.booleans()):
            struct.pack_into("<I", content, at, word)
        else:
            content[at] = word & 0xFF
    try_to_run(bytes(content))


@given(st.binary(max_size=400))
def test_random_bytes(data):
    assert not try_to_run(data)
    assert not try_to_run(b"\x08\0\0\0TFL3" + data)


@pytest.mark.slow
def test_real_models_cut_short():
    for path in sorted(public_data("models/units").glob("*.tflite")):
        content = path.read_bytes()
        for length in range(0, len(content), max(64, len(content) // 100)):
            try_to_run(content[:length])


def test_the_largest_networks_plan_is_small():
    """Lifetimes are used: activations of a deep network share memory."""
    net = networks.Network(2)
    x = net.input([1, 16, 16, 8])
    for _ in range(60):
        x = net.conv(x, 8, 1)
    content = net.build(x)
    made = Interpreter(
        model_content=content, limits=ModelLimits(arena_bytes=64 * 1024), engine="native"
    )
    made.allocate_tensors()
