"""Times of whole models here, by ISA and threads, beside LiteRT where it is installed.

    python benchmarks/bench_models.py [MODEL.tflite ...]

Without arguments: networks of the tests (MobileNetV1 and V2 shapes, ResNet-8). One process, bursts
of 40 ms taken in turn over all candidates, so that noise falls on all alike; the 10th percentile
and the median of one invoke. Compare within one run only.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from edgesdk.interpreter import Interpreter, machine

BURST_SECONDS = 0.04
ROUNDS = 25


def candidates(content: bytes) -> dict[str, object]:
    """Interpreters that are ready to run, by name."""
    threads = sorted({1, min(2, int(machine()["threads"]))})
    found = {
        f"edgesdk {isa} {n}t": Interpreter(model_content=content, isa=isa, num_threads=n)
        for isa in machine()["isa"]
        for n in threads
    }
    try:
        from ai_edge_litert import interpreter as litert
    except ImportError:
        litert = None
    if litert is not None:
        for n in threads:
            found[f"LiteRT {n}t"] = litert.Interpreter(model_content=content, num_threads=n)
    for made in found.values():
        made.allocate_tensors()
    return found


def burst(invoke) -> list[float]:
    times = []
    end = time.perf_counter() + BURST_SECONDS
    while (start := time.perf_counter()) < end:
        invoke()
        times.append(time.perf_counter() - start)
    return times


def measure(content: bytes) -> dict[str, np.ndarray]:
    ready = candidates(content)
    times: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(ROUNDS):
        for name, made in ready.items():
            times[name] += burst(made.invoke)
    return {name: np.array(values) for name, values in times.items()}


def own_networks() -> dict[str, bytes]:
    import networks

    return {
        "ResNet-8": networks.resnet_8(),
        "MobileNetV1 0.25 96": networks.mobilenet_v1(),
        "MobileNetV1 1.0 224": networks.mobilenet_v1(224, 1.0, 1001),
        "MobileNetV2 1.0 224": networks.mobilenet_v2(224, 1.0, 1001),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    paths = parser.parse_args().models
    models = {p.name: p.read_bytes() for p in paths} or own_networks()
    for name, content in models.items():
        made = Interpreter(model_content=content)
        macs = sum(o["macs"] for o in made.operator_details())
        print(f"\n{name}: {macs / 1e6:.2f} MMAC")
        print("| runtime | 10th percentile ms | median ms | GMAC/s |")
        print("|---|--:|--:|--:|")
        for runtime, values in measure(content).items():
            low, middle = np.percentile(values, [10, 50])
            print(f"| {runtime} | {low * 1e3:.4f} | {middle * 1e3:.4f} | {macs / low / 1e9:.1f} |")


if __name__ == "__main__":
    main()
