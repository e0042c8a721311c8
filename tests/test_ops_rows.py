"""Operators over the last dimension against LiteRT's default path: SOFTMAX and its like."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgesdk.errors import EdgeError, UnsupportedOperatorError
from edgesdk.interpreter import Interpreter
from networks import Network
from test_ops_unary import RANGES, assert_equal, options_of, quant, reference, run

TRIALS = 40
SHAPES = [(1,), (3, 129), (2, 3, 10), (2, 2, 2, 1, 2, 1001), (4, 1), (0, 4), (1, 40_000)]
PAIRS = [
    ("SOFTMAX", "float32", "float32"),
    *(("SOFTMAX", a, b) for a in ("int8", "uint8") for b in (a, "int16")),
    ("SOFTMAX", "int16", "int16"),
    *((n, d, d) for n in ("LOG_SOFTMAX", "L2_NORMALIZATION") for d in ("float32", "int8", "uint8")),
]
OUTPUTS = {
    ("SOFTMAX", "int8"): (1 / 256, -128),
    ("SOFTMAX", "uint8"): (1 / 256, 0),
    ("SOFTMAX", "int16"): (1 / 32768, 0),
    ("LOG_SOFTMAX", "int8"): (16 / 256, 127),
    ("LOG_SOFTMAX", "uint8"): (16 / 256, 255),
    ("L2_NORMALIZATION", "int8"): (1 / 128, 0),
    ("L2_NORMALIZATION", "uint8"): (1 / 128, 128),
}


def options(name, random):
    if name == "SOFTMAX":
        return options_of("Softmax", beta=float(random.choice([1, 1, 0.5, 2.3])))
    return options_of("LogSoftmax" if name == "LOG_SOFTMAX" else "L2Norm")


def model(name, source, target, shape, random, *, output=None):
    given = quant(random, source) if source in RANGES else (None, 0)
    made = output or OUTPUTS.get((name, target), (None, 0))
    net = Network(1)
    x = net.tensor(shape, source, *given)
    net.inputs.append(x)
    y = net.operator(name, [x], [net.tensor(shape, target, *made)], options(name, random))
    return net.build(y)


def values(random, dtype, shape):
    if dtype in RANGES:
        low, high = RANGES[dtype]
        spread = int(random.choice([high - low, 40]))
        first = int(random.integers(low, high - spread + 1))
        return random.integers(first, first + spread + 1, shape).astype(dtype)
    return random.normal(0, random.choice([0.1, 3, 30]), shape).astype(dtype)


@pytest.mark.parametrize(("name", "source", "target"), PAIRS)
def test_the_result_is_that_of_litert(name, source, target):
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([trial, *name.encode(), *source.encode(), *target.encode()])
        shape = SHAPES[trial % len(SHAPES)]
        free = name == "SOFTMAX" and (source, target) in {
            ("uint8", "uint8"), ("int8", "int16"), ("uint8", "int16"),
        }  # fmt: skip
        output = None
        if free and trial % 2:  # LiteRT asks nothing of these
            output = float(np.float32(random.uniform(0.9, 3) * OUTPUTS[name, target][0])), 0
        content = model(name, source, target, shape, random, output=output)
        value = values(random, source, shape)
        expected = reference(content, value)
        if expected is None:
            continue
        assert_equal(
            run(Interpreter(model_content=content, engine="native"), value),
            expected,
            (trial, shape),
        )
        compared += 1
    assert compared > TRIALS // 2


def test_rows_of_zeros_are_divided_by_something():
    for dtype in ("int8", "uint8", "float32"):
        random = np.random.default_rng(1)
        content = model("L2_NORMALIZATION", dtype, dtype, (2, 9), random)
        net_zero = 0 if dtype == "float32" else None
        made = Interpreter(model_content=content, engine="native")
        made.allocate_tensors()
        if net_zero is None:
            net_zero = made.get_input_details()[0]["quantization"][1]
        value = np.full((2, 9), net_zero, dtype)
        assert_equal(run(made, value), reference(content, value), dtype)


@pytest.mark.parametrize(("name", "source", "target"), PAIRS)
def test_other_output_quantizations_are_refused(name, source, target):
    if target not in RANGES or (name == "SOFTMAX" and source != target) or target == "uint8":
        return
    content = model(name, source, target, (3, 4), np.random.default_rng(1), output=(0.1, 0))
    with pytest.raises(UnsupportedOperatorError, match=r"expected an (int16 )?output of scale"):
        Interpreter(model_content=content, engine="native")


@pytest.mark.parametrize("name", ["SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION"])
def test_a_number_without_dimensions_is_refused(name):
    content = model(name, "float32", "float32", (), np.random.default_rng(1))
    with pytest.raises(EdgeError, match="rows of at least one element"):
        Interpreter(model_content=content, engine="native").allocate_tensors()


def test_a_fused_activation_of_l2_normalization_is_refused():
    net = Network(1)
    x = net.input([2, 3], "float32")
    made = schema.L2NormOptionsT()
    made.fusedActivationFunction = 1
    y = net.operator("L2_NORMALIZATION", [x], [net.tensor([2, 3], "float32")], made)
    with pytest.raises(UnsupportedOperatorError, match="no fused activation"):
        Interpreter(model_content=net.build(y), engine="native")


def test_threads_change_no_bits():
    content = model("SOFTMAX", "float32", "float32", (700, 300), np.random.default_rng(1))
    value = values(np.random.default_rng(2), "float32", (700, 300))
    one, two = (
        run(Interpreter(model_content=content, num_threads=n, engine="native"), value)
        for n in (1, 2)
    )
    assert one.tobytes() == two.tobytes()
