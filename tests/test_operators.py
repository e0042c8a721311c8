"""docs/operators.md, which tests/operators.py makes, is what the core has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import networks
import operators
from edgesdk.interpreter import Interpreter

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "operators.md"

pytestmark = pytest.mark.checkout


@pytest.mark.slow
def test_the_page_is_what_the_core_has():
    """In a process of its own, as it runs tests itself."""
    command = [sys.executable, str(ROOT / "tests" / "operators.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_lists_every_row_of_the_core_once():
    listed = re.findall(r"^\| ([A-Za-z_0-9]+) \|", PAGE.read_text(), re.MULTILINE)
    assert listed[1:] == sorted(listed[1:])
    assert set(listed[1:]) == operators.seeds.operators()


def test_versions_end_where_the_core_refuses_them():
    net = networks.Network()
    content = net.build(net.dense(net.input([1, 4]), 3))
    last = operators.last_version(content, "FULLY_CONNECTED")
    newest = operators.with_version(content, "FULLY_CONNECTED", last)
    assert Interpreter(model_content=newest, engine="native").operators()[0][1] == last
    assert not operators.is_taken(operators.with_version(content, "FULLY_CONNECTED", last + 1))
    assert f"| FULLY_CONNECTED | 1 to {last} |" in PAGE.read_text()


def test_types_are_those_that_the_core_takes():
    net = networks.Network()
    x = net.input([2, 3], "int32")
    content = net.build(net.operator("FLOOR_MOD", [x, x], [net.tensor([2, 3], "int32")], version=1))
    found = operators.more_types("FLOOR_MOD", [content], {(schema.TensorType.INT32,)})
    kinds = {operators.TYPES[code] for (code,) in found}
    assert {"int32", "int64", "float32"} <= kinds
    assert not kinds & {"bool", "complex64", "string"}


def test_constants_change_with_their_type():
    net = networks.Network()
    x, two = net.input([1], "int32"), net.tensor([1], "int32", data=np.array([2], np.int32))
    y = net.operator("ADD", [x, two], [net.tensor([1], "int32")], schema.AddOptionsT(), version=1)
    code = schema.TensorType
    changed = operators.with_type(net.build(y), code.INT32, code.FLOAT32, scale=None)
    made = Interpreter(model_content=changed, engine="native")
    assert made.get_tensor(two) == np.float32(2)
