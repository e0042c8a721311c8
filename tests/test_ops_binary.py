"""Operators of two operands, and those like them, against LiteRT's default path.

Each trial draws types, shapes that broadcast, quantizations and options. Where LiteRT runs the
model, integers are equal and floats differ by less than 1e-5 of the largest.
"""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from edgesdk.errors import EdgeError, MalformedModelError, UnsupportedOperatorError
from edgesdk.interpreter import Interpreter
from fixtures_core import ISAS
from networks import NONE, RELU, RELU6, RELU_N1_TO_1, Network
from test_numerics import keep_from_xnnpack, outputs, scale

TRIALS = 24
ACTIVATED = {"ADD", "SUB", "MUL", "DIV"}


def options(name, random):
    """The operator's table, where there is one and the file gives it."""
    words = {"MAXIMUM": "MaximumMinimum", "MINIMUM": "MaximumMinimum", "ATAN2": "ATan2"}
    word = words.get(name, "".join(part.capitalize() for part in name.split("_")))
    table = getattr(schema, f"{word}OptionsT", None)
    if table is None or (name not in ACTIVATED and random.random() < 0.3):
        return None
    made = table()
    if name in ACTIVATED:
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


def tensor(net, random, dtype, shape, quantized, *, data=None):
    made = net.tensor(
        shape, dtype, scale(random, -7, -1) if quantized else None,
        zero_point(dtype, random) if quantized else 0, data=data,
    )  # fmt: skip
    if data is None:
        net.inputs.append(made)
    return made


def second(name, dtype, zero, shape, random):
    """Values of a second operand that the operator allows."""
    found = values(dtype, shape, random)
    if name in {"DIV", "FLOOR_DIV", "FLOOR_MOD"} and dtype != "float32":
        found = np.where(found == zero, found.dtype.type(zero - 1 if zero > 0 else zero + 1), found)
    return np.abs(found) % 9 if name == "POW" else found


def binary(name, dtype, random, *, quantized, version, out=None):
    """A node, its output, and values for its inputs."""
    net = Network()
    given = shapes(random)
    a = tensor(net, random, dtype, given[0], quantized)
    b = tensor(net, random, dtype, given[1], quantized)
    frame = [values(dtype, given[0], random)]
    frame += [second(name, dtype, net.zero_point(b) if quantized else 0, given[1], random)]
    if name == "POW" and dtype == "float32":
        frame[0] = np.abs(frame[0])
    if random.random() < 0.3:
        net.inputs.pop()
        set_constant(net, b, frame.pop())
    y = net.tensor(
        np.broadcast_shapes(*given), out or dtype,
        scale(random, -6, 2) if quantized and out != "bool" else None,
        zero_point(out or dtype, random) if quantized and out != "bool" else 0,
    )  # fmt: skip
    return net, net.operator(name, [a, b], [y], options(name, random), version=version), frame


def set_constant(net, tensor, data):
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
    net.model.buffers.append(buffer)
    net.graph.tensors[tensor].buffer = len(net.model.buffers) - 1


def run_litert(content, frame):
    """None: LiteRT refuses the model, or to run it."""
    try:
        reference = litert.Interpreter(model_content=content)
        reference.allocate_tensors()
        return outputs(reference, frame)
    except (ValueError, RuntimeError):
        return None


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


def runs(content, frame):
    """What the core gives on every ISA."""
    for isa in ISAS:
        made = Interpreter(model_content=content, isa=isa, engine="native")
        made.allocate_tensors()
        yield isa, outputs(made, frame)


def compare(net, out, frame, trial):
    """False: LiteRT does not run it."""
    content = net.build(out)
    expected = run_litert(content, frame)
    if expected is None:
        return False
    for isa, found in runs(content, frame):
        for came, want in zip(found, expected, strict=True):
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
        net, out, frame = binary(name, dtype, random, quantized=quantized, version=5)
        chosen = net.graph.operators[0].builtinOptions
        if name in {"ADD", "SUB"}:
            chosen.potScaleInt16 = False
        if dtype == "uint32" and chosen.fusedActivationFunction == RELU_N1_TO_1:
            chosen.fusedActivationFunction = RELU6  # LiteRT's lower bound is 2^32 - 1
        if quantized and random.random() < 0.5:
            keep_from_xnnpack(net, random.choice([*net.inputs, out]))
        compared += compare(net, out, frame, trial)
    assert compared > TRIALS // 2


OTHERS = [
    *((n, t, t in {"int8", "uint8", "int16"})
      for n in ("MAXIMUM", "MINIMUM")
      for t in ("float32", "int8", "uint8", "int16", "int32", "int64")),
    ("SQUARED_DIFFERENCE", "float32", False),
    ("SQUARED_DIFFERENCE", "int32", False),
    ("SQUARED_DIFFERENCE", "int8", True),
    ("DIV", "float32", False),
    ("DIV", "int32", False),
    *(("FLOOR_DIV", t, False) for t in ("float32", "int8", "int16", "int32")),
    *(("FLOOR_MOD", t, False) for t in ("float32", "int8", "int16", "int32", "int64")),
    ("POW", "float32", False),
    ("POW", "int32", False),
    ("LOGICAL_AND", "bool", False),
    ("LOGICAL_OR", "bool", False),
    *((n, t, False)
      for n in ("BITWISE_XOR", "RIGHT_SHIFT")
      for t in ("int8", "uint8", "int16", "uint16", "int32", "uint32")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype", "quantized"), OTHERS)
def test_other_operators_are_litert_s(name, dtype, quantized):
    compared = 0
    for trial in range(TRIALS):
        random = random_for(name, dtype, trial)
        net, out, frame = binary(name, dtype, random, quantized=quantized, version=1)
        compared += compare(net, out, frame, trial)
    assert compared > TRIALS // 2


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_quantized_quotients_are_litert_s_or_too_small_for_it(dtype):
    """LiteRT shifts tiny quotients by more than 31 bits, with any result; the core's is 0."""
    compared = 0
    for trial in range(TRIALS):
        random = random_for("DIV", dtype, trial)
        net, out, frame = binary("DIV", dtype, random, quantized=True, version=1)
        content = net.build(out)
        expected = run_litert(content, frame)
        if expected is None:
            continue
        for isa, (came,) in runs(content, frame):
            differs = came != expected[0]
            assert np.all(came[differs] == net.zero_point(out)), f"trial {trial}, {isa}"
            compared += came.size - differs.sum()
    assert compared > 1000


COMPARISONS = ["EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"]
ORDERED = ["float32", "int8", "uint8", "int16", "int32", "int64"]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((n, t) for n in COMPARISONS for t in ORDERED), ("EQUAL", "bool"), ("NOT_EQUAL", "bool")],
)
def test_comparisons_are_litert_s(name, dtype):
    compared = 0
    for trial in range(TRIALS):
        random = random_for(name, dtype, trial)
        quantized = dtype in {"int8", "uint8", "int16"}
        net, out, frame = binary(name, dtype, random, quantized=quantized, version=1, out="bool")
        if quantized and random.random() < 0.4:
            alike = net.graph.tensors[0].quantization
            net.graph.tensors[1].quantization = alike
        compared += compare(net, out, frame, trial)
    assert compared > TRIALS // 2


@pytest.mark.parametrize("name", ["ADD", "SUB"])
def test_int16_with_scales_of_powers_of_two_is_shifted(name):
    compared = 0
    for trial in range(TRIALS):
        random = random_for(name, trial)
        net = Network()
        shape = shapes(random)[0]
        powers = [2.0**-9, 2.0 ** -float(random.integers(9, 20))]
        if random.random() < 0.5:
            powers.reverse()
        a, b = (net.input(shape, "int16", power, 0) for power in powers)
        y = net.tensor(shape, "int16", 2.0**-9)
        table = options(name, random) or schema.AddOptionsT()
        table.potScaleInt16 = True
        out = net.operator(name, [a, b], [y], table, version=1)
        frame = [random.integers(-32768, 32768, shape).astype(np.int16) for _ in range(2)]
        compared += compare(net, out, frame, trial)
    assert compared > TRIALS // 2


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_products_of_int16_fractions_in_8_bits(dtype):
    for trial in range(8):
        random = random_for("MUL", dtype, trial)
        net = Network()
        shape = [3, 17]
        a, b = (net.input(shape, "int16", 2.0**-15, 0) for _ in range(2))
        y = net.tensor(shape, dtype, 2.0**-7, zero_point(dtype, random))
        out = net.operator("MUL", [a, b], [y], options("MUL", random), version=5)
        frame = [random.integers(-32768, 32768, shape).astype(np.int16) for _ in range(2)]
        frame[0][0, 0] = frame[1][0, 0] = -32768
        assert compare(net, out, frame, trial)


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int16"])
def test_prelu_is_litert_s(dtype):
    compared = 0
    for trial in range(TRIALS):
        random = random_for("PRELU", dtype, trial)
        net = Network()
        shape = [2, 3, 4, 17][int(random.integers(0, 3)) :]
        narrow = [n if random.random() < 0.5 else 1 for n in shape[int(random.integers(0, 2)) :]]
        quantized = dtype != "float32"
        alpha_type = "int8" if dtype == "int16" else dtype
        a = tensor(net, random, dtype, shape, quantized)
        data = values(alpha_type, narrow, random)
        alpha = tensor(net, random, alpha_type, narrow, quantized, data=data)
        y = net.tensor(
            shape, dtype, scale(random, -6, 2) if quantized else None,
            zero_point(dtype, random) if quantized else 0,
        )  # fmt: skip
        out = net.operator("PRELU", [a, alpha], [y], version=1)
        compared += compare(net, out, [values(dtype, shape, random)], trial)
    assert compared > TRIALS // 2


SELECTABLE = ["float32", "int8", "uint8", "int16", "int32", "int64", "bool"]


@pytest.mark.parametrize("dtype", SELECTABLE)
def test_select_v2_broadcasts_as_litert_s(dtype):
    compared = 0
    for trial in range(TRIALS):
        random = random_for("SELECT_V2", dtype, trial)
        net = Network()
        given = shapes(random, 3)
        kinds = ["bool", dtype, dtype]
        made = [net.input(shape, kind) for shape, kind in zip(given, kinds, strict=True)]
        y = net.tensor(np.broadcast_shapes(*given), dtype)
        out = net.operator("SELECT_V2", made, [y], options("SELECT_V2", random), version=1)
        frame = [values(k, s, random) for k, s in zip(kinds, given, strict=True)]
        compared += compare(net, out, frame, trial)
    assert compared > TRIALS // 2


@pytest.mark.parametrize("dtype", SELECTABLE)
@pytest.mark.parametrize("condition", [[], [3], [3, 2, 5]])
def test_select_is_litert_s(dtype, condition):
    random = random_for("SELECT", dtype, len(condition))
    net = Network()
    made = [net.input(condition, "bool"), *(net.input([3, 2, 5], dtype) for _ in range(2))]
    out = net.operator("SELECT", made, [net.tensor([3, 2, 5], dtype)], version=1)
    for _ in range(2):
        frame = [values("bool", condition, random)]
        frame += [values(dtype, [3, 2, 5], random) for _ in range(2)]
        assert compare(net, out, frame, 0)


def test_select_of_single_elements_keeps_the_shape_in_the_file():
    net = Network()
    made = [net.input([1], "bool"), net.input([], "int32"), net.input([1, 1], "int32")]
    out = net.operator("SELECT_V2", made, [net.tensor([1, 1, 1], "int32")], version=1)
    frame = [np.array([True]), np.array(4, np.int32), np.array([[5]], np.int32)]
    assert compare(net, out, frame, 0)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_add_n_is_litert_s(dtype, count):
    random = random_for("ADD_N", dtype, count)
    net = Network()
    made = [net.input([3, 17], dtype) for _ in range(count)]
    out = net.operator("ADD_N", made, [net.tensor([3, 17], dtype)], options("ADD_N", random))
    net.model.operatorCodes[0].version = 1
    assert compare(net, out, [values(dtype, [3, 17], random) for _ in range(count)], 0)


def test_atan2_is_litert_s():
    random = random_for("ATAN2")
    net = Network()
    made = [net.input([5, 17], "float32") for _ in range(2)]
    table = schema.ATan2OptionsT()
    out = net.operator("ATAN2", made, [net.tensor([5, 17], "float32")], table, version=1)
    frame = [values("float32", [5, 17], random) for _ in range(2)]
    frame[0][0], frame[1][1] = 0, 0
    assert compare(net, out, frame, 0)


def one_node(name, dtypes, given, out, *, table=None, version=1, quantized=False):
    net = Network()
    made = [
        net.input(shape, dtype) if quantized or dtype not in {"int8", "uint8", "int16"}
        else tensor(net, np.random.default_rng(0), dtype, shape, quantized=False)
        for dtype, shape in zip(dtypes, given, strict=True)
    ]  # fmt: skip
    y = net.tensor(out[1], out[0], 0.1 if quantized else None)
    return net.build(net.operator(name, made, [y], table, version=version))


def invoked(content, *frame):
    made = Interpreter(model_content=content, engine="native")
    made.allocate_tensors()
    return outputs(made, frame)[0]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *(("DIV", t) for t in ("int32",)),
        *(("FLOOR_DIV", t) for t in ("float32", "int8", "int16", "int32")),
        *(("FLOOR_MOD", t) for t in ("int8", "int16", "int32", "int64")),
    ],
)
def test_a_division_by_zero_is_an_error(name, dtype):
    content = one_node(name, [dtype] * 2, [[4]] * 2, (dtype, [4]))
    with pytest.raises(EdgeError, match="expected divisors other than 0, got 0"):
        invoked(content, np.ones(4, dtype), np.array([1, 2, 0, 3], dtype))


def test_a_quantized_divisor_is_zero_at_its_zero_point():
    content = one_node("DIV", ["int8"] * 2, [[2]] * 2, ("int8", [2]), quantized=True)
    with pytest.raises(EdgeError, match="expected divisors other than 0, got 0"):
        invoked(content, np.ones(2, np.int8), np.array([1, 3], np.int8))


def test_a_float_by_zero_is_infinite():
    content = one_node("DIV", ["float32"] * 2, [[2]] * 2, ("float32", [2]))
    assert invoked(content, np.array([1, -1], np.float32), np.zeros(2, np.float32)).tolist() == [
        np.inf,
        -np.inf,
    ]


@pytest.mark.parametrize(
    ("name", "dtype", "result"),
    [
        ("DIV", "int32", 2**31 - 1),
        *(("FLOOR_DIV", t, np.iinfo(t).min) for t in ("int8", "int16", "int32")),
        *(("FLOOR_MOD", t, 0) for t in ("int8", "int16", "int32", "int64")),
    ],
)
def test_the_lowest_number_by_minus_one_has_a_result(name, dtype, result):
    content = one_node(name, [dtype] * 2, [[2]] * 2, (dtype, [2]))
    came = invoked(content, np.full(2, np.iinfo(dtype).min, dtype), np.full(2, -1, dtype))
    assert came.tolist() == [result] * 2


def test_a_negative_exponent_is_an_error():
    content = one_node("POW", ["int32"] * 2, [[2]] * 2, ("int32", [2]))
    with pytest.raises(EdgeError, match="expected exponents of at least 0, got -1"):
        invoked(content, np.ones(2, np.int32), np.array([0, -1], np.int32))


@pytest.mark.parametrize(
    ("name", "dtypes", "out"),
    [
        ("ADD", ["bool", "bool"], "bool"),
        ("ADD", ["float32", "int32"], "float32"),
        ("SUB", ["float32", "float32"], "int32"),
        ("MUL", ["uint8", "int8"], "uint8"),
        ("DIV", ["int64", "int64"], "int64"),
        ("MAXIMUM", ["bool", "bool"], "bool"),
        ("LESS", ["bool", "bool"], "bool"),
        ("LESS", ["int32", "int32"], "int32"),
        ("EQUAL", ["resource", "resource"], "bool"),
        ("LOGICAL_AND", ["int32", "int32"], "bool"),
        ("BITWISE_XOR", ["int64", "int64"], "int64"),
        ("RIGHT_SHIFT", ["float32", "float32"], "float32"),
        ("SQUARED_DIFFERENCE", ["int64", "int64"], "int64"),
        ("POW", ["int64", "int64"], "int64"),
        ("ATAN2", ["int32", "int32"], "int32"),
        ("PRELU", ["int32", "int32"], "int32"),
        ("PRELU", ["int16", "int16"], "int16"),
        ("SELECT", ["int32", "float32", "float32"], "float32"),
        ("SELECT_V2", ["bool", "float32", "int32"], "float32"),
        ("SELECT_V2", ["bool", "resource", "resource"], "resource"),
        ("ADD_N", ["int64", "int64"], "int64"),
        ("ADD_N", ["int32", "float32"], "int32"),
    ],
)
def test_other_types_are_refused(name, dtypes, out):
    content = one_node(name, dtypes, [[2]] * len(dtypes), (out, [2]), quantized=True)
    with pytest.raises(UnsupportedOperatorError, match=r"expected .*, got \w+"):
        Interpreter(model_content=content, engine="native")


@pytest.mark.parametrize(
    ("name", "dtypes", "given"),
    [
        ("ADD", ["float32"] * 2, [[3], [2]]),
        ("PRELU", ["float32"] * 2, [[3], [2, 3]]),
        ("SELECT", ["bool", "int32", "int32"], [[2], [3, 1], [3, 1]]),
        ("SELECT", ["bool", "int32", "int32"], [[], [3], [1]]),
        ("SELECT_V2", ["bool", "int32", "int32"], [[2], [3], [1]]),
        ("ADD_N", ["int32"] * 3, [[2], [2], [1, 2]]),
    ],
)
def test_shapes_that_do_not_go_together_are_refused(name, dtypes, given):
    content = one_node(name, dtypes, given, (dtypes[-1], given[-1]))
    made = Interpreter(model_content=content, engine="native")
    with pytest.raises(MalformedModelError, match=r"expected .*, got"):
        made.allocate_tensors()


def test_scales_beyond_the_arithmetic_are_refused():
    net = Network()
    a, b = (net.input([2], "int16", s, 0) for s in (1.0, 1e-6))
    y = net.tensor([2], "int16", 1e-6)
    table = schema.AddOptionsT()
    table.potScaleInt16 = False
    content = net.build(net.operator("ADD", [a, b], [y], table))
    with pytest.raises(UnsupportedOperatorError, match="within 2\\^14"):
        Interpreter(model_content=content, engine="native")


def test_int16_with_a_zero_point_is_refused():
    net = Network()
    a, b = (net.input([2], "int16", 0.1, 3) for _ in range(2))
    content = net.build(
        net.operator("SUB", [a, b], [net.tensor([2], "int16", 0.1)], schema.SubOptionsT())
    )
    with pytest.raises(MalformedModelError, match="zero points of 0"):
        Interpreter(model_content=content, engine="native")


@pytest.mark.parametrize("name", ["ADD", "MAXIMUM", "EQUAL", "SELECT_V2", "FLOOR_MOD", "POW"])
def test_shapes_follow_inputs_that_are_resized(name):
    kinds = (["bool"] if name == "SELECT_V2" else []) + ["int32"] * 2
    out = "bool" if name == "EQUAL" else "int32"
    content = one_node(name, kinds, [[1]] * len(kinds), (out, [1]))
    made = Interpreter(model_content=content, engine="native")
    reference = litert.Interpreter(model_content=content)
    for given in ([[2, 3]] * 3, [[5, 1, 1], [4, 1], [7]], [[0, 2]] * 3, [[0], [1], [2, 1, 1]]):
        for each in (made, reference):
            for detail, shape in zip(each.get_input_details(), given, strict=False):
                each.resize_tensor_input(detail["index"], shape)
            each.allocate_tensors()
        frame = [
            np.random.default_rng(k).integers(1, 9, shape).astype(bool if t == "bool" else t)
            for k, (shape, t) in enumerate(zip(given, kinds, strict=False))
        ]
        (came,), (expected,) = outputs(made, frame), outputs(reference, frame)
        assert agree(came, expected)


def test_arithmetic_on_constants_is_done_while_planning():
    net = Network()
    a, b = (net.tensor([3], "int32", data=np.array(v, np.int32)) for v in ([4, 5, 6], [1, 2, 3]))
    total = net.operator("ADD", [a, b], [net.tensor([3], "int32")], schema.AddOptionsT())
    x = net.input([1], "int32")
    out = net.operator("MUL", [total, x], [net.tensor([3], "int32")], schema.MulOptionsT())
    assert invoked(net.build(out), np.array([2], np.int32)).tolist() == [10, 14, 18]
