"""Runs hostile files on the core, in a process of its own: what `test_hostile_files.py` starts.

    python tests/run_hostile.py < LIST

Each line of LIST is a file's path, and, after a tab, how many of its bytes to take (all of them
where there is nothing). One line of JSON each tells how far the file came ("load", "allocate",
"invoke" or "end"), the error's type and text, and the seconds of processor time. The name of a file
is told before it runs: who crashes is known by that.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from edgesdk.errors import EdgeError
from edgesdk.interpreter import Interpreter
from edgesdk.limits import ModelLimits

# So that a changed dimension is refused instead of filled.
LIMITS = ModelLimits(tensor_bytes=2**26, arena_bytes=2**27, packed_bytes=2**28, calls=2**12)


def attempt(content):
    stage = "load"
    try:
        made = Interpreter(model_content=content, limits=LIMITS, engine="native")
        stage = "allocate"
        made.allocate_tensors()
        stage = "invoke"
        made.invoke()
        for detail in made.get_output_details():
            made.get_tensor(detail["index"])
    except EdgeError as error:
        return stage, type(error).__name__, str(error)
    return "end", None, None


def main():
    for line in sys.stdin:
        path, _, length = line.rstrip("\n").partition("\t")
        say({"file": path, "bytes": length})
        content = Path(path).read_bytes()
        begun = time.process_time()
        stage, kind, text = attempt(content[: int(length)] if length else content)
        say({"stage": stage, "error": kind, "text": text, "seconds": time.process_time() - begun})


def say(what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
