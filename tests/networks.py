"""Builds quantized networks for tests: any operator, any shape, weights by seed.

A ``Network`` is written with the schema that ai-edge-litert ships, so that what LiteRT reads is
what we test. Scales are chosen so that activations spread over the int8 range, as they do in a
trained network.
"""

from __future__ import annotations

import math

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

OPERATOR = schema.BuiltinOperator
OPTIONS = schema.BuiltinOptions
TYPES = {name.lower(): code for name, code in vars(schema.TensorType).items() if name.isupper()}
NONE, RELU, RELU_N1_TO_1, RELU6 = 0, 1, 2, 3
# Of full-range int8 values.
SPREAD = 74.0


class Network:
    """One subgraph under construction; tensors are numbers."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = b"a test's network"
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]
        self.inputs = []

    def subgraph(self):
        """Another subgraph of the same model; ``end`` names its outputs."""
        made = Network.__new__(Network)
        made.random, made.model, made.inputs = self.random, self.model, []
        made.graph = schema.SubGraphT()
        made.graph.tensors, made.graph.operators = [], []
        self.model.subgraphs.append(made.graph)
        made.index = len(self.model.subgraphs) - 1
        return made

    def end(self, *outputs):
        self.graph.inputs = np.array(self.inputs, np.int32)
        self.graph.outputs = np.array(outputs, np.int32)
        return self.index

    # ---- tensors

    def tensor(
        self, shape, dtype="int8", scale=None, zero_point=0, *, data=None, axis=0, name=None
    ):
        made = schema.TensorT()
        made.shape = np.array(shape, np.int32)
        made.type = TYPES[dtype]
        made.name = (name or f"t{len(self.graph.tensors)}").encode()
        made.hasRank = True
        made.buffer = 0
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.atleast_1d(np.asarray(scale, np.float32))
            zero_points = np.broadcast_to(zero_point, made.quantization.scale.shape)
            made.quantization.zeroPoint = np.array(zero_points, np.int64)
            made.quantization.quantizedDimension = axis
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def input(self, shape, dtype="int8", scale=0.05, zero_point=3, *, name=None):
        quantized = dtype in ("int8", "uint8", "int16")
        made = self.tensor(shape, dtype, scale if quantized else None, zero_point, name=name)
        self.inputs.append(made)
        return made

    def shape(self, tensor):
        return [int(n) for n in self.graph.tensors[tensor].shape]

    def scale(self, tensor):
        return float(self.graph.tensors[tensor].quantization.scale[0])

    def zero_point(self, tensor):
        return int(self.graph.tensors[tensor].quantization.zeroPoint[0])

    def like(self, tensor, shape, *, scale=None, zero_point=None):
        """A tensor of the same quantization, unless another is given."""
        scale = self.scale(tensor) if scale is None else scale
        zero_point = self.zero_point(tensor) if zero_point is None else zero_point
        return self.tensor(shape, scale=scale, zero_point=zero_point)

    # ---- operators

    def operator(self, name, inputs, outputs, options=None, *, version=2, kind=None):
        code = getattr(OPERATOR, name)
        codes = self.model.operatorCodes
        index = next(
            (i for i, c in enumerate(codes) if (c.builtinCode, c.version) == (code, version)), None
        )
        if index is None:
            made = schema.OperatorCodeT()
            made.builtinCode, made.version = code, version
            made.deprecatedBuiltinCode = min(code, 127)
            codes.append(made)
            index = len(codes) - 1
        node = schema.OperatorT()
        node.opcodeIndex = index
        node.inputs = np.array(inputs, np.int32)
        node.outputs = np.array(outputs, np.int32)
        if options is not None:
            node.builtinOptions = options
            node.builtinOptionsType = getattr(OPTIONS, kind or type(options).__name__[:-1])
        self.graph.operators.append(node)
        return outputs[0]

    def custom(self, name, inputs, outputs, options):
        """A custom operator, whose options are bytes."""
        made = schema.OperatorCodeT()
        made.builtinCode = made.deprecatedBuiltinCode = OPERATOR.CUSTOM
        made.customCode, made.version = name.encode(), 1
        self.model.operatorCodes.append(made)
        node = schema.OperatorT()
        node.opcodeIndex = len(self.model.operatorCodes) - 1
        node.inputs, node.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        node.customOptions = np.frombuffer(options, np.uint8)
        self.graph.operators.append(node)

    def _weights(self, shape, axis, *, per_channel, real_spread, input_scale, fan):
        """Random weights whose scales make the output's real values spread as wanted."""
        values = self.random.integers(-127, 128, shape).astype(np.int8)
        channels = shape[axis]
        base = real_spread / (input_scale * SPREAD * SPREAD * math.sqrt(fan))
        scales = base * np.exp(self.random.normal(0, 0.4, channels if per_channel else 1))
        scales = scales.astype(np.float32)
        zeros = np.zeros(len(scales), np.int64)
        weights = self.tensor(shape, scale=scales, zero_point=zeros, data=values, axis=axis)
        bias = self.random.integers(-3000, 3000, channels).astype(np.int32)
        bias_scales = (scales * np.float32(input_scale)).astype(np.float32)
        return weights, self.tensor([channels], "int32", bias_scales, zeros, data=bias, axis=0)

    def _output(self, shape, activation):
        if activation == RELU6:
            return self.tensor(shape, scale=6.0 / 255.0, zero_point=-128)
        if activation == RELU:
            return self.tensor(shape, scale=0.05, zero_point=-128)
        return self.tensor(shape, scale=0.06, zero_point=int(self.random.integers(-30, 31)))

    def conv(
        self,
        x,
        channels,
        kernel=3,
        stride=1,
        *,
        same=True,
        activation=RELU6,
        dilation=1,
        groups=1,
        per_channel=True,
    ):
        n, h, w, c = self.shape(x)
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        weights, bias = self._weights(
            [channels, kh, kw, c // groups],
            0,
            per_channel=per_channel,
            real_spread=2.5,
            input_scale=self.scale(x),
            fan=kh * kw * c // groups,
        )
        options = schema.Conv2DOptionsT()
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = dilation
        options.padding = 0 if same else 1
        options.fusedActivationFunction = activation
        spans = [(k - 1) * dilation + 1 for k in (kh, kw)]
        size = [output_size(d, s, stride, same=same) for d, s in zip((h, w), spans, strict=True)]
        out = self._output([n, *size, channels], activation)
        return self.operator("CONV_2D", [x, weights, bias], [out], options, version=3)

    def depthwise(
        self,
        x,
        kernel=3,
        stride=1,
        *,
        same=True,
        activation=RELU6,
        multiplier=1,
        dilation=1,
        per_channel=True,
    ):
        n, h, w, c = self.shape(x)
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        weights, bias = self._weights(
            [1, kh, kw, c * multiplier],
            3,
            per_channel=per_channel,
            real_spread=2.5,
            input_scale=self.scale(x),
            fan=kh * kw,
        )
        options = schema.DepthwiseConv2DOptionsT()
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = dilation
        options.padding = 0 if same else 1
        options.depthMultiplier = multiplier
        options.fusedActivationFunction = activation
        spans = [(k - 1) * dilation + 1 for k in (kh, kw)]
        size = [output_size(d, s, stride, same=same) for d, s in zip((h, w), spans, strict=True)]
        out = self._output([n, *size, c * multiplier], activation)
        return self.operator("DEPTHWISE_CONV_2D", [x, weights, bias], [out], options, version=3)

    def dense(self, x, outputs, *, activation=NONE, per_channel=False):
        shape = self.shape(x)
        depth = shape[-1] if len(shape) == 2 else math.prod(shape[1:])
        weights, bias = self._weights(
            [outputs, depth],
            0,
            per_channel=per_channel,
            real_spread=3.0,
            input_scale=self.scale(x),
            fan=depth,
        )
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = activation
        out = self._output([shape[0], outputs], activation)
        return self.operator("FULLY_CONNECTED", [x, weights, bias], [out], options, version=5)

    def add(self, a, b, *, activation=NONE):
        options = schema.AddOptionsT()
        options.fusedActivationFunction = activation
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        out = self.tensor(shape, scale=max(self.scale(a), self.scale(b)) * 1.3, zero_point=-7)
        return self.operator("ADD", [a, b], [out], options)

    def mul(self, a, b, *, activation=NONE):
        options = schema.MulOptionsT()
        options.fusedActivationFunction = activation
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        scale = self.scale(a) * self.scale(b) * SPREAD
        out = self.tensor(shape, scale=scale, zero_point=5)
        return self.operator("MUL", [a, b], [out], options)

    def pool(self, x, kind, kernel=2, stride=2, *, same=False, activation=NONE):
        n, h, w, c = self.shape(x)
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        options = schema.Pool2DOptionsT()
        options.filterHeight, options.filterWidth = kh, kw
        options.strideH = options.strideW = stride
        options.padding = 0 if same else 1
        options.fusedActivationFunction = activation
        size = [output_size(d, k, stride, same=same) for d, k in ((h, kh), (w, kw))]
        out = self.like(x, [n, *size, c])
        return self.operator(f"{kind}_POOL_2D", [x], [out], options)

    def mean(self, x, axes=(1, 2), *, keep=False):
        shape = self.shape(x)
        named = {a % len(shape) for a in axes}
        rest = [1 if i in named else n for i, n in enumerate(shape) if keep or i not in named]
        options = schema.ReducerOptionsT()
        options.keepDims = keep
        listed = self.tensor([len(axes)], "int32", data=np.array(axes, np.int32))
        out = self.tensor(rest, scale=self.scale(x) * 0.5, zero_point=-11)
        return self.operator("MEAN", [x, listed], [out], options)

    def pad(self, x, paddings):
        shape = [n + a + b for n, (a, b) in zip(self.shape(x), paddings, strict=True)]
        listed = self.tensor([len(shape), 2], "int32", data=np.array(paddings, np.int32))
        return self.operator("PAD", [x, listed], [self.like(x, shape)], schema.PadOptionsT())

    def concatenate(self, tensors, axis):
        shape = self.shape(tensors[0])
        shape[axis] = sum(self.shape(t)[axis] for t in tensors)
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        return self.operator("CONCATENATION", tensors, [self.like(tensors[0], shape)], options)

    def reshape(self, x, shape):
        listed = self.tensor([len(shape)], "int32", data=np.array(shape, np.int32))
        options = schema.ReshapeOptionsT()
        options.newShape = np.array(shape, np.int32)
        return self.operator("RESHAPE", [x, listed], [self.like(x, shape)], options, version=1)

    def squeeze(self, x, axes):
        shape = [n for i, n in enumerate(self.shape(x)) if i not in axes]
        options = schema.SqueezeOptionsT()
        options.squeezeDims = np.array(axes, np.int32)
        return self.operator("SQUEEZE", [x], [self.like(x, shape)], options, version=1)

    def transpose(self, x, order):
        shape = [self.shape(x)[i] for i in order]
        listed = self.tensor([len(order)], "int32", data=np.array(order, np.int32))
        return self.operator(
            "TRANSPOSE", [x, listed], [self.like(x, shape)], schema.TransposeOptionsT()
        )

    def softmax(self, x, beta=1.0):
        options = schema.SoftmaxOptionsT()
        options.beta = beta
        out = self.tensor(self.shape(x), scale=1 / 256, zero_point=-128)
        return self.operator("SOFTMAX", [x], [out], options)

    def unary(self, name, x, *, scale=None, zero_point=None, version=2):
        fixed = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
        if name in fixed and scale is None:
            scale, zero_point = fixed[name]
        out = self.like(x, self.shape(x), scale=scale, zero_point=zero_point)
        return self.operator(name, [x], [out], version=version)

    def quantize(self, x, dtype="int8", scale=0.04, zero_point=-9):
        out = self.tensor(self.shape(x), dtype, scale, zero_point)
        return self.operator("QUANTIZE", [x], [out], schema.QuantizeOptionsT(), version=1)

    def dequantize(self, x):
        out = self.tensor(self.shape(x), "float32")
        return self.operator("DEQUANTIZE", [x], [out], schema.DequantizeOptionsT())

    # ---- the whole

    def build(self, *outputs, signature=None, more_signatures=None):
        """The file. ``signature``: {name: tensor} of inputs and of outputs; ``more_signatures``:
        {key: (subgraph, inputs, outputs)}.
        """
        self.graph.inputs = np.array(self.inputs, np.int32)
        self.graph.outputs = np.array(outputs, np.int32)
        if signature is not None:
            named = {"serving_default": (0, *signature), **(more_signatures or {})}
            self.model.signatureDefs = [_signature(key, *value) for key, value in named.items()]
        for code in self.model.operatorCodes:
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _signature(key, subgraph, inputs, outputs):
    made = schema.SignatureDefT()
    made.signatureKey, made.subgraphIndex = key.encode(), subgraph
    made.inputs, made.outputs = ([_entry(*e) for e in s.items()] for s in (inputs, outputs))
    return made


def _entry(name, tensor):
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name.encode(), tensor
    return made


def output_size(size, span, stride, *, same):
    return -(-size // stride) if same else (size - span) // stride + 1


# ---- whole networks


def mobilenet_v1(size=96, width=0.25, classes=11, seed=1):
    """MobileNetV1's layers: 13 pairs of depthwise and pointwise convolutions."""
    net = Network(seed)
    first = x = net.input([1, size, size, 3], scale=1 / 128, zero_point=-1, name="image")
    x = net.conv(x, _width(32, width), 3, 2)
    for channels, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
        *[(512, 1)] * 5, (1024, 2), (1024, 1),
    ):  # fmt: skip
        x = net.depthwise(x, 3, stride)
        x = net.conv(x, _width(channels, width), 1)
    x = net.pool(x, "AVERAGE", net.shape(x)[1], 1)
    x = net.conv(x, classes, 1, activation=NONE)
    x = net.reshape(x, [1, classes])
    out = net.softmax(x)
    return net.build(out, signature=({"image": first}, {"classes": out}))


def mobilenet_v2(size=96, width=0.35, classes=11, seed=2):
    """MobileNetV2's layers: inverted residuals with linear bottlenecks."""
    net = Network(seed)
    x = net.input([1, size, size, 3], scale=1 / 128, zero_point=-1)
    x = net.conv(x, _width(32, width), 3, 2)
    for expansion, channels, repeats, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):  # fmt: skip
        for i in range(repeats):
            x = _inverted_residual(
                net, x, expansion, _width(channels, width), stride if i == 0 else 1
            )
    x = net.conv(x, _width(1280, width), 1)
    x = net.mean(x, (1, 2))
    x = net.dense(x, classes, per_channel=True)
    return net.build(net.softmax(x))


def _inverted_residual(net, x, expansion, channels, stride):
    entry, depth = x, net.shape(x)[3]
    if expansion != 1:
        x = net.conv(x, depth * expansion, 1)
    if stride == 2:  # as Keras does it: an explicit pad and no padding
        x = net.pad(x, [(0, 0), (0, 1), (0, 1), (0, 0)])
    x = net.depthwise(x, 3, stride, same=stride == 1)
    x = net.conv(x, channels, 1, activation=NONE)
    return net.add(entry, x) if stride == 1 and depth == channels else x


def _width(channels, width):
    return max(8, int(channels * width + 4) // 8 * 8)


def resnet_8(seed=3):
    """The image network of MLPerf Tiny: three residual stages on 32 x 32 pixels."""
    net = Network(seed)
    x = net.input([1, 32, 32, 3], scale=1 / 128, zero_point=-1)
    x = net.conv(x, 16, 3, activation=RELU)
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        y = net.conv(x, channels, 3, stride, activation=RELU)
        y = net.conv(y, channels, 3, activation=NONE)
        if stride == 2:
            x = net.conv(x, channels, 1, 2, activation=NONE)
        x = net.add(x, y, activation=RELU)
    x = net.pool(x, "AVERAGE", 8, 8)
    x = net.reshape(x, [1, 64])
    return net.build(net.softmax(net.dense(x, 10)))


def every_operator(seed=4):
    """Each operator of the core at least once, in one graph."""
    net = Network(seed)
    floats = net.input([1, 12, 10, 6], "float32")
    x = net.quantize(floats)
    x = net.conv(x, 18, 3, activation=RELU)
    y = net.depthwise(x, (3, 5), multiplier=2, activation=NONE)
    y = net.conv(y, 18, 1, activation=RELU_N1_TO_1, groups=2)
    x = net.add(net.quantize(x, scale=0.07), y, activation=RELU6)
    x = net.mul(x, net.unary("LOGISTIC", net.mean(x, keep=True)))
    a = net.pool(x, "AVERAGE", 3, 1, same=True)
    b = net.pool(x, "MAX", (2, 3), 1, same=True, activation=RELU)
    x = net.concatenate([a, b], 3)
    x = net.transpose(net.pad(x, [(0, 0), (1, 0), (0, 2), (1, 1)]), [0, 3, 1, 2])
    x = net.unary("RELU6", net.unary("RELU", net.unary("TANH", x)), scale=0.02, zero_point=-3)
    x = net.unary("RELU_N1_TO_1", x, version=1)
    x = net.squeeze(net.reshape(net.mean(x, (-1,)), [1, 1, 38, 13]), [1])
    x = net.dense(x, 7)
    return net.build(net.dequantize(net.softmax(x)))
