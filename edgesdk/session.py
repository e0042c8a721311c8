"""A model on this device, with one in the cloud behind it.

::

    with edgesdk.Session(model, cloud="mqtts://gateway:8883", deadline=0.2) as session:
        result = session.run(frame)

By default the device answers, and the cloud is asked when the device cannot (a ModelError), is
not sure (``threshold``), or when the caller asks for it. The device's answer is computed first
and kept: it is returned when the cloud does not come back within the deadline, and the result
says why the cloud was asked and why it did not answer.

What the cloud never answers: a TrustError, unless the app opts in by name; and an InputError,
which is the caller's own.

Importing this module loads neither the compiled core nor a cryptographic or MQTT library. They
come with the first bundle, and when the session is entered or first turns to the cloud. So a
device whose core cannot be loaded still has the cloud, and one without a cloud pays nothing.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgesdk.contract import dequantize
from edgesdk.errors import (
    ConfigurationError,
    IsaError,
    LifecycleError,
    ModelError,
    NotConnectedError,
    TransportError,
    TrustError,
)
from edgesdk.files import Home, read_once, read_trusted
from edgesdk.limits import BUNDLE
from edgesdk.policy import Cause, Deadline, Mode, is_unsure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import TypeAlias

    from typing_extensions import Self

    from edgesdk.cloud import CloudModel, Reply
    from edgesdk.contract import Array, Contract
    from edgesdk.files import PathLike
    from edgesdk.keys import SecretKey
    from edgesdk.link import Tls
    from edgesdk.oip import Provenance
    from edgesdk.policy import TokenBucket
    from edgesdk.record import PublicRecord
    from edgesdk.trust import Device

    Outputs: TypeAlias = "Array | dict[str, Array]"

__all__ = ["Cause", "LocalModel", "Mode", "Origin", "Result", "Session"]


class Origin(str, Enum):
    """Who answered."""

    DEVICE = "device"
    CLOUD = "cloud"


@dataclass(frozen=True, eq=False)
class Result:
    """An answer, and where it comes from.

    ``outputs`` is an array, or arrays by name where the model has several, with the shapes and
    element types of the contract, also when the cloud's model has others. ``model`` and
    ``version`` are those of the model that answered, ``latency`` is in seconds. ``cause`` says
    why the cloud was asked, ``cloud_error`` why its answer is not here; ``provenance`` is what
    the gateway has signed about its answer.
    """

    outputs: Outputs
    origin: Origin
    model: str | None
    latency: float
    cause: Cause | None = None
    cloud_error: TransportError | None = None
    version: str | None = None
    provenance: Provenance | None = None


class LocalModel(Protocol):
    """As much of a model as a session uses."""

    @property
    def contract(self) -> Contract:
        """Its inputs and outputs."""

    @property
    def model_id(self) -> str | None:
        """What the cloud calls it."""

    @property
    def version(self) -> str | None:
        """Which one it is, for people."""

    def infer(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """Raw outputs for inputs that fit the contract."""


class Session:
    """A model with a fallback. Safe to share between threads.

    ``model`` is a loaded model, or the path of a bundle. ``deadline`` is in seconds, above 0 and up
    to 600, for each ``run`` as a whole; with ``prefer_in_cloud`` the device's own time comes on
    top, and so does that of loading libraries in a session that was not entered. An answer of the
    device whose confidence is below ``threshold`` is put to the cloud; confidence is the largest
    dequantized element of the first output, or what the app's own function of the outputs says.

    The cloud is asked for ``cloud_model`` (else the model's own id) and ``cloud_version`` (else
    the newest). Keys and trust come from the configuration folder ``home``, unless ``device_key``,
    ``gateway`` or ``tls`` (``edgesdk.link.Tls``, for a client's certificate) say otherwise.
    ``outstanding`` bounds the questions under way at once; one more is answered by the device
    alone. ``budget`` is an ``edgesdk.policy.TokenBucket``.
    ``contract`` is needed only where neither a model nor a verified bundle says what goes in and
    comes out.

    Raises:
        ModelError: the model does not load, and there is no cloud to ask.
        TrustError: the bundle is not to be trusted. With ``ask_cloud_on_trust_error=True`` the
            cloud answers, and the error is the cause in each result.
        ConfigurationError: something that the cloud needs is missing.
    """

    def __init__(
        self,
        model: LocalModel | PathLike,
        *,
        cloud: str | None = None,
        deadline: float = 1.0,
        mode: Mode | str = Mode.PREFER_ON_DEVICE,
        threshold: float | None = None,
        confidence: Callable[[Outputs], float] | None = None,
        cloud_model: str | None = None,
        cloud_version: str | None = None,
        pool: str = "default",
        outstanding: int = 4,
        budget: TokenBucket | None = None,
        home: PathLike | Home | None = None,
        device: Device | None = None,
        device_key: SecretKey | PathLike | None = None,
        gateway: PublicRecord | PathLike | None = None,
        tls: Tls | None = None,
        contract: Contract | None = None,
        ask_cloud_on_trust_error: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mode = Mode.of(mode)
        self._clock = clock
        self._seconds = Deadline.after(deadline, now=0.0).at
        self._threshold = threshold
        self._confidence = confidence or self._largest
        self._owner = os.getpid()
        self._opening = threading.Lock()
        self._closed = False
        self._cloud: CloudModel | None = None
        self._open_cloud: Callable[[], CloudModel] | None = None
        self._may_ask = cloud is not None and self.mode is not Mode.ONLY_ON_DEVICE
        home = home if isinstance(home, Home) else Home.find(home)
        if cloud is None and self.mode is Mode.ONLY_IN_CLOUD:
            raise ConfigurationError("missing", "expected cloud=URL for only_in_cloud, got none")
        if self._may_ask:
            _check_there(device_key, home.device_key)
            _check_there(gateway, home.gateway)
        self._found = _find(
            model,
            load=self.mode is not Mode.ONLY_IN_CLOUD,
            may_ask=self._may_ask,
            trustless=ask_cloud_on_trust_error,
            contract=contract,
            home=home,
            device=device,
            device_key=device_key,
        )
        if cloud is not None and self._may_ask:
            self._open_cloud = partial(
                _open_cloud,
                cloud,
                home=home,
                device_key=device_key,
                gateway=gateway,
                tls=tls,
                contract=self._found.contract,
                model_id=self._required(cloud_model or self._found.model_id),
                version=cloud_version,
                pool=pool,
                outstanding=outstanding,
                budget=budget,
                clock=clock,
            )

    @property
    def contract(self) -> Contract:
        """What goes in and comes out."""
        return self._found.contract

    @property
    def cloud(self) -> CloudModel | None:
        """The way to the cloud, once it has been opened."""
        return self._cloud

    def connect(self) -> None:
        """Open the way to the cloud, in the background, ahead of the first question.

        Entering the session does it.

        Raises:
            TrustError, ConfigurationError: a key, record or URL is missing or malformed.
            LifecycleError: ``closed``, ``forked``.
        """
        self._check_usable()
        if self._open_cloud is not None:
            self._reach().start()

    def run(self, frame: Array | Mapping[str, Array], *, ask_cloud: bool = False) -> Result:
        """Answer one frame: an array, or arrays by name.

        Shapes are those of ``contract``, whose leading 1 may be left out. Elements are of the
        model's own type, or floats, which are normalized and quantized as the contract says.
        ``ask_cloud`` puts this frame to the cloud, however sure the device is.

        Raises:
            InputError: the frame does not fit the contract.
            ModelError, TransportError: nobody answered.
            LifecycleError: the session is closed, or belongs to another process.
            TrustError, ConfigurationError: of a session that was not entered, when it first
                turns to the cloud: a key, record or URL is missing or malformed.
        """
        self._check_usable()
        begun = self._clock()
        arrays = self.contract.arrays(frame)
        if self.mode in {Mode.PREFER_IN_CLOUD, Mode.ONLY_IN_CLOUD} and self._may_ask:
            return self._cloud_first(arrays, begun)
        return self._device_first(arrays, begun, ask_cloud=ask_cloud)

    def close(self) -> None:
        """Disconnect, and close a model that the session itself has loaded."""
        if os.getpid() != self._owner:
            return  # a forked child has neither the connection nor the locks
        with self._opening:
            self._closed = True
            cloud, self._cloud = self._cloud, None
        if cloud is not None:
            cloud.close()
        if self._found.close is not None:
            self._found.close()

    def __enter__(self) -> Self:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_usable(self) -> None:
        # Before any lock: another thread may have held it when this process was forked.
        if os.getpid() != self._owner:
            raise LifecycleError(
                "forked",
                "expected the process that made the session, got a child of it: "
                "make another in the child",
            )
        if self._closed:
            raise LifecycleError("closed", "expected an open session, got a closed one")

    def _required(self, model_id: str | None) -> str:
        if model_id is None:
            self.close()
            raise ConfigurationError(
                "missing", "expected cloud_model= for a model without an id, got none"
            )
        return model_id

    def _device_first(self, arrays: list[Array], begun: float, *, ask_cloud: bool) -> Result:
        outputs, cause = self._on_device(arrays)
        if ask_cloud:
            cause = cause or Cause.of_request()
        if cause is None:
            return self._from_device(outputs, begun)
        try:
            return self._from_cloud(self._ask(arrays, begun), begun, cause)
        except TransportError as error:
            if outputs:
                return self._from_device(outputs, begun, cause, error)
            raise error from cause.error

    def _cloud_first(self, arrays: list[Array], begun: float) -> Result:
        cause = self._found.cause or Cause.of_mode(self.mode)
        try:
            return self._from_cloud(self._ask(arrays, begun), begun, cause)
        except TransportError as error:
            if self._found.local is None or self.mode is Mode.ONLY_IN_CLOUD:
                raise error from cause.error
            try:
                outputs = self._found.local.infer(arrays)
            except ModelError as local_error:
                raise error from local_error
            return self._from_device(outputs, begun, cause, error)

    def _on_device(self, arrays: list[Array]) -> tuple[Sequence[Array], Cause | None]:
        """The device's outputs (none, if it cannot), and why the cloud should be asked."""
        if self._found.local is None:
            return [], self._found.cause
        try:
            outputs = self._found.local.infer(arrays)
        except ModelError as error:
            if not self._may_ask:
                raise
            return [], Cause.of_error(error)
        if self._threshold is None or not self._may_ask:
            return outputs, None
        confidence = self._confidence(self._present(outputs))
        if is_unsure(confidence, self._threshold):
            return outputs, Cause.of_confidence(confidence, self._threshold)
        return outputs, None

    def _ask(self, arrays: list[Array], begun: float) -> Reply:
        return self._reach().infer(arrays, deadline=Deadline(begun + self._seconds))

    def _reach(self) -> CloudModel:
        with self._opening:
            self._check_usable()
            if self._cloud is None and self._open_cloud is not None:
                self._cloud = self._open_cloud()
            if self._cloud is None:
                raise NotConnectedError(
                    "not-connected", f"expected a cloud to ask, got none in mode {self.mode.value}"
                )
            return self._cloud

    def _from_device(
        self,
        outputs: Sequence[Array],
        begun: float,
        cause: Cause | None = None,
        error: TransportError | None = None,
    ) -> Result:
        return Result(
            outputs=self._present(outputs),
            origin=Origin.DEVICE,
            model=self._found.model_id,
            version=self._found.version,
            latency=self._clock() - begun,
            cause=cause,
            cloud_error=error,
        )

    def _from_cloud(self, reply: Reply, begun: float, cause: Cause) -> Result:
        return Result(
            outputs=self._present(reply.outputs),
            origin=Origin.CLOUD,
            model=reply.model_id,
            version=reply.version,
            latency=self._clock() - begun,
            cause=cause,
            provenance=reply.provenance,
        )

    def _present(self, outputs: Sequence[Array]) -> Outputs:
        if len(outputs) == 1:
            return outputs[0]
        specs = self.contract.outputs
        return {spec.name: array for spec, array in zip(specs, outputs, strict=True)}

    def _largest(self, outputs: Outputs) -> float:
        spec = self.contract.outputs[0]
        first = outputs[spec.name] if isinstance(outputs, dict) else outputs
        return float(np.max(dequantize(spec, first)))


@dataclass(frozen=True)
class _Found:
    """What is known of the model; and the model itself, or why it is not here."""

    contract: Contract
    model_id: str | None
    version: str | None
    local: LocalModel | None = None
    cause: Cause | None = None
    close: Callable[[], None] | None = None

    @classmethod
    def of(
        cls,
        model: LocalModel,
        contract: Contract | None,
        close: Callable[[], None] | None = None,
    ) -> _Found:
        return cls(
            contract or model.contract, model.model_id, model.version, local=model, close=close
        )


def _find(
    source: LocalModel | PathLike,
    *,
    load: bool,
    may_ask: bool,
    trustless: bool,
    contract: Contract | None,
    home: Home,
    device: Device | None,
    device_key: SecretKey | PathLike | None,
) -> _Found:
    """The model, or why it is not here. What the cloud may not stand in for is raised."""
    if not isinstance(source, (str, os.PathLike)):
        return _Found.of(source, contract)
    cause = None
    try:
        if load:
            return _load(source, contract, home=home, device=device, device_key=device_key)
        return _read_manifest(source, home, device)
    except ModelError as error:
        if not may_ask:
            raise
        cause = Cause.of_error(error)
    except TrustError as error:
        if not (may_ask and trustless):
            raise
        if contract is None:
            raise ConfigurationError(
                "missing", "expected contract= where no bundle can be trusted with it, got none"
            ) from error
        return _Found(contract, None, None, cause=Cause.of_error(error, trust=True))
    return replace(_read_manifest(source, home, device), cause=cause)


def _load(path: PathLike, contract: Contract | None, **options: Any) -> _Found:  # noqa: ANN401
    try:
        from edgesdk.model import load  # noqa: PLC0415  (brings the core, and cryptography)
    except ImportError as error:
        raise IsaError("core-missing", f"expected the compiled core, got: {error}") from error
    model = load(path, **options)
    return _Found.of(model, contract, model.close)


def _read_manifest(path: PathLike, home: Home, device: Device | None) -> _Found:
    """What a bundle's publisher has signed; nothing is decrypted."""
    from edgesdk import floors, trust  # noqa: PLC0415  (brings cryptography)
    from edgesdk.bundle import Bundle  # noqa: PLC0415

    bundle = Bundle.parse(read_once(path, limit=BUNDLE.file_bytes))
    root = trust.TrustRoot.parse(read_trusted(home.trust, limit=BUNDLE.trust_bytes))
    verified = trust.verify(
        bundle,
        root,
        now=int(time.time()),
        device=device or trust.Device(),
        floors=floors.find(home),
    )
    manifest = verified.manifest
    return _Found(manifest.contract, manifest.model_id, manifest.model_version)


def _check_there(given: object, path: Path) -> None:
    """Miss a file now rather than with the first question; it is read only then."""
    if given is None and not path.exists():
        raise ConfigurationError("missing", f"{path}: expected a file, got none")


def _open_cloud(url: str, **options: Any) -> CloudModel:  # noqa: ANN401  (CloudModel.from_home's)
    from edgesdk.cloud import CloudModel  # noqa: PLC0415  (brings paho and cryptography)

    return CloudModel.from_home(url, **options)
