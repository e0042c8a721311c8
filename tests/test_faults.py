"""The core when the system refuses: every request for memory, locks and threads, one by one."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import test_control
from fixtures_core import network
from networks import Network
from recurrent import lstm, lstm_config

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


def control_flow():
    """A loop within a branch, over a tensor that grows."""
    net = Network(1)
    condition, x = net.input([], "bool"), net.input([1, 6])
    options = schema.IfOptionsT()
    options.thenSubgraphIndex = test_control.branch(net, [1, 6], grown)
    options.elseSubgraphIndex = test_control.branch(
        net, [1, 6], lambda g, v: g.unary("TANH", v, scale=0.05, zero_point=3)
    )
    y = net.tensor([1, 6], "int8", 0.05, 3)
    net.operator("IF", [condition, x], [y], options, version=1)
    return net.build(net.unary("RELU", y))


def grown(net, x):
    condition, body = net.subgraph(), net.subgraph()
    small = condition.input([1, 6])
    options = schema.WhileOptionsT()
    sums = condition.tensor([1], "int32")
    axis = condition.tensor([], "int32", data=np.array(0, np.int32))
    shape = condition.tensor([2], "int32")
    as_int32 = schema.ShapeOptionsT()
    as_int32.outType = schema.TensorType.INT32
    condition.operator("SHAPE", [small], [shape], as_int32, version=1)
    condition.operator("SUM", [shape, axis], [sums], schema.ReducerOptionsT(), version=1)
    most = condition.tensor([1], "int32", data=np.array([40], np.int32))
    less = condition.tensor([1], "bool")
    condition.operator("LESS", [sums, most], [less], schema.LessOptionsT(), version=1)
    options.condSubgraphIndex = condition.end(less)
    part = body.input([1, 6])
    options.bodySubgraphIndex = body.end(body.concatenate([part, part], 1))
    out = net.tensor([1, 6], "int8", 0.05, 3)
    return net.operator("WHILE", [x], [out], options, version=1)


def shapes_from_values():
    """Places of what is not 0, twice, and a convolution in between."""
    net = Network(2)
    x = net.input([1, 6, 6, 3])
    places = net.operator("WHERE", [x], [net.tensor([1, 4], "int64")], version=1)
    y = net.conv(x, 8, 3)
    again = net.operator("WHERE", [y], [net.tensor([1, 4], "int64")], version=1)
    return net.build(places, again, y)


def long_short_term_memory():
    net = Network(3)
    random = np.random.default_rng(3)
    out = lstm(net, "UNIDIRECTIONAL_SEQUENCE_LSTM", lstm_config("hybrid", random), random)
    return net.build(*(out if isinstance(out, (list, tuple)) else [out]))


def float_layers():
    net = Network(4)
    random = np.random.default_rng(4)
    x = net.input([1, 6, 6, 3], "float32")
    filters = random.normal(size=(8, 3, 3, 3)).astype(np.float32)
    bias = net.tensor([8], "float32", data=np.zeros(8, np.float32))
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    y = net.tensor([1, 6, 6, 8], "float32")
    weights = net.tensor([8, 3, 3, 3], "float32", data=filters)
    net.operator("CONV_2D", [x, weights, bias], [y], options, version=3)
    z = net.tensor([1, 6, 6, 8], "float32")
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    return net.build(net.operator("SOFTMAX", [y], [z], softmax))


MODELS = {
    "every_operator": lambda: network("every_operator"),
    "mobilenet_v1": lambda: network("mobilenet_v1"),
    "control_flow": control_flow,
    "variables": test_control.accumulator,
    "shapes_from_values": shapes_from_values,
    "long_short_term_memory": long_short_term_memory,
    "float_layers": float_layers,
}


@pytest.mark.parametrize("name", MODELS)
def test_every_refused_request_is_an_error_and_leaves_nothing(program, tmp_path, name):
    """Nothing leaks, secret pages are guarded and wiped, and the error says what was refused."""
    path = tmp_path / "model.tflite"
    path.write_bytes(MODELS[name]())
    done = subprocess.run([program, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split()[0]) > 50
