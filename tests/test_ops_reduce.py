"""Reductions, CUMSUM, ARG_MAX and ARG_MIN against LiteRT's default path, over random parameters."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import peer
from edgesdk.errors import EdgeError, UnsupportedOperatorError
from edgesdk.interpreter import Interpreter
from networks import Network

TRIALS = 25
NUMBERS = ("int8", "uint8", "int16", "int32", "int64", "float32")
TYPES = {
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"), NUMBERS),
    **dict.fromkeys(("REDUCE_ANY", "REDUCE_ALL"), ("bool",)),
}
VERSIONS = {"REDUCE_ANY": 1, "REDUCE_ALL": 1}
PLACES = ("int8", "uint8", "int32", "float32", "bool")


def reduction(name, dtype, random, *, computed=False, shape=None):
    """A model of one reduction, and its inputs."""
    net = Network(1)
    if shape is None:
        shape = [int(n) for n in random.integers(1, 7, int(random.integers(0, 7)))]
    rank = len(shape)
    axes = random.integers(-rank, max(rank, 1), int(random.integers(0, 4))) if rank else [0]
    if rank == 4 and random.random() < 0.4:
        axes = [[1, 2], [2, 1], [2, 1, 2], [-2, -3]][int(random.integers(4))]
        shape[3] = int(random.integers(1, 40))
    axes = np.array(axes, np.int32)
    scale, zero = peer.quantization(dtype, random)
    if name == "REDUCE_PROD" and (dtype == "uint8" or random.random() < 0.3):
        scale = None
    x = net.input(shape, dtype, scale, zero)
    if dtype == "float32" or scale is None:
        net.graph.tensors[x].quantization = None
    listed = (
        net.input([len(axes)], "int32") if computed else net.tensor([len(axes)], "int32", data=axes)
    )
    if computed:
        net.graph.tensors[listed].quantization = None
    options = schema.ReducerOptionsT()
    options.keepDims = bool(random.random() < 0.5)
    named = {int(a) % rank for a in axes} if rank else set()
    out = [
        1 if d in named else n for d, n in enumerate(shape) if options.keepDims or d not in named
    ]
    if name in ("MEAN", "SUM", "REDUCE_PROD") and scale is not None:
        scale, zero = peer.quantization(dtype, random, -8, 3)
    y = net.tensor(out, dtype, scale, zero)
    if scale is not None and rank > 1 and random.random() < 0.4:
        peer.own_kernels(net, x)
    net.operator(name, [x, listed], [y], options, version=VERSIONS.get(name, 2))
    return net.build(y), [peer.values(shape, dtype, random), *([axes] if computed else [])]


@pytest.mark.parametrize(("name", "dtype"), [(n, t) for n, types in TYPES.items() for t in types])
def test_reductions_have_the_bits_of_litert(name, dtype):
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([trial, len(name), len(dtype), sum(name.encode())])
        content, frame = reduction(name, dtype, random, computed=trial % 5 == 4)
        compared += peer.agrees(content, frame, why=f"trial {trial}")
    assert compared > TRIALS // 2


@pytest.mark.parametrize(("name", "dtype"), [(n, t) for n, types in TYPES.items() for t in types])
def test_reductions_of_nothing(name, dtype):
    """An empty dimension: neutral elements, as LiteRT has them where it has any."""
    if name in ("SUM", "REDUCE_PROD") and dtype in peer.QUANTIZED:
        pytest.skip("LiteRT leaves the output as it was")
    net = Network(1)
    scale, zero = peer.quantization(dtype, np.random.default_rng(1))
    x = net.input([2, 3], dtype, scale, zero)
    y = net.tensor([2], dtype, scale, zero)
    if scale is None:
        net.graph.tensors[x].quantization = None
    else:
        peer.own_kernels(net, x)
    axes = net.tensor([1], "int32", data=np.array([1], np.int32))
    net.operator(name, [x, axes], [y], schema.ReducerOptionsT(), version=VERSIONS.get(name, 2))
    assert peer.agrees(net.build(y), [np.zeros([2, 0], dtype)], resized=True, why=name)


@pytest.mark.parametrize("dtype", PLACES)
@pytest.mark.parametrize("name", ["ARG_MAX", "ARG_MIN"])
def test_places_are_those_of_litert(name, dtype):
    compared = 0
    for trial in range(TRIALS):
        random = np.random.default_rng([trial, len(dtype), sum(name.encode())])
        net = Network(1)
        shape = [int(n) for n in random.integers(1, 30, int(random.integers(1, 5)))]
        axis = int(random.integers(-len(shape), len(shape)))
        scale, zero = peer.quantization(dtype, random)
        x = net.input(shape, dtype, scale, zero)
        if scale is None:
            net.graph.tensors[x].quantization = None
        of_axis = np.array([axis], str(random.choice(["int32", "int64"])))
        computed = trial % 5 == 4
        place = net.tensor([1], str(of_axis.dtype), data=None if computed else of_axis)
        if computed:
            net.inputs.append(place)
        options = getattr(schema, f"Arg{name[4:].capitalize()}OptionsT")()
        wide = bool(random.random() < 0.5)
        options.outputType = schema.TensorType.INT64 if wide else schema.TensorType.INT32
        left = [n for d, n in enumerate(shape) if d != axis % len(shape)]
        y = net.tensor(left, "int64" if wide else "int32")
        net.operator(name, [x, place], [y], options)
        few = peer.values(shape, dtype, random)
        if dtype != "bool":
            few = np.where(random.random(shape) < 0.5, few, few.ravel()[0]).astype(dtype)
        compared += peer.agrees(
            net.build(y), [few, *([of_axis] if computed else [])], why=f"trial {trial}"
        )
    assert compared > TRIALS // 2


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_running_sums_are_those_of_litert(dtype):
    for trial in range(TRIALS):
        random = np.random.default_rng([trial, len(dtype)])
        net = Network(1)
        shape = [int(n) for n in random.integers(1, 9, int(random.integers(1, 5)))]
        axis = np.array([random.integers(-len(shape), len(shape))], np.int32)
        x = net.tensor(shape, dtype)
        computed = trial % 5 == 4
        listed = net.tensor([1], "int32", data=None if computed else axis)
        net.inputs = [x, listed] if computed else [x]
        options = schema.CumsumOptionsT()
        options.exclusive, options.reverse = (bool(n) for n in random.integers(2, size=2))
        y = net.tensor(shape, dtype)
        net.operator("CUMSUM", [x, listed], [y], options, version=1)
        frame = [peer.values(shape, dtype, random), *([axis] if computed else [])]
        assert peer.agrees(net.build(y), frame, why=f"trial {trial}")


def built(name, *, shape=(2, 3), dtype="float32", axes=(1,), axis_type="int32", options=None):
    net = Network(1)
    x = net.tensor(shape, dtype)
    net.inputs.append(x)
    listed = net.tensor([len(axes)], axis_type, data=np.array(axes, axis_type))
    y = net.tensor([2], "int32" if name.startswith("ARG") else dtype)
    net.operator(name, [x, listed], [y], options or schema.ReducerOptionsT(), version=1)
    return net.build(y)


def arg_options(kind=schema.TensorType.INT32):
    options = schema.ArgMaxOptionsT()
    options.outputType = kind
    return options


@pytest.mark.parametrize(
    "content",
    [
        built("SUM", axes=(2,)),
        built("REDUCE_MAX", axes=(-3,)),
        built("MEAN", axes=(0,) * 65),
        built("MEAN", dtype="int8"),
        built("CUMSUM", axes=(2,), options=schema.CumsumOptionsT()),
        built("CUMSUM", axes=(0, 1), options=schema.CumsumOptionsT()),
        built("ARG_MAX", axes=(2,), options=arg_options()),
        built("ARG_MAX", axes=(0, 1), options=arg_options()),
        built("ARG_MAX", options=arg_options(schema.TensorType.INT64)),
        built("ARG_MAX", shape=(2, 0), options=arg_options()),
    ],
)
def test_what_has_no_meaning_is_refused(content):
    with pytest.raises(EdgeError, match="expected"):
        Interpreter(model_content=content, engine="native").allocate_tensors()


@pytest.mark.parametrize(
    "content",
    [
        built("SUM", axis_type="int64"),
        built("MEAN", dtype="bool"),
        built("REDUCE_ANY"),
        built("CUMSUM", dtype="int8", options=schema.CumsumOptionsT()),
        built("ARG_MAX", axis_type="float32", options=arg_options()),
        built("ARG_MAX", dtype="int64", options=arg_options()),
    ],
)
def test_types_without_arithmetic_are_refused(content):
    with pytest.raises(UnsupportedOperatorError, match="expected"):
        Interpreter(model_content=content, engine="native")


def test_axes_of_the_wrong_value_end_the_run_with_an_error():
    net = Network(1)
    x = net.input([2, 3], "float32")
    axes = net.tensor([1], "int32")
    net.inputs.append(axes)
    y = net.tensor([2], "float32")
    net.operator("SUM", [x, axes], [y], schema.ReducerOptionsT(), version=1)
    made = Interpreter(model_content=net.build(y), engine="native")
    frame = [np.ones([2, 3], np.float32), np.array([2], np.int32)]
    with pytest.raises(EdgeError, match="expected axes in -2"):
        peer.run(made, frame)
    assert np.array_equal(peer.run(made, [frame[0], np.array([-1], np.int32)])[0], [3, 3])
