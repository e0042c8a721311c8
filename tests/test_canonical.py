import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesdk import canonical
from edgesdk.canonical import Fields
from edgesdk.errors import InputError, MalformedBundleError

INTEGERS = st.integers(-canonical.LARGEST_INTEGER, canonical.LARGEST_INTEGER)
NAMES = st.text(st.characters(max_codepoint=127), max_size=8)
TEXTS = st.text(max_size=12)
VALUES = st.recursive(
    st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def error(text):
    return MalformedBundleError("manifest", text)


def depth(value):
    if isinstance(value, (dict, list)):
        members = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, members), default=0)
    return 0


def refused(data, parse=canonical.parse):
    with pytest.raises(MalformedBundleError) as caught:
        parse(data, error=error)
    assert caught.value.reason == "manifest"
    return str(caught.value)


@given(VALUES.filter(lambda value: depth(value) <= 8))
def test_round_trip(value):
    data = canonical.encode(value)
    parsed = canonical.parse(data, error=error)
    assert parsed == value
    assert canonical.encode(parsed) == data
    assert json.loads(data) == value


@given(VALUES.filter(lambda value: depth(value) <= 8), st.data())
def test_flipped_byte_is_refused_or_another_value(value, data):
    encoded = bytearray(canonical.encode(value))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        parsed = canonical.parse(bytes(encoded), error=error)
    except MalformedBundleError:
        return
    assert canonical.encode(parsed) == bytes(encoded)
    assert (parsed, type(parsed)) != (value, type(value))


@given(st.binary(max_size=40))
def test_whatever_parses_has_one_spelling(data):
    try:
        parsed = canonical.parse(data, error=error)
    except MalformedBundleError:
        return
    assert canonical.encode(parsed) == data


@given(VALUES.filter(lambda v: isinstance(v, dict) and v and depth(v) <= 8), st.data())
def test_truncations_of_a_document_are_refused(value, data):
    encoded = canonical.encode(value)
    refused(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e3",
        b"1E3",
        b"1e999",
        b"1.0",
        b"2.5",
        b"null",
        b'{"a":null}',
        b"[null]",
        b"9007199254740992",
        b"-9007199254740992",
        b"1" * 5000,
        b"[" + b"9" * 4301 + b"]",
        b'"\\ud800"',
        b'"\\udfff\\ud800"',
        b'{"\\ud800":1}',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b'"\x00"',
        b'"\n"',
        b"{}x",
        b"{}{}",
        b"[1,]",
        b"[,1]",
        b'{"a":1,}',
        b"{a:1}",
        b"{'a':1}",
        b'{"\xc3\xa9":1}',
        b"tru",
        b"True",
        b"+1",
        b"01",
        b"0x1",
        b"/**/1",
        b"\x00{\x00}",
        b"{\x00}\x00",
    ],
)
@pytest.mark.parametrize("parse", [canonical.parse, canonical.parse_lenient])
def test_both_refuse(data, parse):
    refused(data, parse)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b" {}", {}),
        (b"{}\n", {}),
        (b'{"a": 1}', {"a": 1}),
        (b'{"b":1,"a":1}', {"a": 1, "b": 1}),
        (b'"\\u0061"', "a"),
        (b'"\\/"', "/"),
        (b'"\\u000a"', "\n"),
        (b'"\\u001F"', "\x1f"),
        (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
        (b"-0", 0),
    ],
)
def test_second_spellings_are_for_the_lenient_only(data, value):
    refused(data)
    assert canonical.parse_lenient(data, error=error) == value


def test_the_largest_integers():
    for text in (b"9007199254740991", b"-9007199254740991"):
        assert canonical.parse(text, error=error) == int(text)


def test_shortest_escapes_are_those_of_rfc_8785():
    text = '\x00\x08\t\n\x0b\x0c\r\x1f"\\/\x7f\x80\N{EURO SIGN}\N{GRINNING FACE}'
    expected = (
        b'"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\\"\\\\/\x7f\xc2\x80\xe2\x82\xac\xf0\x9f\x98\x80"'
    )
    assert canonical.encode(text) == expected
    assert canonical.parse(expected, error=error) == text


def test_depth_is_counted_outside_of_strings():
    assert canonical.parse(b"[[[[[[[[1]]]]]]]]", error=error)
    assert canonical.parse(b'["[[[[[[[[[[\\"[\\\\"]', error=error)
    refused(b"[[[[[[[[[1]]]]]]]]]")
    refused(b'{"a":[{"a":[{"a":[{"a":[[1]]}]}]}]}')
    assert canonical.parse(b"[[1]]", error=error, depth=2) == [[1]]
    with pytest.raises(MalformedBundleError):
        canonical.parse(b"[[1]]", error=error, depth=1)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 262_144,
        b'{"a":' * 50_000,
        b"[" * 131_072 + b"]" * 131_072,
        b"[]" * 131_072,
        b"[" + b"[]," * 87_000 + b"[]]",
        b"[" + b"{}," * 87_000 + b"{}]",
        b"[" + b"1," * 131_000 + b"1]",
        b"[" + b'"",' * 87_000 + b'""]',
        b'"' + b'\\"' * 131_000,
        b'"' + b"\\" * 262_143,
        b'"' * 262_144,
        b'{"' + b"a" * 262_000 + b'":1}',
        b"-" + b"9" * 262_143,
        b"[" + b",".join(b'"%d":1' % i for i in range(30_000)) + b"]",
        b"{" + b",".join(b'"%06d":1' % i for i in range(24_000)) + b"}",
    ],
    ids=range(15),
)
@pytest.mark.timeout(20)
@pytest.mark.parametrize("parse", [canonical.parse, canonical.parse_lenient])
def test_hostile_documents_under_the_cap_do_not_take_long(data, parse):
    try:
        parse(data, error=error)
    except MalformedBundleError as caught:
        assert len(str(caught)) < 500


@pytest.mark.parametrize(
    "value",
    [
        None,
        1.0,
        float("nan"),
        b"bytes",
        [None],
        {"a": 1.5},
        {1: 1},
        {"\N{EURO SIGN}": 1},
        2**53,
        -(2**53),
        10**400,
        "\ud800",
        {"a": "\udfff"},
        [[[[[[[[[1]]]]]]]]],
        (1, 2),
    ],
)
def test_encode_refuses_what_it_could_not_parse(value):
    with pytest.raises(InputError) as caught:
        canonical.encode(value)
    assert caught.value.reason == "argument"


def test_true_is_not_one():
    assert canonical.encode(True) == b"true"
    fields = Fields({"a": True, "b": 1}, "x", error)
    with pytest.raises(MalformedBundleError):
        fields.integer("a")
    with pytest.raises(MalformedBundleError):
        Fields({"a": True}, "x", error).constant("a", 1)
    with pytest.raises(MalformedBundleError, match="expected 2, got 1"):
        Fields({"a": 1}, "x", error).constant("a", 2)
    assert Fields({"a": 1}, "x", error).constant("a", 1) is None
    assert Fields({"a": "x"}, "x", error).constant("a", "x") is None


class TestFields:
    def read(self, value, read):
        fields = Fields({"a": value}, "thing", error)
        found = read(fields)
        fields.end()
        return found

    def refuses(self, value, read):
        with pytest.raises(MalformedBundleError) as caught:
            self.read(value, read)
        assert caught.value.reason == "manifest"
        assert "expected" in str(caught.value)
        assert "got" in str(caught.value)

    def test_absent_member(self):
        with pytest.raises(MalformedBundleError, match="expected a member 'b', got none"):
            Fields({"a": 1}, "thing", error).integer("b")

    def test_unknown_member(self):
        fields = Fields({"a": 1, "b": 2}, "thing", error)
        assert "a" in fields
        assert fields.integer("a") == 1
        assert "a" not in fields
        with pytest.raises(MalformedBundleError, match="no more members, got 'b'"):
            fields.end()

    def test_reading_does_not_change_the_document(self):
        document = {"a": 1}
        Fields(document, "thing", error).integer("a")
        assert document == {"a": 1}

    @pytest.mark.parametrize("value", [[], "", 1, True])
    def test_only_objects_have_members(self, value):
        with pytest.raises(MalformedBundleError):
            Fields(value, "thing", error)
        self.refuses(value, lambda fields: fields.nested("a"))

    def test_integers(self):
        assert self.read(5, lambda fields: fields.integer("a", least=5, most=5)) == 5
        for value in (4, 6, -5, "5", [5], True):
            self.refuses(value, lambda fields: fields.integer("a", least=5, most=5))
        self.refuses(-1, lambda fields: fields.integer("a"))

    def test_texts(self):
        assert self.read("ab", lambda fields: fields.text("a", longest=2, least=2)) == "ab"
        for value in ("a", "abc", 1, ["ab"], "a\n", "\x1b[", "a\x85", "\N{RIGHT-TO-LEFT OVERRIDE}"):
            self.refuses(value, lambda fields: fields.text("a", longest=2, least=2))

    def test_patterns_match_the_whole_text(self):
        pattern = re.compile("[a-c]+")
        assert self.read("abc", lambda fields: fields.text("a", longest=9, pattern=pattern))
        for value in ("", "abcd", "dabc", "ab c"):
            self.refuses(value, lambda fields: fields.text("a", longest=9, pattern=pattern))

    def test_choices(self):
        assert self.read("x", lambda fields: fields.choice("a", ("x", "y"))) == "x"
        for value in ("z", "", 1, ["x"]):
            self.refuses(value, lambda fields: fields.choice("a", ("x", "y")))

    def test_hexadecimal_has_one_spelling(self):
        assert self.read("00ff", lambda fields: fields.hexadecimal("a", 2)) == b"\x00\xff"
        for value in ("00FF", "00f", "00ff0", "0x0f", " 0ff", "00f\N{FULLWIDTH DIGIT ONE}", 12):
            self.refuses(value, lambda fields: fields.hexadecimal("a", 2))

    def test_base64_has_one_spelling(self):
        assert self.read("QQ==", lambda fields: fields.base64("a", size=1)) == b"A"
        for value in (
            "QR==",
            "QQ=",
            "QQ",
            "Q Q==",
            "QQ==\n",
            "QQ==QQ==",
            "_-==",
            "\N{EURO SIGN}",
            1,
        ):
            self.refuses(value, lambda fields: fields.base64("a", size=1))
        self.refuses("QUE=", lambda fields: fields.base64("a", size=1))
        self.refuses("QUE=", lambda fields: fields.base64("a", longest=1))
        assert self.read("QUE=", lambda fields: fields.base64("a", longest=2)) == b"AA"

    @given(st.binary(max_size=40))
    def test_base64_round_trip(self, data):
        text = canonical.to_base64(data)
        assert self.read(text, lambda fields: fields.base64("a", longest=40)) == data

    def test_lists(self):
        assert self.read([1], lambda fields: fields.entries("a", longest=1)) == [1]
        for value in ([], [1, 2], "a", {"a": 1}, 1):
            self.refuses(value, lambda fields: fields.entries("a", longest=1, least=1))

    @pytest.mark.parametrize(
        ("value", "text"),
        [(True, "true"), (5, "5"), ("abc", "'abc'"), ([1], "a list"), ({}, "an object")],
    )
    def test_messages_say_what_came(self, value, text):
        with pytest.raises(MalformedBundleError, match=f"got {text}$"):
            Fields({"a": value}, "thing", error).choice("a", ("x",))

    def test_long_members_do_not_fill_messages(self):
        with pytest.raises(MalformedBundleError) as caught:
            Fields({"a": "x" * 10_000}, "thing", error).integer("a")
        assert len(str(caught.value)) < 100
