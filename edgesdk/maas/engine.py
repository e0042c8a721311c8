"""What runs models for a gateway.

An :class:`Engine` knows models by id and version, and runs one on tensors. The one here runs
them in this process; others put a serving system behind the same face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edgesdk.errors import InputError, RemoteError
from edgesdk.oip import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesdk.contract import Contract
    from edgesdk.session import LocalModel


@dataclass(frozen=True)
class Served:
    """A model that an engine runs. ``digest`` is SHA-256 of what it was loaded from."""

    model_id: str
    version: str
    digest: bytes
    contract: Contract


class Engine(Protocol):
    """Runs models. Its methods are called by many threads at once."""

    @property
    def name(self) -> str:
        """What answers say that they were computed by."""

    def models(self) -> Sequence[Served]:
        """All models, the newest version of each last."""

    def find(self, model_id: str, version: str | None) -> Served:
        """One version of a model, or the newest.

        Raises:
            RemoteError: ``unknown-model``.
        """

    def infer(self, served: Served, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """The outputs of a model.

        Raises:
            InputError: the inputs do not fit.
            Exception: whatever else; the model failed.
        """


class InProcess:
    """Runs models of edgesdk in this process; they are safe to share between threads."""

    name = "edgesdk"

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], tuple[Served, LocalModel]] = {}

    def add(
        self,
        model: LocalModel,
        *,
        digest: bytes,
        model_id: str | None = None,
        version: str | None = None,
    ) -> Served:
        """Serve a model, as the newest version of its id.

        Id and version are those of the model unless they are given.
        """
        model_id, version = model_id or model.model_id, version or model.version
        if model_id is None:
            raise InputError("argument", "expected a model with an id, or model_id=, got neither")
        served = Served(model_id, version or "0", digest, model.contract)
        key = served.model_id, served.version
        # A new dictionary, because other threads may be walking through the old one.
        others = {name: each for name, each in self._models.items() if name != key}
        self._models = {**others, key: (served, model)}
        return served

    def models(self) -> Sequence[Served]:
        """All models, in the order in which they were added."""
        return tuple(served for served, _ in self._models.values())

    def find(self, model_id: str, version: str | None) -> Served:
        """One version of a model, or the one that was added last."""
        offered = [served for served in self.models() if served.model_id == model_id]
        fitting = [served for served in offered if version in {None, served.version}]
        if fitting:
            return fitting[-1]
        versions = ", ".join(served.version for served in offered) or "none"
        raise RemoteError(
            "unknown-model",
            f"expected a model on offer, got {model_id} {version or ''}; its versions: {versions}",
        )

    def infer(self, served: Served, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """The outputs; inputs of another quantization are converted to the model's own."""
        _, model = self._models[served.model_id, served.version]
        contract = served.contract
        expected = [spec.name for spec in contract.inputs]
        by_name = {tensor.name: tensor for tensor in inputs}
        if sorted(by_name) != sorted(expected):
            raise InputError(
                "tensor", f"expected the inputs {', '.join(expected)}, got {', '.join(by_name)}"
            )
        outputs = model.infer([by_name[spec.name].fit(spec) for spec in contract.inputs])
        return [Tensor.of(*pair) for pair in zip(contract.outputs, outputs, strict=True)]
