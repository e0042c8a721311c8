"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED of every type against LiteRT's default path.

Whole numbers are equal bit for bit on every ISA. Floats differ by less than 1e-5 of the largest,
and have the same bits on every ISA and with any number of threads.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from edgesdk.errors import ModelError
from edgesdk.interpreter import Interpreter
from fixtures_core import ISAS
from networks import NONE, RELU, RELU6, RELU_N1_TO_1, TYPES, Network, output_size

TRIALS = 24
OPERATORS = ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]
# Types of input, weights and bias.
KINDS = {
    "float32": ("float32", "float32", "float32"),
    "int8": ("int8", "int8", "int32"),
    "uint8": ("uint8", "uint8", "int32"),
    "int16, int64 bias": ("int16", "int8", "int64"),
    "int16, int32 bias": ("int16", "int8", "int32"),
    "dynamic": ("float32", "int8", "float32"),
    "int4": ("int8", "int4", "int32"),
    "int16, int4": ("int16", "int4", "int64"),
    "dynamic int4": ("float32", "int4", "float32"),
}
# LiteRT refuses these, or reads weights for what they are not.
ABSENT = {
    ("DEPTHWISE_CONV_2D", "int16, int32 bias"),
    ("DEPTHWISE_CONV_2D", "int16, int4"),
    ("DEPTHWISE_CONV_2D", "dynamic int4"),
}
LARGEST = {"int8": 127, "uint8": 255, "int16": 32767, "int4": 7}


def packed(values):
    """Two int4 in a byte, the first in its low half."""
    flat = values.reshape(-1).astype(np.uint8) & 15
    flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
    return flat[0::2] | flat[1::2] << 4


class Layer:
    """One layer with random parameters. ``parts`` may be changed before ``build()``."""

    def __init__(self, operator, kind, random):
        self.operator, self.random = operator, random
        self.types = KINDS[kind]
        self.net = Network(int(random.integers(2**31)))
        self.per_channel = self.types[0] != "uint8" and bool(random.integers(2))
        if (operator, kind) == ("DEPTHWISE_CONV_2D", "dynamic"):
            self.per_channel = True  # LiteRT reads a scale for each channel, there or not
        self.activation = int(random.choice([NONE, NONE, RELU, RELU6, RELU_N1_TO_1]))
        self.version = 3
        self.computed = set()
        self.biased = operator == "FULLY_CONNECTED" and random.random() < 0.3
        self.biased = not self.biased
        {"CONV_2D": self.conv, "DEPTHWISE_CONV_2D": self.depthwise}.get(operator, self.dense)()

    # ---- geometry

    def window(self, options, shape, spans):
        random = self.random
        same = bool(random.integers(2))
        options.strideH = options.strideW = int(random.integers(1, 4))
        options.dilationHFactor = options.dilationWFactor = dilation = int(random.choice([1, 1, 2]))
        options.padding = 0 if same else 1
        options.fusedActivationFunction = self.activation
        spans = [(k - 1) * dilation + 1 for k in spans]
        if not same:
            shape[1:3] = [max(n, s) for n, s in zip(shape[1:3], spans, strict=True)]
        return [
            output_size(n, s, options.strideH, same=same)
            for n, s in zip(shape[1:3], spans, strict=True)
        ]

    def conv(self):
        random = self.random
        self.options = schema.Conv2DOptionsT()
        groups = int(random.choice([1, 1, 1, 2, 3]))
        shape = [int(n) for n in random.integers(1, [3, 12, 12, 14])]
        shape[3] *= groups
        kernel = [int(n) for n in random.integers(1, 5, 2)]
        size = self.window(self.options, shape, kernel)
        channels = groups * int(random.integers(1, 24))
        self.axis, self.fan = 0, math.prod(kernel) * shape[3] // groups
        self.grouped = groups > 1
        self.shapes = shape, [channels, *kernel, shape[3] // groups], [shape[0], *size, channels]

    def depthwise(self):
        random = self.random
        self.options = schema.DepthwiseConv2DOptionsT()
        shape = [int(n) for n in random.integers(1, [3, 12, 12, 40])]
        kernel = [int(n) for n in random.integers(1, 5, 2)]
        size = self.window(self.options, shape, kernel)
        self.options.depthMultiplier = multiplier = int(random.choice([1, 1, 2, 5]))
        channels = shape[3] * multiplier
        self.axis, self.fan = 3, math.prod(kernel)
        self.shapes = shape, [1, *kernel, channels], [shape[0], *size, channels]

    def dense(self):
        random = self.random
        self.options = schema.FullyConnectedOptionsT()
        self.options.fusedActivationFunction = self.activation
        self.options.asymmetricQuantizeInputs = bool(random.integers(2))
        self.options.keepNumDims = bool(random.integers(2))
        depth, outputs = int(random.integers(1, 300)), int(random.integers(1, 70))
        shape = [*(int(n) for n in random.integers(1, 5, int(random.integers(1, 4)))), depth]
        rows = shape[:-1] if self.options.keepNumDims else [math.prod(shape[:-1])]
        self.axis, self.fan = 0, depth
        self.shapes = shape, [outputs, depth], [*rows, outputs]

    # ---- tensors

    def zero_point(self, dtype):
        random = self.random
        if dtype == "uint8":
            return int(random.choice([0, 255, 128, *random.integers(0, 256, 5)]))
        return int(random.integers(-128, 128)) if dtype == "int8" else 0

    def activations(self, shape, dtype, scale=None):
        """The input, or with a scale the output."""
        if dtype == "float32":
            return self.net.tensor(shape, dtype)
        scale = 2.0 ** self.random.uniform(-8, 0) if scale is None else scale
        return self.net.tensor(shape, dtype, scale, self.zero_point(dtype))

    def weights(self, dtype, shape):
        random = self.random
        if dtype == "float32":
            return self.net.tensor(shape, dtype, data=random.normal(0, 1, shape).astype(np.float32))
        count = shape[self.axis] if self.per_channel else 1
        self.scales = (0.01 * np.exp(random.normal(0, 0.4, count))).astype(np.float32)
        most = LARGEST[dtype]
        least = 0 if dtype == "uint8" else -most - 1
        if self.types[0] == "float32":
            least += 1  # LiteRT's own kernels take -128 for 128
        values = random.integers(least, most + 1, shape)
        data = packed(values) if dtype == "int4" else values.astype(dtype)
        axis = self.axis if self.per_channel else 0
        zero_point = self.zero_point("uint8") if dtype == "uint8" else 0
        return self.net.tensor(shape, dtype, self.scales, zero_point, data=data, axis=axis)

    def bias(self, dtype, x, count):
        random = self.random
        if dtype == "float32":
            return self.net.tensor([count], dtype, data=random.normal(0, 1, count).astype("f4"))
        data = random.integers(-3000, 3000, count).astype(dtype)
        scales = (self.scales * np.float32(self.net.scale(x))).astype(np.float32)
        return self.net.tensor([count], dtype, scales, 0, data=data)

    def build(self):
        net, (input_shape, weights_shape, output_shape) = self.net, self.shapes
        kind, weights_kind, bias_kind = self.types
        self.x = self.activations(input_shape, kind)
        net.inputs.append(self.x)
        self.w = self.weights(weights_kind, weights_shape)
        inputs = [self.x, self.w]
        if self.biased:
            inputs.append(self.bias(bias_kind, self.x, weights_shape[self.axis]))
        spread = None
        if kind != "float32":
            reach = net.scale(self.x) * LARGEST[kind] * LARGEST[weights_kind] * self.scales.mean()
            spread = reach * math.sqrt(self.fan) / LARGEST[kind] * 2 ** self.random.uniform(-3, 1)
        self.y = self.activations(output_shape, kind, spread)
        if kind == "int16" and self.operator != "DEPTHWISE_CONV_2D":
            self.options.quantizedBiasType = TYPES[bias_kind]
        for position in self.computed:
            net.graph.tensors[inputs[position]].buffer = 0
            net.inputs.append(inputs[position])
        net.operator(self.operator, inputs, [self.y], self.options, version=self.version)
        return net.build(self.y)


def values_for(detail, random):
    shape, dtype = tuple(detail["shape"]), detail["dtype"]
    if dtype is np.float32:
        return random.normal(random.normal(), 2, shape).astype(np.float32)
    if dtype in {np.int32, np.int64}:
        return random.integers(-3000, 3000, shape).astype(dtype)
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    if detail["index"] != 0 and dtype is np.int8:
        least = -127  # weights, as above
    if random.random() < 0.2:
        return random.choice(np.array([least, most], dtype), shape)
    return random.integers(least, most + 1, shape).astype(dtype)


def run(made, frame):
    made.allocate_tensors()
    for detail, value in zip(made.get_input_details(), frame, strict=True):
        made.set_tensor(detail["index"], value)
    made.invoke()
    return made.get_tensor(made.get_output_details()[0]["index"])


def reference(content, frame_of):
    """LiteRT's result on a frame made for its inputs, or None where it refuses the model."""
    try:
        made = litert.Interpreter(model_content=content)
        frame = [frame_of(detail) for detail in made.get_input_details()]
        return frame, run(made, frame)
    except (ValueError, RuntimeError):
        return None


def compare(content, random, trial):
    """Whether LiteRT ran it; the core's results are then its results."""
    found = reference(content, lambda detail: values_for(detail, random))
    if found is None:
        return False
    frame, expected = found
    came = [
        run(
            Interpreter(model_content=content, engine="native", isa=isa, num_threads=threads), frame
        )
        for isa, threads in [*((isa, 1 + trial % 2) for isa in ISAS), (ISAS[0], 2 - trial % 2)]
    ]
    for other in came[1:]:
        assert np.array_equal(came[0].view(np.uint8), other.view(np.uint8)), f"trial {trial}"
    assert came[0].shape == expected.shape
    assert came[0].dtype == expected.dtype
    if expected.dtype == np.float32:
        # Of sums of products of about 1, clamped or not.
        peak = max(float(np.max(np.abs(expected), initial=0)), 6.0)
        distance = float(np.max(np.abs(came[0] - expected), initial=0)) / peak
        assert distance < 1e-5, f"trial {trial}: {distance}"
    else:
        differ = came[0] != expected
        assert not np.any(differ), f"trial {trial}: {came[0][differ][:5]}, {expected[differ][:5]}"
    return True


@pytest.mark.parametrize(
    ("operator", "kind"),
    [(o, k) for o in OPERATORS for k in sorted(KINDS) if (o, k) not in ABSENT],
)
def test_layer_has_the_results_of_litert(operator, kind):
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([len(operator), sum(kind.encode()), trial])
        layer = Layer(operator, kind, random)
        compared += compare(layer.build(), random, trial)
    assert compared > TRIALS // 2


@pytest.mark.parametrize("kind", ["uint8", "int4", "dynamic", "dynamic int4"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_layer_that_xnnpack_does_not_take(operator, kind):
    """A quantized dimension of 1, or weights that are computed, keep it from XNNPACK."""
    if (operator, kind) in ABSENT:
        pytest.skip("LiteRT refuses it")
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([7, len(operator), sum(kind.encode()), trial])
        layer = Layer(operator, kind, random)
        if kind.startswith("dynamic"):
            layer.computed = {2} if layer.biased else set()
        layer.build()
        quantization = layer.net.graph.tensors[layer.x].quantization
        if quantization is not None:
            quantization.quantizedDimension = 1
        compared += compare(layer.net.build(layer.y), random, trial)
    assert compared > TRIALS // 3


@pytest.mark.parametrize("kind", ["float32", "uint8", "int16, int64 bias", "dynamic", "int8"])
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("computed", [{1}, {2}, {1, 2}], ids=["weights", "bias", "both"])
def test_layer_with_computed_operands(operator, kind, computed):
    compared = 0
    for trial in range(8):
        random = np.random.default_rng([9, len(operator), sum(kind.encode()), trial])
        layer = Layer(operator, kind, random)
        layer.biased, layer.computed = True, computed
        compared += compare(layer.build(), random, trial)
    assert compared > 2


@pytest.mark.parametrize("channels", [1, 2, 19])
@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_convolutions_of_dynamic_range(channels, stride):
    """XNNPACK quantizes their pixels apart, unless there are but one channel and one output."""
    for trial in range(8):
        random = np.random.default_rng([channels, stride, trial])
        layer = Layer("CONV_2D", "dynamic", random)
        layer.biased, layer.fan, layer.grouped = True, channels, False
        layer.options.strideH = layer.options.strideW = stride
        outputs = int(random.choice([1, 1, 20]))
        sides = [-(-n // stride) for n in (7, 9)]
        layer.shapes = [2, 7, 9, channels], [outputs, 1, 1, channels], [2, *sides, outputs]
        layer.options.padding = 0
        assert compare(layer.build(), random, trial)


@pytest.mark.parametrize("operator", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("kind", ["float32", "int8", "dynamic"])
def test_an_image_whose_shape_the_file_leaves_open(operator, kind):
    """It comes from an operator that makes it from values, so that the file has it as empty."""
    for trial in range(6):
        random = np.random.default_rng([len(kind), len(operator), trial])
        layer = Layer(operator, kind, random)
        layer.biased = True
        if getattr(layer, "grouped", False):
            continue
        layer.build()
        net, x = layer.net, layer.x
        node = net.graph.operators.pop()
        shape = list(layer.shapes[0])
        quantization = net.graph.tensors[x].quantization
        source = net.tensor(shape, layer.types[0])
        asked = net.tensor([4], "int32")
        net.graph.tensors[source].quantization = quantization
        net.inputs = [source, asked]
        net.operator("RESHAPE", [source, asked], [x], version=1)
        for open_shape in (x, layer.y):
            net.graph.tensors[open_shape].shape = np.array([1, 0, 0, 0], np.int32)
        net.graph.operators.append(node)
        net.graph.operators[-1].opcodeIndex = 0
        content = net.build(layer.y)
        values = values_for(
            {"shape": shape, "dtype": np.dtype(layer.types[0]).type, "index": 0}, random
        )
        frame = [values, np.array(shape, np.int32)]
        expected = run(litert.Interpreter(model_content=content), frame)
        came = run(Interpreter(model_content=content, engine="native"), frame)
        assert came.shape == expected.shape
        distance = np.max(np.abs(came.astype(np.float64) - expected))
        bound = 1e-5 * max(np.max(np.abs(expected)), 6.0) if expected.dtype == np.float32 else 0
        assert distance <= bound, f"trial {trial}: {distance}"


@pytest.mark.parametrize("kind", ["float32", "int8", "uint8", "dynamic", "int16, int64 bias"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_an_empty_batch_gives_an_empty_output(operator, kind):
    content = Layer(operator, kind, np.random.default_rng(3)).build()
    shapes = []
    for made in (
        Interpreter(model_content=content, engine="native"),
        litert.Interpreter(model_content=content),
    ):
        detail = made.get_input_details()[0]
        made.resize_tensor_input(detail["index"], [0, *detail["shape"][1:]])
        made.allocate_tensors()
        if (operator, kind) != ("DEPTHWISE_CONV_2D", "dynamic"):  # LiteRT refuses to run it
            made.invoke()
        shapes.append(made.get_tensor(made.get_output_details()[0]["index"]).shape)
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("rule", ["constant rows", "zeros", "odd"])
def test_dynamic_inputs_that_are_odd(operator, rule):
    """Rows of one value, of zeros, of infinities: as LiteRT has it, and never a crash."""
    random = np.random.default_rng(5)
    layer = Layer(operator, "dynamic", random)
    layer.biased = True
    content = layer.build()
    values = {"constant rows": 3.5, "zeros": 0.0, "odd": np.inf}[rule]
    frame = [np.full(layer.shapes[0], values, np.float32)]
    if rule == "odd":
        frame[0].reshape(-1)[::3] = random.choice([np.nan, -np.inf, 1e-40], frame[0].size)[::3]
    came = run(Interpreter(model_content=content, engine="native"), frame)
    if rule != "odd":
        expected = run(litert.Interpreter(model_content=content), frame)
        assert np.max(np.abs(came - expected)) <= 1e-5 * max(np.max(np.abs(expected)), 6.0)


def broken(operator, kind, change):
    layer = Layer(operator, kind, np.random.default_rng(1))
    layer.biased = True
    layer.build()
    tensors = layer.net.graph.tensors
    change(
        layer,
        {name: tensors[i] for name, i in zip("xwy", (layer.x, layer.w, layer.y), strict=True)},
    )
    return layer.net.build(layer.y)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("float32", lambda _, t: setattr(t["w"], "type", TYPES["int32"]), "weights of type"),
        ("float32", lambda _, t: setattr(t["y"], "type", TYPES["int8"]), "an output of type"),
        (
            "float32",
            lambda _, t: setattr(t["w"], "shape", [np.prod(t["w"].shape)]),
            "weights of rank",
        ),
        ("uint8", lambda _, t: setattr(t["w"], "quantization", None), "weights with one scale"),
        ("int8", lambda _, t: setattr(t["w"], "quantization", None), "weights with"),
        ("int8", lambda _, t: setattr(t["x"], "type", TYPES["bool"]), "an input of type"),
        (
            "int16, int64 bias",
            lambda _, t: setattr(t["x"].quantization, "zeroPoint", np.array([1], np.int64)),
            "zero points of 0",
        ),
        ("dynamic", lambda _, t: setattr(t["w"], "quantization", None), "weights with"),
    ],
)
def test_faults_are_named(operator, kind, change, message):
    content = broken(operator, kind, change)
    with pytest.raises(ModelError, match=message):
        Interpreter(model_content=content, engine="native").allocate_tensors()


def test_a_type_of_the_bias_that_is_another():
    layer = Layer("CONV_2D", "int16, int64 bias", np.random.default_rng(1))
    layer.build()
    layer.net.graph.operators[0].builtinOptions.quantizedBiasType = TYPES["int32"]
    with pytest.raises(ModelError, match="a type of the bias"):
        Interpreter(model_content=layer.net.build(layer.y), engine="native")
