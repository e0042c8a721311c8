"""``edgesdk.compare`` and ``edgesdk compare``: this core against LiteRT, tensor by tensor."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from edgesdk import compare as comparing
from edgesdk.compare import compare, make_frames
from edgesdk.errors import InputError, MalformedModelError
from edgesdk.interpreter import Interpreter
from fixtures_core import network
from networks import Network
from tests import conformance


def tally(*pairs):
    made = comparing._Tally()
    for ours, theirs in pairs:
        made.add(np.asarray(ours), np.asarray(theirs))
    return made


def test_a_network_with_the_same_bits():
    result = compare(network("resnet_8"))
    assert result.same
    assert result.equal_bits
    assert result.first is None
    assert result.inputs == 16
    assert {t.operator for t in result.tensors} == set(result.operators)
    assert len(result.tensors) == len(Interpreter(None, network("resnet_8")).operator_details())


def test_frames_of_the_caller():
    net = Network(3)
    x = net.input([1, 4])
    content = net.build(net.unary("TANH", x))
    assert compare(content, [[np.zeros((1, 4), np.int8)]]).inputs == 1
    with pytest.raises(InputError, match="expected 1 inputs, got 2"):
        compare(content, [[np.zeros((1, 4), np.int8)] * 2])
    with pytest.raises(MalformedModelError):
        compare(b"not a model")


def test_what_counts_as_a_difference():
    whole = tally(([1, 2, 3], [1, 4, 3]))
    assert (whole.elements, whole.differing, whole.largest) == (3, 1, 2)
    assert tally((np.int8([-128]), np.int8([127]))).largest == 255
    floats = tally((np.float32([1, 2]), np.float32([1, 2.002])))
    assert math.isclose(floats.largest, 0.001, rel_tol=1e-3)
    nan = np.float32([np.nan, 1])
    assert tally((nan, nan)).differing == 0
    assert tally((nan, np.float32([1, 1]))).largest == math.inf
    assert tally((np.float32([np.inf]), np.float32([np.inf]))).differing == 0
    assert tally((np.float32([1]), np.float32([0]))).largest == math.inf
    assert tally((np.zeros((2, 3), np.int8), np.zeros((3, 2), np.int8))).largest == math.inf
    assert tally(([1], [1]), ([1], [2])).differing == 1


def test_the_first_difference_is_named():
    def tensor(index, differing, dtype="int8", largest=1.0):
        return comparing.TensorDifference(
            index, f"t{index}", f"OP{index}", dtype, (1,), 10, differing, largest
        )

    def of(outputs, tensors=()):
        return comparing.Comparison("LiteRT", 1, (), tuple(outputs), tuple(tensors))

    found = of([tensor(9, 1)], [tensor(3, 0), tensor(5, 2), tensor(9, 1)])
    assert not found.same
    assert found.first.index == 5
    assert found.reason == "OP5 differs although its inputs are the same (tensor 5)"
    assert "as one" in of([tensor(9, 1)], [tensor(3, 0)]).reason
    close = of([tensor(1, 10, "float32", 1e-6)])
    assert close.same
    assert not close.equal_bits
    assert not of([tensor(1, 10, "float32", 1e-4)]).same


def test_the_spread_of_the_reference():
    """LiteRT's two paths round sums of int8 layers differently, now and then."""
    content = network("mobilenet_v1")
    frames = make_frames(Interpreter(None, content).get_input_details())
    assert comparing.spread(content, frames) >= 1


def test_frames_are_random_and_natural_and_repeat():
    details = Interpreter(None, network("every_operator")).get_input_details()
    first, again = make_frames(details, 3, seed=5), make_frames(details, 3, seed=5)
    assert len(first) == 6
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a[0], b[0])


def edgesdk(*arguments):
    command = [sys.executable, "-m", "edgesdk.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_shows_tensors_and_draws_them(tmp_path):
    model, chart, frames = (tmp_path / n for n in ("m.tflite", "c.svg", "x.npy"))
    net = Network(3)
    x = net.input([1, 4], name="x")
    model.write_bytes(net.build(net.unary("RELU", net.unary("TANH", x))))
    np.save(frames, np.zeros((1, 4), np.int8))
    done = edgesdk("compare", model, "--input", frames, "--all", "--chart", chart)
    assert done.returncode == 0, done.stderr
    assert "equal bits" in done.stdout
    assert "TANH" in done.stdout
    assert chart.read_text().startswith("<?xml")
    document = json.loads(edgesdk("compare", model, "--json").stdout)
    assert document["same"] is True
    assert [row["operator"] for row in document["tensors"]] == ["TANH", "RELU"]


def test_the_conformance_table(tmp_path, capsys, monkeypatch):
    good, bad, page = tmp_path / "good.tflite", tmp_path / "bad.tflite", tmp_path / "page.md"
    good.write_bytes(network("resnet_8"))
    bad.write_bytes(b"nothing")
    page.write_text("# Title\n\n<!-- begin -->\nold\n<!-- end -->\n\nmore\n")
    monkeypatch.setattr(sys, "argv", ["conformance", str(tmp_path), "--write", str(page)])
    assert conformance.main() == 0
    shown = capsys.readouterr().out
    assert "equal bits" in shown
    assert "neither" in shown
    text = page.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("more\n")
    assert "| int8 | 1 |" in text
    assert "| bad | neither |" in text
