"""Rules of the house that no other tool checks."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

import edgesdk
from edgesdk import errors

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[1]
PYTHON = sorted((ROOT / "edgesdk").rglob("*.py"))
CSRC = sorted([*(ROOT / "csrc").rglob("*.c"), *(ROOT / "csrc").rglob("*.h")])

ERROR_CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.EdgeError)
}


def test_the_tree_of_errors_is_drawn_in_its_docstring():
    for name in ERROR_CLASSES:
        assert name in errors.__doc__


def test_reasons_belong_to_one_class_and_have_a_text():
    for name, cls in ERROR_CLASSES.items():
        if not cls.__subclasses__():
            assert cls.reasons or name == "UpdateError", name
        for reason, text in cls.reasons.items():
            assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", reason)
            assert text


def raised_in(path):
    """(class, reason) of every error that is constructed with a literal reason."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            cls = ERROR_CLASSES.get(node.func.id)
            if cls is not None and node.args and isinstance(node.args[0], ast.Constant):
                yield cls, node.args[0].value


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_reason_is_listed_by_its_class(path):
    for cls, reason in raised_in(path):
        assert reason in cls.reasons, f"{cls.__name__} does not list {reason!r}"


def test_only_files_opens_files():
    """`open` and its kin are called in files.py, and nowhere else in the device SDK."""
    doors = {"open", "fdopen", "read_bytes", "read_text", "write_bytes", "write_text"}
    for path in PYTHON:
        room = path.relative_to(ROOT / "edgesdk").parts[0]
        if room in {"files.py", "cli", "demo"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                function = node.func
                called = getattr(function, "id", None)
                if isinstance(function, ast.Attribute):
                    on_os = isinstance(function.value, ast.Name) and function.value.id == "os"
                    called = function.attr if on_os or function.attr in doors - {"open"} else None
                assert called not in doors, f"{path}:{node.lineno} calls {called}"


ONE_IMPORTER = {
    "edgesdk._native": "native.py",
    "cryptography": "primitives.py",
    "paho": "mqtt.py",
    "tomllib": "toml.py",
    "amqtt": "demo/broker.py",
    "matplotlib": "charts.py",
    "sklearn": "demo/digits.py",
}


class Imports(ast.NodeVisitor):
    """The modules that a file imports when it runs, wherever in it."""

    def __init__(self):
        self.names = set()

    def visit_If(self, node):
        if getattr(node.test, "id", None) != "TYPE_CHECKING":
            self.generic_visit(node)

    def visit_Import(self, node):
        self.names |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node):
        self.names |= {f"{node.module}.{alias.name}" for alias in node.names}


@pytest.mark.parametrize("name", ONE_IMPORTER)
def test_what_one_room_translates_no_other_imports(name):
    importers = set()
    for path in PYTHON:
        imports = Imports()
        imports.visit(ast.parse(path.read_text()))
        if any(f"{found}.".startswith(f"{name}.") for found in imports.names):
            importers.add(path.relative_to(ROOT / "edgesdk").as_posix())
    assert importers == {ONE_IMPORTER[name]}


def test_nothing_prints():
    for path in PYTHON:
        if path.relative_to(ROOT / "edgesdk").parts[0] in {"cli", "demo"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                assert getattr(node.func, "id", None) != "print", f"{path}:{node.lineno}"


# What kernels may include: they know nothing of graphs.
KERNELS = {"kernels.h", "kernels.inc", "functions.h", "requantize.h", "target.h"}
# The face of the core, which includes nothing of the core.
FACE = {"edge.h", "flatbuffer.h", "functions.h", "kernels.h", "schema.h", "target.h"}


def included(path):
    """The files of the core that a file of the core includes, by their names from ``csrc``."""
    folder = ROOT / "csrc"
    names = re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE)
    return {str((path.parent / name).resolve().relative_to(folder)) for name in names}


def test_headers_include_in_no_circle():
    graph = {str(p.relative_to(ROOT / "csrc")): included(p) for p in CSRC if p.suffix == ".h"}
    # A list of rows is included by the header that gives the rows their meaning.
    graph = {name: {n for n in names if n.endswith(".h")} for name, names in graph.items()}
    list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", CSRC, ids=lambda p: str(p.relative_to(ROOT)))
def test_kernels_and_the_face_stand_by_themselves(path):
    name = str(path.relative_to(ROOT / "csrc"))
    if name.startswith("kernels/"):
        own = {n for n in included(path) if not n.startswith("kernels/")}
        assert own <= KERNELS, f"the kernel file {name} includes {own - KERNELS}"
    if name in FACE:
        assert included(path) <= FACE | {"kernels.inc"}, name


@pytest.mark.parametrize("path", CSRC, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_core_keeps_its_promises(path):
    """No exit, no environment, no stdio, no mutable globals."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    for word in ("exit", "abort", "getenv", "printf", "fprintf", "puts", "fopen"):
        assert not re.search(rf"\b{word}\s*\(", text), f"{path.name} calls {word}"
    assert "<stdio.h>" not in text
    for line in text.splitlines():
        if re.match(r"static [^(]*[;=]\s*$|static [^(]*=", line):
            assert "const" in line, f"{path.name}: {line}"


def test_files_and_functions_are_of_a_size_to_feel_at_home_in():
    for path in [*PYTHON, *CSRC]:
        lines = path.read_text().count("\n")
        bound = 500 if path.suffix == ".py" else 530  # only ever lowered
        assert lines <= bound, f"{path.relative_to(ROOT)} has {lines} lines"


def lines_of_the_architecture_page(heading):
    """The names in the first cells of the table that has this heading."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text.split(f"| {heading} |")[1].split("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    return {name for row in rows for name in re.split(r"[ ,]+", row.replace("\\", "")) if name}


def test_every_room_has_its_line_in_the_architecture_page():
    folder = ROOT / "edgesdk"
    rooms = {p.relative_to(folder).parts[0] for p in PYTHON}
    rooms = {f"{room}/" if (folder / room).is_dir() else room for room in rooms}
    binding = {"_native.pyx", ".pxd", ".pyi"}
    assert lines_of_the_architecture_page("edgesdk/") == rooms | binding


def test_every_file_of_the_core_has_its_line_in_the_architecture_page():
    folder = ROOT / "csrc"
    found = {p.relative_to(folder).parts[0] for p in [*CSRC, *folder.glob("*.inc")]}
    found = {f"{name}/" if (folder / name).is_dir() else name for name in found} - {"edge.h"}
    named = lines_of_the_architecture_page("csrc/")
    for name in found:
        assert name in named or name.rsplit(".", 1)[0] in named, f"{name} has no line"
    stems = {name.rsplit(".", 1)[0] for name in found}
    assert named <= found | stems


def test_the_version_is_the_same_wherever_it_stands():
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared[1] == edgesdk.__version__


def test_the_project_speaks_of_itself_alone():
    """No paths of anybody's machine in what is shipped."""
    for path in [*PYTHON, *CSRC, *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]:
        for word in ("/home/", "/work/", "/root/"):
            assert word not in path.read_text(), f"{path.relative_to(ROOT)} says {word}"


def test_the_threat_model_names_tests_that_exist():
    text = (ROOT / "docs" / "threat-model.md").read_text()
    named = re.findall(r"`(test_\w+\.py)(?:::(?:(\w+)::)?(\w+))?`", text)
    assert len(named) > 40
    for file, holder, test in named:
        path = ROOT / "tests" / file
        assert path.is_file(), file
        assert not test or re.search(rf"^ *def {test}\(", path.read_text(), re.MULTILINE), test
        assert not holder or f"\nclass {holder}:" in path.read_text(), holder
