"""TRANSPOSE_CONV against LiteRT's default path, over random parameters."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import peer
from edgesdk.errors import EdgeError, MalformedModelError, UnsupportedOperatorError
from edgesdk.interpreter import Interpreter
from networks import Network, output_size

TRIALS = 40
KINDS = ["int8", "uint8", "int16", "int16 narrow", "float32", "float32 dynamic"]


class Layer:
    """One layer's sizes, options and tensors; what a test wants otherwise it changes."""

    def __init__(self, kind, random):
        self.type, self.narrow = kind.split()[0], "narrow" in kind
        self.dynamic = "dynamic" in kind
        self.random = random
        self.kernel = random.integers(1, 6, 2)
        self.stride = random.integers(1, 4, 2)
        self.same = bool(random.integers(2))
        least = self.kernel if not self.same else [1, 1]
        self.output = [int(n) for n in random.integers(least, 14)]
        self.channels, self.outputs = (int(n) for n in random.integers(1, 20, 2))
        self.batches = int(random.integers(1, 3))
        self.biased = bool(random.random() < 0.7)
        self.computed = bool(random.random() < 0.2)
        self.own = bool(random.random() < 0.3)
        self.activation = int(random.choice([0, 0, 1, 3]))

    def input_shape(self):
        sizes = zip(self.output, self.kernel, self.stride, strict=True)
        return [
            self.batches,
            *(output_size(int(n), int(k), int(s), same=self.same) for n, k, s in sizes),
            self.channels,
        ]

    def weights(self, net, input_scale):
        shape = [self.outputs, *map(int, self.kernel), self.channels]
        if self.type == "float32" and not self.dynamic:
            return net.tensor(shape, "float32", data=peer.values(shape, "float32", self.random))
        dtype = "uint8" if self.type == "uint8" else "int8"
        per_channel = dtype == "int8" and self.random.random() < 0.7
        scales = 2.0 ** self.random.uniform(-8, -4, self.outputs if per_channel else 1)
        self.scales = scales.astype(np.float32) * np.float32(input_scale)
        zero = int(self.random.integers(100, 156)) if dtype == "uint8" else 0
        values = self.random.integers(-127, 128, shape).astype(np.int8).view(dtype)
        return net.tensor(shape, dtype, scales.astype(np.float32), zero, data=values)

    def bias(self, net):
        if not self.biased:
            return []
        if self.type == "float32":
            values = peer.values([self.outputs], "float32", self.random)
            return [net.tensor([self.outputs], "float32", data=values)]
        dtype = "int64" if self.type == "int16" and not self.narrow else "int32"
        values = self.random.integers(-5000, 5000, self.outputs).astype(dtype)
        return [net.tensor([self.outputs], dtype, self.scales, 0, data=values)]

    def build(self):
        net = Network(1)
        scale, zero = peer.quantization(self.type, self.random)
        x = net.tensor(self.input_shape(), self.type, scale, zero)
        net.inputs.append(x)
        shape = np.array([self.batches, *self.output, self.outputs], np.int32)
        listed = net.tensor([4], "int32", data=None if self.computed else shape)
        if self.computed:
            net.inputs.append(listed)
        weights = self.weights(net, scale or 1.0)
        operands = [listed, weights, x, *self.bias(net)]
        out_scale, out_zero = peer.quantization(self.type, self.random)
        if out_scale is not None:
            fan = self.channels * self.kernel.prod()
            peak = 2.0**7 if self.type == "int16" else 1.0
            out_scale = float(self.scales.max() * np.sqrt(fan) * 100 / peak)
        y = net.tensor(shape, self.type, out_scale, out_zero)
        if self.own and scale is not None:
            peer.own_kernels(net, x)
        options = schema.TransposeConvOptionsT()
        options.padding = 0 if self.same else 1
        options.strideH, options.strideW = map(int, self.stride)
        options.fusedActivationFunction = self.activation
        if self.narrow:
            options.quantizedBiasType = schema.TensorType.INT32
        net.operator("TRANSPOSE_CONV", operands, [y], options, version=4)
        frame = [peer.values(self.input_shape(), self.type, self.random)]
        return net.build(y), [*frame, *([shape] if self.computed else [])]


@pytest.mark.parametrize("kind", KINDS)
def test_transposed_convolutions_have_the_bits_of_litert(kind):
    compared = 0
    for trial in range(TRIALS):
        layer = Layer(kind, np.random.default_rng([trial, len(kind)]))
        content, frame = layer.build()
        compared += peer.agrees(content, frame, why=f"trial {trial} {vars(layer)}")
    assert compared > TRIALS // 2


def with_bias(random, *, shape=None, options=None):
    """A model of MediaPipe's custom operator, and its input."""
    kernel, stride = random.integers(1, 5, 2), random.integers(1, 4, 2)
    kernel = np.maximum(kernel, stride)  # XNNPACK wants it so
    same = bool(random.integers(2))
    batches, height, width, channels, outputs = (int(n) for n in random.integers(1, 9, 5))
    net = Network(1)
    x = net.input(shape or [batches, height, width, channels], "float32")
    weights = [outputs, *map(int, kernel), channels]
    operands = [x, *(net.tensor(s, "float32", data=peer.values(s, "float32", random))
                     for s in (weights, [outputs]))]  # fmt: skip
    more = np.zeros(2, int) if same else kernel - stride
    size = np.array([height, width]) * stride + more
    y = net.tensor([batches, *map(int, size), outputs], "float32")
    if options is None:
        options = [1 if same else 2, stride[1], stride[0]]
    net.custom("Convolution2DTransposeBias", operands, [y], np.array(options, np.int32).tobytes())
    return net.build(y), [peer.values([batches, height, width, channels], "float32", random)]


def test_transposed_convolutions_of_mediapipe_agree_with_litert():
    compared = 0
    for trial in range(TRIALS):
        content, frame = with_bias(np.random.default_rng([trial, 5]))
        compared += peer.agrees(content, frame, why=f"trial {trial}")
    assert compared > TRIALS // 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([1, 2], "expected 12 bytes of options, got 8"),
        ([0, 2, 2], "expected a padding of 1 or 2 and strides in 1 ... 32768, got 0, 2 and 2"),
        ([1, 0, 2], "got 1, 0 and 2"),
        ([1, 2, 1 << 16], "got 1, 2 and 65536"),
        ([1, 2, -1], "got 1, 2 and -1"),
    ],
)
def test_options_of_mediapipe_are_checked(options, message):
    content, _ = with_bias(np.random.default_rng(3), options=options)
    with pytest.raises(MalformedModelError, match=message):
        Interpreter(model_content=content, engine="native")


def test_an_input_of_mediapipe_is_an_image():
    content, _ = with_bias(np.random.default_rng(3), shape=[4, 4])
    with pytest.raises(MalformedModelError, match="expected"):
        Interpreter(model_content=content, engine="native").allocate_tensors()


def refused(**changes):
    layer = Layer("float32", np.random.default_rng(1))
    layer.computed = False
    for name, value in changes.items():
        setattr(layer, name, value)
    return layer


def test_what_has_no_meaning_is_refused():
    for changes in ({"stride": np.array([0, 1])}, {"stride": np.array([1, 1 << 20])}):
        layer = refused()
        shape = layer.input_shape()
        layer = refused(**changes)
        layer.input_shape = lambda shape=shape: shape
        with pytest.raises(EdgeError, match="expected"):
            Interpreter(model_content=layer.build()[0], engine="native")
    layer = refused()
    shape = layer.input_shape()
    for other in ([shape[0], shape[1] + 1, *shape[2:]], [shape[0] + 1, *shape[1:]], shape[1:]):
        layer = refused()
        layer.input_shape = lambda other=other: other
        with pytest.raises(EdgeError, match="expected"):
            Interpreter(model_content=layer.build()[0], engine="native").allocate_tensors()


def test_types_without_arithmetic_are_refused():
    layer = refused(type="int32")
    with pytest.raises(UnsupportedOperatorError, match="expected"):
        Interpreter(model_content=layer.build()[0], engine="native")
