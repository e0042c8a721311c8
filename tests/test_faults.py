"""The core when the system refuses: every request for memory, locks and threads, one by one."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures_core import network

ROOT = Path(__file__).parents[1]
# What fail_allocations.c defines.
WRAPPED = "malloc calloc free posix_memalign mmap munmap mlock madvise pthread_create"

pytestmark = [
    pytest.mark.checkout,
    pytest.mark.skipif(sys.platform != "linux", reason="needs a linker that knows --wrap"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    made = tmp_path_factory.mktemp("native") / "fail_allocations"
    sources = [ROOT / "tests" / "native" / "fail_allocations.c", *(ROOT / "csrc").rglob("*.c")]
    wraps = [f"-Wl,--wrap={name}" for name in WRAPPED.split()]
    compiler = shlex.split(os.environ.get("CC", "cc"))
    flags = ["-std=c11", "-O1", "-ffp-contract=off", f"-I{ROOT / 'csrc'}"]
    subprocess.run([*compiler, *flags, *sources, "-pthread", "-lm", *wraps, "-o", made], check=True)
    return made


@pytest.mark.parametrize("name", ["every_operator", "mobilenet_v1"])
def test_every_refused_request_is_an_error_and_leaves_nothing(program, tmp_path, name):
    """Nothing leaks, secret pages are guarded and wiped, and the error says what was refused."""
    path = tmp_path / "model.tflite"
    path.write_bytes(network(name))
    done = subprocess.run([program, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split()[0]) > 50
