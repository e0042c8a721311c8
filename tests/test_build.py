"""The build itself: a changed constant in any file of the core is seen."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ai_edge_litert.interpreter import Interpreter

ROOT = Path(__file__).parents[1]

# The build that compilers do not optimize: what is asked is whether it is made anew.
QUICK = {"EDGESDK_COVERAGE": "1"}

pytestmark = pytest.mark.checkout


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what the extension is built from, built once."""
    if not (ROOT / "edgesdk").exists():
        pytest.skip("needs a checkout")
    copy = tmp_path_factory.mktemp("tree")
    for name in ("edgesdk", "csrc"):
        shutil.copytree(
            ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "__pycache__")
        )
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build(copy)
    return copy


def build(tree):
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=tree, check=True, capture_output=True, env={**os.environ, **QUICK},
    )  # fmt: skip


def ask(tree, expression):
    code = f"import edgesdk.interpreter as i; print({expression})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "old", "new", "expression"),
    [
        ("kernels.inc", "EDGE_TABLE(scalar,", "EDGE_TABLE(renamed,", "i.machine()['isa'][-1]"),
        ("kernels.h", "EDGE_DWCONV_BLOCK = 16", "EDGE_DWCONV_BLOCK = 32", "None"),
    ],
    ids=["list", "header"],
)
def test_a_changed_constant_is_rebuilt(tree, name, old, new, expression):
    (library,) = (tree / "edgesdk").glob("_native*.so")
    before = library.read_bytes()
    build(tree)
    assert library.read_bytes() == before  # nothing changed, nothing is built
    change(tree / "csrc" / name, old, new)
    build(tree)
    assert library.read_bytes() != before
    if name == "kernels.inc":
        assert ask(tree, expression) == "renamed"


def test_the_digests_that_every_wheel_must_reproduce_are_those_of_litert():
    smoke = runpy.run_path(str(ROOT / ".ci" / "smoke.py"))
    for name, expected in smoke["EXPECTED"].items():
        reference = Interpreter(str(ROOT / "examples" / "digits" / f"{name}.tflite"))
        assert smoke["digest"](reference) == expected
