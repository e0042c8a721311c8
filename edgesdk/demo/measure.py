"""Accuracy and latency: on the device, in the cloud, and of both together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgesdk.contract import dequantize
from edgesdk.demo.intervals import Estimate, proportion, quantile
from edgesdk.session import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edgesdk.contract import Array
    from edgesdk.demo.digits import Half
    from edgesdk.session import Result, Session

    Progress = Callable[[Iterable[Array]], Iterable[Array]]

# An answer of the device is kept where, on the training half, such answers were right this often.
KEPT_ACCURACY = 0.99
_WARM_UP = 20


@dataclass(frozen=True, eq=False)
class Answers:
    """What came back for each image of a half, in its order.

    ``digits`` and ``confidences`` (the largest dequantized output) have one entry each,
    ``seconds`` is the time from frame to answer, and ``asked`` says for which the cloud answered.
    """

    digits: Array
    confidences: Array
    seconds: Array
    asked: Array
    labels: Array

    @property
    def right(self) -> Array:
        """For which images the answer is the digit that they show."""
        return np.asarray(self.digits == self.labels)

    @property
    def accuracy(self) -> Estimate:
        """The share of right answers."""
        return proportion(int(self.right.sum()), len(self.digits))

    @property
    def cloud_share(self) -> Estimate:
        """The share of requests that the cloud has answered."""
        return proportion(int(self.asked.sum()), len(self.digits))

    def latency(self, level: float) -> Estimate:
        """A quantile of the seconds from frame to answer."""
        return quantile(self.seconds, level)


def ask_all(session: Session, half: Half, progress: Progress) -> Answers:
    """Put each image of a half to a session, one after the other."""
    for image in half.images[:_WARM_UP]:
        session.run(image)
    results, seconds = [], []
    for image in progress(half.images):
        begun = time.perf_counter()
        results.append(session.run(image))
        seconds.append(time.perf_counter() - begun)
    return Answers(
        digits=np.array([np.argmax(_only(result)) for result in results]),
        confidences=np.array([_confidence(session, result) for result in results]),
        seconds=np.array(seconds),
        asked=np.array([result.origin is Origin.CLOUD for result in results]),
        labels=half.labels,
    )


def choose_threshold(answers: Answers) -> float:
    """The lowest confidence from which on answers were right often enough.

    To be chosen on the training half: a threshold that has seen the test half proves nothing.
    """
    order = np.argsort(-answers.confidences, kind="stable")
    right = np.cumsum(answers.right[order]) / np.arange(1, len(order) + 1)
    # Equal confidences stand or fall together.
    values = answers.confidences[order]
    last = np.append(values[1:] != values[:-1], True)
    enough = np.flatnonzero(last & (right >= KEPT_ACCURACY))
    return float(values[enough[-1]]) if len(enough) else 1.0


def trade_off(device: Answers, cloud: Answers) -> tuple[Array, Array]:
    """Share of requests to the cloud, and accuracy, for each threshold that there could be."""
    order = np.argsort(device.confidences, kind="stable")
    gained = cloud.right[order].astype(int) - device.right[order].astype(int)
    count = len(order)
    right = device.right.sum() + np.concatenate([[0], np.cumsum(gained)])
    return np.arange(count + 1) / count, right / count


def _only(result: Result) -> Array:
    assert isinstance(result.outputs, np.ndarray)
    return result.outputs


def _confidence(session: Session, result: Result) -> float:
    return float(dequantize(session.contract.outputs[0], _only(result)).max())
