"""``edgesdk compare``: a model on this core against LiteRT, tensor by tensor."""

# ruff: noqa: PLC0415 - comparing brings numpy and both engines, which --help does not need
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgesdk.cli.exits import ExitCode
from edgesdk.cli.options import FILE, PATH, Integer, command
from edgesdk.cli.streams import PIPE, Target, as_input_error, read
from edgesdk.limits import PUBLISHER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesdk.charts import Figure
    from edgesdk.cli.output import Output
    from edgesdk.compare import Comparison, TensorDifference
    from edgesdk.contract import Array

_BAR = 20
_NAME = 48


@command(
    "compare",
    examples=[
        "edgesdk compare digits.tflite",
        "edgesdk compare digits.tflite --input digits.npy --all --chart differences.svg",
    ],
)
@click.argument("model", type=PATH)
@click.option(
    "--input",
    "frames",
    type=FILE,
    metavar="FILE",
    help="Frames as for `edgesdk run`.  [8 random and 8 natural ones]",
)
@click.option("--seed", type=Integer(0), default=0, metavar="N", help="Of the random frames.")
@click.option("--all", "everything", is_flag=True, help="Show the tensors that are equal, too.")
@click.option("--chart", type=FILE, metavar="FILE", help="Draw every tensor's difference as SVG.")
def compare(
    out: Output,
    *,
    model: str,
    frames: str | None,
    seed: int,
    everything: bool,
    chart: str | None,
) -> None:
    """Compare a .tflite model's numbers with LiteRT's.

    Runs MODEL on both engines, and shows which tensors differ, the first one in the
    order of execution, and by how much: in units of the last place, or, for floats,
    relative to the tensor's largest value; floats within 1e-5 count as the same.
    The exit status is 4 when an output differs. Needs "edgesdk[litert]".
    """
    from edgesdk.compare import compare as compare_engines
    from edgesdk.limits import MODEL
    from edgesdk.selection import read_model

    target = None if chart is None else Target.new(out, chart, what="the chart", binary=False)
    content = read_model(model, MODEL)
    result = compare_engines(content, _frames(content, frames), seed=seed)
    _document(out, model, result)
    _tell(out, result, everything=everything)
    if target is not None:
        target.write(_chart(result))
        out.document["chart"] = target.path
    if not result.same:
        click.get_current_context().exit(ExitCode.MODEL)


def _frames(content: bytes, path: str | None) -> list[list[Array]] | None:
    if path is None:
        return None
    from edgesdk.cli import tensors
    from edgesdk.contract import Contract
    from edgesdk.interpreter import Interpreter

    loaded = Interpreter(model_content=content, engine="native")
    loaded.allocate_tensors()
    contract = Contract.of(loaded)
    data = read(
        path, limit=PUBLISHER.array_bytes, what="an array", error=as_input_error, follow=True
    )
    where = "standard input" if path == PIPE else path
    found = tensors.read_frames(data, contract, where=where)
    return [list(contract.arrays(frame)) for frame in found]


# ---- what it says


def _row(tensor: TensorDifference) -> dict[str, Any]:
    return {
        "tensor": tensor.index,
        "name": tensor.name,
        "operator": tensor.operator,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "elements": tensor.elements,
        "differing": tensor.differing,
        "largest": tensor.largest if tensor.largest != float("inf") else None,
        "same": tensor.same,
    }


def _document(out: Output, model: str, result: Comparison) -> None:
    out.document.update(
        {
            "model": model,
            "reference": result.reference,
            "inputs": result.inputs,
            "operators": list(result.operators),
            "same": result.same,
            "equal_bits": result.equal_bits,
            "reason": result.reason,
            "first": _row(result.first) if result.first else None,
            "outputs": [_row(tensor) for tensor in result.outputs],
            "tensors": [_row(tensor) for tensor in result.tensors],
        }
    )


def _verdict(result: Comparison) -> str:
    if result.equal_bits:
        return "equal bits"
    return "the same" if result.same else "differ"


def _tell(out: Output, result: Comparison, *, everything: bool) -> None:
    differing = sum(not tensor.same for tensor in result.tensors)
    out.fields(
        [
            ("reference", f"{result.reference}, {result.inputs} inputs"),
            ("outputs", _verdict(result)),
            ("tensors", f"{differing} of {len(result.tensors)} differ"),
            ("why", result.reason),
        ]
    )
    shown = [t for t in result.tensors if everything or t.differing]
    if shown:
        out.line()
        header = ("tensor", "operator", "type", "shape", "differ", "largest", "share", "name")
        out.table(header, [_cells(t) for t in shown], right=(0, 4, 5))


def _cells(tensor: TensorDifference) -> Sequence[str]:
    share = tensor.differing / tensor.elements if tensor.elements else 0.0
    largest = f"{tensor.largest:.3g}" if "float" in tensor.dtype else f"{tensor.largest:.0f}"
    return (
        str(tensor.index),
        tensor.operator,
        tensor.dtype,
        "x".join(map(str, tensor.shape)) or "-",
        f"{100 * share:.2f} %",
        largest,
        "█" * max(bool(tensor.differing), round(_BAR * share)),
        tensor.name if len(tensor.name) <= _NAME else tensor.name[: _NAME - 1] + "…",
    )


# ---- the chart


def _chart(result: Comparison) -> bytes:
    """Share of elements that differ, and the largest difference, along the order of execution."""
    from edgesdk import charts

    with charts.styled():
        figure = charts.Figure(figsize=(9, 5), layout="constrained")
        _draw(figure, result)
        return charts.svg(figure)


def _draw(figure: Figure, result: Comparison) -> None:
    order = range(len(result.tensors))
    upper, lower = figure.subplots(2, 1, sharex=True)
    shares = [100 * t.differing / max(1, t.elements) for t in result.tensors]
    upper.bar(order, shares, width=1.0, color="#0072b2")
    upper.set_ylabel("elements that differ, %")
    upper.set_title(result.reason, fontsize=10)
    for floats, label, colour in (
        (True, "relative to peak", "#d55e00"),
        (False, "units of the last place", "#009e73"),
    ):
        points = [
            (i, t.largest)
            for i, t in zip(order, result.tensors, strict=True)
            if t.largest > 0 and t.dtype.startswith("float") == floats
        ]
        if points:
            lower.plot(*zip(*points, strict=True), ".", color=colour, label=label)
    lower.set_ylabel("largest difference")
    lower.set_xlabel("tensors in order of execution")
    if lower.get_legend_handles_labels()[0]:
        lower.set_yscale("log")
        lower.legend()
