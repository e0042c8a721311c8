"""RFFT2D, REAL, IMAG, COMPLEX_ABS and BITCAST against LiteRT's default path."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgesdk.errors import EdgeError
from edgesdk.interpreter import Interpreter
from networks import Network
from test_ops_unary import assert_equal, reference, run

PARTS = {"complex64": "float32", "complex128": "float64"}


def fourier(shape, lengths, *, computed=False):
    """RFFT2D; ``computed``: its lengths are an input of the graph."""
    net = Network(1)
    x = net.input(shape, "float32")
    data = None if computed else np.array(lengths, np.int32)
    listed = net.tensor([len(lengths)], "int32", data=data)
    if computed:
        net.inputs.append(listed)
    y = net.tensor([*shape[:-2], lengths[0], lengths[-1] // 2 + 1], "complex64")
    return net.build(net.operator("RFFT2D", [x, listed], [y], schema.Rfft2dOptionsT(), version=1))


@pytest.mark.parametrize(
    ("shape", "lengths"),
    [
        ((8, 8), (8, 8)),
        ((1, 8), (1, 8)),
        ((4, 3), (4, 2)),
        ((2, 3, 7, 5), (8, 16)),
        ((3, 9, 9), (4, 4)),
        ((1, 1, 1, 400), (1, 512)),
        ((0, 8, 8), (8, 8)),
        ((300, 4), (256, 4)),
    ],
)
def test_the_transform_is_that_of_litert(shape, lengths):
    value = np.random.default_rng(1).normal(0, 3, shape).astype(np.float32)
    content = fourier(shape, lengths)
    results = [
        run(Interpreter(model_content=content, num_threads=n, engine="native"), value)
        for n in (1, 2)
    ]
    assert results[0].tobytes() == results[1].tobytes()
    assert_equal(results[0], reference(content, value), shape)


def test_a_width_of_one_is_summed_though_litert_does_not():
    value = np.random.default_rng(1).normal(0, 3, (4, 4)).astype(np.float32)
    came = run(Interpreter(model_content=fourier((4, 4), (4, 1))), value)
    np.testing.assert_allclose(came, np.fft.rfft2(value, (4, 1)), rtol=1e-5)


def test_lengths_may_be_computed():
    made = Interpreter(model_content=fourier((4, 8), (4, 8), computed=True))
    made.allocate_tensors()
    value = np.random.default_rng(1).normal(0, 3, (4, 8)).astype(np.float32)
    x, lengths = (d["index"] for d in made.get_input_details())
    made.set_tensor(x, value)
    for pair in ((4, 8), (2, 16), (8, 4)):
        made.set_tensor(lengths, np.array(pair, np.int32))
        made.invoke()
        came = made.get_tensor(made.get_output_details()[0]["index"])
        np.testing.assert_allclose(came, np.fft.rfft2(value, pair), atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "lengths", "match"),
    [
        ((4, 4), (4, 6), "powers of two, got 6"),
        ((4, 4), (0, 4), "powers of two, got 0"),
        ((4, 4), (3, 4), "powers of two, got 3"),
        ((4, 4), (4, 4, 4), "expected 2 entries as input 1, got 3"),
        ((4, 4), (4,), "expected 2 entries as input 1, got 1"),
        ((4, 4), (2**30, 2**30), "expected"),
    ],
)
def test_other_lengths_are_refused(shape, lengths, match):
    with pytest.raises(EdgeError, match=match):
        Interpreter(model_content=fourier(shape, lengths), engine="native").allocate_tensors()


@pytest.mark.parametrize("name", ["REAL", "IMAG", "COMPLEX_ABS"])
@pytest.mark.parametrize("dtype", sorted(PARTS))
def test_parts_are_those_of_litert(name, dtype):
    random = np.random.default_rng(1)
    net = Network(1)
    x = net.tensor([3, 50], dtype)
    net.inputs.append(x)
    content = net.build(net.operator(name, [x], [net.tensor([3, 50], PARTS[dtype])], version=1))
    value = random.normal(0, 9, [3, 50]) + 1j * random.normal(0, 9, [3, 50])
    value[0, :3] = 0, 3 + 4j, 1e-200 + 1e-200j
    value = value.astype(dtype)
    expected = reference(content, value)
    came = run(Interpreter(model_content=content, engine="native"), value)
    if name == "COMPLEX_ABS":
        np.testing.assert_allclose(came, expected, rtol=1e-6 if dtype == "complex64" else 1e-15)
    else:
        np.testing.assert_array_equal(came, expected)


@pytest.mark.parametrize(
    ("source", "target", "shape", "expected"),
    [
        ("float32", "int32", [2, 3], [2, 3]),
        ("float32", "uint8", [2, 3], [2, 3, 4]),
        ("int8", "float32", [2, 3, 4], [2, 3]),
        ("int16", "int64", [4], []),
        ("complex64", "int16", [2], [2, 4]),
    ],
)
def test_bitcast_keeps_bytes(source, target, shape, expected):
    net = Network(1)
    x = net.tensor(shape, source)
    net.inputs.append(x)
    y = net.tensor(expected, target)
    net.operator("BITCAST", [x], [y], schema.BitcastOptionsT(), version=1)
    content = net.build(y)
    random = np.random.default_rng(1)
    bits = random.integers(0, 100, int(np.prod(shape)) * np.dtype(source).itemsize)
    value = bits.astype(np.uint8).view(source).reshape(shape)
    came = run(Interpreter(model_content=content, engine="native"), value)
    wanted = reference(content, value)
    assert came.shape == wanted.shape == tuple(expected)
    assert came.tobytes() == wanted.tobytes() == value.tobytes()


def test_a_bitcast_that_does_not_come_out_even_is_refused():
    net = Network(1)
    x = net.tensor([2, 3], "int8")
    net.inputs.append(x)
    y = net.operator("BITCAST", [x], [net.tensor([2], "int32")], version=1)
    with pytest.raises(EdgeError, match="last dimension of 4, got 3"):
        Interpreter(model_content=net.build(y), engine="native").allocate_tensors()
