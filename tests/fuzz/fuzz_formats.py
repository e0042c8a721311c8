"""libFuzzer, by atheris, on the readers of formats.py; arguments are libFuzzer's own.

Needs the folder of tests on ``PYTHONPATH``.

Whatever ``check`` raises is a finding: atheris writes the input to a file and ends.
"""

from __future__ import annotations

import sys
from random import Random

import atheris
import mutations

with atheris.instrument_imports(include=["edgesdk"]):
    import formats


def run(data: bytes) -> None:
    formats.check(data)


def mutate(data: bytes, longest: int, seed: int) -> bytes:
    """Every other time a change to the document, where there is one, else to bytes."""
    random = Random(seed)  # noqa: S311 - no secret
    if random.random() < 0.5:
        changed = mutations.change(data[1:], random)
        if changed is not None and len(changed) < longest:
            return data[:1] + changed
    return atheris.Mutate(data, longest)


def main() -> None:
    formats.make_cast()  # keys are made once, and not on the time of an input
    atheris.Setup(sys.argv, run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
