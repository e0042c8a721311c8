"""Measures a network for handwritten digits, and writes what an auditor can sign.

    python examples/evidence/measure.py digits.tflite > claims.toml

The half of the digits that training never saw is the data set; its digest is that of the images
and of what they show. All numbers are integers, in parts per million.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np

from edgesdk import load_unprotected
from edgesdk.demo.digits import CLASSES, halves

MILLION = 1_000_000


def share(part: int, whole: int) -> int:
    """Parts per million, rounded down: an auditor promises no more than was found."""
    return int(part) * MILLION // max(int(whole), 1)


_, unseen = halves()
digest = hashlib.sha256(unseen.images.tobytes() + unseen.labels.astype("<i8").tobytes()).hexdigest()

with load_unprotected(sys.argv[1]) as model:
    answers = np.array([np.argmax(model.run(image)) for image in unseen.images])

right = answers == unseen.labels
f1 = [
    share(2 * np.sum(right & (answers == c)), np.sum(answers == c) + np.sum(unseen.labels == c))
    for c in range(CLASSES)
]

print("format = 1")
for kind, value in (("accuracy", share(right.sum(), len(right))), ("f1", sum(f1) // CLASSES)):
    print(f"""
[[claim]]
kind = "{kind}"
ppm = {value:_}
dataset = "{digest}"
samples = {len(right)}""")
