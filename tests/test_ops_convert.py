"""QUANTIZE, DEQUANTIZE and CAST against LiteRT's default path, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgesdk.errors import EdgeError, MalformedModelError, UnsupportedOperatorError
from edgesdk.interpreter import Interpreter
from networks import Network
from test_ops_unary import SHAPES, quant, reference, run

QUANTIZE = [
    *(("float32", to) for to in ("int8", "uint8", "int16")),
    *((a, b) for a in ("int8", "uint8") for b in ("int8", "uint8", "int16")),
    *(("int16", to) for to in ("int8", "int16", "int32")),
    *(("int32", to) for to in ("int8", "int16")),
]
DEQUANTIZE = ["int8", "uint8", "int16", "float16"]
CAST = [
    "float16",
    "float32",
    "float64",
    "int64",
    "int32",
    "uint32",
    "int16",
    "uint16",
    "int8",
    "uint8",
    "bool",
    "complex64",
]
TRIALS = 40


def quantization(random, dtype):
    if dtype == "int32":
        return float(np.float32(2.0 ** random.uniform(-20, -6))), int(random.integers(-900, 900))
    return quant(random, dtype) if dtype in {"int8", "uint8", "int16"} else (None, 0)


def values_of(random, dtype, shape):
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if dtype == "complex64":
        return (random.normal(0, 300, shape) + 1j * random.normal(0, 300, shape)).astype(dtype)
    if dtype.startswith("float"):
        made = random.normal(0, random.choice([1, 300, 1e5, 1e10]), shape)
        made = np.where(random.random(shape) < 0.1, random.choice([0.5, -1.5, 2.5, 1e38]), made)
        with np.errstate(over="ignore"):
            return made.astype(dtype)
    info = np.iinfo(dtype)
    made = random.integers(info.min, info.max, shape, dtype, endpoint=True)
    return np.asarray(made >> random.integers(0, info.bits - 7), dtype)


def node(name, shape, inputs, outputs, options, *, axis=0, data=None):
    """The file of one node; ``inputs`` and ``outputs`` are (type, scale, zero point)."""
    net = Network(1)
    x = net.tensor(shape, *inputs, axis=axis, data=data)
    y = net.tensor(shape, *outputs)
    if data is None:
        net.inputs.append(x)
    net.operator(name, [x], [y], options, version=1)
    return net, y


@pytest.mark.parametrize(("source", "target"), QUANTIZE)
def test_quantize_gives_the_bits_of_litert(source, target):
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([trial, *source.encode(), *target.encode()])
        shape = SHAPES[trial % len(SHAPES)]
        given, made = quantization(random, source), quantization(random, target)
        if trial % 4 == 0 and source in {"int8", "uint8"} and target != "int16":
            made = given[0], int(given[1] + {"int8int8": 0, "uint8uint8": 0, "int8uint8": 128,
                                             "uint8int8": -128}[source + target])  # fmt: skip
        axis = int(trial % 3 == 0 and len(shape) > 1 and source != "float32")
        net, y = node("QUANTIZE", shape, (source, *given), (target, *made),
                      schema.QuantizeOptionsT(), axis=axis)  # fmt: skip
        if source == "float32" and trial % 3 == 0 and len(shape) > 1:
            net.graph.tensors[y].quantization.quantizedDimension = 1
        content = net.build(y)
        value = values_of(random, source, shape)
        if source == "float32":
            value = (random.normal(0, 80, shape) * made[0]).astype(np.float32)
            ties = (np.rint(value / made[0]) + 0.5) * np.float32(made[0])
            value = np.where(random.random(shape) < 0.3, ties, value).astype(np.float32)
        expected = reference(content, value)
        if expected is None:
            continue
        came = run(Interpreter(model_content=content, engine="native"), value)
        np.testing.assert_array_equal(came, expected, err_msg=str(trial))
        compared += 1
    assert compared > TRIALS // 2


@pytest.mark.parametrize("source", DEQUANTIZE)
@pytest.mark.parametrize("constant", [False, True])
def test_dequantize_gives_the_bits_of_litert(source, constant):
    for trial in range(TRIALS):
        random = np.random.default_rng([trial, *source.encode()])
        shape = SHAPES[1 + trial % (len(SHAPES) - 2)]
        value = values_of(random, source, shape)
        axis = int(trial % 3 == 0 and len(shape) > 1 and source in {"int8", "uint8"})
        net, y = node("DEQUANTIZE", shape, (source, *quantization(random, source)), ("float32",),
                      schema.DequantizeOptionsT(), axis=axis,
                      data=value if constant else None)  # fmt: skip
        if constant:  # LiteRT does not write a constant that is an output
            net.input([1], "float32")
            value = np.ones(1, np.float32)
            y = net.operator("NEG", [y], [net.tensor(shape, "float32")], version=1)
        content = net.build(y)
        expected = reference(content, value)
        came = run(Interpreter(model_content=content, engine="native"), value)
        np.testing.assert_array_equal(came, expected, err_msg=str(trial))


def per_channel(random, shape, axis, dtype):
    scales = np.exp(random.normal(-3, 1, shape[axis])).astype(np.float32)
    zeros = random.integers(0, 20, shape[axis]) if dtype != "int16" else 0 * scales.astype(int)
    return scales, zeros


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_quantization_per_channel_gives_the_bits_of_litert(dtype, axis):
    shape = [3, 5, 4]
    random = np.random.default_rng(axis)
    scales, zeros = per_channel(random, shape, axis, dtype)
    net = Network(1)
    x = net.input(shape, "float32")
    y = net.tensor(shape, dtype, scales, zeros, axis=axis)
    content = net.build(net.operator("QUANTIZE", [x], [y], schema.QuantizeOptionsT()))
    value = random.normal(0, 9, shape).astype(np.float32)
    expected = reference(content, value)
    np.testing.assert_array_equal(
        run(Interpreter(model_content=content, engine="native"), value), expected
    )
    if dtype == "int16":
        return
    net = Network(1)
    x = net.tensor(shape, dtype, scales, zeros, axis=axis)
    net.inputs.append(x)
    y = net.tensor(shape, "float32")
    back = net.build(net.operator("DEQUANTIZE", [x], [y], schema.DequantizeOptionsT()))
    np.testing.assert_array_equal(
        run(Interpreter(model_content=back, engine="native"), expected), reference(back, expected)
    )


def test_scales_that_do_not_fit_their_dimension_are_refused():
    net = Network(1)
    x = net.tensor([2, 3], "int8", [0.1, 0.2, 0.3], 0, axis=1)
    net.inputs.append(x)
    y = net.operator("DEQUANTIZE", [x], [net.tensor([2, 3], "float32")])
    made = Interpreter(model_content=net.build(y), engine="native")
    made.resize_tensor_input(x, [2, 4])
    with pytest.raises(EdgeError, match="as long as there are scales"):
        made.allocate_tensors()


def test_float16_constants_are_computed_once():
    """They take no step: what reads them finds float32 weights."""
    every = np.arange(65536).astype(np.uint16).view(np.float16)
    net = Network(1)
    w = net.tensor([65536], "float16", data=every)
    y = net.operator("DEQUANTIZE", [w], [net.tensor([65536], "float32")])
    z = net.operator("ABS", [y], [net.tensor([65536], "float32")], schema.AbsOptionsT(), version=1)
    made = Interpreter(model_content=net.build(z), engine="native")
    made.allocate_tensors()
    made.invoke()
    came = made.get_tensor(made.get_output_details()[0]["index"])
    np.testing.assert_array_equal(came, np.abs(every.astype(np.float32)))


@pytest.mark.parametrize("source", CAST)
def test_cast_gives_the_bits_of_litert(source):
    for target in CAST:
        for trial, shape in enumerate([(), (3, 129), (600,), (0, 2)]):
            random = np.random.default_rng([trial, *source.encode(), *target.encode()])
            net, y = node("CAST", shape, (source,), (target,), schema.CastOptionsT())
            content = net.build(y)
            value = values_of(random, source, shape)
            expected = reference(content, value)
            came = run(Interpreter(model_content=content, engine="native"), value)
            assert came.dtype == expected.dtype
            assert came.tobytes() == expected.tobytes(), (target, trial)


SPECIAL = [np.nan, np.inf, -np.inf, 3e9, -3e9, 1e20, 65519.0, 65520.0, 6e-8, 2e-8, -0.5, 2049.0]


@pytest.mark.parametrize("target", CAST)
def test_cast_of_odd_numbers_gives_what_litert_does(target):
    value = np.array(SPECIAL, np.float32)
    net, y = node("CAST", value.shape, ("float32",), (target,), schema.CastOptionsT())
    content = net.build(y)
    expected = reference(content, value)
    np.testing.assert_array_equal(
        run(Interpreter(model_content=content, engine="native"), value), expected
    )


@pytest.mark.parametrize(
    ("name", "source", "target"),
    [
        ("CAST", "uint64", "int32"),
        ("CAST", "int32", "complex128"),
        ("QUANTIZE", "int64", "int8"),
        ("QUANTIZE", "float32", "int32"),
        ("DEQUANTIZE", "int32", "float32"),
        ("DEQUANTIZE", "int8", "int8"),
    ],
)
def test_other_types_are_refused(name, source, target):
    net, y = node(name, [3], (source, 0.1, 0), (target, 0.1, 0), None)
    with pytest.raises(UnsupportedOperatorError, match="expected"):
        Interpreter(model_content=net.build(y), engine="native")


def test_an_int16_zero_point_is_refused():
    net, y = node("DEQUANTIZE", [3], ("int16", 0.1, 4), ("float32",), None)
    with pytest.raises(MalformedModelError, match="zero point of 0"):
        Interpreter(model_content=net.build(y), engine="native")
