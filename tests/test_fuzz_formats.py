"""What `make fuzz` looks for in the readers of formats, in each run of the tests as well.

An input that it finds is kept as it is in fuzz/findings_formats; its name says what it was.
"""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesdk.errors import MalformedBundleError
from edgesdk.limits import BUNDLE

FUZZ = Path(__file__).parent / "fuzz"
sys.path[:0] = [str(FUZZ)]
import formats  # noqa: E402  from the folder of fuzz targets
import mutations  # noqa: E402

SEEDS = dict(formats.inputs())
FOUND = {path.name: path.read_bytes() for path in sorted((FUZZ / "findings_formats").glob("*"))}
# Lists of entries without a count: the first entries alone are a list as well.
LISTS = ("signature_block", "recipients")


def changed(name, seed):
    return mutations.change(SEEDS[name][1:], Random(seed))  # noqa: S311 - no secret


DOCUMENTS = [name for name in SEEDS if changed(name, 0)]


def test_every_reader_reads_its_seeds():
    for name, data in SEEDS.items():
        assert formats.check(data) == "read", name
    assert {data[0] for data in SEEDS.values()} == set(range(len(formats.READERS)))


@pytest.mark.parametrize("name", SEEDS | FOUND)
def test_what_was_found_does_not_come_back(name):
    """And with each bit of the first bytes changed, where lengths and magic numbers are."""
    data = bytearray((SEEDS | FOUND)[name])
    formats.check(bytes(data))
    for place in range(8, 8 * min(len(data), 40)):
        data[place // 8] ^= 1 << place % 8
        formats.check(bytes(data))
        data[place // 8] ^= 1 << place % 8


@pytest.mark.parametrize("name", [name for name in SEEDS if not name.startswith(LISTS)])
def test_every_truncation_is_refused(name):
    data = SEEDS[name]
    for size in range(1, len(data), max(1, len(data) // 200)):
        assert formats.check(data[:size]) != "read", size


@given(st.sampled_from(sorted(SEEDS)), st.data())
def test_any_bytes(name, data):
    """Bytes over others, in place of others, and taken away."""
    given_ = SEEDS[name]
    start = data.draw(st.integers(1, len(given_)))
    stop = data.draw(st.integers(start, min(len(given_), start + 64)))
    formats.check(given_[:start] + data.draw(st.binary(max_size=64)) + given_[stop:])


@given(st.sampled_from(DOCUMENTS), st.integers(0, 2**32))
def test_any_document(name, seed):
    formats.check(SEEDS[name][:1] + changed(name, seed))


def test_changes_of_documents_reach_the_rules_behind_the_spelling():
    """Some are read and some refused for what they say, else the test above shows little."""
    texts = {}
    for name in DOCUMENTS:
        body = [changed(name, seed) for seed in range(100)]
        assert len(set(body)) > 50
        texts[name] = [formats.check(SEEDS[name][:1] + data) for data in body]
    assert len(texts) == 14
    assert sum("read" in results for results in texts.values()) > 3
    assert all(set(results) - {"read"} for results in texts.values())


LARGEST = BUNDLE.trust_bytes
LARGE = {
    "levels": b"[" * LARGEST,
    "closed levels": b"[" * (LARGEST // 2) + b"]" * (LARGEST // 2),
    "pairs": b"[]" * (LARGEST // 2),
    "objects in lists": b"[{" * (LARGEST // 2),
    "list": b"[" + b"1," * (LARGEST // 2 - 2) + b"1]",
    "members": b"{%s}" % b",".join(b'"%06x":0' % i for i in range(LARGEST // 12)),
    "quotes": b'"' * LARGEST,
    "escaped quotes": b'\\"' * (LARGEST // 2),
    "backslashes": b"\\" * LARGEST,
    "escapes": b'"%s"' % (b"\\u0061" * (LARGEST // 6 - 1)),
    "digits": b"1" * LARGEST,
    "fraction": b"1." + b"1" * (LARGEST - 2),
    "spaces": b" " * LARGEST,
    "zeros": bytes(LARGEST),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_as_large_as_may_be_costs_little(name):
    """More than a fuzzer tries: ``check`` sees to time and memory."""
    for place in range(len(formats.READERS)):
        assert formats.check(bytes([place]) + LARGE[name]) != "read"


# ---- the check fails where it must


def reader(read):
    return formats.Reader(read)


def other_error(_):
    raise KeyError("x")


def unlisted_reason(_):
    raise MalformedBundleError("no-such-reason", "expected this, got that")


def say_nothing(_):
    raise MalformedBundleError("grant", "no")


def take_time(data):
    end = formats.time.process_time() + 1.1 * formats.SECONDS
    while formats.time.process_time() < end:
        pass
    return data


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (other_error, KeyError),
        (unlisted_reason, AssertionError),
        (say_nothing, AssertionError),
        (lambda data: data + b" ", AssertionError),
        (take_time, formats.CostError),
    ],
)
def test_what_is_a_finding(monkeypatch, read, error):
    monkeypatch.setattr(formats, "READERS", (reader(read),))
    with pytest.raises(error):
        formats.check(b"\0body")


MEMORY = """
import formats
def read(data):
    return b"x" * (3 * formats.KIBIBYTES * 1024) and data
formats.READERS = (formats.Reader(read),)
formats.check(b"x")
"""


def test_memory_is_a_finding_too():
    """In a process of its own: what counts is the most that a process has ever had."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY],
        env={"PYTHONPATH": os.pathsep.join([str(FUZZ.parents[1]), str(FUZZ.parent), str(FUZZ)])},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "CostError: read: more than 65536 KiB" in done.stderr
