"""Single operators against LiteRT's default path, over random and boundary parameters.

Each trial draws shapes, scales, zero points and options, among them the values at which XNNPACK
stops taking a node (docs/numerics.md). Where LiteRT runs the model, the core runs it with the same
bits, on every ISA.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

import networks
from edgesdk.errors import EdgeError
from edgesdk.interpreter import Interpreter
from fixtures_core import ISAS
from networks import NONE, RELU, RELU6, RELU_N1_TO_1, Network

TRIALS = 60


def scale(random, low=-8.0, high=0.0):
    """A power of two now and then, so that ties occur."""
    exponent = random.uniform(low, high)
    return float(np.float32(2.0 ** (round(exponent) if random.random() < 0.3 else exponent)))


def zero_point(random):
    return int(random.choice([-128, 127, 0, *random.integers(-128, 128, 5)]))


def activation(random):
    return int(random.choice([NONE, NONE, RELU, RELU6, RELU_N1_TO_1]))


def entries(shape, random):
    if random.random() < 0.2:
        return random.choice(np.array([-128, 127], np.int8), shape)
    return random.integers(-128, 128, shape).astype(np.int8)


def image(random, most_channels=40):
    batch, height, width = (int(n) for n in random.integers(1, [3, 12, 12]))
    return [batch, height, width, int(random.integers(1, most_channels))]


def requantized(net, out, random, *, wild=0.15):
    """Sometimes another output scale: anything from far too fine to far too coarse."""
    quant = net.graph.tensors[out].quantization
    spread = 14 if random.random() < wild else 2
    quant.scale = (quant.scale * 2.0 ** random.uniform(-spread, spread)).astype(np.float32)
    quant.zeroPoint = np.array([zero_point(random)], np.int64)


def keep_from_xnnpack(net, tensor):
    """Nothing changes by it, but that LiteRT runs what has to do with the tensor by itself."""
    if net.graph.tensors[tensor].quantization is not None:
        net.graph.tensors[tensor].quantization.quantizedDimension = 1


# ---- one model of each operator: fills `net`, returns its output


def conv(net, random):
    groups = int(random.choice([1, 1, 1, 2, 3]))
    shape = image(random, 12)
    shape[3] *= groups
    x = net.input(shape, scale=scale(random), zero_point=zero_point(random))
    return net.conv(
        x,
        groups * int(random.integers(1, 20)),
        (int(random.integers(1, 6)), int(random.integers(1, 6))),
        int(random.integers(1, 4)),
        activation=activation(random),
        dilation=int(random.choice([1, 1, 2])),
        groups=groups,
        per_channel=bool(random.integers(2)),
    )


def depthwise(net, random):
    x = net.input(image(random, 70), scale=scale(random), zero_point=zero_point(random))
    return net.depthwise(
        x,
        (int(random.integers(1, 6)), int(random.integers(1, 6))),
        int(random.integers(1, 3)),
        activation=activation(random),
        multiplier=int(random.choice([1, 1, 1, 2, 5])),
        dilation=int(random.choice([1, 1, 2])),
        per_channel=bool(random.integers(2)),
    )


def dense(net, random):
    shape = [int(n) for n in random.integers(1, [5, 130])]
    x = net.input(shape, scale=scale(random), zero_point=zero_point(random))
    per_channel = bool(random.integers(2))
    return net.dense(
        x, int(random.integers(2, 70)), activation=activation(random), per_channel=per_channel
    )


def broadcastable(random):
    full = [int(n) for n in random.choice([1, 2, 3, 16, 33], int(random.integers(1, 5)))]
    other = [n if random.random() < 0.6 else 1 for n in full]
    cut = int(random.integers(0, len(other) + 1)) if random.random() < 0.4 else 0
    pair = [full, other[cut:]]
    return pair if random.random() < 0.5 else pair[::-1]


def operands(net, random):
    a, b = broadcastable(random)
    first = net.input(a, scale=scale(random), zero_point=zero_point(random))
    if random.random() < 0.3:
        return first, net.tensor(
            b, scale=scale(random), zero_point=zero_point(random), data=entries(b, random)
        )
    return first, net.input(b, scale=scale(random), zero_point=zero_point(random))


def add(net, random):
    out = net.add(*operands(net, random), activation=activation(random))
    if random.random() < 0.4:  # at and around the ratios at which XNNPACK stops
        first = net.graph.tensors[net.inputs[0]].quantization
        edge = float(random.choice([2.0**-10, 2.0**8]))
        edge = np.nextafter(np.float32(edge), np.float32(random.choice([0, 1e9])))
        first.scale = (net.graph.tensors[out].quantization.scale * edge).astype(np.float32)
    return out


def mul(net, random):
    a, b = operands(net, random)
    if random.random() < 0.15:
        a = b = net.inputs[0]
    return net.mul(a, b, activation=activation(random))


def pool(kind):
    def make(net, random):
        x = net.input(image(random), scale=scale(random), zero_point=zero_point(random))
        same = bool(random.integers(2))
        _, height, width, _ = net.shape(x)
        most = (8, 8) if same else (height + 1, width + 1)
        kernel = tuple(int(random.integers(1, n)) for n in most)
        stride = int(random.integers(1, 4))
        return net.pool(x, kind, kernel, stride, same=same, activation=activation(random))

    return make


def mean(net, random):
    rank = int(random.integers(1, 5))
    x = net.input(
        [int(n) for n in random.integers(1, 20, rank)],
        scale=scale(random), zero_point=zero_point(random),
    )  # fmt: skip
    axes = [int(n) for n in random.integers(-rank, rank, int(random.integers(1, rank + 1)))]
    if rank == 4 and random.random() < 0.5:
        axes = [1, 2]
    return net.mean(x, axes, keep=bool(random.integers(2)))


def unary(name, *, version=2):
    def make(net, random):
        x = net.input([2, 128], scale=scale(random, -6, -2), zero_point=zero_point(random))
        if name in {"LOGISTIC", "TANH"} and random.random() < 0.6:
            return net.unary(name, x, version=version)
        return net.unary(
            name, x, scale=scale(random, -9, -2), zero_point=zero_point(random), version=version
        )

    return make


def softmax(net, random):
    x = net.input(
        [int(n) for n in random.integers(1, [9, 60])], scale=scale(random, -7, 2), zero_point=3
    )
    return net.softmax(x, float(random.choice([1.0, 1.0, 0.5, 2.0])))


def quantize_floats(net, random):
    x = net.input([int(random.integers(1, 70))], "float32")
    return net.quantize(x, scale=scale(random), zero_point=zero_point(random))


def requantize(net, random):
    dtypes = ["int8", "uint8"]
    random.shuffle(dtypes)
    source, target = dtypes if random.random() < 0.4 else [dtypes[0]] * 2
    shift = {"int8": 0, "uint8": 128}
    entry = zero_point(random)
    x = net.input([int(random.integers(1, 70))], source, scale(random), entry + shift[source])
    same = source != target and random.random() < 0.5
    return net.quantize(
        x,
        target,
        net.scale(x) if same else scale(random, -14, 4),
        (entry if same else zero_point(random)) + shift[target],
    )


def dequantize(net, random):
    dtype = str(random.choice(["int8", "uint8"]))
    shift = {"int8": 0, "uint8": 128}[dtype]
    x = net.input(
        [int(random.integers(1, 70))], dtype, scale(random, -30, 30), zero_point(random) + shift
    )
    return net.dequantize(x)


def pad(net, random):
    x = net.input(image(random), scale=scale(random), zero_point=zero_point(random))
    return net.pad(x, [tuple(int(n) for n in random.integers(0, 4, 2)) for _ in range(4)])


def concatenate(net, random):
    shape, axis = image(random), int(random.integers(0, 4))
    made = []
    for _ in range(int(random.integers(1, 7))):
        shape[axis] = int(random.integers(1, 9))
        made.append(net.input(shape, scale=0.05, zero_point=4))
    return net.concatenate(made, axis)


def transpose(net, random):
    x = net.input([int(n) for n in random.integers(1, 7, int(random.integers(1, 6)))])
    return net.transpose(x, [int(n) for n in random.permutation(len(net.shape(x)))])


def reshape(net, random):
    x = net.input(image(random))
    return net.reshape(x, [math.prod(net.shape(x)[:2]), math.prod(net.shape(x)[2:])])


def squeeze(net, random):
    x = net.input([1, int(random.integers(1, 9)), 1, 3])
    return net.squeeze(x, [[0], [2], [0, 2]][int(random.integers(3))])


OPERATORS = {
    "CONV_2D": conv,
    "DEPTHWISE_CONV_2D": depthwise,
    "FULLY_CONNECTED": dense,
    "ADD": add,
    "MUL": mul,
    "AVERAGE_POOL_2D": pool("AVERAGE"),
    "MAX_POOL_2D": pool("MAX"),
    "MEAN": mean,
    "LOGISTIC": unary("LOGISTIC"),
    "TANH": unary("TANH"),
    "RELU": unary("RELU"),
    "RELU6": unary("RELU6"),
    "RELU_N1_TO_1": unary("RELU_N1_TO_1", version=1),
    "RELU_0_TO_1": unary("RELU_0_TO_1", version=1),
    "SOFTMAX": softmax,
    "QUANTIZE float32": quantize_floats,
    "QUANTIZE 8 bits": requantize,
    "DEQUANTIZE": dequantize,
    "PAD": pad,
    "CONCATENATION": concatenate,
    "TRANSPOSE": transpose,
    "RESHAPE": reshape,
    "SQUEEZE": squeeze,
}
# Their outputs must have the input's quantization, or their own.
FIXED_OUTPUT = {
    "SOFTMAX", "DEQUANTIZE", "PAD", "CONCATENATION", "TRANSPOSE", "RESHAPE", "SQUEEZE", "LOGISTIC",
    "TANH", "AVERAGE_POOL_2D", "MAX_POOL_2D", "QUANTIZE float32", "QUANTIZE 8 bits", "RELU_0_TO_1",
    "RELU", "RELU6", "RELU_N1_TO_1",
}  # fmt: skip


def values_for(detail, random):
    shape, dtype = tuple(detail["shape"]), detail["dtype"]
    if dtype is np.float32:
        values = random.normal(0, 3, shape).astype(np.float32)
        odd = np.array([np.inf, -np.inf, np.nan, 1e-40, 3e38, -0.0], np.float32)
        return np.where(random.random(shape) < 0.1, random.choice(odd, shape), values)
    found = entries(shape, random)
    return found.view(np.uint8) if dtype is np.uint8 else found


def outputs(made, frame):
    for detail, value in zip(made.get_input_details(), frame, strict=True):
        made.set_tensor(detail["index"], value)
    made.invoke()
    return [made.get_tensor(d["index"]).copy() for d in made.get_output_details()]


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_operator_has_the_bits_of_litert(name):
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([len(name), sum(name.encode()), trial])
        net = Network(int(random.integers(2**31)))
        out = OPERATORS[name](net, random)
        if name not in FIXED_OUTPUT:
            requantized(net, out, random)
        if random.random() < 0.25:
            keep_from_xnnpack(net, random.choice([*net.inputs, out]))
        content = net.build(out)
        try:
            reference = litert.Interpreter(model_content=content)
            reference.allocate_tensors()
        except (ValueError, RuntimeError):
            continue  # LiteRT refuses it: there are no bits to compare
        frame = [values_for(detail, random) for detail in reference.get_input_details()]
        (expected,) = outputs(reference, frame)
        for isa in ISAS:
            made = Interpreter(
                model_content=content, isa=isa, num_threads=1 + trial % 2, engine="native"
            )
            made.allocate_tensors()
            (came,) = outputs(made, frame)
            assert came.shape == expected.shape, f"trial {trial}"
            same = came.view(np.uint8) == expected.view(np.uint8) if came.size else True
            assert np.all(same), f"trial {trial}, {isa}: {came[came != expected][:5]}"
        compared += 1
    assert compared > TRIALS // 2


def test_weights_that_are_computed_or_have_a_zero_point():
    """FULLY_CONNECTED whose weights are no constant, or not symmetric: the plain loop."""
    for trial in range(20):
        random = np.random.default_rng(trial)
        net = Network(trial)
        depth, out_size = (int(n) for n in random.integers(1, 40, 2))
        x = net.input([3, depth], scale=0.03, zero_point=zero_point(random))
        shape = [out_size, depth]
        if trial % 2:
            weights = net.input(shape, scale=0.02, zero_point=int(random.integers(-9, 9)))
        else:
            weights = net.tensor(shape, scale=0.02, zero_point=7, data=entries(shape, random))
        y = net.tensor([3, out_size], scale=0.3, zero_point=zero_point(random))
        options = schema.FullyConnectedOptionsT()
        net.operator("FULLY_CONNECTED", [x, weights, -1], [y], options, version=5)
        content = net.build(y)
        reference = litert.Interpreter(model_content=content)
        reference.allocate_tensors()
        frame = [values_for(detail, random) for detail in reference.get_input_details()]
        made = Interpreter(model_content=content, engine="native")
        made.allocate_tensors()
        assert np.array_equal(outputs(made, frame), outputs(reference, frame))


def test_sound_models_that_litert_refuses_run_by_the_optimised_rule():
    """Denormal scales, which XNNPACK does not take: the bits of LiteRT without its delegate."""
    net = Network(1)
    x = net.input([1, 6, 6, 16], scale=0.02)
    y = net.conv(x, 16, 3, activation=NONE)
    for tensor in (x, y):
        quant = net.graph.tensors[tensor].quantization
        quant.scale = (quant.scale.astype(np.float64) * 1e-38).astype(np.float32)
    content = net.build(y)
    frame = [entries((1, 6, 6, 16), np.random.default_rng(0))]
    with pytest.raises(RuntimeError):
        litert.Interpreter(model_content=content).allocate_tensors()
    optimised = litert.Interpreter(
        model_content=content,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    optimised.allocate_tensors()
    for isa in ISAS:
        made = Interpreter(model_content=content, isa=isa, engine="native")
        made.allocate_tensors()
        assert np.array_equal(outputs(made, frame), outputs(optimised, frame))


def test_quantized_dimension_beyond_the_rank_is_ignored_for_one_scale():
    """TFLite Micro's person detection has bias tensors of rank 1 with dimension 3."""
    net = Network(1)
    y = net.conv(net.input([1, 4, 4, 3]), 5, per_channel=False)
    content = net.build(y)
    expected = Interpreter(model_content=content, engine="native")
    bias = net.graph.tensors[int(net.graph.operators[0].inputs[2])]
    bias.quantization.quantizedDimension = 3
    made = Interpreter(model_content=net.build(y), engine="native")
    for each in (expected, made):
        each.allocate_tensors()
    frame = [entries((1, 4, 4, 3), np.random.default_rng(0))]
    assert np.array_equal(outputs(made, frame), outputs(expected, frame))


@pytest.mark.parametrize("channels", [1, 7, 8, 9, 15, 16, 17, 31, 32, 33])
@pytest.mark.parametrize("pixels", [1, 5, 6, 7, 11, 12, 13])
def test_kernels_agree_at_the_edges_of_their_tiles(channels, pixels):
    """Rows and columns at tile - 1, tile and tile + 1 of every ISA: the bits of the reference."""
    net = Network(channels * 100 + pixels)
    x = net.input([1, 2, pixels, channels], scale=0.02)
    y = net.conv(x, channels, 3)
    content = net.build(y, net.depthwise(x), net.conv(x, channels, 1), net.dense(y, channels))
    frame = [entries((1, 2, pixels, channels), np.random.default_rng(pixels))]
    found = []
    for isa in ISAS:
        made = Interpreter(model_content=content, isa=isa, engine="native")
        made.allocate_tensors()
        found.append(outputs(made, frame))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert np.array_equal(a, b)


def test_what_has_no_meaning_is_refused():
    """Each fault alone; the error says what was expected."""

    def with_quantization(**changes):
        net = Network(1)
        y = net.conv(net.input([1, 4, 4, 3]), 5)
        for name, value in changes.items():
            setattr(net.graph.tensors[y].quantization, name, value)
        return net.build(y)

    for bad in (0.0, -0.1, np.nan, np.inf):
        with pytest.raises(EdgeError, match="finite and above 0"):
            Interpreter(model_content=with_quantization(scale=np.array([bad], np.float32)))
    for bad in (128, -129, 2**40):
        with pytest.raises(EdgeError, match="zero point in -128"):
            Interpreter(model_content=with_quantization(zeroPoint=np.array([bad], np.int64)))
    two = with_quantization(
        scale=np.array([0.1, 0.2], np.float32), zeroPoint=np.array([0, 0], np.int64)
    )
    with pytest.raises(EdgeError, match="scales"):
        Interpreter(model_content=two, engine="native")
    for factory in (
        lambda net, x: net.softmax(x, float("nan")),
        lambda net, x: net.softmax(x, -1.0),
        lambda net, x: net.conv(x, 4, 3, activation=77),
        lambda net, x: net.pool(x, "MAX", 0, 1),
        lambda net, x: net.conv(x, 4, 9, same=False),
    ):
        net = Network(1)
        content = net.build(factory(net, net.input([1, 4, 4, 4])))
        with pytest.raises(EdgeError, match="expected"):
            Interpreter(model_content=content, engine="native").allocate_tensors()


def test_networks_module_spreads_activations():
    """The generator's own promise: outputs neither constant nor saturated."""
    content = networks.mobilenet_v1(size=32, width=0.25)
    made = Interpreter(model_content=content, engine="native")
    made.allocate_tensors()
    first = outputs(made, [entries((1, 32, 32, 3), np.random.default_rng(1))])[0]
    assert len(np.unique(first)) > 3
