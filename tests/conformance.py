"""The conformance table: ``python -m tests.conformance FOLDER...``

Runs every ``.tflite`` file below the folders on the core and on LiteRT, 8 random and 8 natural
inputs each, compares the outputs, and, for 2 and 2 of them, all tensors in between, and prints a
row for each. Each file has a process of its own: LiteRT ends it with some files. ``--write PAGE``
puts the summary into a page of the documentation.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

TIMEOUT = 900
# Frames of each kind for the tensors in between.
LOOKS = 2
# What a summary counts, in its order.
VERDICTS = (
    "equal bits",
    "within 1e-5",
    "as LiteRT itself",
    "differs",
    "ours alone",
    "LiteRT alone",
    "neither",
)
# Differences that have been looked into.
REASONS = {
    "terryky+tflite_gles_app__style_transfer_f16_384": "LiteRT's MEAN of 147,456 elements sums in "
    "float32 (tflite/kernels/reduce.cc:806, and XNNPACK alike) and is 8.6e-6 off the "
    "mean in float64, this core's 1.4e-8; the layers behind make more of it",
}
KINDS = ("int8", "uint8", "int16x8", "hybrid", "float32", "other")


def judge(path):
    """One row, as a dictionary. Runs in a process of its own."""
    from edgesdk.errors import EdgeError, UnsupportedOperatorError
    from edgesdk.interpreter import Interpreter

    content = Path(path).read_bytes()
    row = {"file": path, "operators": [], "verdict": "", "largest": None, "first": "", "why": ""}
    try:
        ours = Interpreter(model_content=content, engine="native")
        ours.allocate_tensors()
    except EdgeError as error:
        row["why"] = str(error)
        row["verdict"] = "LiteRT alone" if litert_runs(content) else "neither"
        return row
    row["operators"] = sorted({name for name, _ in ours.operators()})
    row["kind"] = kind_of(ours)
    try:
        details = ours.get_input_details()
        result, apart = compare_twice(content, details)
    except UnsupportedOperatorError as error:
        return {**row, "verdict": "ours alone", "why": str(error)}
    except EdgeError as error:
        verdict = "LiteRT alone" if litert_runs(content) else "neither"
        return {**row, "verdict": verdict, "why": str(error)}
    except (RuntimeError, ValueError) as error:
        return {**row, "verdict": "ours alone", "why": str(error)}
    row["verdict"] = (
        "equal bits" if result.equal_bits else "within 1e-5" if result.same else "differs"
    )
    row["largest"] = max((output.largest for output in result.outputs), default=0.0)
    if apart.first is not None:
        row["first"] = f"{apart.first.index} ({apart.first.operator})"
    if result.same:
        return row
    row["why"] = apart.reason
    if all(output.same or "float" in output.dtype for output in result.outputs):
        apart_by = litert_spread(content, details)
        if row["largest"] <= 2 * apart_by:
            row["verdict"] = "as LiteRT itself"
            row["why"] = f"LiteRT is {apart_by:.2g} apart from itself"
    row["why"] = REASONS.get(Path(path).stem, row["why"])
    return row


def compare_twice(content, details):
    """The outputs over many inputs, and all tensors over a few."""
    from edgesdk.compare import compare, make_frames
    from edgesdk.errors import InputError, ResourceError

    many, few = make_frames(details), make_frames(details, LOOKS)
    try:
        outputs = compare(content, many, tensors=False)
    except InputError:  # negative indices of words
        many, few = positive(many), positive(few)
        outputs = compare(content, many, tensors=False)
    try:
        return outputs, compare(content, few)
    except ResourceError:  # all tensors at once are more than the arena may hold
        return outputs, outputs


def positive(frames):
    return [[np.abs(values) for values in frame] for frame in frames]


def litert_spread(content, details):
    from edgesdk.compare import make_frames, spread
    from edgesdk.errors import UnsupportedOperatorError

    try:
        return spread(content, make_frames(details))
    except UnsupportedOperatorError:
        return 0.0


def litert_runs(content):
    from ai_edge_litert import interpreter as litert

    try:
        made = litert.Interpreter(model_content=content)
        made.allocate_tensors()
        made.invoke()
    except (RuntimeError, ValueError):
        return False
    return True


def kind_of(made):
    """What a network computes in, by the types of its tensors."""
    types = collections.Counter(
        str(detail["dtype"].__name__) for detail in made.get_tensor_details()
    )
    quantized = [t for t in ("int8", "uint8", "int16") if types[t] > 1]
    if "int16" in quantized and types["int16"] > types["int8"] / 2:
        return "int16x8"
    if types["float32"] > 2 and types["int8"] and types["float32"] >= types["int8"]:
        return "hybrid"
    for name in ("int8", "uint8", "float32"):
        if types[name] > 1:
            return name
    return "other"


def in_own_process(path):
    command = [sys.executable, "-m", "tests.conformance", "--one", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return {"file": str(path), "verdict": "differs", "why": f"more than {TIMEOUT} seconds"}
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])
    why = f"LiteRT ends its process, with status {done.returncode}"
    return {"file": str(path), **what_is_ours(path), "why": why}


def what_is_ours(path):
    """The verdict and the kind where LiteRT crashes: ours is run without it."""
    from edgesdk.compare import make_frames
    from edgesdk.errors import EdgeError
    from edgesdk.interpreter import Interpreter

    try:
        made = Interpreter(model_path=str(path), engine="native")
        made.allocate_tensors()
        for frame in make_frames(made.get_input_details()):
            for detail, value in zip(made.get_input_details(), frame, strict=True):
                made.set_tensor(detail["index"], value)
            made.invoke()
    except EdgeError:
        return {"verdict": "neither"}
    return {"verdict": "ours alone", "kind": kind_of(made)}


def files_below(folders):
    found = []
    for folder in folders:
        path = Path(folder)
        found += [path] if path.is_file() else sorted(path.rglob("*.tflite"))
    return found


def line(row, base):
    """A row for people."""
    name = os.path.relpath(row["file"], base)
    largest = "" if row.get("largest") is None else f"{row['largest']:.3g}"
    operators = ",".join(row.get("operators", []))
    cells = (row["verdict"], largest, row.get("first", ""), name, row["why"], operators)
    widths = (17, 9, 24, 56, 0, 0)
    return "  ".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)).rstrip()


def summary(rows):
    """Counts by kind of network, and every row that is not equal, as Markdown."""
    counts = collections.Counter((row.get("kind", "other"), row["verdict"]) for row in rows)
    kinds = [kind for kind in KINDS if any(counts[kind, verdict] for verdict in VERDICTS)]
    lines = [
        "| | " + " | ".join(VERDICTS) + " |",
        "|---|" + "---:|" * len(VERDICTS),
        *(
            f"| {kind} | " + " | ".join(str(counts[kind, v] or "") for v in VERDICTS) + " |"
            for kind in kinds
        ),
    ]
    odd = [
        row
        for row in rows
        if row["verdict"] not in ("equal bits", "within 1e-5", "as LiteRT itself")
    ]
    if odd:
        lines += ["", "| model | | largest | first tensor | why |", "|---|---|---:|---|---|"]
    for row in odd:
        largest = "" if row.get("largest") is None else f"{row['largest']:.3g}"
        why = row["why"].replace("|", "/").replace("\n", " ")[:300]
        lines.append(
            f"| {Path(row['file']).stem} | {row['verdict']} | {largest} | "
            f"{row.get('first', '')} | {why} |"
        )
    return "\n".join(lines)


def write_page(page, text, folders):
    """Between the marks of the page stands what the command makes."""
    path = Path(page)
    before, _, rest = path.read_text().partition("<!-- begin -->\n")
    _, _, after = rest.partition("<!-- end -->")
    path.write_text(f"{before}<!-- begin -->\n{text}\n<!-- end -->{after}")
    print(f"{page}: {', '.join(folders)}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--write", metavar="PAGE", help="put the summary into this page")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(judge(arguments.one)))
        return 0
    paths = files_below(arguments.folders)
    rows = []
    base = os.path.commonpath(arguments.folders) if arguments.folders else "."
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for count, row in enumerate(pool.map(in_own_process, paths), 1):
            rows.append(row)
            print(f"{count:4}/{len(paths)}  {line(row, base)}", flush=True)
    print()
    print(summary(rows))
    if arguments.write:
        write_page(arguments.write, summary(rows), arguments.folders)
    unexplained = (row for row in rows if Path(row["file"]).stem not in REASONS)
    return int(any(row["verdict"] == "differs" for row in unexplained))


if __name__ == "__main__":
    sys.exit(main())
