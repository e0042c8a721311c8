"""``edgesdk bench``: how long one run of a model takes here."""

# ruff: noqa: PLC0415 - running brings numpy and the core, which --help does not need
from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from edgesdk.cli.options import PATH, Integer, Number, command, home_hint, home_option
from edgesdk.cli.run import is_bundle
from edgesdk.errors import InputError
from edgesdk.files import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgesdk.cli.output import Output
    from edgesdk.interpreter import Interpreter

_WARM_UP_SECONDS = 0.05
_FEWEST_RUNS = 10
_MOST_RUNS = 100_000


@command(
    "bench",
    examples=[
        "edgesdk bench digits.tflite",
        "edgesdk bench digits.tflite --isa avx2,scalar --threads 1,2 --seconds 0.2",
    ],
)
@click.argument("model", type=PATH)
@click.option("--isa", metavar="NAME,...", help="Kernels to compare.  [all that run here]")
@click.option(
    "--threads",
    default="1",
    show_default=True,
    metavar="N,...",
    help="Numbers of threads to compare.",
)
@click.option(
    "--seconds",
    type=Number(positive=True),
    default=1.0,
    show_default=True,
    metavar="S",
    help="How long to measure each.",
)
@click.option("--seed", type=Integer(0), default=0, metavar="N", help="Of the random input.")
@home_option
def bench(
    out: Output,
    *,
    model: str,
    isa: str | None,
    threads: str,
    seconds: float,
    seed: int,
    home: str | None,
) -> None:
    """Time a model on this machine.

    Times one run after the other on a random input, for each set of kernels and
    number of threads, and shows the median with the 10th and 90th percentile. Other
    work on the machine shows in the 90th.
    """
    from edgesdk.interpreter import machine

    here: Any = machine()
    isas = isa.split(",") if isa else list(here["isa"])
    counts = [_count(text) for text in threads.split(",")]
    out.document.update({"model": model, "threads_available": here["threads"], "results": []})
    with out.progress("timing", len(isas) * len(counts) * seconds) as advance:
        for each in isas:
            for count in counts:
                with _opened(model, each, count, home) as loaded:
                    timed = _timed(loaded, seed, seconds, advance)
                out.document["macs"] = timed.pop("macs")
                out.document["results"].append({"isa": each, "threads": count, **timed})
    _tell(out, here["threads"])


@contextmanager
def _opened(path: str, isa: str, threads: int, home: str | None) -> Iterator[Interpreter]:
    if is_bundle(path):
        from edgesdk.model import load

        with home_hint(Home.find(home)):
            model = load(path, home=home, isa=isa, num_threads=threads)
        with model:
            yield model.interpreter
    else:
        from edgesdk.interpreter import Interpreter

        loaded = Interpreter(path, num_threads=threads, isa=isa)
        loaded.allocate_tensors()
        yield loaded
        loaded.close()


def _timed(
    loaded: Interpreter, seed: int, seconds: float, advance: Callable[[float], None]
) -> dict[str, Any]:
    """Percentiles of the time of one run."""
    import numpy as np

    from edgesdk.cli.tensors import random_frame
    from edgesdk.contract import Contract

    contract = Contract.of(loaded)
    frame = random_frame(contract, np.random.default_rng(seed))
    for index, array in zip(loaded.input_indices, contract.arrays(frame), strict=True):
        loaded.set_tensor(index, array)
    _repeat(loaded, _WARM_UP_SECONDS, lambda _: None)
    times = np.array(_repeat(loaded, seconds, advance)) / 1e9
    p10, median, p90 = (float(x) for x in np.percentile(times, [10, 50, 90]))
    macs = sum(operator["macs"] for operator in loaded.operator_details())
    return {
        "macs": macs,
        "runs": len(times),
        "p10_seconds": p10,
        "median_seconds": median,
        "p90_seconds": p90,
        "gmac_per_second": macs / median / 1e9,
    }


def _repeat(loaded: Interpreter, seconds: float, advance: Callable[[float], None]) -> list[int]:
    """Nanoseconds of each run."""
    times: list[int] = []
    begun = told = time.perf_counter_ns()
    end = begun + int(seconds * 1e9)
    while len(times) < _MOST_RUNS:
        start = time.perf_counter_ns()
        if start >= end and len(times) >= _FEWEST_RUNS:
            break
        loaded.invoke()
        stop = time.perf_counter_ns()
        times.append(stop - start)
        if stop - told > 1e8:  # noqa: PLR2004 - ten times a second
            advance((stop - told) / 1e9)
            told = stop
    return times


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:  # noqa: PLR2004 - the interpreter's cap
        raise InputError("argument", f"--threads: expected 1 to 1024, got {text!r}")
    return int(text)


def _tell(out: Output, available: int) -> None:
    rows = [
        (
            each["isa"],
            str(each["threads"]),
            f"{each['p10_seconds'] * 1e3:.4g}",
            f"{each['median_seconds'] * 1e3:.4g}",
            f"{each['p90_seconds'] * 1e3:.4g}",
            f"{each['gmac_per_second']:.2f}",
            f"{each['runs']:,}",
        )
        for each in out.document["results"]
    ]
    out.line(f"{out.document['model']}: {out.document['macs']:,} multiply-accumulates a run")
    out.line()
    header = ("isa", "threads", "p10 ms", "median ms", "p90 ms", "GMAC/s", "runs")
    out.table(header, rows, right=range(1, 7))
    if any(each["threads"] > available for each in out.document["results"]):
        out.line(f"This process may use {available} processors: no more threads than that ran.")
