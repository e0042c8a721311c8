"""Operators of two operands, and those like them, against LiteRT's default path.

Each trial draws types, shapes that broadcast, quantizations and options. Where LiteRT runs the
model, integers are equal and floats differ by less than 1e-5 of the largest.
"""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from edgesdk.interpreter import Interpreter
from fixtures_core import ISAS
from networks import NONE, RELU, RELU6, RELU_N1_TO_1, Network
from test_numerics import keep_from_xnnpack, outputs, scale

TRIALS = 24
WHOLE = {"int8", "uint8", "int16", "int32", "uint32", "int64"}
ACTIVATED = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div"}


def options(name, random):
    if name not in ACTIVATED:
        return None
    made = getattr(schema, f"{ACTIVATED[name]}OptionsT")()
    made.fusedActivationFunction = int(random.choice([NONE, NONE, RELU, RELU6, RELU_N1_TO_1]))
    return made


def shapes(random, count=2):
    """Shapes that broadcast, of up to 6 dimensions."""
    full = [int(n) for n in random.choice([1, 2, 3, 17], int(random.integers(0, 5)))]
    full += [1] * int(random.random() < 0.1) + [2] * int(random.random() < 0.2)
    made = []
    for _ in range(count):
        own = [n if random.random() < 0.7 else 1 for n in full]
        made.append(own[int(random.integers(0, len(own) + 1)) if random.random() < 0.3 else 0 :])
    return made if random.random() < 0.6 else [full] * count


def values(dtype, shape, random):
    if dtype == "float32":
        return random.normal(0, 3, shape).astype(np.float32)
    if dtype == "bool":
        return random.random(shape) < 0.5
    info = np.iinfo(dtype)
    wild = random.random() < 0.3 or info.bits == 8
    low, high = (info.min, info.max) if wild else (max(info.min, -40), 40)
    return random.integers(low, high, shape, endpoint=True).astype(dtype)


def zero_point(dtype, random):
    if dtype == "int16":
        return 0
    return int(random.integers(0, 256)) - (128 if dtype == "int8" else 0)


def tensor(net, random, dtype, shape, quantized, *, constant=False):
    data = values(dtype, shape, random) if constant else None
    made = net.tensor(
        shape, dtype, scale(random, -7, -1) if quantized else None,
        zero_point(dtype, random) if quantized else 0, data=data,
    )  # fmt: skip
    if not constant:
        net.inputs.append(made)
    return made


def numpy_shape(given):
    return list(np.broadcast_shapes(*[tuple(s) for s in given]))


def binary(name, dtype, random, *, quantized, version, out=None):
    net = Network()
    given = shapes(random)
    a = tensor(net, random, dtype, given[0], quantized)
    b = tensor(net, random, dtype, given[1], quantized, constant=random.random() < 0.3)
    y = net.tensor(
        numpy_shape(given), out or dtype,
        scale(random, -6, 2) if quantized and out != "bool" else None,
        zero_point(out or dtype, random) if quantized else 0,
    )  # fmt: skip
    return net, net.operator(name, [a, b], [y], options(name, random), version=version)


def run_litert(content, frame):
    """None: LiteRT refuses the model, or to run it."""
    try:
        reference = litert.Interpreter(model_content=content)
        reference.allocate_tensors()
        return outputs(reference, frame)
    except (ValueError, RuntimeError):
        return None


def drawn(net, random):
    names = {code: name for name, code in vars(schema.TensorType).items() if name.isupper()}
    return [
        values(names[net.graph.tensors[i].type].lower(), net.shape(i), random) for i in net.inputs
    ]


def agree(came, expected):
    assert came.shape == expected.shape
    assert came.dtype == expected.dtype
    if came.dtype != np.float32:
        return np.array_equal(came, expected)
    finite = np.isfinite(expected)
    if not np.array_equal(np.nan_to_num(came[~finite]), np.nan_to_num(expected[~finite])):
        return False
    peak = np.abs(expected[finite]).max(initial=1e-30)
    return bool(np.all(np.abs(came[finite] - expected[finite]) <= 1e-5 * peak))


def compare(net, out, random, trial):
    """False: LiteRT does not run it."""
    content = net.build(out)
    frame = drawn(net, random)
    expected = run_litert(content, frame)
    if expected is None:
        return False
    for isa in ISAS:
        made = Interpreter(model_content=content, isa=isa, engine="native")
        made.allocate_tensors()
        for came, want in zip(outputs(made, frame), expected, strict=True):
            assert agree(came, want), (
                f"trial {trial}, {isa}: {came[came != want][:5]} not {want[came != want][:5]}"
            )
    return True


ARITHMETIC = [
    *((n, t, False) for n in ("ADD", "SUB", "MUL") for t in ("float32", "int32", "int64")),
    *((n, t, True) for n in ("ADD", "SUB", "MUL") for t in ("int8", "uint8", "int16")),
    ("ADD", "int16", False),
    ("MUL", "int16", False),
    ("MUL", "uint32", False),
]


def random_for(*words):
    return np.random.default_rng([sum(str(w).encode()) * (i + 1) for i, w in enumerate(words)])


@pytest.mark.parametrize(("name", "dtype", "quantized"), ARITHMETIC)
def test_arithmetic_is_litert_s(name, dtype, quantized):
    compared = 0
    for trial in range(TRIALS):
        random = random_for(name, dtype, trial)
        net, out = binary(name, dtype, random, quantized=quantized, version=5)
        chosen = net.graph.operators[0].builtinOptions
        if name in {"ADD", "SUB"}:
            chosen.potScaleInt16 = False
        if quantized and random.random() < 0.5:
            keep_from_xnnpack(net, random.choice([*net.inputs, out]))
        compared += compare(net, out, random, trial)
    assert compared > TRIALS // 2
