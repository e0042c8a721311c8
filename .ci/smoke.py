"""Does an installed wheel give the bits that it must? Needs nothing but the wheel.

For platforms that the tests' own needs have no wheels for. 500 random inputs through both networks
of the demonstration, on every set of kernels that the processor has; the digests were made on
x86-64 and are those of LiteRT's outputs as well (tests/test_build.py).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

import edgesdk.demo
from edgesdk.interpreter import Interpreter, machine

INPUTS = 500
EXPECTED = {
    "digits_device": "01bf159a45fbe21b28c92f1977aca5aa2d4bf671e71a4b8be646772287c8af58",
    "digits_cloud": "61af3af147508775d4874bdfdbdf241a51d8bf1d29ba5fd11f45ac4bdbad89ab",
}


def digest(interpreter: Any) -> str:
    """SHA-256 of all outputs; takes an interpreter of ours or of LiteRT's."""
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    (wanted,) = interpreter.get_output_details()
    random = np.random.default_rng(2)
    found = hashlib.sha256()
    for _ in range(INPUTS):
        frame = random.integers(-128, 128, given["shape"], np.int8)
        interpreter.set_tensor(given["index"], frame)
        interpreter.invoke()
        found.update(interpreter.get_tensor(wanted["index"]).tobytes())
    return found.hexdigest()


def main() -> int:
    failed = 0
    folder = Path(edgesdk.demo.__file__).with_name("models")
    for name, expected in EXPECTED.items():
        for isa in machine()["isa"]:
            found = digest(Interpreter(str(folder / f"{name}.tflite"), isa=isa))
            failed |= found != expected
            print(name, isa, "ok" if found == expected else f"FAILED: {found}")
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
