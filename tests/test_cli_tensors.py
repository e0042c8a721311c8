"""How tensors are read and shown by commands."""

from __future__ import annotations

import numpy as np
import pytest

from edgesdk.cli.tensors import (
    contract_rows,
    describe_output,
    in_words,
    random_frame,
    read_frames,
    top,
)
from edgesdk.contract import Contract, TensorSpec
from edgesdk.errors import InputError


def spec(dtype, shape, **options):
    return TensorSpec("x", np.dtype(dtype), shape, **options)


def contract(*inputs):
    return Contract(inputs, (spec("int8", (1, 4)),))


def npy(array):
    import io

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "float32", "float16", "bool"])
def test_random_frames_fit_the_contract(dtype):
    one = contract(spec(dtype, (2, 3)))
    frame = random_frame(one, np.random.default_rng(1))
    (array,) = one.arrays(frame)
    assert (array.dtype.name, array.shape) == (dtype, (2, 3))


def test_random_frames_of_several_inputs_have_names():
    two = contract(spec("int8", (2,)), TensorSpec("y", np.dtype("int8"), (3,)))
    assert set(random_frame(two, np.random.default_rng(1))) == {"x", "y"}


@pytest.mark.parametrize(
    ("shape", "given", "count"),
    [
        ((1, 4), (1, 4), 1),
        ((1, 4), (4,), 1),
        ((1, 4), (5, 4), 5),
        ((1, 4), (5, 1, 4), 5),
        ((3, 4), (3, 4), 1),
        ((3, 4), (2, 3, 4), 2),
        ((4,), (4,), 1),
        ((4,), (6, 4), 6),
        ((1,), (1,), 1),
        ((1,), (7,), 7),
        ((), (), 1),
        ((), (7,), 7),
    ],
)
def test_frames_are_one_or_several(shape, given, count):
    one = contract(spec("int8", shape))
    found = read_frames(npy(np.zeros(given, np.int8)), one, where="x.npy")
    assert len(found) == count
    for frame in found:
        assert one.arrays(frame)[0].shape == shape


@pytest.mark.parametrize(
    ("shape", "given"),
    [((1, 4), (5,)), ((3, 4), (4,)), ((3, 4), (2, 2, 3, 4)), ((4,), ()), ((1, 4), (2, 2, 4))],
)
def test_other_shapes_are_refused(shape, given):
    with pytest.raises(InputError) as caught:
        read_frames(npy(np.zeros(given, np.int8)), contract(spec("int8", shape)), where="x.npy")
    assert caught.value.reason == "shape"


def test_one_array_is_not_enough_for_two_inputs():
    two = contract(spec("int8", (2,)), TensorSpec("y", np.dtype("int8"), (3,)))
    with pytest.raises(InputError) as caught:
        read_frames(npy(np.zeros(2, np.int8)), two, where="x.npy")
    assert caught.value.reason == "tensor"


def test_a_header_that_claims_too_much_is_refused():
    data = npy(np.zeros((1, 4), np.int8)).replace(b"(1, 4)", b"(9**9,)"[:6])
    huge = npy(np.zeros((1, 4), np.int8)).replace(b"(1, 4), }   ", b"(1, 2**62), }"[:12])
    for each in (data, huge, b"\x93NUMPY", b"", b"PK\x03\x04"):
        with pytest.raises(InputError) as caught:
            read_frames(each, contract(spec("int8", (1, 4))), where="x.npy")
        assert caught.value.reason == "argument"


def test_the_largest_entries_come_first():
    labelled = spec("int8", (1, 4), scale=0.5, zero_point=-2, labels=("a", "b", "c", "d"))
    raw = np.array([[3, -7, 9, 3]], np.int8)
    found = describe_output(labelled, raw)["top"]
    assert [(each["label"], each["index"], each["score"]) for each in found] == [
        ("c", 2, 5.5),
        ("a", 0, 2.5),
        ("d", 3, 2.5),
        ("b", 1, -2.5),
    ]
    assert in_words(labelled, raw)[0] == ("c", "5.5000")
    assert in_words(spec("int8", (1, 4)), raw)[0] == ("[2]", "9.0000")


def test_outputs_that_are_no_vectors_are_summed_up():
    image = spec("float32", (2, 2, 2))
    array = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert top(image, array) is None
    assert in_words(image, array) == [("min, mean, max", "0, 3.5, 7")]
    assert in_words(spec("float32", (1,)), np.array([2.5], np.float32)) == [("values", "2.5")]


def test_what_is_not_finite_has_no_place_in_json():
    floats = spec("float32", (1, 3))
    array = np.array([[np.nan, 1, np.inf]], np.float32)
    found = describe_output(floats, array)
    assert found["real"] == [[None, 1.0, None]]
    assert found["top"] is None
    assert in_words(floats, array) == [("values", "nan 1 inf")]
    nothing = np.full((2, 4), np.nan, np.float32)
    assert in_words(spec("float32", (2, 4)), nothing) == [("values", "none is finite")]


def test_a_contract_in_words():
    image = spec(
        "int8", (1, 2), scale=0.25, zero_point=3, colour="rgb", mean=(1.0,), std=(2.0,),
        shape_signature=(-1, 2),
    )  # fmt: skip
    rows = contract_rows(contract(image))
    assert rows[0] == (
        "input",
        "x",
        "int8 [1, 2]",
        "0.25 * (q - 3); shape may be [-1, 2]; rgb; (x - 1) / 2",
    )
