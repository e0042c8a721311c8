"""Many threads over one model, in plain C, under ThreadSanitizer where the compiler has it."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from fixtures_core import network

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.checkout, pytest.mark.slow]


def sanitizer(compiler, folder):
    """Flags of ThreadSanitizer, if a program built with them runs here."""
    flags = ["-fsanitize=thread", "-fno-sanitize-recover=all"]
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    made = folder / "probe"
    built = subprocess.run(
        [*compiler, *flags, probe, "-o", made], check=False, stderr=subprocess.DEVNULL
    )
    return (
        flags
        if built.returncode == 0 and subprocess.run([made], check=False).returncode == 0
        else []
    )


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("native")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    flags = ["-std=c11", "-O1", "-g", "-ffp-contract=off", f"-I{ROOT / 'csrc'}"]
    sources = [ROOT / "tests" / "native" / "share_model.c", *(ROOT / "csrc").rglob("*.c")]
    made = folder / "share_model"
    subprocess.run(
        [*compiler, *flags, *sanitizer(compiler, folder), *sources, "-pthread", "-lm", "-o", made],
        check=True,
    )
    return made


def test_a_model_is_shared_and_an_interpreter_is_not(program, tmp_path):
    """One answer in every thread; a second user of an interpreter is told; no data race."""
    path = tmp_path / "model.tflite"
    path.write_bytes(network("every_operator"))
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    done = subprocess.run(
        [program, path], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran, refused = (int(word) for word in done.stdout.split() if word.isdigit())
    assert ran + refused == 4 * 6 + 2 * 200
    assert refused < 2 * 200
