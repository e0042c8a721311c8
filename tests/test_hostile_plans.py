"""Hostile use of subgraphs, variables and shapes that follow from values.

What a plan was made for may no longer hold when the operators run: each test makes one such case.
"""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgesdk.errors import EdgeError, MalformedModelError, ResourceError
from edgesdk.interpreter import Interpreter
from edgesdk.limits import ModelLimits
from networks import Network
from test_control import assign, branch, handle, loop, octets, read


def native(content, **more):
    return Interpreter(model_content=content, engine="native", **more)


def run(made):
    made.allocate_tensors()
    made.invoke()


def filled(net, dims, value):
    """FILL: a shape that is known when `dims` is."""
    out = net.tensor([1], "int8", 0.05, 3)
    return net.operator("FILL", [dims, value], [out], schema.FillOptionsT(), version=1)


def test_a_subgraph_that_lists_an_input_twice_is_not_called():
    """Two values of two sizes would have one place."""
    net = Network(1)
    condition = net.input([], "bool")
    small, large = net.input([1, 2]), net.input([1, 5000])
    options = schema.IfOptionsT()
    for name in ("thenSubgraphIndex", "elseSubgraphIndex"):
        sub = net.subgraph()
        x = sub.input([1, 2])
        sub.inputs = [x, x]
        setattr(options, name, sub.end(sub.unary("RELU", x)))
    y = net.tensor([1, 2], "int8", 0.05, 3)
    net.operator("IF", [condition, small, large], [y], options, version=1)
    with pytest.raises(MalformedModelError, match="to list each input once, got one twice"):
        native(net.build(y))


def test_what_follows_a_variable_of_another_shape_is_planned_as_well():
    """The variable's shape is not the file's, and a later shape follows from values."""
    net = Network(2)
    x, dims = net.input([1, 3]), net.input([1], "int32")
    state = handle(net, "s")
    assign(net, state, x)
    y = net.unary("RELU", read(net, state, [1, 2]))
    value = net.tensor([], "int8", 0.05, 3, data=np.array(7, np.int8))
    z = net.unary("RELU", filled(net, dims, value))
    made = native(net.build(y, z))
    made.allocate_tensors()
    made.set_tensor(0, np.array([[9, 3, 50]], np.int8))
    for count in (4, 4, 2):
        made.set_tensor(1, np.array([count], np.int32))
        made.invoke()
        outs = [made.get_tensor(d["index"]) for d in made.get_output_details()]
        assert np.array_equal(outs[0], [[9, 3, 50]])
        assert np.array_equal(outs[1], [7] * count)


def test_an_invoke_that_failed_while_planning_fails_again():
    """Once refused, the operator is neither left out nor are its old outputs to be read."""
    net = Network(3)
    x = net.input([1, 8])
    state = handle(net, "s")
    assign(net, state, x)
    y = read(net, state, [1, 8])
    wide = net.concatenate([y] * 40, 1)
    made = native(net.build(wide), limits=ModelLimits(tensor_bytes=4096))
    made.allocate_tensors()
    made.invoke()
    made.resize_tensor_input(x, [1, 400])
    # The file's shape of the variable is known only once it has been assigned.
    with pytest.raises(ResourceError, match="at most 4096 bytes"):
        run(made)
    for _ in range(3):
        with pytest.raises(EdgeError):
            made.invoke()
        with pytest.raises(EdgeError):
            made.get_tensor(wide)


@pytest.mark.parametrize("preserve", [False, True])
def test_a_shape_too_large_leaves_nothing_to_read(preserve):
    net = Network(4)
    dims = net.input([2], "int32")
    value = net.tensor([], "int8", 0.05, 3, data=np.array(7, np.int8))
    made_of = filled(net, dims, value)
    net.graph.tensors[made_of].shape = np.array([1, 1], np.int32)
    out = net.unary("RELU", made_of)
    made = native(net.build(out), limits=ModelLimits(tensor_bytes=4096),
                  experimental_preserve_all_tensors=preserve)  # fmt: skip
    made.allocate_tensors()
    for shape in ([3, 5], [1000, 1000], [1000, 1000], [-1, 4], [2, 2], [2**31 - 1] * 2, [3, 5]):
        made.set_tensor(0, np.array(shape, np.int32))
        if min(shape) < 0 or np.prod(np.array(shape, np.int64)) > 4096:
            with pytest.raises(EdgeError, match="expected"):
                made.invoke()
            with pytest.raises(EdgeError):
                made.get_tensor(out)
        else:
            made.invoke()
            assert np.array_equal(made.get_tensor(out), np.full(shape, 7, np.int8))


def test_a_branch_whose_output_changes_its_shape_but_not_its_size():
    """The branch reads a variable: [2, 3] when it was planned, [3, 2] when it runs."""
    net = Network(5)
    condition, x = net.input([], "bool"), net.input([3, 2])
    assign(net, handle(net, "s"), x)
    options = schema.IfOptionsT()
    options.thenSubgraphIndex = branch(net, [3, 2], lambda g, _: read(g, handle(g, "s"), [2, 3]))
    options.elseSubgraphIndex = branch(net, [3, 2], lambda g, v: g.reshape(v, [2, 3]))
    y = net.tensor([2, 3], "int8", 0.05, 3)
    net.operator("IF", [condition, x], [y], options, version=1)
    made = native(net.build(net.unary("RELU", y)))
    made.allocate_tensors()
    for n, taken in enumerate((True, False, True)):
        value = octets(3, 2, seed=n)
        made.set_tensor(0, np.array(taken))
        made.set_tensor(1, value)
        made.invoke()
        came = made.get_tensor(made.get_output_details()[0]["index"])
        assert came.shape == ((3, 2) if taken else (2, 3))
        assert np.array_equal(came.ravel(), np.maximum(value, 3).ravel())


def layer_of_computed_size(name, shape):
    """An operator whose size is a graph input of that shape."""
    net = Network(6)
    x = net.input([1, 3, 3, 2], "float32")
    size = net.input(list(shape), "int32")
    out = net.tensor([1, 3, 3, 2], "float32")
    if name == "TRANSPOSE_CONV":
        weights = net.tensor([2, 1, 1, 2], "float32", data=np.ones(4, np.float32))
        options = schema.TransposeConvOptionsT()
        options.strideW = options.strideH = 1
        net.operator(name, [size, weights, x], [out], options, version=1)
    elif name == "RESIZE_BILINEAR":
        net.operator(name, [x, size], [out], schema.ResizeBilinearOptionsT(), version=1)
    else:
        net.graph.tensors[out].type = schema.TensorType.COMPLEX64
        net.operator(name, [x, size], [out], schema.Rfft2dOptionsT(), version=1)
    return net.build(out), size


@pytest.mark.parametrize(
    ("name", "entries"), [("TRANSPOSE_CONV", 4), ("RESIZE_BILINEAR", 2), ("RFFT2D", 2)]
)
def test_a_list_of_sizes_has_as_many_entries_as_dimensions(name, entries):
    """Of the right first dimension, and empty; of rank 0; longer."""
    content, size = layer_of_computed_size(name, [entries])
    for shape in ([entries, 0], [], [entries, 2], [0], [entries + 1]):
        made = native(content)
        made.resize_tensor_input(size, shape)
        with pytest.raises(MalformedModelError, match="expected"):
            run(made)


# ---- work


def pooled(size):
    """Each of the output's cells looks at a quarter of the image or more."""
    net = Network(7)
    return net.build(net.pool(net.input([1, size, size, 1]), "AVERAGE", size, 1, same=True))


def test_work_beyond_its_limit_is_refused_before_it_begins():
    native(pooled(16), limits=ModelLimits(work=2**18)).allocate_tensors()
    # Of 4,096 bytes in and out: 2^12 cells of 2^12.
    made = native(pooled(64), limits=ModelLimits(work=2**23))
    with pytest.raises(ResourceError, match="at most 8388608 multiply-accumulates and bytes"):
        made.allocate_tensors()
    net = Network(8)
    x = net.input([1, 32, 32, 3])
    made = native(net.build(net.conv(x, 64, 5)), limits=ModelLimits(work=2**22))
    with pytest.raises(ResourceError, match="at most 4194304 multiply-accumulates"):
        made.allocate_tensors()


def test_work_of_a_loop_counts_round_by_round():
    content = loop(1000, lambda g, x: g.unary("TANH", x, scale=0.05, zero_point=3))
    made = native(content, limits=ModelLimits(work=2**18))
    made.allocate_tensors()
    made.set_tensor(0, np.array(990, np.int32))
    for _ in range(3):
        made.invoke()
    made.set_tensor(0, np.array(0, np.int32))
    with pytest.raises(ResourceError, match="at most 262144 multiply-accumulates"):
        made.invoke()
    made.set_tensor(0, np.array(990, np.int32))
    made.invoke()


def test_resized_inputs_are_more_work():
    net = Network(9)
    x = net.input([1, 4, 4, 8])
    made = native(net.build(net.conv(x, 8, 3)), limits=ModelLimits(work=2**20))
    made.allocate_tensors()
    made.resize_tensor_input(x, [8, 16, 16, 8])
    with pytest.raises(ResourceError, match="multiply-accumulates"):
        made.allocate_tensors()
