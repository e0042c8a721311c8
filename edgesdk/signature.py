"""SignatureRunner: a signature of a model as a function of arrays by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgesdk.errors import InputError

if TYPE_CHECKING:
    from edgesdk.engine import Array, Engine

__all__ = ["SignatureRunner"]


class SignatureRunner:
    """Runs one signature of a model: arrays in and out by name.

    ``Interpreter.get_signature_runner`` makes it. Its calls resize and run that interpreter.
    """

    def __init__(self, engine: Engine, key: str) -> None:
        self._signature = engine.signature(key)
        self._names = engine.signatures()[key]["inputs"]

    def __call__(self, **inputs: Array) -> dict[str, Array]:
        """Resizes inputs to the arrays' shapes, runs, and returns copies of the outputs.

        Raises:
            InputError: a name too many or too few, another dtype (also ValueError).
        """
        if sorted(inputs) != sorted(self._names):
            raise InputError(
                "argument", f"expected inputs {sorted(self._names)}, got {sorted(inputs)}"
            )
        return self._signature.run({name: np.asarray(value) for name, value in inputs.items()})

    def get_input_details(self) -> dict[str, dict[str, Any]]:
        """Details as ``Interpreter.get_input_details`` gives them, by name."""
        return self._signature.input_details()

    def get_output_details(self) -> dict[str, dict[str, Any]]:
        """Details as ``Interpreter.get_output_details`` gives them, by name."""
        return self._signature.output_details()


def runner(engine: Engine, key: str | None) -> SignatureRunner:
    """The runner of a signature; ``None`` means the only one.

    Raises:
        InputError: no such signature, or several (also ValueError).
    """
    found = engine.signatures()
    if key is None and len(found) == 1:
        key = next(iter(found))
    if key is None or key not in found:
        raise InputError("argument", f"expected one of the signatures {sorted(found)}, got {key!r}")
    return SignatureRunner(engine, key)
