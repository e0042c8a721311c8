"""Builds operators with a state for tests: LSTM, RNN and SVDF of any kind, weights by seed.

Each builder draws its operands from ``random``, adds one operator to a ``Network``, and returns its
outputs. ``kind`` is "float32", "hybrid" (float32 by int8 weights) or "int8".
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

TANH = 4
GATES = ("input", "forget", "cell", "output")


def state(net, shape, dtype="float32", scale=None, zero_point=0):
    made = net.tensor(shape, dtype, scale, zero_point)
    net.graph.tensors[made].isVariable = True
    return made


def constant(net, values, scale=None, zero_point=0):
    return net.tensor(values.shape, str(values.dtype), scale, zero_point, data=values)


def floats(net, shape, random, spread=0.5):
    return constant(net, random.normal(0, spread, shape).astype(np.float32))


def weights(net, shape, kind, random, spread=0.5):
    """Weights of a real spread of about ``spread``."""
    if kind == "float32":
        return floats(net, shape, random, spread)
    values = random.integers(-127, 128, shape).astype(np.int8)
    return constant(net, values, spread / 74 * random.uniform(0.7, 1.4))


def bias(net, size, kind, random):
    if kind != "int8":
        return floats(net, [size], random)
    return constant(net, random.integers(-3000, 3000, size).astype(np.int32), 1e-4)


def vector16(net, size, random, spread):
    values = random.integers(-32767, 32768, size).astype(np.int16)
    return constant(net, values, spread / 18000)


# ---- LSTM


def lstm_operands(net, config, random):
    """The 24 operands of LSTM and UNIDIRECTIONAL_SEQUENCE_LSTM, the input left out."""
    kind, cells, outputs, inputs = (config[k] for k in ("kind", "cells", "outputs", "inputs"))
    integer = kind == "int8"
    gates = [g for g in GATES if g != "input" or not config["coupled"]]
    made = {}
    for gate in gates:
        made[f"input_{gate}"] = weights(net, [cells, inputs], kind, random, 1 / inputs**0.5)
        made[f"recurrent_{gate}"] = weights(net, [cells, outputs], kind, random, 1 / outputs**0.5)
        if config.get("diagonal") and outputs == cells:
            made[f"recurrent_{gate}"] = floats(net, [cells], random)
        made[f"bias_{gate}"] = bias(net, cells, kind, random)
        if config["peephole"] and gate != "cell":
            made[f"peephole_{gate}"] = (
                vector16(net, cells, random, 0.5)
                if integer
                else weights(net, [cells], kind, random)
            )
        if config["norm"]:
            made[f"norm_{gate}"] = (
                vector16(net, cells, random, 1.0) if integer else floats(net, [cells], random, 1.0)
            )
    if config["projection"]:
        made["projection"] = weights(net, [outputs, cells], kind, random, 1 / cells**0.5)
        if config["projection_bias"]:
            made["projection_bias"] = bias(net, outputs, kind, random)
    batch = config["batch"]
    if integer:
        made["hidden"] = state(net, [batch, outputs], "int8", *config["output_quantization"])
        made["cell"] = state(net, [batch, cells], "int16", 2.0 ** config["cell_exponent"])
    else:
        made["hidden"] = state(net, [batch, outputs])
        made["cell"] = state(net, [batch, cells])
    names = [
        *(f"input_{g}" for g in GATES), *(f"recurrent_{g}" for g in GATES),
        *(f"peephole_{g}" for g in GATES if g != "cell"), *(f"bias_{g}" for g in GATES),
        "projection", "projection_bias", "hidden", "cell", *(f"norm_{g}" for g in GATES),
    ]  # fmt: skip
    return [made.get(name, -1) for name in names]


def lstm_options(name, config):
    options = {
        "LSTM": schema.LSTMOptionsT,
        "UNIDIRECTIONAL_SEQUENCE_LSTM": schema.UnidirectionalSequenceLSTMOptionsT,
        "BIDIRECTIONAL_SEQUENCE_LSTM": schema.BidirectionalSequenceLSTMOptionsT,
    }[name]()
    options.fusedActivationFunction = config.get("activation", TANH)
    options.cellClip, options.projClip = config["cell_clip"], config["projection_clip"]
    options.asymmetricQuantizeInputs = config["asymmetric"]
    if name != "LSTM":
        options.timeMajor = config["time_major"]
    return options


def lstm_config(kind, random, **fixed):
    inputs, cells = (int(n) for n in random.integers(1, 40, 2))
    projection = bool(random.integers(2))
    config = {
        "kind": kind,
        "batch": int(random.integers(1, 4)),
        "time": int(random.integers(1, 7)),
        "inputs": inputs,
        "cells": cells,
        # More outputs than cells overrun LiteRT's scratch memory.
        "outputs": int(random.integers(1, cells + 1)) if projection else cells,
        "coupled": bool(random.integers(2)),
        "peephole": bool(random.integers(2)),
        "norm": bool(random.integers(2)),
        "projection": projection,
        "projection_bias": bool(random.integers(2)),
        "time_major": bool(random.integers(2)),
        "asymmetric": kind == "hybrid" and bool(random.integers(2)),
        "cell_clip": float(random.choice([0.0, 10.0, 0.7])),
        "projection_clip": float(random.choice([0.0, 0.4])),
        "output_quantization": (
            float(random.uniform(0.004, 0.02)),
            int(random.integers(-128, 128)),
        ),
        "input_quantization": (float(random.uniform(0.004, 0.05)), int(random.integers(-128, 128))),
    }
    # Below -15 LiteRT has no tanh, but goes on where there is an input gate.
    config["cell_exponent"] = int(random.integers(-15 if config["coupled"] else -18, -8))
    config.update(fixed)
    if not config["projection"]:
        config["outputs"] = config["cells"]
    return config


def lstm(net, name, config, random):
    batch, time, inputs = config["batch"], config["time"], config["inputs"]
    leading = [time, batch] if config["time_major"] else [batch, time]
    leading = [batch] if name == "LSTM" else leading
    integer = config["kind"] == "int8"
    dtype = "int8" if integer else "float32"
    x = net.input([*leading, inputs], dtype, *config["input_quantization"])
    operands = [x, *lstm_operands(net, config, random)]
    output = config["output_quantization"] if integer else ()
    y = net.tensor([*leading, config["outputs"]], dtype, *output)
    net.operator(name, operands, [y], lstm_options(name, config), version=4)
    if integer:
        gates = [net.tensor([0], "int16", float(random.uniform(1e-4, 4e-4))) for _ in GATES]
        hidden = config["output_quantization"]
        if config["projection"]:
            hidden = (float(random.uniform(0.004, 0.01)), int(random.integers(-20, 20)))
        hidden = net.tensor([0], "int8", *hidden)
        net.graph.operators[-1].intermediates = np.array([*gates, hidden], np.int32)
    return y


def bidirectional_lstm(net, config, random, *, merge, aux=None):
    """``aux``: "weighted" for both cells, "backward" for the second cell's input, or None."""
    leading = [config["time"], config["batch"]]
    leading = leading if config["time_major"] else leading[::-1]
    x = net.input([*leading, config["inputs"]], "float32")
    cells = [lstm_operands(net, config, random) for _ in range(2)]
    operands = [x, *(t for cell in cells for t in cell[:17]), *cells[0][17:19], *cells[1][17:19]]
    weighted = [-1] * 8
    other = net.input([*leading, config["inputs"]], "float32") if aux else -1
    if aux == "weighted":
        shape = [config["cells"], config["inputs"]]
        weighted = [
            weights(net, shape, config["kind"], random, 0.3)
            if gate != "input" or not config["coupled"]
            else -1
            for _ in range(2)
            for gate in GATES
        ]
    options = lstm_options("BIDIRECTIONAL_SEQUENCE_LSTM", config)
    options.mergeOutputs = merge
    wide = config["outputs"] * (2 if merge else 1)
    out = [net.tensor([*leading, wide], "float32") for _ in range(1 if merge else 2)]
    net.operator(
        "BIDIRECTIONAL_SEQUENCE_LSTM", [*operands, other, *weighted], out, options, version=3
    )
    return out


# ---- RNN


def rnn_config(kind, random, **fixed):
    config = {
        "kind": kind,
        "batch": int(random.integers(1, 4)),
        "time": int(random.integers(1, 7)),
        "inputs": int(random.integers(1, 40)),
        "units": int(random.integers(1, 40)),
        "time_major": bool(random.integers(2)),
        "asymmetric": kind == "hybrid" and bool(random.integers(2)),
        "activation": int(random.choice([0, 1, 2, 3, TANH])),
    }
    return config | fixed


def rnn_cell(net, config, random):
    units, kind = config["units"], config["kind"]
    return [
        weights(net, [units, config["inputs"]], kind, random, 0.6 / config["inputs"] ** 0.5),
        weights(net, [units, units], kind, random, 0.6 / units**0.5),
        floats(net, [units], random),
        state(net, [config["batch"], units]),
    ]


def rnn(net, name, config, random, *, merge=False, aux=None):
    """RNN and its sequences; returns the list of outputs."""
    leading = [config["time"], config["batch"]]
    leading = leading if config["time_major"] else leading[::-1]
    leading = [config["batch"]] if name == "RNN" else leading
    both = name == "BIDIRECTIONAL_SEQUENCE_RNN"
    operands = [net.input([*leading, config["inputs"]], "float32")]
    for _ in range(2 if both else 1):
        operands += rnn_cell(net, config, random)
    if both:
        operands.append(net.input([*leading, config["inputs"]], "float32") if aux else -1)
        shape = [config["units"], config["inputs"]]
        operands += [
            weights(net, shape, config["kind"], random, 0.2) if aux == "weighted" else -1
            for _ in range(2)
        ]
    options = {
        "RNN": schema.RNNOptionsT,
        "UNIDIRECTIONAL_SEQUENCE_RNN": schema.SequenceRNNOptionsT,
        "BIDIRECTIONAL_SEQUENCE_RNN": schema.BidirectionalSequenceRNNOptionsT,
    }[name]()
    options.fusedActivationFunction = config["activation"]
    options.asymmetricQuantizeInputs = config["asymmetric"]
    if name != "RNN":
        options.timeMajor = config["time_major"]
    if both:
        options.mergeOutputs = merge
    count = 2 if both and not merge else 1
    wide = config["units"] * (2 if merge else 1)
    out = [net.tensor([*leading, wide], "float32") for _ in range(count)]
    net.operator(name, operands, out, options, version=3, kind=OPTIONS.get(name))
    return out


OPTIONS = {"UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNNOptions"}


# ---- SVDF


def svdf_config(kind, random, **fixed):
    config = {
        "kind": kind,
        "batch": int(random.integers(1, 4)),
        "inputs": int(random.integers(1, 40)),
        "units": int(random.integers(1, 20)),
        "rank": int(random.integers(1, 4)),
        "memory": int(random.integers(1, 12)),
        "bias": bool(random.integers(2)),
        "asymmetric": kind == "hybrid" and bool(random.integers(2)),
        "activation": 1 if kind == "int8" else int(random.choice([0, 1, 2, 3, TANH])),
        "wide": True,
        "input_quantization": (float(random.uniform(0.004, 0.05)), int(random.integers(-128, 128))),
        "output_quantization": (float(random.uniform(0.01, 0.1)), int(random.integers(-128, 128))),
        "state_quantization": (float(random.uniform(1e-5, 2e-4)), 0),
    }
    return config | fixed


def svdf(net, config, random):
    kind, batch = config["kind"], config["batch"]
    integer = kind == "int8"
    filters = config["units"] * config["rank"]
    dtype = "int8" if integer else "float32"
    x = net.input([batch, config["inputs"]], dtype, *config["input_quantization"])
    features = weights(net, [filters, config["inputs"]], kind, random, config["inputs"] ** -0.5)
    shape = [filters, config["memory"]]
    if integer and config["wide"]:
        values = random.integers(-32767, 32768, shape).astype(np.int16)
        time = constant(net, values, 2e-5)
    else:
        time = weights(net, shape, kind, random)
    size = [batch, config["memory"] * filters]
    kept = state(net, size)
    if integer:
        wide = "int16" if config["wide"] else "int8"
        kept = state(net, size, wide, *config["state_quantization"])
    offset = bias(net, config["units"], kind, random) if config["bias"] else -1
    output = config["output_quantization"] if integer else ()
    y = net.tensor([batch, config["units"]], dtype, *output)
    options = schema.SVDFOptionsT()
    options.rank = config["rank"]
    options.fusedActivationFunction = config["activation"]
    options.asymmetricQuantizeInputs = config["asymmetric"]
    return net.operator("SVDF", [x, features, time, offset, kept], [y], options, version=4)
