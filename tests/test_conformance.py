"""Whole networks against LiteRT's default path: every bit, every ISA, one and two threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert

from edgesdk.errors import EdgeError
from edgesdk.interpreter import Interpreter
from fixtures_core import ISAS, NETWORKS, network, public_data

ROOT = Path(__file__).parents[1]
RANDOM_INPUTS = NATURAL_INPUTS = 20

# The quantized networks of MLPerf Tiny, as their authors published them.
MLPERF_TINY = [
    "mlcommons+tiny__kws_ref_model",
    "mlcommons+tiny__vww_96_int8",
    "mlcommons+tiny__pretrainedResnet_large_int8",
    "mlcommons+tiny__model_ToyCar_quant_fullint",
    "mlcommons+tiny__model_ToyCar_quant_fullint_micro_intio",
]


def random_input(detail, random):
    """Every value that the type can hold, alike; floats well beyond the quantized range."""
    shape, dtype = tuple(detail["shape"]), detail["dtype"]
    if dtype is np.float32:
        return random.uniform(-40, 40, shape).astype(np.float32)
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max + 1, shape).astype(dtype)


def natural_input(detail, random):
    """Smooth and bounded, as images are: a coarse pattern, blown up, plus a little noise."""
    shape, dtype = tuple(detail["shape"]), detail["dtype"]
    coarse = random.normal(0, 1, [max(1, -(-n // 8)) for n in shape])
    for axis, size in enumerate(shape):
        coarse = np.repeat(coarse, -(-size // coarse.shape[axis]), axis)
        coarse = np.take(coarse, range(size), axis)
    values = coarse + random.normal(0, 0.2, shape)
    if dtype is np.float32:
        return values.astype(np.float32)
    info = np.iinfo(dtype)
    middle, spread = (info.max + info.min + 1) / 2, (info.max - info.min) / 6
    return np.clip(np.rint(middle + spread * values), info.min, info.max).astype(dtype)


def inputs_for(details, count_random=RANDOM_INPUTS, count_natural=NATURAL_INPUTS):
    random = np.random.default_rng(20)
    makers = [random_input] * count_random + [natural_input] * count_natural
    return [[maker(detail, random) for detail in details] for maker in makers]


def run_all(made, frames):
    """The outputs of each frame, in order."""
    made.allocate_tensors()
    found = []
    for frame in frames:
        for detail, value in zip(made.get_input_details(), frame, strict=True):
            made.set_tensor(detail["index"], value)
        made.invoke()
        found.append([made.get_tensor(d["index"]).copy() for d in made.get_output_details()])
    return found


def assert_conforms(content, isas=ISAS, threads=(1, 2)):
    reference = litert.Interpreter(model_content=content)
    reference.allocate_tensors()
    frames = inputs_for(reference.get_input_details())
    expected = run_all(reference, frames)
    for isa in isas:
        for count in threads:
            came = run_all(Interpreter(model_content=content, isa=isa, num_threads=count), frames)
            for number, (ours, theirs) in enumerate(zip(came, expected, strict=True)):
                for output, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                    assert a.dtype == b.dtype
                    assert np.array_equal(a, b), (
                        f"{isa}, {count} threads, input {number}, output {output}: "
                        f"{np.count_nonzero(a != b)} of {a.size} elements differ"
                    )
    # Networks that answer alike whatever comes in would prove nothing.
    answers = {b"".join(output.tobytes() for output in outputs) for outputs in expected}
    assert len(answers) > 5


def reference(content):
    """LiteRT's default path; its optimised kernels where its delegate refuses a sound model."""
    made = litert.Interpreter(model_content=content)
    try:
        made.allocate_tensors()
    except RuntimeError:
        kernels = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        made = litert.Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    return made


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_own_networks(name):
    assert_conforms(network(name))


@pytest.mark.checkout
@pytest.mark.parametrize("name", ["digits_device", "digits_cloud"])
def test_networks_of_the_demonstration(name):
    assert_conforms((ROOT / "examples" / "digits" / f"{name}.tflite").read_bytes())


@pytest.mark.parametrize("name", MLPERF_TINY)
def test_mlperf_tiny(name):
    assert_conforms(public_data(f"models/networks/{name}.tflite").read_bytes())


@pytest.mark.slow
def test_every_generated_integer_network():
    """All of the test data folder's; the other files are for `make conformance`."""
    equal = 0
    for path in sorted(public_data("models/generated").glob("*.tflite")):
        if "float" in path.name or "dynrange" in path.name:
            continue
        content = path.read_bytes()
        try:
            made = Interpreter(model_content=content, num_threads=2, engine="native")
            made.allocate_tensors()
        except EdgeError:
            continue  # what LiteRT refuses as well, or runs without meaning: docs/conformance.md
        frames = inputs_for(made.get_input_details(), 2, 2)
        for ours, theirs in zip(
            run_all(made, frames), run_all(reference(content), frames), strict=True
        ):
            for a, b in zip(ours, theirs, strict=True):
                # Operators of floats among those of integers: the order of sums is each engine's.
                slack = 1e-5 * np.abs(b).max(initial=0) if a.dtype.kind == "f" else 0
                assert np.allclose(a, b, rtol=0, atol=slack, equal_nan=True), path.name
        equal += 1
    assert equal > 240
