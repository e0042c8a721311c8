import contextlib
import json
import math
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgesdk import oip
from edgesdk.contract import TensorSpec
from edgesdk.errors import (
    BusyError,
    DeadlineExceededError,
    InputError,
    QuotaError,
    RemoteError,
)

ID = bytes(range(16))
DTYPES = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
PROVENANCE = oip.Provenance(
    request_digest=b"r" * 32, engine="edgesdk", worker=b"w" * 16, time_ms=5, model_digest=b"m" * 32
)

arrays = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: hnp.arrays(
        np.dtype(DTYPES[name]), hnp.array_shapes(min_dims=0, max_dims=8, max_side=3)
    )
)
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)


@st.composite
def tensors(draw):
    found = draw(st.dictionaries(names, arrays, min_size=1, max_size=4))
    return tuple(
        oip.Tensor(name, array, *draw(quantizations(array))) for name, array in found.items()
    )


def quantizations(array):
    """None at all; or, for integers, a scale and a zero point that is one of them."""
    if array.dtype.kind not in "iu":
        return st.just((None, None))
    bounds = np.iinfo(array.dtype)
    zero_points = st.integers(max(int(bounds.min), -(2**53) + 1), min(int(bounds.max), 2**53 - 1))
    scales = st.floats(2.0**-100, 2.0**100, width=32)
    return st.one_of(st.just((None, None)), st.tuples(scales, zero_points))


questions = st.builds(
    oip.Question,
    request_id=st.binary(min_size=16, max_size=16),
    model_id=names,
    version=st.one_of(st.none(), names),
    inputs=tensors(),
)


def question(**changes):
    fields = {
        "request_id": ID,
        "model_id": "door/person",
        "version": "1.2",
        "inputs": (oip.Tensor("image", np.arange(6, dtype=np.int8).reshape(1, 2, 3)),),
    }
    return oip.Question(**(fields | changes))


def body_of(document, elements=b""):
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return struct.pack("<I", len(text)) + text + elements


def document(**changes):
    tensor = {
        "name": "image",
        "shape": [1, 6],
        "datatype": "INT8",
        "parameters": {"binary_data_size": 6},
    }
    return {"id": ID.hex(), "model_name": "m", "inputs": [tensor | changes]}


def same(left, right):
    assert [tensor.name for tensor in left] == [tensor.name for tensor in right]
    for mine, theirs in zip(left, right, strict=True):
        assert mine.array.dtype == theirs.array.dtype
        np.testing.assert_array_equal(mine.array, theirs.array)
        assert mine.array.shape == theirs.array.shape
        assert (mine.scale, mine.zero_point) == (theirs.scale, theirs.zero_point)


def is_malformed(body, decode=oip.decode_question):
    with pytest.raises(RemoteError) as caught:
        decode(body)
    return caught.value.reason == "malformed"


@given(questions)
def test_a_question_survives_the_wire(asked):
    read = oip.decode_question(oip.encode_question(asked))
    assert (read.request_id, read.model_id, read.version) == (
        asked.request_id,
        asked.model_id,
        asked.version,
    )
    same(read.inputs, asked.inputs)


@given(tensors())
def test_an_answer_survives_the_wire(outputs):
    answer = oip.Answer(ID, "m", "2", outputs, PROVENANCE)
    read = oip.decode_answer(oip.encode_answer(answer))
    assert isinstance(read, oip.Answer)
    same(read.outputs, outputs)
    assert read.provenance.model_digest == PROVENANCE.model_digest
    assert read.provenance.output_digest is not None


def test_the_body_has_the_bytes_of_the_page():
    body = oip.encode_question(question())
    length = int.from_bytes(body[:4], "little")
    assert json.loads(body[4 : 4 + length]) == {
        "id": ID.hex(),
        "model_name": "door/person",
        "model_version": "1.2",
        "inputs": [
            {
                "name": "image",
                "shape": [1, 2, 3],
                "datatype": "INT8",
                "parameters": {"binary_data_size": 6},
            }
        ],
    }
    assert body[4 + length :] == bytes(range(6))


def test_elements_are_little_endian():
    array = np.array([1, 256], np.dtype(">u2"))
    body = oip.encode_question(question(inputs=(oip.Tensor("x", array),)))
    assert body.endswith(b"\x01\x00\x00\x01")
    assert list(oip.decode_question(body).inputs[0].array) == [1, 256]


def test_decoded_arrays_are_private_and_writable():
    body = bytearray(oip.encode_question(question()))
    array = oip.decode_question(bytes(body)).inputs[0].array
    assert array.flags.owndata or array.base.flags.owndata
    array[:] = 0


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("busy", BusyError),
        ("quota", QuotaError),
        ("expired", DeadlineExceededError),
        ("clock", RemoteError),
        ("unknown-model", RemoteError),
        ("bad-input", RemoteError),
        ("model-failed", RemoteError),
    ],
)
def test_a_refusal_becomes_the_error_of_its_reason(reason, error):
    sent = oip.Refusal(ID, reason, "no\nway\u202e", PROVENANCE)
    read = oip.decode_answer(oip.encode_answer(sent))
    assert isinstance(read, oip.Refusal)
    raised = read.error()
    assert type(raised) is error
    assert raised.reason == reason
    assert raised.reason in error.reasons
    assert "no way" in raised.message
    assert read.provenance.time_ms == PROVENANCE.time_ms


def test_a_refusal_has_no_tensors():
    body = oip.encode_answer(oip.Refusal(ID, "busy", "full", PROVENANCE))
    assert is_malformed(body + b"\0", oip.decode_answer)


def test_a_refusal_must_have_a_known_reason():
    body = oip.encode_answer(oip.Refusal(ID, "busy", "full", PROVENANCE))
    assert is_malformed(body.replace(b"busy", b"bush"), oip.decode_answer)


def test_the_digest_of_outputs_is_checked():
    answer = oip.Answer(ID, "m", "2", question().inputs, PROVENANCE)
    body = oip.encode_answer(answer)
    assert is_malformed(body[:-1] + b"\x7f", oip.decode_answer)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x00\x00\x00",
        struct.pack("<I", 1),
        struct.pack("<I", 0xFFFF_FFFF) + b"{}",
        struct.pack("<I", 16_385) + b" " * 16_385,
        body_of(b""),
        body_of(b"[]"),
        body_of(b"null"),
        body_of(b"{" * 9 + b"}" * 9),
        body_of(b'{"id":1,"id":1}'),
        body_of(b'{"id":NaN}'),
        body_of(b"\xff\xfe"),
    ],
    ids=lambda body: body[:12].hex(),
)
def test_what_is_no_body_is_malformed(broken):
    assert is_malformed(broken)
    assert is_malformed(broken, oip.decode_answer)


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"binary_data_size": 5}},
        {"parameters": {"binary_data_size": 7}},
        {"parameters": {"binary_data_size": -6}},
        {"parameters": {"binary_data_size": True}},
        {"parameters": {}},
        {"shape": [1, 7]},
        {"shape": [6, 0]},
        {"shape": [-1, -6]},
        {"shape": [2**31 - 1] * 8, "parameters": {"binary_data_size": 2**53 - 1}},
        {"shape": [1] * 9},
        {"shape": [2**40]},
        {"datatype": "BYTES"},
        {"datatype": "int8"},
        {"name": "a\nb"},
        {"name": 7},
        {"extra": 1},
        {"parameters": {"binary_data_size": 6, "scale_f32": "3c008081"}},
        {"parameters": {"binary_data_size": 6, "zero_point": 1}},
        {"parameters": {"binary_data_size": 6, "scale_f32": "7fc00000", "zero_point": 0}},
        {"parameters": {"binary_data_size": 6, "scale_f32": "bf800000", "zero_point": 0}},
        {"parameters": {"binary_data_size": 6, "scale_f32": "00000000", "zero_point": 0}},
        {"parameters": {"binary_data_size": 6, "scale_f32": "00000001", "zero_point": 0}},
        {"parameters": {"binary_data_size": 6, "scale_f32": "3f000000", "zero_point": 128}},
        {
            "datatype": "FP16",
            "shape": [3],
            "parameters": {"binary_data_size": 6, "scale_f32": "3f000000", "zero_point": 0},
        },
    ],
    ids=str,
)
def test_a_tensor_out_of_bounds_is_malformed(changes):
    assert is_malformed(body_of(document(**changes), b"abcdef"))


def test_a_tensor_within_bounds_is_taken():
    extra = {"binary_data_size": 6, "scale_f32": "3f000000", "zero_point": -5, "someone": "else's"}
    (tensor,) = oip.decode_question(body_of(document(parameters=extra), b"abcdef")).inputs
    assert (tensor.scale, tensor.zero_point) == (0.5, -5)
    assert tensor.array.tobytes() == b"abcdef"


def test_a_size_is_not_believed_before_the_bytes_are_there():
    vast = {"shape": [2**31 - 1, 2**20], "parameters": {"binary_data_size": (2**31 - 1) * 2**20}}
    assert is_malformed(body_of(document(**vast), b"abcdef"))


def test_nothing_follows_the_last_tensor():
    assert is_malformed(body_of(document(), b"abcdefg"))


def test_names_are_unique():
    found = document()
    found["inputs"] = found["inputs"] * 2
    assert is_malformed(body_of(found, b"abcdef" * 2))


@pytest.mark.parametrize("count", [0, 17])
def test_the_number_of_tensors_is_bounded(count):
    found = document()
    found["inputs"] = [found["inputs"][0] | {"name": str(i)} for i in range(count)]
    assert is_malformed(body_of(found, b"abcdef" * count))
    inputs = tuple(oip.Tensor(str(i), np.zeros(1, np.int8)) for i in range(count))
    with pytest.raises(InputError) as caught:
        oip.encode_question(question(inputs=inputs))
    assert caught.value.reason == "tensor"


def test_booleans_are_zero_or_one():
    found = document(datatype="BOOL")
    assert is_malformed(body_of(found, b"\x00\x01\x00\x01\x02\x00"))
    (tensor,) = oip.decode_question(body_of(found, b"\x00\x01\x00\x01\x01\x00")).inputs
    assert tensor.array.tolist() == [[False, True, False, True, True, False]]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(0, np.int8),
        np.zeros((1,) * 9, np.int8),
        np.zeros(1, np.complex64),
        np.array(["text"]),
        np.array([None]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_what_the_protocol_does_not_hold_is_not_encoded(array):
    with pytest.raises(InputError) as caught:
        oip.encode_question(question(inputs=(oip.Tensor("x", array),)))
    assert caught.value.reason == "tensor"


def test_a_body_whose_json_is_too_long_is_not_encoded():
    inputs = tuple(oip.Tensor("n" * 1100 + str(i), np.zeros(1, np.int8)) for i in range(16))
    with pytest.raises(InputError) as caught:
        oip.encode_question(question(inputs=inputs))
    assert caught.value.reason == "argument"


@settings(max_examples=300)
@given(questions, st.data())
def test_a_flipped_byte_is_malformed_or_another_question(asked, data):
    body = bytearray(oip.encode_question(asked))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(RemoteError):
        oip.decode_question(bytes(body))


@given(questions, st.data())
def test_a_truncated_body_is_malformed(asked, data):
    body = oip.encode_question(asked)
    assert is_malformed(body[: data.draw(st.integers(0, len(body) - 1))])


@settings(max_examples=300)
@given(st.binary(max_size=200))
@example(struct.pack("<I", 2) + b"{}")
def test_random_bytes_are_malformed(body):
    assert is_malformed(body)
    assert is_malformed(body, oip.decode_answer)


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from([ID.hex(), "INT8", "busy"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "model_name",
                    "inputs",
                    "outputs",
                    "parameters",
                    "error",
                    "reason",
                    "name",
                    "shape",
                    "datatype",
                    "binary_data_size",
                    "message",
                ]
            ),
            inner,
            max_size=6,
        ),
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(json_values, st.binary(max_size=16))
def test_hostile_json_is_malformed(value, elements):
    body = body_of(value, elements)
    for decode in (oip.decode_question, oip.decode_answer):
        with contextlib.suppress(RemoteError):
            decode(body)


def spec(dtype, scale=None, zero_point=None, **options):
    return TensorSpec("x", np.dtype(dtype), (1, 4), scale=scale, zero_point=zero_point, **options)


def test_numbers_of_the_same_quantization_are_passed_on():
    array = np.array([[-128, 0, 1, 127]], np.int8)
    fitted = oip.Tensor.of(spec(np.int8, 0.5, 3), array).fit(spec(np.int8, 0.5, 3))
    np.testing.assert_array_equal(fitted, array)


def test_numbers_of_another_quantization_are_converted():
    array = np.array([[-128, 0, 1, 127]], np.int8)
    tensor = oip.Tensor("x", array, scale=0.5, zero_point=0)
    np.testing.assert_array_equal(
        tensor.fit(spec(np.int8, 1.0, 10)), np.array([[-54, 10, 10, 74]], np.int8)
    )
    np.testing.assert_array_equal(
        tensor.fit(spec(np.float32)), np.array([[-64, 0, 0.5, 63.5]], np.float32)
    )
    np.testing.assert_array_equal(
        tensor.fit(spec(np.uint8, 0.5, 128)), np.array([[0, 128, 129, 255]], np.uint8)
    )


def test_numbers_that_become_too_large_end_at_the_end_of_the_range():
    tensor = oip.Tensor("x", np.array([[-128, 0, 1, 127]], np.int8), scale=3e38, zero_point=0)
    np.testing.assert_array_equal(
        tensor.fit(spec(np.int8, 1.0, 0)), np.array([[-128, 0, 127, 127]], np.int8)
    )
    assert np.isinf(tensor.fit(spec(np.float32))[0, [0, 3]]).all()


def test_elements_that_stand_for_nothing_are_passed_on():
    array = np.array([[1, 2, 3, 4]], np.int32)
    tensor = oip.Tensor("x", array, scale=0.5, zero_point=0)
    np.testing.assert_array_equal(tensor.fit(spec(np.int32)), array)


def test_real_numbers_are_quantized_and_not_normalized_twice():
    tensor = oip.Tensor("x", np.array([[0.0, 1.0, -1.0, 0.25]], np.float32))
    wanted = spec(np.int8, 0.5, 1, mean=(100.0,), std=(2.0,))
    np.testing.assert_array_equal(tensor.fit(wanted), np.array([[1, 3, -1, 1]], np.int8))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((1, 5), np.int8), "shape"),
        (np.zeros((1, 4), np.int16), "dtype"),
        (np.full((1, 4), math.nan, np.float32), "argument"),
    ],
    ids=["shape", "dtype", "nan"],
)
def test_numbers_that_do_not_fit_are_refused(array, reason):
    with pytest.raises(InputError) as caught:
        oip.Tensor("x", array).fit(spec(np.int8, 0.5, 0))
    assert caught.value.reason == reason
