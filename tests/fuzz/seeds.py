"""Writes small sound models into a folder, for libFuzzer to start from."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import networks
from networks import Network


def one_of_each():
    """Networks of one or two operators: a change in one of them reaches far."""
    for name in ("conv", "depthwise", "dense", "mean", "softmax", "dequantize", "quantize"):
        net = Network(1)
        x = net.input([1, 6, 5, 4])
        more = {"conv": (5, 3), "depthwise": (3, 2), "dense": (7,)}.get(name, ())
        yield name, net.build(getattr(net, name)(x, *more), signature=({"x": x}, {"y": x}))
    for kind in ("AVERAGE", "MAX"):
        net = Network(1)
        yield kind, net.build(net.pool(net.input([1, 6, 5, 4]), kind, (2, 3), same=True))
    for name in ("add", "mul"):
        net = Network(1)
        x, y = net.input([2, 3, 17]), net.input([3, 1])
        yield name, net.build(getattr(net, name)(x, y))
    net = Network(1)
    x = net.input([1, 3, 4])
    wide = net.concatenate([net.pad(x, [(0, 0), (1, 0), (0, 2)]), net.input([1, 4, 6])], 1)
    yield "moves", net.build(net.reshape(net.transpose(wide, [0, 2, 1]), [-1, 4]))
    yield "every_operator", networks.every_operator()


def main(folder):
    for name, content in one_of_each():
        Path(folder, f"{name}.tflite").write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1])
