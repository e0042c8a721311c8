"""Writes docs/operators.md: the operators of the core, with their versions and types.

    python tests/operators.py --write
    python tests/operators.py --check

Nothing of it is written by hand. Operators are the rows of csrc/operators.inc; versions and types
are those of models that the core takes. The models are those that the tests of operators have it
load (fuzz/seeds.py), and what becomes of these with tensors of another type.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS), str(TESTS / "fuzz")]
import seeds  # noqa: E402  from the folder of tests

from edgesdk.errors import EdgeError, UnsupportedOperatorError  # noqa: E402
from edgesdk.interpreter import Interpreter  # noqa: E402

PAGE = TESTS.parent / "docs" / "operators.md"
ROWS = TESTS.parent / "csrc" / "operators.inc"
WIDTH = 100
VERSION_MAX = 64
TYPES = {code: name.lower() for name, code in vars(schema.TensorType).items() if name.isupper()}
NUMPY = {code: np.dtype(name) for code, name in TYPES.items() if name in np.sctypeDict}
# Quantized ones first.
QUANTIZED = [schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16]
ORDER = [*QUANTIZED, schema.TensorType.FLOAT32]
WHOLE_NUMBERS = {schema.TensorType.INT32, schema.TensorType.INT64}
# Which operands are data and weights, where these are not the first two.
OPERANDS = {
    "ASSIGN_VARIABLE": [1], "EMBEDDING_LOOKUP": [1], "FILL": [1], "ONE_HOT": [2], "SCATTER_ND": [1],
    "SELECT": [1], "SELECT_V2": [1], "SPARSE_TO_DENSE": [2], "SPLIT": [1], "TRANSPOSE_CONV": [2, 1],
}  # fmt: skip
# Of the smallest models of an operator, how many are tried with other types.
TRIED = 4

HEAD = """\
# Operators of the core

Made by `python tests/operators.py --write`, and compared by a test. Operators are the rows of
csrc/operators.inc, versions and types those of models that the core takes. A type is that of the
data that goes in; "a x b" has weights or places of another type b. Lists of int32 and int64 that
say axes, sizes or places are not named, nor are the types of results. Whose arithmetic it is, and
how it is compared with LiteRT, is in [numerics.md](numerics.md).

| operator | versions | types |
|---|---|---|
"""
FOREIGN = """
## Known by name only

LiteRT runs these where it is installed ([engines.md](engines.md)), as far as it has them; the core
refuses a model that has one:
"""


class Signatures(seeds.Collector):
    """Keeps also what types of operands each operator has been loaded with."""

    def __init__(self):
        super().__init__()
        self.types = defaultdict(set)

    def keep(self, content):
        super().keep(content)
        for name, types in seeds.uses(content):
            self.types[name].add(signature(name, types))


def signature(name, types):
    """The type of the data, and that of weights or places where it is another and says more."""
    places = OPERANDS.get(name, range(len(types)))
    given = [types[i] for i in places if types[i] >= 0][:2]
    if len(given) == 2 and (given[0] == given[1] or given[1] in WHOLE_NUMBERS):
        return tuple(given[:1])
    return tuple(given)


def rank(types):
    """Sorts signatures."""
    places = [ORDER.index(code) if code in ORDER else len(ORDER) + code for code in types]
    return len(places) > 1, places


def listed(signatures):
    """The third cell of a row."""
    if signatures == {()}:
        return "no operands"
    texts = (" x ".join(TYPES[code] for code in types) for types in sorted(signatures, key=rank))
    return ", ".join(text for text in texts if text)


def packed(model):
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_version(content, name, version):
    """A copy of a model, with another version of an operator."""
    model = schema.ModelT.InitFromPackedBuf(content)
    for code in model.operatorCodes:
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        if name in {seeds.NAMES[number], (code.customCode or b"").decode()}:
            code.version = version
    return packed(model)


def with_type(content, old, new, *, scale):
    """A copy of a model, all tensors of a type being of another, and constants with them."""
    model = schema.ModelT.InitFromPackedBuf(content)
    for tensor in (t for graph in model.subgraphs for t in graph.tensors if t.type == old):
        tensor.type, tensor.quantization = new, None
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array([scale], np.float32)
            tensor.quantization.zeroPoint = np.array([0], np.int64)
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data):
            with np.errstate(over="ignore"):
                values = np.frombuffer(bytes(data), NUMPY[old]).real.astype(NUMPY[new])
            model.buffers[tensor.buffer] = schema.BufferT()
            model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    return packed(model)


def is_taken(content):
    """Whether the core loads a model and plans it."""
    try:
        Interpreter(model_content=content, engine="native").allocate_tensors()
    except EdgeError:
        return False
    return True


def retyped(content):
    """Copies of a model of one operator with tensors of other types."""
    model = schema.ModelT.InitFromPackedBuf(content)
    if len(model.subgraphs) > 1 or len(model.subgraphs[0].operators) > 1:
        return
    for old in {tensor.type for tensor in model.subgraphs[0].tensors} & set(NUMPY):
        for new in set(NUMPY) - {old}:
            for scale in (0.5, None) if new in QUANTIZED else (None,):
                yield with_type(content, old, new, scale=scale)


def more_types(name, contents, known):
    """Signatures of the operator, of models that the core takes as well."""
    found = set(known)
    for content in sorted(contents, key=len)[:TRIED]:
        for changed in retyped(content):
            for _, types in seeds.uses(changed):
                if signature(name, types) not in found and is_taken(changed):
                    found.add(signature(name, types))
    return found


def last_version(content, name):
    """The highest with which the core loads the model."""
    for version in range(1, VERSION_MAX):
        try:
            Interpreter(model_content=with_version(content, name, version), engine="native")
        except UnsupportedOperatorError as error:
            if f"{name} v{version}" not in str(error):
                raise
            return version - 1
    raise AssertionError(f"expected a version of {name} that is refused, got none")


def rows():
    """The page's table."""
    found = Signatures()
    models = seeds.collect(found)
    for name in sorted(seeds.operators()):
        contents = [content for (n, _), content in models.items() if n == name]
        last = last_version(min(contents, key=len), name)
        versions = "1" if last == 1 else f"1 to {last}"
        yield f"| {name} | {versions} | {listed(more_types(name, contents, found.types[name]))} |\n"


def foreign():
    """The names that csrc/operators.inc has for messages alone, in lines."""
    names = re.findall(r"^EDGE_FOREIGN\(\d+, (\w+)\)", ROWS.read_text(), re.MULTILINE)
    names = [name for name in names if name not in {"CUSTOM", "DELEGATE"}]
    line = ""
    for name in names:
        piece = f"{name}, " if name != names[-1] else f"{name}.\n"
        if len(line) + len(piece.rstrip()) > WIDTH:
            yield f"{line.rstrip()}\n"
            line = ""
        line += piece
    yield line


def main(what):
    page = HEAD + "".join(rows()) + FOREIGN + "".join(foreign())
    if what == "--write":
        PAGE.write_text(page)
    elif what != "--check":
        sys.exit("expected --write or --check")
    elif not PAGE.exists() or PAGE.read_text() != page:
        sys.exit(f"{PAGE.name} is not what the core has: python tests/operators.py --write")


if __name__ == "__main__":
    main(*sys.argv[1:])
