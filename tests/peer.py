"""What LiteRT's default path computes for a model, and how far the core is from it."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import interpreter as litert

from edgesdk.interpreter import Interpreter
from fixtures_core import ISAS

QUANTIZED = ("int8", "uint8", "int16")
# Of the peak: what is allowed to floats.
NEAR = 1e-5


def values(shape, dtype, random):
    """Elements of a tensor: whole ranges of integers, floats about 0."""
    kind = np.dtype(dtype)
    if kind == np.float32:
        return random.normal(0, 3, shape).astype(np.float32)
    if kind == np.bool_:
        return random.random(shape) < random.choice([0.05, 0.5, 0.95])
    info = np.iinfo(kind)
    if kind.itemsize > 2 and random.random() < 0.5:
        return random.integers(-50, 50, shape).astype(kind)
    if random.random() < 0.2:
        return random.choice(np.array([info.min, info.max], kind), shape)
    return random.integers(info.min, info.max, shape, kind, endpoint=True)


def quantization(dtype, random, low=-6.0, high=0.0):
    """A scale, now and then a power of two so that ties occur, and a zero point."""
    if dtype not in QUANTIZED:
        return None, 0
    exponent = random.uniform(low, high)
    scale = float(np.float32(2.0 ** (round(exponent) if random.random() < 0.3 else exponent)))
    if dtype == "int16":
        return scale, 0
    zero = int(random.choice([-128, 127, 0, *random.integers(-128, 128, 5)]))
    return scale, zero + (128 if dtype == "uint8" else 0)


def own_kernels(net, tensor):
    """Keeps a node from XNNPACK, without changing what the tensor means."""
    net.graph.tensors[tensor].quantization.quantizedDimension = 1


def run(made, frame, sizes=()):
    """Outputs for these inputs, which may have other shapes than the file says."""
    details = made.get_input_details()
    for detail, value in zip(details, frame, strict=True):
        if sizes:
            made.resize_tensor_input(detail["index"], value.shape)
    made.allocate_tensors()
    for detail, value in zip(details, frame, strict=True):
        made.set_tensor(detail["index"], value)
    made.invoke()
    return [made.get_tensor(d["index"]).copy() for d in made.get_output_details()]


def reference(content, frame, *, resized=False):
    """LiteRT's outputs, or None where it refuses the model."""
    try:
        return run(litert.Interpreter(model_content=content), frame, resized)
    except (ValueError, RuntimeError):
        return None


def same(came, expected):
    """Equal bits, or floats that are near."""
    if came.shape != expected.shape or came.dtype != expected.dtype:
        return False
    if came.dtype != np.float32:
        return np.array_equal(came, expected)
    if came.size == 0:
        return True
    peak = float(np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))) or 1.0
    with np.errstate(invalid="ignore"):
        near = np.abs(came.astype(float) - expected) <= NEAR * peak
    return bool(np.all(near | (came == expected) | (np.isnan(came) & np.isnan(expected))))


def difference(came, expected):
    """For people: where two outputs are not the same."""
    if came.shape != expected.shape:
        return f"{came.shape} is not {expected.shape}"
    at = np.flatnonzero(came.ravel() != expected.ravel())[:8]
    return f"{came.ravel()[at]} is not {expected.ravel()[at]}, at {at} of {came.shape}"


def agrees(content, frame, *, resized=False, why=""):
    """Asserts that every ISA gives LiteRT's outputs; False where LiteRT refuses the model."""
    expected = reference(content, frame, resized=resized)
    if expected is None:
        return False
    for threads, isa in enumerate(ISAS, 1):
        made = Interpreter(
            model_content=content, isa=isa, num_threads=min(threads, 2), engine="native"
        )
        for came, wanted in zip(run(made, frame, resized), expected, strict=True):
            assert same(came, wanted), f"{why}, {isa}: {difference(came, wanted)}"
    return True
