"""The same bits on processors that this machine is not: Arm, by a cross compiler and an emulator.

The core is compiled with a program in plain C (native/run_models.c), for this machine and for the
other one, and both run the same models on the same inputs.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import networks
from test_numerics import FIXED_OUTPUT, OPERATORS, requantized

ROOT = Path(__file__).parents[1]
FLAGS = ["-std=c11", "-O2", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Werror"]
OTHERS = {
    "aarch64": ("aarch64-linux-gnu-gcc", "qemu-aarch64"),
    "armv7l": ("arm-linux-gnueabihf-gcc", "qemu-arm"),
}
MODELS_OF_EACH = 12

pytestmark = [pytest.mark.checkout, pytest.mark.slow]


def compiled(compiler, target, *flags):
    sources = sorted(map(str, [*ROOT.glob("csrc/*.c"), *ROOT.glob("csrc/*/*.c")]))
    subprocess.run(
        [compiler, *FLAGS, *flags, f"-I{ROOT}/csrc", str(ROOT / "tests/native/run_models.c"),
         *sources, "-pthread", "-lm", "-o", str(target)],
        check=True,
    )  # fmt: skip
    return str(target)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Files: networks, and single operators of all kinds at the bounds of their rules."""
    folder = tmp_path_factory.mktemp("models")
    contents = [
        networks.every_operator(),
        networks.resnet_8(),
        networks.mobilenet_v1(size=64),
        networks.mobilenet_v2(size=64),
        *(path.read_bytes() for path in sorted(ROOT.glob("examples/digits/*.tflite"))),
    ]
    for name in sorted(OPERATORS):
        for trial in range(MODELS_OF_EACH):
            random = np.random.default_rng([trial, sum(name.encode())])
            net = networks.Network(trial)
            out = OPERATORS[name](net, random)
            if name not in FIXED_OUTPUT:
                requantized(net, out, random)
            contents.append(net.build(out))
    for number, content in enumerate(contents):
        (folder / f"{number:03}.tflite").write_bytes(content)
    return sorted(map(str, folder.iterdir()))


@pytest.fixture(scope="module")
def expected(models, tmp_path_factory):
    """A line for each model: a hash of its outputs, or the error that it ends with."""
    program = compiled("cc", tmp_path_factory.mktemp("here") / "run_models")
    said = subprocess.run([program, "-", "1", *models], check=True, capture_output=True, text=True)
    lines = said.stdout.splitlines()
    assert len(set(lines)) > len(models) // 2
    return lines


@pytest.mark.parametrize("processor", OTHERS)
def test_another_processor_gives_the_same_bits(processor, models, expected, tmp_path):
    compiler, emulator = OTHERS[processor]
    for tool in (compiler, emulator):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: apt-get install qemu-user and the cross compilers")
    program = compiled(compiler, tmp_path / "run_models", "-static")
    said = subprocess.run(
        [emulator, program, "-", "2", *models], check=True, capture_output=True, text=True
    )
    assert said.stdout.splitlines() == expected
