import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgesdk import canonical, contract
from edgesdk.canonical import Fields
from edgesdk.contract import Contract, TensorSpec, dequantize
from edgesdk.errors import (
    ContractError,
    InputError,
    MalformedBundleError,
    UnsupportedOperatorError,
)

INT8 = TensorSpec("image", np.dtype("int8"), (1, 2, 3), scale=0.5, zero_point=-3)


def error(text):
    return MalformedBundleError("manifest", text)


def f32(value):
    return struct.pack(">f", value).hex()


def single(value):
    return struct.unpack(">f", struct.pack(">f", value))[0]


def tensor(**changes):
    value = {"name": "x", "dtype": "int8", "shape": [1, 4]} | changes
    return {name: member for name, member in value.items() if member is not ...}


def read(value):
    return TensorSpec.from_json(Fields(value, "tensor", error))


def refused(value):
    with pytest.raises(MalformedBundleError) as caught:
        read(value)
    assert caught.value.reason == "manifest"


def input_error(reason, call, *args):
    with pytest.raises(InputError) as caught:
        call(*args)
    assert caught.value.reason == reason
    return str(caught.value)


POSITIVE = st.floats(2**-126, 2.0**100, width=32)
REALS = st.floats(-(2.0**100), 2.0**100, width=32)


@st.composite
def specs(draw):
    dtype = np.dtype(draw(st.sampled_from(contract.DTYPES)))
    shape = draw(st.lists(st.integers(1, 5), max_size=4).map(tuple))
    moving = tuple(-1 if draw(st.booleans()) else d for d in shape)
    quantized = dtype.kind in "iu" and draw(st.booleans())
    channels = draw(st.sampled_from([1, shape[-1] if shape else 1]))
    normalized = draw(st.booleans())
    labels = draw(st.none() | st.lists(st.text("abc ", max_size=5), min_size=1, max_size=3))
    return TensorSpec(
        draw(st.text("abc:/", min_size=1, max_size=9)),
        dtype,
        shape,
        shape_signature=None if moving == shape else moving,
        scale=draw(POSITIVE) if quantized else None,
        zero_point=draw(st.integers(0, 100)) if quantized else None,
        colour=draw(st.none() | st.sampled_from(contract.COLOURS)),
        mean=tuple(draw(REALS) for _ in range(channels)) if normalized else None,
        std=tuple(draw(POSITIVE) for _ in range(channels)) if normalized else None,
        labels=None if labels is None else tuple(labels),
    )


@given(specs())
def test_round_trip(spec):
    data = canonical.encode(spec.to_json())
    assert read(canonical.parse(data, error=error)) == spec


@given(st.lists(specs(), min_size=1, max_size=3, unique_by=lambda spec: spec.name))
def test_contract_round_trip(found):
    made = Contract(tuple(found), tuple(reversed(found)))
    assert Contract.from_json(Fields(made.to_json(), "contract", error)) == made


@pytest.mark.parametrize(
    "value",
    [
        tensor(name=...),
        tensor(name=""),
        tensor(name="x" * 257),
        tensor(name="a\nb"),
        tensor(dtype="int4"),
        tensor(dtype="object"),
        tensor(dtype="<i1"),
        tensor(dtype=...),
        tensor(shape=...),
        tensor(shape=4),
        tensor(shape=[-1]),
        tensor(shape=[1, 0]),
        tensor(shape=[True]),
        tensor(shape=["4"]),
        tensor(shape=[2**31]),
        tensor(shape=[1] * 9),
        tensor(shape_signature=[1, 4]),
        tensor(shape_signature=[-1]),
        tensor(shape_signature=[-2, 4]),
        tensor(shape_signature=[-1, 5]),
        tensor(scale_f32=f32(0.5)),
        tensor(zero_point=0),
        tensor(scale_f32=f32(0), zero_point=0),
        tensor(scale_f32=f32(-0.5), zero_point=0),
        tensor(scale_f32=f32(math.nan), zero_point=0),
        tensor(scale_f32=f32(math.inf), zero_point=0),
        tensor(scale_f32="00000001", zero_point=0),
        tensor(scale_f32="3F000000", zero_point=0),
        tensor(scale_f32="3f00000", zero_point=0),
        tensor(scale_f32=1, zero_point=0),
        tensor(scale_f32=f32(0.5), zero_point=128),
        tensor(scale_f32=f32(0.5), zero_point=-129),
        tensor(scale_f32=f32(0.5), zero_point=0, dtype="float32"),
        tensor(scale_f32=f32(0.5), zero_point=0, dtype="bool"),
        tensor(scale_f32=f32(0.5), zero_point=-1, dtype="uint8"),
        tensor(colour="yuv"),
        tensor(colour=1),
        tensor(mean_f32=[f32(0)]),
        tensor(std_f32=[f32(1)]),
        tensor(mean_f32=[], std_f32=[]),
        tensor(mean_f32=[f32(0)] * 2, std_f32=[f32(1)] * 2),
        tensor(mean_f32=[f32(math.nan)], std_f32=[f32(1)]),
        tensor(mean_f32=[f32(0)], std_f32=[f32(0)]),
        tensor(mean_f32=[f32(0)], std_f32=[f32(-1)]),
        tensor(mean_f32=[f32(0)], std_f32=[f32(math.inf)]),
        tensor(mean_f32=[0], std_f32=[1]),
        tensor(labels=[]),
        tensor(labels=["x" * 257]),
        tensor(labels=[1]),
        tensor(labels=["a\tb"]),
        tensor(labels=["x"] * 4097),
        tensor(labels="abcd"),
        tensor(extra=1),
        [],
        "x",
    ],
)
def test_malformed_tensors(value):
    refused(value)


def test_bounds_are_reached():
    read(tensor(name="x" * 256, shape=[1] * 8, labels=["y" * 256] * 4096))
    read(tensor(shape=[]))
    read(tensor(shape=[2**31 - 1]))
    read(tensor(scale_f32="00800000", zero_point=-128))


@pytest.mark.parametrize(
    "value",
    [
        {"inputs": [tensor()]},
        {"outputs": [tensor()]},
        {"inputs": [], "outputs": [tensor()]},
        {"inputs": [tensor()], "outputs": []},
        {"inputs": [tensor(), tensor()], "outputs": [tensor()]},
        {"inputs": [tensor(name=str(i)) for i in range(65)], "outputs": [tensor()]},
        {"inputs": [tensor()], "outputs": [tensor()], "states": []},
        {"inputs": tensor(), "outputs": [tensor()]},
    ],
)
def test_malformed_contracts(value):
    with pytest.raises(MalformedBundleError):
        Contract.from_json(Fields(value, "contract", error))


# ---- what an app gives


def test_the_models_own_type_passes_as_it_is():
    value = np.arange(6, dtype=np.int8).reshape(1, 2, 3)
    assert INT8.array(value) is value


def test_one_leading_dimension_of_one_may_be_missing():
    value = np.arange(6, dtype=np.int8).reshape(2, 3)
    assert INT8.array(value).shape == (1, 2, 3)
    wide = TensorSpec("x", np.dtype("int8"), (2, 3))
    input_error("shape", wide.array, value[0])
    scalar = TensorSpec("x", np.dtype("int8"), ())
    assert scalar.array(np.array(5, np.int8)).shape == ()


def test_what_is_passed_on_is_contiguous():
    value = np.zeros((3, 2, 1), np.int8).T
    assert not value.flags.c_contiguous
    assert INT8.array(value).flags.c_contiguous


@pytest.mark.parametrize(
    "shape", [(), (1,), (6,), (3, 2), (2, 3, 1), (1, 1, 2, 3), (2, 2, 3), (1, 2, 4), (0, 2, 3)]
)
@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_other_shapes(shape, dtype):
    assert "expected shape [1, 2, 3]" in input_error("shape", INT8.array, np.zeros(shape, dtype))


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((1, 2, 3), np.uint8),
        np.zeros((1, 2, 3), np.int16),
        np.zeros((1, 2, 3), np.int64),
        np.zeros((1, 2, 3), bool),
        np.zeros((1, 2, 3), complex),
        np.zeros((1, 2, 3), object),
        np.zeros((1, 2, 3), "S1"),
        np.zeros((1, 2, 3), "M8[s]"),
        [[[0, 0, 0], [0, 0, 0]]],
        bytes(6),
        None,
        5,
    ],
)
def test_other_types(value):
    input_error("dtype", INT8.array, value)


def test_other_byte_order():
    spec = TensorSpec("x", np.dtype("int16"), (2,))
    input_error("dtype", spec.array, np.zeros(2, np.dtype("int16").newbyteorder()))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32"])
def test_floats_are_not_quantized_to_wide_integers(dtype):
    spec = TensorSpec("x", np.dtype(dtype), (2,), scale=0.5, zero_point=0)
    input_error("dtype", spec.array, np.zeros(2, np.float32))


def test_floats_need_a_scale():
    spec = TensorSpec("x", np.dtype("int8"), (2,))
    input_error("dtype", spec.array, np.zeros(2, np.float32))


def test_double_is_not_float():
    spec = TensorSpec("x", np.dtype("float32"), (2,))
    input_error("dtype", spec.array, np.zeros(2))
    assert spec.array(np.ones(2, np.float32)).tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_quantization_by_hand(dtype):
    value = np.array([[[0.0, 0.25, 0.75], [-0.25, 100.0, -100.0]]], dtype)
    # 0.5 and 1.5 lie between two steps, and go to the even one.
    assert INT8.array(value).tolist() == [[[-3, -3, -1], [-3, 127, -128]]]
    assert INT8.array(value).dtype == np.int8


def test_infinities_are_clipped_and_nan_is_refused():
    value = np.array([[[math.inf, -math.inf, 0], [0, 0, 0]]], np.float32)
    assert INT8.array(value)[0, 0].tolist() == [127, -128, -3]
    value[0, 1, 1] = math.nan
    assert "NaN" in input_error("argument", INT8.array, value)


def test_normalization_comes_before_quantization():
    spec = TensorSpec(
        "x",
        np.dtype("uint8"),
        (1, 3),
        scale=1 / 128,
        zero_point=128,
        mean=(127.5,),
        std=(127.5,),
    )
    assert spec.array(np.array([[0, 127.5, 255]], np.float32)).tolist() == [[0, 128, 255]]
    channels = TensorSpec(
        "x",
        np.dtype("int8"),
        (1, 3),
        scale=0.5,
        zero_point=0,
        mean=(1.0, 2.0, 3.0),
        std=(1.0, 2.0, 0.5),
    )
    assert channels.array(np.array([[1, 3, 4]], np.float32)).tolist() == [[0, 1, 4]]


def test_normalization_of_a_float_model():
    spec = TensorSpec("x", np.dtype("float32"), (2,), mean=(1.0,), std=(2.0,))
    value = np.array([1, 5], np.float32)
    assert spec.array(value).tolist() == [0, 2]
    assert value.tolist() == [1, 5]


@given(
    hnp.arrays(np.float32, 16, elements=st.floats(-1e6, 1e6, width=32)),
    POSITIVE.filter(lambda x: 1e-6 < x < 1e6),
    st.integers(-128, 127),
)
def test_quantization_is_the_formula(values, scale, zero_point):
    spec = TensorSpec("x", np.dtype("int8"), (16,), scale=scale, zero_point=zero_point)
    inverse = np.float32(1) / np.float32(scale)
    for value, came in zip(values, spec.array(values), strict=True):
        expected = round(float(np.float32(value * inverse))) + zero_point
        assert came == min(max(expected, -128), 127)


@given(st.integers(-128, 127), st.integers(-128, 127), POSITIVE.filter(lambda x: x < 1e20))
def test_dequantization_is_the_formula(steps, zero_point, scale):
    spec = TensorSpec("y", np.dtype("int8"), (1,), scale=scale, zero_point=zero_point)
    real = dequantize(spec, np.array([steps], np.int8))
    assert real.dtype == np.float32
    assert real[0] == np.float32(steps - zero_point) * np.float32(scale)


def test_what_is_not_quantized_is_real_already():
    spec = TensorSpec("y", np.dtype("float16"), (2,))
    assert dequantize(spec, np.array([0.5, 2], np.float16)).dtype == np.float32
    count = TensorSpec("y", np.dtype("int32"), (1,))
    assert dequantize(count, np.array([7], np.int32)).tolist() == [7.0]


class TestArrays:
    other = TensorSpec("audio", np.dtype("float32"), (4,))

    def test_one_array_for_one_input(self):
        one = Contract((INT8,), (self.other,))
        value = np.zeros((1, 2, 3), np.int8)
        assert one.arrays(value)[0] is value
        assert one.arrays({"image": value})[0] is value

    def test_a_mapping_is_put_in_order(self):
        both = Contract((INT8, self.other), (self.other,))
        image, audio = np.zeros((2, 3), np.int8), np.zeros(4, np.float32)
        assert [a.dtype for a in both.arrays({"audio": audio, "image": image})] == [
            "int8",
            "float32",
        ]

    @pytest.mark.parametrize("names", [(), ("image",), ("image", "sound"), ("image", "audio", "x")])
    def test_other_names(self, names):
        both = Contract((INT8, self.other), (self.other,))
        frame = {name: np.zeros(4, np.float32) for name in names}
        input_error("tensor", both.arrays, frame)

    def test_one_array_for_two_inputs(self):
        both = Contract((INT8, self.other), (self.other,))
        input_error("tensor", both.arrays, np.zeros(4, np.float32))

    @pytest.mark.parametrize("frame", [None, [1], (), 5, "image", b"x"])
    def test_what_is_no_frame(self, frame):
        input_error("dtype", Contract((INT8,), (self.other,)).arrays, frame)


# ---- golden vectors


def test_golden_vectors_are_raw_little_endian():
    spec = TensorSpec("x", np.dtype("int16"), (2,))
    both = Contract((spec,), (TensorSpec("y", np.dtype("bool"), (3,)),))
    assert both.vector_bytes == 7
    arrays = [np.array([1, -2], np.int16)], [np.array([True, False, True])]
    vector = both.join_vector(*arrays)
    assert vector == b"\x01\x00\xfe\xff\x01\x00\x01"
    found = list(both.vectors(memoryview(vector * 2)))
    assert len(found) == 2
    for inputs, outputs in found:
        assert inputs[0].tolist() == [1, -2]
        assert outputs[0].tolist() == [True, False, True]


def test_golden_vectors_are_copies():
    memory = bytearray(b"\x05\x06")
    spec = TensorSpec("x", np.dtype("uint8"), (1,))
    ((inputs, outputs),) = Contract((spec,), (spec,)).vectors(memoryview(memory))
    memory[:] = b"\0\0"
    assert (inputs[0][0], outputs[0][0]) == (5, 6)


@pytest.mark.parametrize(
    "array", [np.zeros(2, np.int16), np.zeros(3, np.int8), np.zeros((1, 2), np.int8)]
)
def test_golden_vectors_fit_the_contract(array):
    spec = TensorSpec("x", np.dtype("int8"), (2,))
    with pytest.raises(ContractError) as caught:
        Contract((spec,), (spec,)).join_vector([np.zeros(2, np.int8)], [array])
    assert caught.value.reason == "contract"


# ---- what a loaded model says


class Loaded:
    """LiteRT's details without a model."""

    def __init__(self, inputs, outputs, signatures=None):
        self.inputs, self.outputs, self.signatures = inputs, outputs, signatures or {}

    def get_input_details(self):
        return self.inputs

    def get_output_details(self):
        return self.outputs

    def get_signature_list(self):
        return {key: {} for key in self.signatures}

    def get_signature_runner(self, signature_key):
        inputs, outputs = self.signatures[signature_key]
        return Loaded(inputs, outputs)


def detail(name="x", index=0, **changes):
    return {
        "name": name,
        "index": index,
        "shape": np.array([1, 4], np.int32),
        "shape_signature": np.array([1, 4], np.int32),
        "dtype": np.int8,
        "quantization": (0.5, -3),
    } | changes


def test_contract_of_a_model():
    moving = detail("y", 3, shape_signature=np.array([-1, 4]), quantization=(0.0, 0))
    found = Contract.of(Loaded([detail()], [moving]))
    assert found.inputs == (TensorSpec("x", np.dtype("int8"), (1, 4), scale=0.5, zero_point=-3),)
    assert found.outputs[0].shape_signature == (-1, 4)
    assert found.outputs[0].scale is None


def test_scales_are_those_of_single_precision():
    found = Contract.of(Loaded([detail(quantization=(0.1, 0))], [detail()]))
    assert found.inputs[0].scale == single(0.1)


def test_names_of_the_main_signature():
    inputs, outputs = [detail("tensor_1", 4), detail("tensor_0", 2)], [detail("out", 9)]
    named = ({"left": inputs[1], "right": inputs[0]}, {"score": outputs[0]})
    elsewhere = ({"a": detail("tensor_1", 5)}, {"b": detail("out", 9)})
    signatures = {"another": elsewhere, "serving_default": named}
    found = Contract.of(Loaded(inputs, outputs, signatures))
    assert [spec.name for spec in found.inputs] == ["right", "left"]
    assert found.outputs[0].name == "score"
    alone = Contract.of(Loaded(inputs, outputs, {"another": elsewhere}))
    assert [spec.name for spec in alone.inputs] == ["tensor_1", "tensor_0"]


@pytest.mark.parametrize("name", ["x", "other"])
def test_names_of_a_signature_of_another_subgraph(name):
    """Its tensors may have the indices of ours by chance."""
    signature = ({"a": detail(name, 0)}, {"b": detail("y", 1)})
    found = Contract.of(Loaded([detail("x", 0)], [detail("y", 1)], {"k": signature}))
    assert found.inputs[0].name == ("a" if name == "x" else "x")


def test_signatures_that_cannot_be_run():
    class Picky(Loaded):
        def get_signature_runner(self, signature_key):
            raise UnsupportedOperatorError("unsupported-operator", signature_key)

    found = Contract.of(Picky([detail("x", 0)], [detail("y", 1)], {"k": ({}, {})}))
    assert found.inputs[0].name == "x"


@pytest.mark.parametrize(
    "details",
    [
        [],
        [detail(dtype=np.bytes_)],
        [detail(dtype=np.complex64)],
        [detail(name="x\n")],
        [detail(), detail(index=1)],
        [detail(shape=np.array([1] * 9), shape_signature=np.array([1] * 9))],
        [detail(quantization=(0.5, 1000))],
        [detail(quantization=(math.inf, 0))],
    ],
    ids=range(8),
)
def test_models_that_no_contract_can_hold(details):
    with pytest.raises(ContractError) as caught:
        Contract.of(Loaded(details, [detail()]))
    assert caught.value.reason == "contract"


def test_tensors_without_a_usable_name():
    inputs = [detail("", 0), detail("x" * 256, 1), detail("x" * 257, 2)]
    found = Contract.of(Loaded(inputs, [detail("", 3)]))
    assert [spec.name for spec in found.inputs] == ["input_0", "x" * 256, "input_2"]
    assert found.outputs[0].name == "output_0"


def test_model_and_contract_agree():
    model = Contract.of(Loaded([detail()], [detail("y", 1)]))
    signed = Contract(
        tuple(
            TensorSpec(
                **vars(spec)
                | {"colour": "rgb", "mean": (0.0,), "std": (1.0,), "labels": ("a", "b", "c", "d")}
            )
            for spec in model.inputs
        ),
        model.outputs,
    )
    signed.check_model(model)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "z"},
        {"dtype": np.uint8, "quantization": (0.5, 3)},
        {"shape": np.array([1, 5])},
        {"shape_signature": np.array([-1, 4])},
        {"quantization": (0.25, -3)},
        {"quantization": (0.5, -4)},
        {"quantization": (0.0, 0)},
    ],
)
def test_model_and_contract_differ(change):
    signed = Contract.of(Loaded([detail()], [detail("y", 1)]))
    for model in (
        Loaded([detail(**change)], [detail("y", 1)]),
        Loaded([detail()], [detail(**({"name": "y", "index": 1} | change))]),
    ):
        with pytest.raises(ContractError) as caught:
            signed.check_model(Contract.of(model))
        assert caught.value.reason == "contract"


def test_model_with_more_tensors():
    signed = Contract.of(Loaded([detail()], [detail("y", 1)]))
    model = Contract.of(Loaded([detail()], [detail("y", 1), detail("z", 2)]))
    with pytest.raises(ContractError):
        signed.check_model(model)
