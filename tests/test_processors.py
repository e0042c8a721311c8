"""The same bits on processors that this machine is not: Arm, by a cross compiler and an emulator.

The core is compiled for this machine and for the others, with programs in plain C:
native/check_kernels.c compares every table of kernels with the scalar one, native/check_memory.c
asks for too much, native/run_models.c hashes what models answer, and native/run_tensors.c reads and
writes tensors, for LiteRT's answers to be compared with.
"""

from __future__ import annotations

import itertools
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert

import networks
from fixtures_core import NETWORKS, network, public_data
from test_conformance import inputs_for, run_all
from test_numerics import FIXED_OUTPUT, OPERATORS, requantized

ROOT = Path(__file__).parents[1]
FLAGS = [
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    f"-I{ROOT}/csrc",
]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
COMPILERS = {
    "here": "cc",
    "aarch64": "aarch64-linux-gnu-gcc",
    "armv7l": "arm-linux-gnueabihf-gcc",
}
MODELS_OF_EACH = 12


class Processor(NamedTuple):
    """An emulator's model of a processor, and the tables of kernels that it runs, widest first."""

    target: str
    emulator: tuple[str, ...]
    tables: list[str]


PROCESSORS = {
    "aarch64-max": Processor(
        "aarch64", ("qemu-aarch64", "-cpu", "max"), ["neoni8mm", "neondot", "neon", "scalar"]
    ),
    "aarch64-cortex-a76": Processor(
        "aarch64", ("qemu-aarch64", "-cpu", "cortex-a76"), ["neondot", "neon", "scalar"]
    ),
    "aarch64-cortex-a53": Processor(
        "aarch64", ("qemu-aarch64", "-cpu", "cortex-a53"), ["neon", "scalar"]
    ),
    "armv7l-cortex-a15": Processor(
        "armv7l", ("qemu-arm", "-cpu", "cortex-a15"), ["neon", "scalar"]
    ),
    "armv7l-without-neon": Processor(
        "armv7l", ("qemu-arm", "-cpu", "cortex-a9,neon=off"), ["scalar"]
    ),
}
# Every table once, where it is the default or on the widest processor.
TABLES = [
    *(("aarch64-max", table) for table in PROCESSORS["aarch64-max"].tables),
    *((name, "-") for name in PROCESSORS if name != "aarch64-max"),
]

HASH = 16  # hexadecimal digits
# Seconds a run where nothing is emulated, of an operator that others show as well.
TOO_LARGE_TO_EMULATE = {"google-ai-edge+LiteRT__conv3d_huge_im2col"}

pytestmark = [pytest.mark.checkout, pytest.mark.slow]


def run(command):
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Gives the path of a program for a target. The core is compiled once for each."""

    def core(target):
        folder = tmp_path_factory.mktemp(target)
        # Files of two folders may have one name, and so would their objects.
        for number, sources in enumerate([ROOT.glob("csrc/*.c"), ROOT.glob("csrc/*/*.c")]):
            (folder / str(number)).mkdir()
            command = [COMPILERS[target], *FLAGS, *WARNINGS, "-c", *sorted(map(str, sources))]
            subprocess.run(command, cwd=folder / str(number), check=True)
        return folder

    def program(target, name):
        if target not in folders:
            folders[target] = core(target)
        made = folders[target] / name
        if not made.exists():
            static = [] if target == "here" else ["-static"]
            objects = sorted(map(str, folders[target].glob("*/*.o")))
            source = str(ROOT / "tests" / "native" / f"{name}.c")
            wrap = ["-Wl,--wrap=edge_cpu_threads"] if name.startswith("run") else []
            run([COMPILERS[target], *FLAGS, *WARNINGS, source, *objects, *static, *wrap,
                 "-pthread", "-lm", "-o", str(made)])  # fmt: skip
        return str(made)

    folders = {}
    return program


def command(build, processor, name):
    """What starts a program on a processor; skips where this machine cannot."""
    for tool in (COMPILERS[processor.target], processor.emulator[0]):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: apt-get install qemu-user and the cross compilers")
    return [*processor.emulator, build(processor.target, name)]


# ---- kernels


def tables_in(lines):
    """The tables that check_kernels ran, in its order."""
    return [table for table, _ in itertools.groupby(line.split()[0] for line in lines[1:])]


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_tables_that_a_processor_runs_equal_the_scalar_one(name, build):
    """At the edges of their tiles; and scalar gives what it gives here."""
    processor = PROCESSORS[name]
    lines = run(command(build, processor, "check_kernels"))
    assert lines[0] == f"default {processor.tables[0]}"
    assert tables_in(lines) == processor.tables
    here = run([build("here", "check_kernels")])
    scalar = [line for line in lines if line.startswith("scalar ")]
    assert len(scalar) >= 8
    assert scalar == [line for line in here if line.startswith("scalar ")]


@pytest.mark.parametrize("seed", range(8))
def test_the_tables_of_this_machine_equal_the_scalar_one(seed, build):
    lines = run([build("here", "check_kernels"), str(seed)])
    assert tables_in(lines)[-1] == "scalar"


# ---- memory


@pytest.mark.parametrize("name", ["aarch64-cortex-a53", "armv7l-cortex-a15"])
def test_sizes_beyond_the_address_space_are_refused(name, build):
    """A 32-bit size_t does not hold what a file may ask for."""
    run(command(build, PROCESSORS[name], "check_memory"))
    run([build("here", "check_memory")])


# ---- models


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
def expected(models, build):
    """A line for each model: a hash of its outputs, or the error that it ends with."""
    lines = run([build("here", "run_models"), "-", "1", *models])
    assert len(set(lines)) > len(models) // 2
    return lines


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_another_processor_gives_the_same_bits(name, table, models, expected, build):
    program = command(build, PROCESSORS[name], "run_models")
    assert run([*program, table, "2", *models]) == expected


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("name", PROCESSORS)
def test_any_number_of_threads_gives_the_same_bits(name, threads, models, expected, build):
    program = command(build, PROCESSORS[name], "run_models")
    few = models[:6]  # the networks
    assert run([*program, "-", str(threads), *few]) == expected[: len(few)]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """A small model of every operator that the core has, for each type of its first operand."""
    folder = tmp_path_factory.mktemp("seeds")
    run([sys.executable, str(ROOT / "tests" / "fuzz" / "seeds.py"), str(folder)])
    found = sorted(map(str, folder.glob("*.tflite")))
    assert len(found) > 400
    return found


@pytest.mark.parametrize("name", ["aarch64-max", "armv7l-cortex-a15", "armv7l-without-neon"])
def test_every_operator_has_the_same_bits_on_another_processor(name, seeds, build):
    program = command(build, PROCESSORS[name], "run_models")
    here = run([build("here", "run_models"), "-", "1", *seeds])
    assert sum(len(line) == HASH for line in here) > 350  # the others end in an error
    assert run([*program, "-", "2", *seeds]) == here


@pytest.mark.parametrize("folder", ["units", "generated"])
@pytest.mark.parametrize("name", ["aarch64-max", "armv7l-cortex-a15"])
def test_public_models_have_the_same_bits_on_another_processor(name, folder, build):
    """Single layers of all operators that are used; a model refused here is refused there alike."""
    program = command(build, PROCESSORS[name], "run_models")
    found = public_data(f"models/{folder}").rglob("*.tflite")
    files = sorted(str(path) for path in found if path.stem not in TOO_LARGE_TO_EMULATE)
    assert len(files) > 100
    assert run([*program, "-", "2", *files]) == run([build("here", "run_models"), "-", "1", *files])


# ---- LiteRT's answers


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Of each network: its file, its inputs' files, and LiteRT's outputs, frame by frame."""
    if platform.machine() != "x86_64":
        pytest.skip("needs x86-64, where LiteRT has the bits that are the reference")
    found = {}
    for name in NETWORKS:
        folder = tmp_path_factory.mktemp(name)
        (folder / "model.tflite").write_bytes(network(name))
        made = litert.Interpreter(model_path=str(folder / "model.tflite"))
        frames = inputs_for(made.get_input_details(), 2, 2)
        inputs = []
        for number, values in enumerate(zip(*frames, strict=True)):
            inputs.append(str(folder / f"input_{number}.npy"))
            np.save(inputs[-1], np.stack(values))
        outputs = [np.stack(values) for values in zip(*run_all(made, frames), strict=True)]
        found[name] = str(folder / "model.tflite"), inputs, outputs
    return found


def assert_answers(program, answers, threads, tmp_path):
    for name, (model, inputs, expected) in answers.items():
        outputs = [str(tmp_path / f"{name}_{i}.npy") for i in range(len(expected))]
        run([*program, "-", str(threads), model, *inputs, *outputs])
        for path, theirs in zip(outputs, expected, strict=True):
            ours = np.load(path)
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs), name
            assert len({frame.tobytes() for frame in theirs}) > 1


def test_this_machine_gives_the_bits_of_litert(answers, build, tmp_path):
    assert_answers([build("here", "run_tensors")], answers, 1, tmp_path)


@pytest.mark.parametrize("name", PROCESSORS)
def test_another_processor_gives_the_bits_of_litert(name, answers, build, tmp_path):
    program = command(build, PROCESSORS[name], "run_tensors")
    assert_answers(program, answers, 2, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frames: frames.astype(np.float64), "expected {'descr': '|i1'"),
        (lambda frames: frames[..., :-1], "expected {'descr': '|i1'"),
        (lambda frames: frames.tobytes(), "format 1.0"),
    ],
    ids=["type", "shape", "format"],
)
def test_a_tensor_file_that_does_not_fit_is_refused(change, message, answers, build, tmp_path):
    model, inputs, expected = answers["resnet_8"]
    wrong = change(np.load(inputs[0]))
    path = tmp_path / "wrong.npy"
    if isinstance(wrong, bytes):
        path.write_bytes(wrong)
    else:
        np.save(path, wrong)
    outputs = [str(tmp_path / f"{i}.npy") for i in range(len(expected))]
    program = build("here", "run_tensors")
    done = subprocess.run(
        [program, "-", "1", model, str(path), *outputs], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert not Path(outputs[0]).exists()
