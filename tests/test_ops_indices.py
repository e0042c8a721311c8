"""Operators whose elements go, or come from, where indices and values say, against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgesdk.errors import EdgeError, InputError, MalformedModelError
from edgesdk.interpreter import Interpreter
from networks import Network
from test_ops_movement import Case, compare, options, ours, theirs

TRIALS = 60
SUMS = ["int8", "uint8", "int32", "int64", "float32", "bool"]
NUMBERS = ["int8", "uint8", "int16", "int32", "int64", "float32"]


def reverse_v2(case):
    shape = case.shape(1, 5)
    first = case.pick(0, len(shape) - 1)
    axes = list(range(first, case.pick(first + 1, len(shape))))
    axes = [a - len(shape) if case.random.random() < 0.3 else a for a in axes]
    case.operator("REVERSE_V2", [case.input(shape), case.listed(axes)], options("ReverseV2"))


def reverse_sequence(case):
    shape = case.shape(2, 5)
    sequence, batch = (int(d) for d in case.random.choice(len(shape), 2, replace=False))
    lengths = case.random.integers(0, shape[sequence] + 1, shape[batch])
    case.operator(
        "REVERSE_SEQUENCE",
        [case.input(shape), case.listed(lengths, case.whole())],
        options("ReverseSequence", seqDim=sequence, batchDim=batch),
    )


def scatter_nd(case):
    shape = case.shape(1, 4)
    width = case.pick(1, len(shape))
    places = case.shape(1, 2)
    indices = np.stack([case.random.integers(0, n, places) for n in shape[:width]], -1)
    case.operator(
        "SCATTER_ND",
        [case.listed(indices), case.input([*places, *shape[width:]]), case.listed(shape)],
        options("ScatterNd"),
    )


def sparse_to_dense(case):
    shape = case.shape(1, 4)
    places, whole = case.pick(1, 5), case.whole()
    indices = np.stack([case.random.integers(0, n, places) for n in shape], -1)
    if len(shape) == 1 and case.random.random() < 0.5:
        indices = indices[:, 0]
    case.operator(
        "SPARSE_TO_DENSE",
        [
            case.listed(indices, whole),
            case.listed(shape, whole),
            case.input([] if case.random.random() < 0.3 else [places]),
            case.input([]),
        ],
        options("SparseToDense"),
    )


def segment_sum(case):
    shape = case.shape(1, 4)
    steps = case.random.integers(0, 2, shape[0])
    steps[0] = 0
    case.operator(
        "SEGMENT_SUM", [case.input(shape), case.listed(np.cumsum(steps))], options("SegmentSum")
    )


def dynamic_update_slice(case):
    shape = case.shape(1, 4)
    update = [case.pick(1, n) for n in shape]
    begins = case.listed([case.pick(-2, n + 1) for n in shape], case.whole())
    case.operator(
        "DYNAMIC_UPDATE_SLICE",
        [case.input(shape), case.input(update), begins],
        options("DynamicUpdateSlice"),
    )


def range_(case):
    if case.dtype == "float32":
        start, limit = case.random.uniform(-9, 9, 2).astype(np.float32)
        delta = np.float32(case.random.uniform(0.1, 3))
    else:
        start, limit, delta = (case.pick(*span) for span in ((-20, 20), (-20, 20), (1, 5)))
    delta = -delta if limit < start else delta
    inputs = [case.listed(n, case.dtype, computed=0.5) for n in (start, limit, delta)]
    case.operator("RANGE", inputs, options("Range"))


def one_hot(case):
    shape = case.shape(0, 3)
    indices = case.random.integers(-1, 6, shape)
    case.operator(
        "ONE_HOT",
        [
            case.listed(indices, case.whole()),
            case.listed(case.pick(0, 5)),
            case.input([]),
            case.input([]),
        ],
        options("OneHot", axis=case.pick(-1, len(shape))),
    )


def topk_v2(case):
    shape = case.shape(1, 3, 12)
    values = case.random.integers(0, 6, shape).astype(case.dtype)
    if case.dtype == "float32" and case.random.random() < 0.3:
        values.flat[case.pick(0, values.size - 1)] = np.nan
    case.operator(
        "TOPK_V2",
        [case.input(shape, values=values), case.listed(case.pick(1, shape[-1]))],
        options("TopKV2"),
        outputs=[case.output(), case.output("int32")],
    )


def where(case):
    shape = case.shape(1, 4)
    values = case.random.integers(0, 2, shape).astype(case.dtype)
    if case.dtype == "float32":
        values[values == 0] *= -1
    case.operator(
        "WHERE", [case.input(shape, values=values)], options("Where"),
        outputs=[case.output("int64")],
    )  # fmt: skip


def unique(case):
    shape = [case.pick(1, 30)]
    values = case.random.integers(0, 9, shape).astype(case.dtype)
    wide = case.random.random() < 0.5
    case.operator(
        "UNIQUE",
        [case.input(shape, values=values)],
        options("Unique", idxOutType=schema.TensorType.INT64 if wide else schema.TensorType.INT32),
        outputs=[case.output(), case.output("int64" if wide else "int32")],
    )


def matrix_diag(case):
    case.operator("MATRIX_DIAG", [case.input(case.shape(1, 4))], options("MatrixDiag"))


def matrix_set_diag(case):
    shape = case.shape(2, 4)
    diagonal = [*shape[:-2], min(shape[-2:])]
    case.operator(
        "MATRIX_SET_DIAG", [case.input(shape), case.input(diagonal)], options("MatrixSetDiag")
    )


def embedding_lookup(case):
    shape = case.shape(2, 4)
    indices = case.listed(case.random.integers(0, shape[0], case.pick(1, 5)))
    case.operator("EMBEDDING_LOOKUP", [indices, case.input(shape)])


MODELS = {
    "REVERSE_V2": (reverse_v2, None),
    "REVERSE_SEQUENCE": (reverse_sequence, None),
    "SCATTER_ND": (scatter_nd, SUMS),
    "SPARSE_TO_DENSE": (sparse_to_dense, None),
    "SEGMENT_SUM": (segment_sum, ["int32", "float32"]),
    "DYNAMIC_UPDATE_SLICE": (dynamic_update_slice, None),
    "RANGE": (range_, ["int32", "int64", "float32"]),
    "ONE_HOT": (one_hot, None),
    "TOPK_V2": (topk_v2, NUMBERS),
    "WHERE": (where, ["int8", "uint8", "int32", "int64", "float32", "bool"]),
    "UNIQUE": (unique, NUMBERS),
    # LiteRT takes bools for floats here.
    "MATRIX_DIAG": (matrix_diag, NUMBERS),
    "MATRIX_SET_DIAG": (matrix_set_diag, NUMBERS),
    "EMBEDDING_LOOKUP": (embedding_lookup, None),
}


@pytest.mark.parametrize("name", MODELS)
def test_elements_are_where_litert_puts_them(name):
    model, dtypes = MODELS[name]
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([trial, *name.encode()])
        case = Case(random, dtypes) if dtypes else Case(random)
        model(case)
        try:
            compared += compare(case)
        except (AssertionError, EdgeError) as error:
            raise AssertionError(f"trial {trial} of {case.dtype}") from error
    assert compared > TRIALS // 3


@pytest.mark.parametrize("per_row", [False, True])
def test_an_int8_table_gives_the_floats_of_litert(per_row):
    for trial in range(20):
        random = np.random.default_rng(trial)
        rows, width = int(random.integers(1, 20)), int(random.integers(1, 40))
        net = Network(0)
        x = net.input([7], "int32", None)
        scales = random.uniform(0.001, 0.1, rows if per_row else 1)
        values = random.integers(-128, 128, [rows, width]).astype(np.int8)
        table = net.tensor([rows, width], "int8", scales, 0, data=values)
        y = net.tensor([7, width], "float32")
        net.operator("EMBEDDING_LOOKUP", [x, table], [y], version=3)
        content, feeds = net.build(y), {x: random.integers(0, rows, 7).astype(np.int32)}
        (came,), (expected,) = ours(content, feeds), theirs(content, feeds)
        assert np.array_equal(came, expected)


# ---- values that do not fit


def gather_model(indices=None):
    net = Network(0)
    x = net.input([4, 3], "float32")
    if indices is None:
        at = net.input([2], "int32", None)
    else:
        at = net.tensor([2], "int32", data=np.array(indices, np.int32))
    out = net.tensor([2, 3], "float32")
    net.operator("GATHER", [x, at], [out], options("Gather"), version=1)
    return x, at, net.build(out)


@pytest.mark.parametrize("index", [-1, 4, 2**31 - 1, -(2**31)])
def test_an_index_outside_fails_the_invoke_and_the_next_one_runs(index):
    x, at, content = gather_model()
    made = Interpreter(model_content=content, engine="native")
    made.allocate_tensors()
    made.set_tensor(x, np.arange(12, dtype=np.float32).reshape(4, 3))
    made.set_tensor(at, np.array([0, index], np.int32))
    with pytest.raises(InputError, match=r"expected indices in 0 \.\.\. 3"):
        made.invoke()
    made.set_tensor(at, np.array([3, 1], np.int32))
    made.invoke()
    out = made.get_tensor(made.get_output_details()[0]["index"])
    assert out.tolist() == [[9, 10, 11], [3, 4, 5]]


def test_a_constant_index_outside_of_what_is_constant_fails_the_allocation():
    net = Network(0)
    x = net.tensor([4], "int32", data=np.arange(4, dtype=np.int32))
    at = net.tensor([2], "int32", data=np.array([1, 4], np.int32))
    out = net.tensor([2], "int32")
    net.operator("GATHER", [x, at], [out], options("Gather"), version=1)
    made = Interpreter(model_content=net.build(out), engine="native")
    with pytest.raises(MalformedModelError, match=r"in 0 \.\.\. 3, got 4"):
        made.allocate_tensors()


def outside_scatter(net):
    at, updates = net.input([1, 1], "int32", None), net.input([1], "float32")
    shape = net.tensor([1], "int32", data=np.array([3], np.int32))
    out = net.tensor([3], "float32")
    net.operator("SCATTER_ND", [at, updates, shape], [out], options("ScatterNd"), version=1)
    return at, out


def outside_dense(net):
    at = net.input([1, 1], "int32", None)
    shape = net.tensor([1], "int32", data=np.array([3], np.int32))
    values, absent = net.input([1], "float32"), net.input([], "float32")
    out = net.tensor([3], "float32")
    net.operator(
        "SPARSE_TO_DENSE", [at, shape, values, absent], [out], options("SparseToDense"), version=1
    )
    return at, out


def outside_places(net):
    x, at = net.input([3], "float32"), net.input([1, 1], "int32", None)
    out = net.tensor([1], "float32")
    net.operator("GATHER_ND", [x, at], [out], options("GatherNd"), version=1)
    return at, out


def outside_table(net):
    at, table = net.input([1], "int32", None), net.input([3, 2], "float32")
    out = net.tensor([1, 2], "float32")
    net.operator("EMBEDDING_LOOKUP", [at, table], [out], version=1)
    return at, out


def outside_sequence(net):
    x, at = net.input([1, 3], "float32"), net.input([1], "int32", None)
    out = net.tensor([1, 3], "float32")
    chosen = options("ReverseSequence", seqDim=1, batchDim=0)
    net.operator("REVERSE_SEQUENCE", [x, at], [out], chosen, version=1)
    return at, out


@pytest.mark.parametrize("index", [-1, 4])
@pytest.mark.parametrize(
    "model", [outside_scatter, outside_dense, outside_places, outside_table, outside_sequence]
)
def test_values_outside_fail_the_invoke(model, index):
    net = Network(0)
    at, out = model(net)
    made = Interpreter(model_content=net.build(out), engine="native")
    made.allocate_tensors()
    made.set_tensor(at, np.full(made.get_tensor(at).shape, index, np.int32))
    with pytest.raises(InputError, match="expected"):
        made.invoke()
    made.set_tensor(at, np.full(made.get_tensor(at).shape, 2, np.int32))
    made.invoke()
