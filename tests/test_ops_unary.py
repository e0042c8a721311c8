"""Operators of one input against LiteRT's default path: every type, random quantizations.

Quantized results have LiteRT's bits; float32 ones differ by less than 1e-5 of the peak.
"""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from edgesdk.errors import EdgeError, MalformedModelError, UnsupportedOperatorError
from edgesdk.interpreter import Interpreter
from networks import Network

TRIALS = 40
RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
SHAPES = [(), (1,), (3, 129), (1, 2, 3, 50), (2, 1, 1, 3, 1, 40), (1, 1, 2, 1, 2, 1, 65), (0, 4)]


def options_of(name, **fields):
    made = getattr(schema, f"{name}OptionsT")()
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def alpha(random):
    return float(random.choice([0.3, 0.2, 0.1, 0.0, 1.5, random.uniform(0, 1)]))


def fake_quant(random):
    bits = int(random.choice([8, 8, 4, 16, 2]))
    low, high = float(-random.uniform(0, 8)), float(random.uniform(0.1, 8))
    return options_of("FakeQuant", min=low, max=high, numBits=bits)


# name: (types, options). The types are those that LiteRT has.
OPERATORS = {
    "LOGISTIC": ("float32 int8 uint8 int16", None),
    "TANH": ("float32 int8 uint8 int16", None),
    "RELU": ("float32 int8 uint8 int16", None),
    "RELU6": ("float32 int8 uint8 int16", None),
    "RELU_N1_TO_1": ("float32 int8 uint8", None),
    "RELU_0_TO_1": ("float32 int8 uint8", None),
    "LEAKY_RELU": ("float32 int8 uint8 int16", lambda r: options_of("LeakyRelu", alpha=alpha(r))),
    "HARD_SWISH": ("float32 int8 uint8", lambda _: options_of("HardSwish")),
    "ELU": ("float32 int8", None),
    "GELU": (
        "float32 int8 uint8 int16",
        lambda r: options_of("Gelu", approximate=bool(r.integers(2))),
    ),
    "EXP": ("float32 int8 int16", lambda _: options_of("Exp")),
    "LOG": ("float32 int8 int16", None),
    "SQRT": ("float32 int8 int16", None),
    "RSQRT": ("float32 int8 int16", None),
    "ABS": ("float32 int8 int16 int32 plain16", lambda _: options_of("Abs")),
    "NEG": ("float32 int8 int16 int32 int64", lambda _: options_of("Neg")),
    "SQUARE": ("float32", lambda _: options_of("Square")),
    "SIN": ("float32", None),
    "COS": ("float32", lambda _: options_of("Cos")),
    "SIGN": ("float32 float64 int32", lambda _: options_of("Sign")),
    "FLOOR": ("float32", None),
    "CEIL": ("float32", None),
    "ROUND": ("float32", None),
    "ZEROS_LIKE": ("float32 int32 int64", lambda _: options_of("ZerosLike")),
    "LOGICAL_NOT": ("bool", lambda _: options_of("LogicalNot")),
    "FAKE_QUANT": ("float32", fake_quant),
}
CASES = [(name, dtype) for name, (types, _) in OPERATORS.items() for dtype in types.split()]
POSITIVE = {"SQRT", "RSQRT"}
# erfcf and tanhf of the C library below LiteRT are not correctly rounded.
INEXACT = {
    ("GELU", "int8"),
    ("GELU", "uint8"),
    ("GELU", "int16"),
    ("TANH", "int8"),
    ("TANH", "uint8"),
}


def quant(random, dtype):
    low, high = RANGES[dtype]
    width = -8.0 if dtype == "int16" else 0.0
    exponent = random.uniform(-8 + width, width)
    scale = float(np.float32(2.0 ** (round(exponent) if random.random() < 0.3 else exponent)))
    if dtype == "int16":
        return scale, 0
    return scale, int(random.choice([low, high, *random.integers(low, high + 1, 6)]))


FIXED = {
    ("LOGISTIC", "int8"): (1 / 256, -128),
    ("LOGISTIC", "uint8"): (1 / 256, 0),
    ("LOGISTIC", "int16"): (1 / 32768, 0),
    ("TANH", "int16"): (1 / 32768, 0),
}
USUAL = {("TANH", "int8"): (1 / 128, 0), ("TANH", "uint8"): (1 / 128, 128)}


def output_quant(name, random, dtype, given):
    """What the operator's output must be, or tends to be."""
    if (name, dtype) in FIXED:
        return FIXED[name, dtype]
    if (name, dtype) in USUAL and random.random() < 0.7:
        return USUAL[name, dtype]
    scale, zero_point = given if random.random() < 0.2 else quant(random, dtype)
    if name == "HARD_SWISH":
        scale = max(scale, given[0] / 100)
    if name == "EXP":  # what leaves 32 bits is undefined in LiteRT
        low, high = RANGES[dtype]
        most = float(np.exp(min(given[0] * (high - given[1]), 80.0)))
        scale = max(scale, most / (high - low) / 4)
    return scale, zero_point


def values_of(random, dtype, shape, name="", *, zero_point=0):
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if dtype in RANGES:
        low, high = RANGES[dtype]
        low = zero_point if name in POSITIVE else low
        made = random.integers(low, high + 1, shape)
        return np.where(random.random(shape) < 0.05, random.choice([low, high]), made).astype(dtype)
    if dtype.startswith("int"):
        return random.integers(-(2**31), 2**31, shape).astype(dtype)
    made = random.normal(0, random.choice([0.1, 1, 5, 30]), shape)
    made = np.where(random.random(shape) < 0.1, np.rint(made * 2) / 2, made)
    return (np.abs(made) + 1e-6 if name in {"LOG", *POSITIVE} else made).astype(dtype)


def model(name, dtype, shape, random, *, axis=0):
    """One node. ``axis`` 1 keeps quantized nodes from XNNPACK."""
    net = Network(1)
    real = "int16" if dtype == "plain16" else dtype
    given = quant(random, dtype) if dtype in RANGES else (None, 0)
    out = output_quant(name, random, dtype, given) if dtype in RANGES else (None, 0)
    made = OPERATORS[name][1]
    x = net.tensor(shape, real, *given, axis=axis)
    y = net.tensor(shape, real, *out)
    net.inputs.append(x)
    net.operator(name, [x], [y], made(random) if made else None, version=1)
    return net.build(y), given[1]


def run(made, value):
    made.allocate_tensors()
    made.set_tensor(made.get_input_details()[0]["index"], value)
    made.invoke()
    return made.get_tensor(made.get_output_details()[0]["index"])


def reference(content, value):
    """What LiteRT gives, or None where it refuses."""
    try:
        return run(litert.Interpreter(model_content=content), value)
    except (ValueError, RuntimeError):
        return None


def assert_equal(came, expected, what, *, slack=False):
    """``slack``: some entries of a table are off by one, as the C library below LiteRT is."""
    assert came.dtype == expected.dtype
    assert came.shape == expected.shape
    if expected.dtype.kind not in "fc":
        if slack:
            apart = np.abs(came.astype(int) - expected.astype(int))
            assert (apart <= 1).all(), what
            assert (apart > 0).sum() <= max(1, apart.size // 50), what
            return
        np.testing.assert_array_equal(came, expected, err_msg=str(what))
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(came[~finite], expected[~finite], err_msg=str(what))
    if finite.any():
        peak = max(np.abs(expected[finite]).max(), 1e-6)
        assert np.abs(came[finite] - expected[finite]).max() <= 1e-5 * peak, what


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_the_result_is_that_of_litert(name, dtype):
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([trial, sum(name.encode()), sum(dtype.encode())])
        shape = SHAPES[trial % len(SHAPES)]
        axis = int(trial % 3 == 0 and len(shape) > 1 and dtype in RANGES)
        content, zero_point = model(name, dtype, shape, random, axis=axis)
        real = "int16" if dtype == "plain16" else dtype
        value = values_of(random, real, shape, name, zero_point=zero_point)
        expected = reference(content, value)
        if expected is None:
            continue
        came = run(Interpreter(model_content=content, engine="native"), value)
        assert_equal(came, expected, (trial, shape), slack=(name, dtype) in INEXACT)
        compared += 1
    assert compared > TRIALS // 2


@pytest.mark.parametrize("name", ["LOGISTIC", "TANH"])
@pytest.mark.parametrize("scale", [2.0**-12, 2.0**-11, 2.0**-12 * 1.0003, 2.0**-13, 3e-4, 1.2])
def test_every_int16_gives_the_bits_of_litert(name, scale):
    net = Network(1)
    x = net.tensor([65536], "int16", scale)
    net.inputs.append(x)
    content = net.build(net.operator(name, [x], [net.tensor([65536], "int16", 1 / 32768)]))
    value = np.arange(-32768, 32768).astype(np.int16)
    expected = reference(content, value)
    np.testing.assert_array_equal(
        run(Interpreter(model_content=content, engine="native"), value), expected
    )


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_other_types_are_refused(name):
    types = OPERATORS[name][0].replace("plain16", "").split()
    for dtype in ("float16", "uint64", "complex64", "int64", "bool", "uint8"):
        if dtype in types:
            continue
        net = Network(1)
        made = OPERATORS[name][1]
        random = np.random.default_rng(1)
        x = net.tensor([2, 3], dtype, *((0.1, 3) if dtype in RANGES else ()))
        y = net.tensor([2, 3], dtype, *((0.1, 3) if dtype in RANGES else ()))
        net.inputs.append(x)
        net.operator(name, [x], [y], made(random) if made else None, version=1)
        with pytest.raises(UnsupportedOperatorError, match="expected an input of type"):
            Interpreter(model_content=net.build(y), engine="native")


@pytest.mark.parametrize("name", ["SQRT", "RSQRT"])
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_a_root_of_less_than_zero_is_refused_when_it_runs(name, dtype):
    net = Network(1)
    x = net.tensor([4], dtype, 0.1, 0)
    net.inputs.append(x)
    content = net.build(net.operator(name, [x], [net.tensor([4], dtype, 0.1, 0)]))
    assert reference(content, np.array([1, 2, -1, 3], dtype)) is None
    made = Interpreter(model_content=content, engine="native")
    with pytest.raises(EdgeError, match="expected inputs of at least 0"):
        run(made, np.array([1, 2, -1, 3], dtype))
    run(made, np.array([1, 2, 0, 3], dtype))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LEAKY_RELU", options_of("LeakyRelu", alpha=float("nan"))),
        ("FAKE_QUANT", options_of("FakeQuant", min=1.0, max=2.0, numBits=8)),
        ("FAKE_QUANT", options_of("FakeQuant", min=-1.0, max=2.0, numBits=40)),
        ("FAKE_QUANT", options_of("FakeQuant", min=0.0, max=0.0, numBits=8)),
    ],
)
def test_options_without_a_meaning_are_refused(name, options):
    net = Network(1)
    x = net.input([3], "float32")
    y = net.operator(name, [x], [net.tensor([3], "float32")], options, version=1)
    with pytest.raises(MalformedModelError):
        Interpreter(model_content=net.build(y), engine="native")


def test_an_input_of_another_shape_and_threads_change_no_bits():
    net = Network(1)
    x = net.input([1, 8], "float32")
    y = net.tensor([1, 8], "float32")
    content = net.build(net.operator("GELU", [x], [y], options_of("Gelu"), version=1))
    value = np.random.default_rng(1).normal(0, 3, [5, 40_003]).astype(np.float32)
    results = []
    for threads in (1, 2):
        made = Interpreter(model_content=content, num_threads=threads, engine="native")
        made.resize_tensor_input(x, value.shape)
        results.append(run(made, value).tobytes())
    assert results[0] == results[1]
