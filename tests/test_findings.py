"""Files that `make fuzz` has found, through the fuzz target once more, with sanitizers."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FUZZ = ROOT / "tests" / "fuzz"
FINDINGS = sorted((FUZZ / "findings").glob("*.tflite"))

pytestmark = [pytest.mark.checkout, pytest.mark.slow]


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    """The fuzz target with a main() of its own; with sanitizers where the compiler has them."""
    folder = tmp_path_factory.mktemp("replay")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    sources = [FUZZ / "fuzz_model.c", FUZZ / "replay.c", *(ROOT / "csrc").rglob("*.c")]
    flags = ["-std=c11", "-O1", "-g", "-ffp-contract=off", f"-I{ROOT / 'csrc'}"]
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    made = subprocess.run([*compiler, *checks, probe, "-o", folder / "probe"], check=False)
    checks = checks if made.returncode == 0 else []
    program = folder / "replay"
    subprocess.run(
        [*compiler, *flags, *checks, *sources, "-pthread", "-lm", "-o", program], check=True
    )
    return program


def test_nothing_that_was_found_comes_back(replay):
    assert FINDINGS
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    environment.pop("LD_PRELOAD", None)  # the sanitizers of whoever runs this test
    done = subprocess.run(
        [replay, *FINDINGS], capture_output=True, text=True, check=False, env=environment,
        timeout=60 + 10 * len(FINDINGS),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(FINDINGS)


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: path.stem)
def test_the_ordinary_build_refuses_or_runs_it(path):
    from edgesdk.errors import EdgeError
    from edgesdk.interpreter import Interpreter

    try:
        made = Interpreter(model_content=path.read_bytes(), engine="native")
        made.allocate_tensors()
        made.invoke()
    except EdgeError as error:
        assert "expected" in str(error)
