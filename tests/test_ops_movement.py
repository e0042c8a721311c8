"""Operators that move elements and do not change them, against LiteRT's default path.

Each trial draws types, shapes, options and whether lists of whole numbers, such as begins and
axes, are constants or computed.
"""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from edgesdk.errors import EdgeError
from edgesdk.interpreter import Interpreter
from networks import Network

TRIALS = 80
TYPES = ["int8", "uint8", "int16", "int32", "int64", "float32", "bool", "complex64"]
QUANTIZED = {"int8", "uint8", "int16"}


# ---- making models


def numbers(dtype, shape, random):
    if dtype == "float32":
        return random.standard_normal(shape).astype(np.float32)
    if dtype == "complex64":
        return (random.standard_normal(shape) + 1j * random.standard_normal(shape)).astype(dtype)
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    bits = {"int32": 32, "int64": 40}.get(dtype) or np.dtype(dtype).itemsize * 8
    info = np.iinfo(dtype)
    low, high = max(info.min, -(1 << bits - 1)), min(info.max, (1 << bits - 1) - 1)
    return random.integers(low, high, shape, endpoint=True).astype(dtype)


class Case:
    """A network of one operator, with the values of its inputs."""

    def __init__(self, random, dtypes=TYPES):
        self.random = random
        self.net = Network(0)
        self.dtype = str(random.choice(dtypes))
        self.feeds = {}
        self.outputs = []
        self.zero_point = 0 if self.dtype == "int16" else int(random.integers(0, 40))

    def pick(self, low, high):
        return int(self.random.integers(low, high, endpoint=True))

    def shape(self, low=1, high=5, most=4, *, least=1):
        return [self.pick(least, most) for _ in range(self.pick(low, high))]

    def scale(self, dtype):
        return 0.25 if dtype in QUANTIZED else None

    def input(self, shape, *, values=None, dtype=None):
        """A graph input, or now and then a constant."""
        dtype = dtype or self.dtype
        if values is None:
            values = numbers(dtype, shape, self.random)
        constant = self.random.random() < 0.1
        made = self.net.tensor(
            shape, dtype, self.scale(dtype), self.zero_point, data=values if constant else None
        )
        if not constant:
            self.net.inputs.append(made)
            self.feeds[made] = values
        return made

    def listed(self, values, dtype="int32", *, computed=0.3):
        """Whole numbers: a constant, or a graph input."""
        values = np.array(values, dtype)
        constant = self.random.random() > computed and values.size > 0
        made = self.net.tensor(values.shape, dtype, data=values if constant else None)
        if not constant:
            self.net.inputs.append(made)
            self.feeds[made] = values
        return made

    def whole(self):
        return str(self.random.choice(["int32", "int64"]))

    def output(self, dtype=None, zero_point=None):
        dtype = dtype or self.dtype
        zero_point = self.zero_point if zero_point is None else zero_point
        self.outputs.append(self.net.tensor([], dtype, self.scale(dtype), zero_point))
        return self.outputs[-1]

    def operator(self, name, inputs, options=None, *, outputs=None, version=1):
        self.net.operator(name, inputs, outputs or [self.output()], options, version=version)


def options(kind, **values):
    made = getattr(schema, kind + "OptionsT")()
    for name, value in values.items():
        setattr(made, name, value)
    return made


# ---- one model of each operator


def shape_of(case):
    wide = case.random.random() < 0.5
    case.operator(
        "SHAPE",
        [case.input(case.shape(0))],
        options("Shape", outType=schema.TensorType.INT64 if wide else schema.TensorType.INT32),
        outputs=[case.output("int64" if wide else "int32")],
    )


def rank(case):
    case.operator("RANK", [case.input(case.shape(0))], outputs=[case.output("int32")])


def strided_slice(case):
    shape = case.shape(1, 5)
    entries = case.pick(1, len(shape))
    new_axes = case.pick(0, 2) if case.random.random() < 0.3 else 0
    count = entries + new_axes
    begin, end, strides, shrink = [], [], [], 0
    new_axis = sum(1 << int(i) for i in case.random.choice(count, new_axes, replace=False))
    ellipsis = 0
    if case.random.random() < 0.3 and entries < len(shape):
        at = case.pick(0, count - 1)
        ellipsis = 1 << at if not new_axis >> at & 1 else 0
    d = 0
    for i in range(count):
        size = shape[min(d, len(shape) - 1)]
        begin.append(case.pick(-size, size - 1))
        end.append(case.pick(-size - 1, size + 1))
        strides.append(int(case.random.choice([1, 1, 1, 2, 3, -1, -2])))
        special = new_axis >> i & 1 or ellipsis >> i & 1
        if not special and case.random.random() < 0.2:
            shrink |= 1 << i
            strides[-1], end[-1] = 1, begin[-1] + 1
        d += not special
    masks = {"beginMask": case.pick(0, 31), "endMask": case.pick(0, 31)}
    if shrink:
        masks = {k: v & ~shrink for k, v in masks.items()}
    lists = [case.listed(v) for v in (begin, end, strides)]
    case.operator(
        "STRIDED_SLICE",
        [case.input(shape), *lists],
        options(
            "StridedSlice",
            ellipsisMask=ellipsis,
            newAxisMask=new_axis,
            shrinkAxisMask=shrink,
            offset=False,
            **masks,
        ),
        version=4,
    )


def slice_(case):
    shape = case.shape(1, 6)
    begin = [case.pick(0, n) for n in shape]
    size = [case.pick(0, n - b) for n, b in zip(shape, begin, strict=True)]
    size = [-1 if case.random.random() < 0.2 else n for n in size]
    whole = case.whole()
    lists = [case.listed(begin, whole), case.listed(size, whole)]
    case.operator("SLICE", [case.input(shape), *lists], options("Slice"), version=3)


def pack(case):
    shape, count = case.shape(0, 4), case.pick(1, 4)
    axis = case.pick(-len(shape) - 1, len(shape))
    inputs = [case.input(shape) for _ in range(count)]
    case.operator("PACK", inputs, options("Pack", valuesCount=count, axis=axis), version=2)


def unpack(case):
    shape = case.shape(1, 5)
    axis = case.pick(-len(shape), len(shape) - 1)
    case.operator(
        "UNPACK",
        [case.input(shape)],
        options("Unpack", num=shape[axis], axis=axis),
        outputs=[case.output() for _ in range(shape[axis])],
        version=3,
    )


def split(case):
    shape, parts = case.shape(1, 5), case.pick(1, 4)
    axis = case.pick(-len(shape), len(shape) - 1)
    shape[axis] = parts * case.pick(0, 3)
    case.operator(
        "SPLIT",
        [case.listed([axis] if case.random.random() < 0.5 else axis), case.input(shape)],
        options("Split", numSplits=parts),
        outputs=[case.output() for _ in range(parts)],
        version=3,
    )


def split_v(case):
    shape = case.shape(1, 5)
    axis = case.pick(-len(shape), len(shape) - 1)
    sizes = [case.pick(0, 3) for _ in range(case.pick(1, 4))]
    shape[axis] = sum(sizes)
    if case.random.random() < 0.4:
        sizes[case.pick(0, len(sizes) - 1)] = -1
    case.operator(
        "SPLIT_V",
        [case.input(shape), case.listed(sizes, case.whole()), case.listed(axis)],
        options("SplitV", numSplits=len(sizes)),
        outputs=[case.output() for _ in sizes],
        version=2,
    )


def expand_dims(case):
    shape = case.shape(0, 5)
    axis = case.listed([case.pick(-len(shape) - 1, len(shape))], case.whole())
    case.operator("EXPAND_DIMS", [case.input(shape), axis], options("ExpandDims"))


def reshape(case):
    shape = case.shape(0, 5)
    wanted = [int(n) for n in case.random.permutation(shape)]
    if len(wanted) > 1 and case.random.random() < 0.5:
        wanted = [wanted[0] * wanted[1], *wanted[2:]]
    if wanted and case.random.random() < 0.5:
        wanted[case.pick(0, len(wanted) - 1)] = -1
    inputs = [case.input(shape)]
    if case.random.random() < 0.8:
        inputs.append(case.listed(wanted))
    case.operator("RESHAPE", inputs, options("Reshape", newShape=np.array(wanted, np.int32)))


def squeeze(case):
    shape = case.shape(0, 6, 3)
    ones = [i for i, n in enumerate(shape) if n == 1]
    named = [int(i) for i in ones if case.random.random() < 0.5]
    dims = np.array([i - len(shape) if case.random.random() < 0.5 else i for i in named], np.int32)
    case.operator("SQUEEZE", [case.input(shape)], options("Squeeze", squeezeDims=dims))


def transpose(case):
    shape = case.shape(1, 6)
    order = [int(i) for i in case.random.permutation(len(shape))]
    if case.random.random() < 0.2:
        order = [i - len(shape) for i in order]
    case.operator(
        "TRANSPOSE", [case.input(shape), case.listed(order)], options("Transpose"), version=2
    )


def paddings(case, shape, most=3):
    return [[case.pick(0, most), case.pick(0, most)] for _ in shape]


def pad(case):
    shape = case.shape(1, 5)
    lists = case.listed(paddings(case, shape), case.whole())
    case.operator("PAD", [case.input(shape), lists], options("Pad"), version=2)


def padv2(case):
    shape = case.shape(1, 5)
    lists = case.listed(paddings(case, shape), case.whole())
    value = case.input([1] if case.random.random() < 0.5 else [])
    case.operator("PADV2", [case.input(shape), lists, value], options("PadV2"), version=2)


def mirror_pad(case):
    shape = case.shape(1, 5)
    mode = case.pick(0, 1)
    most = [n - (mode == schema.MirrorPadMode.REFLECT) for n in shape]
    listed = case.listed([[case.pick(0, n), case.pick(0, n)] for n in most], case.whole())
    case.operator("MIRROR_PAD", [case.input(shape), listed], options("MirrorPad", mode=mode))


def tile(case):
    shape = case.shape(1, 5, 3)
    times = case.listed([case.pick(0 if case.random.random() < 0.1 else 1, 3) for _ in shape],
                        case.whole())  # fmt: skip
    case.operator("TILE", [case.input(shape), times], options("Tile"))


def broadcast_to(case):
    shape = case.shape(0, 4)
    wanted = case.shape(0, 2) + [n if n > 1 else case.pick(1, 4) for n in shape]
    case.operator(
        "BROADCAST_TO",
        [case.input(shape), case.listed(wanted, case.whole())],
        options("BroadcastTo"),
        version=2,
    )


def broadcast_args(case):
    full = case.shape(1, 5)
    other = [n if case.random.random() < 0.6 else 1 for n in full][case.pick(0, len(full) - 1) :]
    whole = case.whole()
    case.operator(
        "BROADCAST_ARGS",
        [case.listed(full, whole), case.listed(other, whole)],
        outputs=[case.output(whole)],
    )


def fill(case):
    case.operator(
        "FILL", [case.listed(case.shape(1, 4, least=0), case.whole()), case.input([])],
        options("Fill"),
    )  # fmt: skip


def depth_to_space(case):
    n, h, w, c, block = (case.pick(1, 3) for _ in range(5))
    case.operator(
        "DEPTH_TO_SPACE",
        [case.input([n, h, w, c * block * block])],
        options("DepthToSpace", blockSize=block),
    )


def space_to_depth(case):
    n, h, w, c, block = (case.pick(1, 3) for _ in range(5))
    case.operator(
        "SPACE_TO_DEPTH",
        [case.input([n, h * block, w * block, c])],
        options("SpaceToDepth", blockSize=block),
    )


def space_to_batch_nd(case):
    spatial = case.pick(1, 2)
    blocks = [case.pick(1, 4) for _ in range(spatial)]
    size = [case.pick(1, 6) for _ in range(spatial)]
    edges = []
    for block, n in zip(blocks, size, strict=True):
        before = case.pick(0, 4)
        edges.append([before, -(n + before) % block + block * case.pick(0, 1)])
    case.operator(
        "SPACE_TO_BATCH_ND",
        [
            case.input([case.pick(1, 2), *size, case.pick(1, 3)]),
            case.listed(blocks),
            case.listed(edges),
        ],
        options("SpaceToBatchND"),
        version=2,
    )


def batch_to_space_nd(case):
    spatial = case.pick(1, 2)
    blocks = [case.pick(1, 3) for _ in range(spatial)]
    size = [case.pick(1, 4) for _ in range(spatial)]
    crops = []
    for block, n in zip(blocks, size, strict=True):
        before = case.pick(0, n * block - 1)
        crops.append([before, case.pick(0, n * block - before - 1)])
    case.operator(
        "BATCH_TO_SPACE_ND",
        [
            case.input([int(np.prod(blocks)) * case.pick(1, 2), *size, case.pick(1, 3)]),
            case.listed(blocks),
            case.listed(crops),
        ],
        options("BatchToSpaceND"),
        version=2,
    )


def concatenation(case):
    shape = case.shape(1, 5)
    axis = case.pick(-len(shape), len(shape) - 1)
    inputs = []
    for _ in range(case.pick(1, 4)):
        shape[axis] = case.pick(1, 4)
        inputs.append(case.input(list(shape)))
    case.operator(
        "CONCATENATION",
        inputs,
        options("Concatenation", axis=axis, fusedActivationFunction=0),
        version=2,
    )


def gather(case):
    shape = case.shape(1, 4)
    axis = case.pick(0, len(shape) - 1)
    batches = case.pick(0, axis)
    positions = shape[:batches] + case.shape(0, 2)
    whole = str(case.random.choice(["int16", "int32", "int64"]))
    indices = case.random.integers(0, shape[axis], positions)
    case.operator(
        "GATHER",
        [case.input(shape), case.listed(indices, whole)],
        options("Gather", axis=axis, batchDims=batches),
        version=5,
    )


def gather_nd(case):
    shape = case.shape(1, 4)
    width = case.pick(1, len(shape))
    places = case.shape(0, 2)
    indices = np.stack([case.random.integers(0, n, places) for n in shape[:width]], -1)
    whole = str(case.random.choice(["int16", "int32", "int64"]))
    case.operator(
        "GATHER_ND", [case.input(shape), case.listed(indices, whole)], options("GatherNd"),
        version=3,
    )  # fmt: skip


MODELS = {
    "SHAPE": shape_of,
    "RANK": rank,
    "STRIDED_SLICE": strided_slice,
    "SLICE": slice_,
    "PACK": pack,
    "UNPACK": unpack,
    "SPLIT": split,
    "SPLIT_V": split_v,
    "EXPAND_DIMS": expand_dims,
    "RESHAPE": reshape,
    "SQUEEZE": squeeze,
    "TRANSPOSE": transpose,
    "PAD": pad,
    "PADV2": padv2,
    "MIRROR_PAD": mirror_pad,
    "TILE": tile,
    "BROADCAST_TO": broadcast_to,
    "BROADCAST_ARGS": broadcast_args,
    "FILL": fill,
    "DEPTH_TO_SPACE": depth_to_space,
    "SPACE_TO_DEPTH": space_to_depth,
    "SPACE_TO_BATCH_ND": space_to_batch_nd,
    "BATCH_TO_SPACE_ND": batch_to_space_nd,
    "CONCATENATION": concatenation,
    "GATHER": gather,
    "GATHER_ND": gather_nd,
}


# ---- running them


def run(made, feeds):
    for tensor, values in feeds.items():
        made.set_tensor(tensor, values)
    made.invoke()
    return [made.get_tensor(d["index"]) for d in made.get_output_details()]


def ours(content, feeds):
    made = Interpreter(model_content=content, engine="native")
    made.allocate_tensors()
    return run(made, feeds)


def theirs(content, feeds):
    """None: LiteRT refuses the model or the values."""
    try:
        made = litert.Interpreter(model_content=content)
        made.allocate_tensors()
        return run(made, feeds)
    except (ValueError, RuntimeError):
        return None


def compare(case):
    """Whether LiteRT runs it, too; the outputs are the same then."""
    came = ours(case.net.build(*case.outputs), case.feeds)
    # XNNPACK takes a node only where the file has its shapes.
    for tensor, values in zip(case.outputs, came, strict=True):
        case.net.graph.tensors[tensor].shape = np.array(values.shape, np.int32)
    content = case.net.build(*case.outputs)
    came, expected = ours(content, case.feeds), theirs(content, case.feeds)
    for a, b in zip(came, expected or [], strict=expected is not None):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert np.array_equal(a, b)
    return expected is not None


@pytest.mark.parametrize("name", MODELS)
def test_elements_are_where_litert_puts_them(name):
    compared = 0
    for trial in range(TRIALS):
        case = Case(np.random.default_rng([trial, *name.encode()]))
        MODELS[name](case)
        try:
            compared += compare(case)
        except (AssertionError, EdgeError) as error:
            raise AssertionError(f"trial {trial} of {case.dtype}") from error
    assert compared > TRIALS // 3


def test_uint8_of_two_quantizations_is_joined_as_litert_rescales_it():
    differing = 0
    for trial in range(60):
        random = np.random.default_rng(trial)
        net = Network(0)
        every = np.arange(256, dtype=np.uint8).reshape(1, 256)
        feeds, inputs = {}, []
        for _ in range(2):
            scale = float(np.float32(2 ** random.uniform(-3, 1)))
            inputs.append(net.input([1, 256], "uint8", scale, int(random.integers(0, 256))))
            feeds[inputs[-1]] = every
        scale = float(np.float32(2 ** random.uniform(-3, 1)))
        out = net.tensor([1, 512], "uint8", scale, int(random.integers(0, 256)))
        net.operator("CONCATENATION", inputs, [out], options("Concatenation", axis=1))
        content = net.build(out)
        (came,), expected = ours(content, feeds), theirs(content, feeds)
        assert np.array_equal(came, expected[0]), trial
        differing += not np.array_equal(came[:, :256], every)
    assert differing > 50
