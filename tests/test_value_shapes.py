"""Shapes that follow from values: planned when the values are there, and again when they change.

Random graphs mix operators whose shape follows from graph inputs (slices, tiles, pads), from what
is computed (WHERE), from other shapes (RESHAPE by SHAPE), and operators in between that know
nothing of it. Each is run on several frames with other values, and resized, against LiteRT.
"""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert

from edgesdk.errors import EdgeError, MalformedModelError, ResourceError
from edgesdk.interpreter import Interpreter
from edgesdk.limits import ModelLimits
from networks import Network
from test_ops_movement import options

SCALE, ZERO_POINT = 0.05, 3


class Graph:
    """Tensors of rank 2, whose shapes nobody knows."""

    def __init__(self, random):
        self.random = random
        self.net = Network(0)
        self.lists = {}
        self.x = self.net.input([4, 5], scale=SCALE, zero_point=ZERO_POINT)
        self.pool = [self.x]
        self.outputs = []

    def like(self):
        return self.net.tensor([1, 1], scale=SCALE, zero_point=ZERO_POINT)

    def listed(self, low, high, shape=(2,)):
        """A graph input of whole numbers that change with every frame."""
        made = self.net.input(list(shape), "int32", None)
        self.lists[made] = (low, high)
        return made

    def constant(self, values):
        return self.net.tensor(np.shape(values), "int32", data=np.array(values, np.int32))

    def node(self, name, inputs, chosen=None, out=None, version=1):
        return self.net.operator(
            name, inputs, [self.like() if out is None else out], chosen, version=version
        )

    def slice(self, t):
        lists = [self.listed(-3, 2), self.listed(-1, 6), self.constant([1, 1])]
        return self.node("STRIDED_SLICE", [t, *lists], options("StridedSlice"))

    def tile(self, t):
        return self.node("TILE", [t, self.listed(1, 3)], options("Tile"))

    def pad(self, t):
        return self.node("PAD", [t, self.listed(0, 2, (2, 2))], options("Pad"))

    def where(self, t):
        places = self.node("WHERE", [t], out=self.net.tensor([1, 2], "int64"))
        found = self.node("GATHER_ND", [t, places], options("GatherNd"))
        return self.node("EXPAND_DIMS", [found, self.constant([1])], options("ExpandDims"))

    def turn(self, t):
        """RESHAPE to the reversed shape, by arithmetic on shapes."""
        shape = self.node(
            "SHAPE", [t], options("Shape", outType=2), out=self.net.tensor([2], "int32")
        )
        turned = self.node(
            "REVERSE_V2", [shape, self.constant([0])], options("ReverseV2"),
            out=self.net.tensor([2], "int32"),
        )  # fmt: skip
        return self.node("RESHAPE", [t, turned])

    def transpose(self, t):
        return self.node("TRANSPOSE", [t, self.constant([1, 0])], options("Transpose"))

    def relu(self, t):
        return self.node("RELU", [t], version=2)

    def join(self, t):
        chosen = options("Concatenation", axis=int(self.random.integers(0, 2)))
        return self.node("CONCATENATION", [t, self.relu(t)], chosen)

    def grow(self, steps):
        kinds = [self.slice, self.tile, self.pad, self.where, self.turn, self.transpose]
        kinds += [self.relu, self.join, self.turn, self.transpose]
        for _ in range(steps):
            t = self.pool[-1 - int(self.random.geometric(0.6) - 1) % len(self.pool)]
            self.pool.append(kinds[int(self.random.integers(len(kinds)))](t))
        self.outputs = [t for t in self.pool[1:] if self.random.random() < 0.4]
        if self.pool[-1] not in self.outputs:
            self.outputs.append(self.pool[-1])
        return self.net.build(*self.outputs)

    def frame(self, shape):
        values = {self.x: self.random.integers(-20, 60, shape).astype(np.int8)}
        for tensor, (low, high) in self.lists.items():
            size = self.net.shape(tensor)
            values[tensor] = self.random.integers(low, high + 1, size).astype(np.int32)
        return values


def run(made, frame):
    for tensor, values in frame.items():
        made.set_tensor(tensor, values)
    made.invoke()
    return [made.get_tensor(d["index"]) for d in made.get_output_details()]


def expected_of(content, shape, frame):
    """LiteRT's, from a fresh interpreter; None where it stumbles over tensors without elements."""
    made = litert.Interpreter(model_content=content)
    made.resize_tensor_input(made.get_input_details()[0]["index"], shape)
    try:
        made.allocate_tensors()
        return run(made, frame)
    except (ValueError, RuntimeError):
        return None


@pytest.mark.parametrize("preserve", [False, True])
def test_random_graphs_have_the_shapes_and_bytes_of_litert(preserve):
    compared = 0
    for trial in range(60):
        random = np.random.default_rng([trial, 7])
        graph = Graph(random)
        content = graph.grow(int(random.integers(2, 14)))
        made = Interpreter(
            model_content=content, experimental_preserve_all_tensors=preserve, engine="native"
        )
        shape = [4, 5]
        frame = None
        for step in range(6):
            if step == 3:
                shape = [int(n) for n in random.integers(1, 7, 2)]
                made.resize_tensor_input(graph.x, shape)
            made.allocate_tensors()
            # Now and then the same shapes, with other elements.
            fresh = graph.frame(shape)
            if step in {1, 4}:
                fresh.update({t: frame[t] for t in graph.lists})
            frame = fresh
            expected = expected_of(content, shape, frame)
            came = run(made, frame)
            if expected is None:
                continue
            compared += 1
            for a, b in zip(came, expected, strict=True):
                assert a.shape == b.shape, (trial, step)
                assert np.array_equal(a, b), (trial, step)
    assert compared > 200


# ---- one at a time


def reshape_by_input():
    net = Network(0)
    x = net.input([2, 6], scale=SCALE, zero_point=ZERO_POINT)
    shape = net.input([2], "int32", None)
    y = net.like(x, [1, 1])
    net.operator("RESHAPE", [x, shape], [y], version=1)
    z = net.like(x, [1, 1])
    net.operator("RELU", [y], [z])
    return x, shape, net.build(y, z)


def test_a_shape_that_is_an_input_may_change_with_every_invoke():
    x, shape, content = reshape_by_input()
    made = Interpreter(model_content=content, engine="native")
    made.allocate_tensors()
    values = np.arange(12, dtype=np.int8).reshape(2, 6)
    for wanted in ([3, 4], [4, 3], [4, 3], [-1, 2], [12, 1], [1, -1], [3, 4]):
        y, z = run(made, {x: values, shape: np.array(wanted, np.int32)})
        assert np.array_equal(y, values.reshape(wanted))
        assert np.array_equal(z, np.maximum(values, ZERO_POINT).reshape(wanted))


def test_a_shape_that_does_not_fit_fails_one_invoke():
    x, shape, content = reshape_by_input()
    made = Interpreter(model_content=content, engine="native")
    made.allocate_tensors()
    values = np.arange(12, dtype=np.int8).reshape(2, 6)
    for wrong in ([5, 2], [-1, -1], [-2, -6], [2**31 - 1, 2**31 - 1], [0, -1], [-1, 0]):
        with pytest.raises(MalformedModelError, match="expected a shape for 12 elements"):
            run(made, {x: values, shape: np.array(wrong, np.int32)})
        y, _ = run(made, {x: values, shape: np.array([6, 2], np.int32)})
        assert np.array_equal(y, values.reshape(6, 2))


def test_what_grows_beyond_the_limit_fails_one_invoke():
    net = Network(0)
    x = net.input([4, 4], scale=SCALE, zero_point=ZERO_POINT)
    times = net.input([2], "int32", None)
    y = net.like(x, [1, 1])
    net.operator("TILE", [x, times], [y], options("Tile"), version=1)
    limits = ModelLimits(arena_bytes=1 << 20)
    made = Interpreter(model_content=net.build(y), limits=limits, engine="native")
    made.allocate_tensors()
    values = np.arange(16, dtype=np.int8).reshape(4, 4)
    for _ in range(3):
        with pytest.raises(ResourceError):
            run(made, {x: values, times: np.array([1000, 1000], np.int32)})
        with pytest.raises(EdgeError):
            run(made, {x: values, times: np.array([2**31 - 1, 2**31 - 1], np.int32)})
        (out,) = run(made, {x: values, times: np.array([2, 3], np.int32)})
        assert np.array_equal(out, np.tile(values, (2, 3)))


def test_nothing_found_leaves_nothing_and_the_next_invoke_finds_it():
    net = Network(0)
    x = net.input([3, 3], scale=SCALE, zero_point=ZERO_POINT)
    places = net.tensor([1, 2], "int64")
    net.operator("WHERE", [x], [places], version=1)
    found = net.like(x, [1])
    net.operator("GATHER_ND", [x, places], [found], options("GatherNd"), version=1)
    twice = net.like(x, [1])
    net.operator(
        "CONCATENATION", [found, found], [twice], options("Concatenation", axis=0), version=1
    )
    made = Interpreter(model_content=net.build(places, twice), engine="native")
    made.allocate_tensors()
    for count in (0, 2, 0, 9, 1):
        values = np.zeros(9, np.int8)
        values[:count] = np.arange(1, count + 1)
        at, out = run(made, {x: values.reshape(3, 3)})
        assert at.shape == (count, 2)
        assert out.tolist() == [*range(1, count + 1)] * 2


def test_an_allocation_knows_what_does_not_depend_on_values():
    net = Network(0)
    x = net.input([2, 3], "float32")
    shape = net.tensor([2], "int32")
    net.operator("SHAPE", [x], [shape], options("Shape", outType=2), version=1)
    turned = net.tensor([2], "int32")
    axis = net.tensor([1], "int32", data=np.array([0], np.int32))
    net.operator("REVERSE_V2", [shape, axis], [turned], options("ReverseV2"), version=1)
    y = net.tensor([1, 1], "float32")
    net.operator("RESHAPE", [x, turned], [y], version=1)
    made = Interpreter(model_content=net.build(y), engine="native")
    made.allocate_tensors()
    assert made.get_output_details()[0]["shape"].tolist() == [3, 2]
    made.resize_tensor_input(x, [4, 7])
    made.allocate_tensors()
    assert made.get_output_details()[0]["shape"].tolist() == [7, 4]
