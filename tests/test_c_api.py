"""The C face of the core: edge.h, and the device program over it in examples/c."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import networks
from edgesdk.interpreter import Interpreter

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "c"
DIGITS = ROOT / "examples" / "digits"
HEADER = ROOT / "csrc" / "edge.h"
MOST_FUNCTIONS = 15
OK, FAILED, USAGE = 0, 1, 2

pytestmark = pytest.mark.checkout

# ---- the header


def functions(header):
    """Names of the functions that the library exports."""
    return re.findall(r"^EDGE_API\s+[\w *]*?(edge_\w+)\(", header, re.MULTILINE)


def test_the_header_has_no_more_functions_than_the_house_allows():
    header = HEADER.read_text()
    found = functions(header)
    assert len(found) == header.count("\nEDGE_API ")
    assert 1 <= len(set(found)) == len(found) <= MOST_FUNCTIONS


def test_every_function_of_the_header_is_documented():
    header = HEADER.read_text()
    assert re.findall(r"(?<!\*/)\nEDGE_API .*", header) == []


def test_every_structure_of_the_header_is_documented():
    header = HEADER.read_text()
    found = re.findall(r"(.*)\ntypedef (?:struct|enum) (\w+) \{", header)
    assert len(found) == header.count(" {\n") - header.count('extern "C" {\n')
    for line_above, name in found:
        assert line_above.endswith("*/"), name


def test_every_status_of_the_header_is_documented():
    (body,) = re.findall(r"enum edge_status \{\n(.*?)\}", HEADER.read_text(), re.DOTALL)
    lines = body.splitlines()
    assert lines[0].strip() == "EDGE_OK = 0,"
    assert all(re.fullmatch(r"  EDGE_\w+, +/\* .*\*/", line) for line in lines[1:])


def test_the_library_exports_what_the_header_declares(program):
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs nm, of binutils")
    library = program.parent / "libedge.a"
    listed = subprocess.run([nm, "-g", library], check=True, capture_output=True, text=True).stdout
    for name in functions(HEADER.read_text()):
        assert re.search(rf" T _?{name}$", listed, re.MULTILINE), name


# ---- the device program


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """run_model, built by its own Makefile, warnings being errors."""
    for tool in ("make", "cc"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    build = tmp_path_factory.mktemp("c")
    make = ["make", "-s", "-C", str(EXAMPLE), f"BUILD={build}", "CC=cc", "CFLAGS=-O1"]
    done = subprocess.run(make, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return build / "run_model"


def run(program, *arguments):
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def answers(text):
    """``[(index, value), ...]`` of each output that the program prints."""
    found = []
    for line in text.splitlines():
        if line.startswith("output "):
            found.append([])
        elif line.startswith("  "):
            index, value = line.split()
            found[-1].append((int(index), float(value)))
    return found


def expected(model, *arrays, top=5):
    """The same, by Python."""
    interpreter = Interpreter(str(model), engine="native")
    interpreter.allocate_tensors()
    for details, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(details["index"], array)
    interpreter.invoke()
    found = []
    for details in interpreter.get_output_details():
        scale, zero_point = details["quantization"]
        stored = interpreter.get_tensor(details["index"]).reshape(-1).astype(np.float64)
        values = (stored - zero_point) * (np.float64(np.float32(scale)) or 1.0)
        best = np.argsort(-values, kind="stable")[:top]
        found.append([(int(i), pytest.approx(float(values[i]), rel=1e-8)) for i in best])
    return found


def an_image(model, seed=5):
    (details,) = Interpreter(str(model)).get_input_details()
    random = np.random.default_rng(seed)
    return random.integers(-128, 128, details["shape"]).astype(details["dtype"])


MODELS = [DIGITS / "digits_device.tflite", DIGITS / "digits_cloud.tflite"]
slow = pytest.mark.slow


@slow
@pytest.mark.parametrize("model", MODELS, ids=lambda p: p.stem)
@pytest.mark.parametrize("threads", [1, 2])
def test_answers_as_python_does(program, model, threads, tmp_path):
    image = an_image(model)
    np.save(tmp_path / "image.npy", image)
    (tmp_path / "image.raw").write_bytes(image.tobytes())
    for name in ("image.npy", "image.raw"):
        done = run(program, "-t", threads, "-n", 3, model, tmp_path / name)
        assert (done.returncode, done.stderr) == (OK, "")
        assert answers(done.stdout) == expected(model, image)
        assert re.match(r"3 runs: best [\d.]+ ms, mean [\d.]+ ms\n", done.stdout)


@slow
def test_quantizes_floats(program, tmp_path):
    model = MODELS[0]
    (details,) = Interpreter(str(model)).get_input_details()
    scale, zero_point = details["quantization"]
    real = np.random.default_rng(6).normal(0.5, 1, details["shape"]).astype(np.float32)
    np.save(tmp_path / "real.npy", real)
    stored = np.clip(np.round(real / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
    done = run(program, model, tmp_path / "real.npy")
    assert answers(done.stdout) == expected(model, stored)


@slow
def test_several_inputs_of_several_types(program, tmp_path):
    net = networks.Network(8)
    a, b = net.input([1, 4]), net.input([1, 4], "float32")
    c = net.input([3], "int64")
    sums = net.add(a, net.quantize(b))
    shape = net.tensor([3], "int64")
    net.operator("NEG", [c], [shape], version=1)
    model = tmp_path / "model.tflite"
    model.write_bytes(net.build(sums, shape))
    arrays = [np.array([[1, -9, 0, 127]], np.int8), np.array([[0.1, -2, 3, 0]], np.float32),
              np.array([-5, 7, 2**40])]  # fmt: skip
    files = [tmp_path / f"{i}.npy" for i in range(3)]
    for file, array in zip(files, arrays, strict=True):
        np.save(file, array)
    done = run(program, "-k", 2, model, *files)
    assert (done.returncode, done.stderr) == (OK, "")
    assert answers(done.stdout) == expected(model, *arrays, top=2)
    assert answers(done.stdout)[1] == [(0, 5.0), (1, -7.0)]


@slow
def test_without_inputs_they_are_zeros(program):
    done = run(program, "-k", 10, MODELS[0])
    zeros = np.zeros_like(an_image(MODELS[0]))
    assert answers(done.stdout) == expected(MODELS[0], zeros, top=10)


@slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "expected a model"),
        (["-t", "0", "model"], "expected a number of at least 1"),
        (["-n", "many", "model"], "expected a number of at least 1"),
        (["-k"], "expected a number of at least 1"),
        (["-x", "1", "model"], "expected -t, -n or -k"),
    ],
)
def test_arguments_that_cannot_be_understood(program, arguments, says):
    done = run(program, *arguments)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr.startswith(f"run_model: {says}\nusage: ")


def fortran(path):
    np.save(path, np.asfortranarray(np.zeros((1, 8, 8, 1), np.int8).reshape(8, 8)))


FILES = {
    "missing": (lambda _: None, "No such file or directory"),
    "no .npy": (lambda path: path.write_bytes(b"short"), "expected a .npy file"),
    "cut": (lambda path: path.write_bytes(b"\x93NUMPY\x01\0\xf0\0{'descr': '|i1'"),
            "expected a whole and shorter header"),
    "columns": (fortran, "expected an array in C order"),
    "type": (lambda path: np.save(path, np.zeros(64, np.int32)),
             "expected 64 bytes of |i1, got 256 of <i4"),
    "size": (lambda path: np.save(path, np.zeros(63, np.int8)),
             "expected 64 bytes of |i1, got 63 of |i1"),
    "not finite": (lambda path: np.save(path, np.full(64, np.nan, np.float32)),
                   "expected finite values"),
}  # fmt: skip


@slow
@pytest.mark.parametrize("fault", FILES)
def test_inputs_that_do_not_fit(program, fault, tmp_path):
    make, says = FILES[fault]
    path = tmp_path / "input.npy"
    make(path)
    done = run(program, MODELS[0], path)
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert done.stderr == f"run_model: {path}: {says}\n"


@slow
def test_too_many_inputs(program):
    done = run(program, MODELS[0], "a.npy", "b.npy")
    assert done.returncode == FAILED
    assert "expected no INPUT, or one for each input" in done.stderr


@slow
def test_models_that_do_not_load(program, tmp_path):
    model = tmp_path / "model.tflite"
    done = run(program, model)
    assert done.returncode == FAILED
    assert "No such file" in done.stderr
    model.write_bytes(MODELS[0].read_bytes()[:-600])
    done = run(program, model)
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert done.stderr.startswith(f"run_model: {model}: ")
    assert "expected" in done.stderr
