"""Writes small sound models into a folder, for libFuzzer to start from.

They are the tests' own: the tests of operators run with a few trials each, and of what they load
the smallest model of each operator and type is kept. So an operator that is tested is fuzzed, and
one of csrc/operators.inc without a model is an error.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
sys.path[:0] = [str(TESTS)]
import networks  # noqa: E402  from the folder of tests
from edgesdk.interpreter import Interpreter  # noqa: E402

FILES = sorted([
    *TESTS.glob("test_ops_*.py"), TESTS / "test_control.py", TESTS / "test_numerics.py",
    TESTS / "test_value_shapes.py",
])  # fmt: skip
TRIALS = 4
# What libFuzzer may make of a model is at most twice that (.ci/fuzz).
BYTES_MAX = 20_000
NAMES = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}


def operators():
    """Names of all operators that the core runs."""
    text = (ROOT / "csrc" / "operators.inc").read_text()
    named = re.findall(r"^EDGE_OPERATOR\(\d+, (\w+),", text, re.MULTILINE)
    return {*named, *re.findall(r'^EDGE_CUSTOM\("(\w+)"', text, re.MULTILINE)}


def uses(content):
    """(operator, types of its operands, -1 where there is none) of every operator of a model."""
    model = schema.Model.GetRootAs(content)
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for node in map(graph.Operators, range(graph.OperatorsLength())):
            code = model.OperatorCodes(node.OpcodeIndex())
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            name = NAMES.get(number, str(number))
            if name == "CUSTOM":
                name = code.CustomCode().decode()
            operands = [node.Inputs(i) for i in range(node.InputsLength())]
            yield name, [graph.Tensors(i).Type() if i >= 0 else -1 for i in operands]


def kinds(content):
    """(operator, type of its first operand) of every operator of a model."""
    return [(name, types[0] if types else -1) for name, types in uses(content)]


class Collector:
    """A pytest plugin: runs few trials, and keeps the smallest models that the core has loaded."""

    def __init__(self):
        self.found = {}

    def keep(self, content):
        if len(content) <= BYTES_MAX:
            for kind in kinds(content):
                if kind not in self.found or len(content) < len(self.found[kind]):
                    self.found[kind] = bytes(content)

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items):
        for item in items:
            if hasattr(item.module, "TRIALS"):
                item.module.TRIALS = min(item.module.TRIALS, TRIALS)
        items[:] = [item for item in items if "hostile" not in item.nodeid]


def collect(collector):
    """Runs the tests of operators; the collector is given what they have the core load."""
    load = Interpreter.__init__

    def load_and_keep(self, *args, **options):
        load(self, *args, **options)
        content = options.get("model_content")
        if content is not None and self.engine == "native":
            collector.keep(bytes(content))

    Interpreter.__init__ = load_and_keep
    try:
        # Of few trials too few may be comparable, which fails a test and is no matter here.
        arguments = ["-q", "--no-header", "--tb=no", "--no-summary", "-p", "no:cacheprovider"]
        pytest.main([*arguments, *map(str, FILES)], plugins=[collector])
    finally:
        Interpreter.__init__ = load
    missing = operators() - {name for name, _ in collector.found}
    if missing:
        sys.exit(f"expected a model of each operator in the tests, got none of {sorted(missing)}")
    return collector.found


def main(folder):
    found = collect(Collector())
    for (name, kind), content in found.items():
        Path(folder, f"{name.lower()}_{kind}.tflite").write_bytes(content)
    Path(folder, "every_operator.tflite").write_bytes(networks.every_operator())


if __name__ == "__main__":
    main(sys.argv[1])
