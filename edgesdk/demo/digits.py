"""The data of the demonstration: scikit-learn's handwritten digits, and two networks for them.

1,797 real scans of 8 x 8 pixels (UCI ML hand-written digits); they ship inside scikit-learn. One
fixed stratified half trained the networks (examples/digits/train.py), and the other measures them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from edgesdk.errors import ConfigurationError

if TYPE_CHECKING:
    from edgesdk.contract import Array

SPLIT_SEED = 7  # examples/digits/train.py has the same
CLASSES = 10

_PACKAGED = Path(__file__).parent / "models"
_CHECKOUT = Path(__file__).parents[2] / "examples" / "digits"


@dataclass(frozen=True, eq=False)
class Half:
    """Images, float32 [n, 1, 8, 8, 1] in 0 ... 1, and the digits that they show, int [n]."""

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)


def halves() -> tuple[Half, Half]:
    """The half that the networks learned from, and the one that they have never seen."""
    digits = load_digits()
    images = (digits.images[:, np.newaxis, :, :, np.newaxis] / 16.0).astype(np.float32)
    seen, unseen, of_seen, of_unseen = train_test_split(
        images, digits.target, test_size=0.5, stratify=digits.target, random_state=SPLIT_SEED
    )
    return Half(seen, of_seen), Half(unseen, of_unseen)


def network(name: str) -> Path:
    """The file of a network: ``device`` or ``cloud``.

    Raises:
        ConfigurationError: ``missing``: neither in the package nor in a checkout.
    """
    file = f"digits_{name}.tflite"
    for folder in (_PACKAGED, _CHECKOUT):
        if (folder / file).is_file():
            return folder / file
    raise ConfigurationError("missing", f"expected {file} in {_PACKAGED}, got none")
