"""Structurally hostile files made from real models: refused before anything runs, or run.

The generator lies beside the public models (tools/gen_hostile.py) and says of each file what a
careful reader must do with it. Files run in processes of their own, so that a crash is seen as one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from fixtures_core import public_data

RUNNER = Path(__file__).parent / "run_hostile.py"
BATCH = 400
# Of processor time for one file; most take a thousandth.
SECONDS_MAX = 10.0
BASES = 72
# 2,000 copies of a subgraph take the generator seconds, unless the subgraph is small.
SLOW, SLOW_BYTES_MAX = {"many_subgraphs"}, 1000

pytestmark = [pytest.mark.slow, pytest.mark.checkout, pytest.mark.timeout(1800)]


def run_batch(lines):
    """{"file", "bytes", "stage", "error", "text", "seconds"} of each line for run_hostile.py."""
    done = subprocess.run(
        [sys.executable, RUNNER], input="\n".join(lines) + "\n", capture_output=True, text=True,
        check=False, timeout=BATCH * SECONDS_MAX, env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (done.returncode, told[-1:], done.stderr[-2000:])
    assert len(told) == 2 * len(lines)
    return [a | b for a, b in zip(told[::2], told[1::2], strict=True)]


def run_all(lines):
    results = []
    for first in range(0, len(lines), BATCH):
        results += run_batch(lines[first : first + BATCH])
    for result in results:
        assert result["seconds"] < SECONDS_MAX, result
        if result["error"]:
            assert "expected" in result["text"], result
            assert "got" in result["text"], result
    return results


TYPES = schema.TensorType
QUANTIZED = (TYPES.UINT8, TYPES.INT16, TYPES.INT8, TYPES.INT4)
MOVES = tuple(getattr(schema.BuiltinOperator, name) for name in ("PAD", "RESHAPE", "STRIDED_SLICE"))


def units():
    return sorted(public_data("models/units").glob("*.tflite"))


def first_code_is_used(path):
    """What the generator does to the first operator code must mean something."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    return any(o.opcodeIndex == 0 for graph in model.subgraphs for o in graph.operators or [])


def bases():
    """Small models of every kind: public ones of one layer, and generated networks."""
    small = [p for p in units() if p.stat().st_size < 40_000 and first_code_is_used(p)]
    generated = sorted(public_data("models/generated").glob("*.tflite"))[:20]
    recurrent = sorted(public_data("models/generated_rnn").glob("*.tflite"))[:8]
    wanted = BASES - len(generated) - len(recurrent)
    return [*generated, *recurrent, *small[:: max(1, len(small) // wanted)]]


@pytest.fixture(scope="module")
def generator():
    path = public_data("tools/gen_hostile.py")
    spec = importlib.util.spec_from_file_location("gen_hostile", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def moves_bytes(model):
    """Whether the first operator does, whatever they mean."""
    operator = model.subgraphs[0].operators[0]
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode) in MOVES


def excused(generator, name, model):
    """Whether a change that should be refused means nothing in this model, or nothing wrong."""
    if name == "mult_thousand":  # LiteRT goes by the shapes and runs it, and so does the core
        return True
    if name == "bias_short":  # one entry
        return int(generator.weights(model).shape[0]) == 1
    if name.startswith(("scale_", "zp_", "q_")):
        graph = model.subgraphs[0]
        raw = name == "q_missing" and moves_bytes(model)
        return raw or graph.tensors[int(graph.operators[0].outputs[0])].type not in QUANTIZED
    if name.startswith("pc_"):
        weights = generator.weights(model)
        # One scale is for all, whatever the dimension; float weights have none.
        least = 2 if name == "pc_short" else 1  # of two, one too few are two
        return weights.type not in QUANTIZED or int(weights.shape[0]) <= least
    return False


def hostile_files(generator, base, folder):
    """(path, change, verdict) of every change that the base allows."""
    content = base.read_bytes()
    unchanged = generator.pack(generator.unpack(content))
    for name, (change, _, verdict) in generator.T.items():
        if name in SLOW and len(content) > SLOW_BYTES_MAX:
            continue
        model = generator.unpack(content)
        try:
            change(model)
            made = generator.pack(model)
        except (
            LookupError,
            AttributeError,
            TypeError,
            ValueError,
            IndexError,
            generator.struct.error,
        ):
            continue
        if made == unchanged:
            continue
        yield from written(
            folder, base, name, made, "any" if excused(generator, name, model) else verdict
        )
    for number, (name, (change, _, verdict)) in enumerate(generator.B.items()):
        made = change(content, np.random.default_rng([0, number]))
        yield from written(folder, base, name, made, verdict)


def written(folder, base, name, made, verdict):
    path = folder / f"{base.stem}__{name}.tflite"
    path.write_bytes(made)
    yield path, name, verdict


def test_changed_models(generator, tmp_path):
    chosen = bases()
    assert len(chosen) >= 60
    wrong = []
    for base in chosen:
        files = list(hostile_files(generator, base, tmp_path))
        for (path, name, verdict), result in zip(
            files, run_all([str(path) for path, _, _ in files]), strict=True
        ):
            refused = result["stage"] in ("load", "allocate")
            if verdict == "reject" and not refused:
                wrong.append((path.stem, name, result["stage"], result["text"]))
            path.unlink()
    assert not wrong, "\n".join(map(str, wrong))


def test_models_cut_at_every_64th_byte():
    for path in units():
        size = path.stat().st_size
        run_all([f"{path}\t{length}" for length in range(0, size, 64)])
