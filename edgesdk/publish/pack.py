"""From a ``.tflite`` file to a signed bundle and its grants: bytes in, bytes out.

``pack`` encrypts a model together with its contract and golden vectors, ``attach`` puts grants
inside, ``sign`` adds a signer's signatures, ``grant`` makes the content key usable on one device.
Each is a step of its own, so that each can be done by somebody else, on another machine::

    packed = pack(model, release, created=now)      # the content key never leaves the publisher
    bundle = sign(packed.bundle, signer)
    issued = grant(bundle, packed.content_key, record_of_the_device, issuer, created=now)

What is signed is checked first: nobody's signature gets onto a bundle that no device would take.

Not checked here: who may sign. A device asks its trust file.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgesdk import encryption, primitives
from edgesdk.bundle import (
    Binding,
    Bundle,
    Manifest,
    SignatureEntry,
    check_manifest,
    check_segments,
    sealed_bytes,
)
from edgesdk.claim import SEALED_SALT_BYTES, Evidence
from edgesdk.contract import MOST_LABELS, Array, Contract, Details, TensorSpec
from edgesdk.envelope import Domain
from edgesdk.errors import DecryptionError, InputError, KeyUnavailableError
from edgesdk.grant import SERIAL_BYTES, Grant
from edgesdk.keys import ContentKey, PublicRecord, Signer
from edgesdk.manifest import BUNDLE_ID_BYTES, DIGEST_BYTES
from edgesdk.primitives import SIGNATURE_IDS
from edgesdk.publish import metadata
from edgesdk.publish.metadata import Additions
from edgesdk.record import sign_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edgesdk.claim import ClaimFile

logger = logging.getLogger(__name__)

DEFAULT_VECTORS = 2


class Interpreter(Details, Protocol):
    """As much of LiteRT's interpreter, and of ours, as packing needs."""

    def allocate_tensors(self) -> None:
        """Make ready."""

    def set_tensor(self, tensor_index: int, value: Array) -> None:
        """Give an input."""

    def invoke(self) -> None:
        """Run."""

    def get_tensor(self, tensor_index: int) -> Array:
        """Take an output."""

    def operators(self) -> list[tuple[str, int]]:
        """Names and versions of the model's operators, sorted, unique."""


class InterpreterFactory(Protocol):
    """What makes an interpreter of a model's bytes."""

    def __call__(self, *, model_content: bytes) -> Interpreter:
        """Load."""


@dataclass(frozen=True)
class Release:
    """What a publisher says of a model; times are seconds since 1970-01-01T00:00:00Z."""

    model_id: str
    model_version: str
    sequence: int
    epoch: int = 0
    licence: str | None = None
    not_before: int | None = None
    expires: int | None = None
    vendor_id: str | None = None
    class_id: str | None = None
    min_revocation_seq: int = 0


@dataclass(frozen=True)
class Packed:
    """An unsigned bundle, and the key that grants are made with. Close the key."""

    bundle: bytes
    content_key: ContentKey
    manifest: Manifest


def pack(
    model: bytes,
    release: Release,
    *,
    created: int,
    golden: Sequence[Array | Mapping[str, Array]] | None = None,
    additions: Mapping[str, Additions] | None = None,
    generator: np.random.Generator | None = None,
    interpreter: InterpreterFactory | None = None,
    evidence: Sequence[ClaimFile] = (),
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Packed:
    """Encrypt a model with its contract and golden vectors into an unsigned bundle.

    ``golden`` are inputs to compute golden vectors from, as ``Contract.arrays`` takes them; without
    them, two are drawn from ``generator``, over the full range of the inputs' types. ``additions``
    go into the contract by the tensors' names, before what the model's own metadata says.
    ``evidence`` is what auditors have signed of this very model (``publish.claim``).

    Raises:
        InputError: something that a manifest or a contract cannot hold, or a claim about another
            model.
        ModelError: the model cannot be loaded or run here, or its metadata contradict themselves.
    """
    loaded = (interpreter or _default_interpreter())(model_content=model)
    loaded.allocate_tensors()
    contract = _with_additions(Contract.of(loaded), metadata.read(model), additions or {})
    if golden is None:
        generator = generator or np.random.default_rng()
        inputs = [
            [spec.random(generator) for spec in contract.inputs] for _ in range(DEFAULT_VECTORS)
        ]
    else:
        inputs = [contract.arrays(frame) for frame in golden]
    vectors = b"".join(_golden_vector(loaded, contract, arrays) for arrays in inputs)
    return _seal(
        model,
        vectors,
        release,
        created=created,
        operators=tuple(loaded.operators()),
        contract=contract,
        golden_count=len(inputs),
        evidence=evidence,
        random=random,
    )


def sign(bundle: bytes, signer: Signer) -> bytes:
    """Add the signer's signatures to a bundle that would pass, were the signer trusted.

    Raises:
        MalformedBundleError, DecryptionError: it would not.
        KeyUnavailableError: ``provider``: an external signer failed.
    """
    parsed = Bundle.parse(bundle)
    check_manifest(parsed, Manifest.parse(parsed.manifest_bytes))
    check_segments(parsed)
    parsed.grants()
    public = signer.keys()
    entries = []
    for algorithm, value in signer.sign(parsed.message, Domain.BUNDLE.context).items():
        primitives.verify(
            algorithm, public[algorithm], value, parsed.message, Domain.BUNDLE.context
        )
        keyid = primitives.keyid(algorithm, public[algorithm])
        entries.append(SignatureEntry(keyid, value, SIGNATURE_IDS[algorithm]))
    return parsed.with_signatures(entries)


def grant(
    bundle: bytes,
    content_key: ContentKey,
    device: PublicRecord,
    issuer: Signer,
    *,
    created: int,
    not_after: int | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> bytes:
    """The content key of a bundle for one device, signed by its issuer.

    Raises:
        KeyUnavailableError: ``no-key``: the content key is another bundle's.
        InputError: the record is one of a signer, which opens nothing.
    """
    parsed = Bundle.parse(bundle)
    manifest = Manifest.parse(parsed.manifest_bytes)
    check_manifest(parsed, manifest)
    try:
        encryption.check_content_key(content_key, manifest.binding, parsed.payload)
    except DecryptionError:
        raise KeyUnavailableError(
            "no-key", f"expected the content key of {manifest.model_id}, got another"
        ) from None
    issued = Grant.build(
        manifest.binding,
        device.kid,
        encryption.wrap(content_key, manifest.binding, device),
        serial=random(SERIAL_BYTES),
        created=created,
        not_after=not_after,
    )
    return sign_envelope(issued.envelope, issuer).encode()


def attach(bundle: bytes, grants: Iterable[bytes]) -> bytes:
    """Put grants into an unsigned bundle: what travels inside is signed along.

    Raises:
        InputError: ``argument``: the bundle is signed, or a grant is for another bundle.
    """
    parsed = Bundle.parse(bundle)
    if parsed.signatures:
        raise InputError(
            "argument", "expected a bundle that nobody has signed yet, got a signed one"
        )
    binding = Manifest.parse(parsed.manifest_bytes).binding
    inside = parsed.grants()
    for data in grants:
        issued = Grant.parse(data)
        if issued.binding != binding:
            raise InputError("argument", "expected grants for this bundle, got one for another")
        inside[issued.device] = data
    return Bundle.build(parsed.manifest_bytes, parsed.table, parsed.payload, grants=inside).encode()


# ---- packing


def _default_interpreter() -> InterpreterFactory:
    # Signing and granting need no compiled core.
    from edgesdk.interpreter import Interpreter as Core  # noqa: PLC0415

    # What is published must run on devices that have no LiteRT: the core, and nothing else.
    return partial(Core, engine="native")


def _with_additions(
    contract: Contract,
    found: tuple[list[Additions], list[Additions]],
    given: Mapping[str, Additions],
) -> Contract:
    specs = (*contract.inputs, *contract.outputs)
    unknown = set(given) - {spec.name for spec in specs}
    if unknown:
        names = ", ".join(spec.name for spec in specs)
        raise InputError("tensor", f"expected additions to {names}, got {', '.join(unknown)}")
    return Contract(
        tuple(_add(spec, i, found[0], given) for i, spec in enumerate(contract.inputs)),
        tuple(_add(spec, i, found[1], given) for i, spec in enumerate(contract.outputs)),
    )


def _add(
    spec: TensorSpec, index: int, found: list[Additions], given: Mapping[str, Additions]
) -> TensorSpec:
    """What is given, and for the rest what the model's metadata says of the tensor."""
    theirs = found[index] if index < len(found) else Additions()
    mine = given.get(spec.name, Additions())
    entries = spec.shape[-1] if spec.shape else 1
    if mine.labels is not None and len(mine.labels) != entries:
        raise InputError(
            "argument", f"{spec.name}: expected {entries} labels, got {len(mine.labels)}"
        )
    # Files that are labelled wrongly, as label files or as something else, are not rare.
    if theirs.labels is not None and not (len(theirs.labels) == entries <= MOST_LABELS):
        logger.warning(
            "the model's metadata names %d labels for %d entries of %s: left out",
            len(theirs.labels),
            entries,
            spec.name,
        )
        theirs = replace(theirs, labels=None)
    both = mine if mine.mean is not None or mine.std is not None else theirs
    return replace(
        spec,
        colour=mine.colour or theirs.colour,
        mean=both.mean,
        std=both.std,
        labels=mine.labels or theirs.labels,
    )


def _check_claim(claim: ClaimFile, model_id: str, model: bytes) -> None:
    """A claim that no device could use is refused while somebody can still do something."""
    statement = claim.statement
    if statement.model_id != model_id:
        raise InputError(
            "argument", f"expected claims about {model_id}, got some about {statement.model_id}"
        )
    digest = encryption.subject_digest(claim.salt, model_id, model)
    if not primitives.compare(digest, statement.digest):
        raise InputError(
            "argument", f"expected claims about these bytes of {model_id}, got some about others"
        )


def _golden_vector(loaded: Interpreter, contract: Contract, inputs: list[Array]) -> bytes:
    """What the model returns for these inputs, together with them."""
    for detail, array in zip(loaded.get_input_details(), inputs, strict=True):
        loaded.set_tensor(detail["index"], array)
    loaded.invoke()
    outputs = [loaded.get_tensor(detail["index"]) for detail in loaded.get_output_details()]
    return contract.join_vector(inputs, outputs)


def _seal(
    model: bytes,
    vectors: bytes,
    release: Release,
    *,
    created: int,
    operators: tuple[tuple[str, int], ...],
    contract: Contract,
    golden_count: int,
    evidence: Sequence[ClaimFile],
    random: Callable[[int], bytes],
) -> Packed:
    for claim in evidence:
        _check_claim(claim, release.model_id, model)
    binding = Binding(random(BUNDLE_ID_BYTES), release.model_id, release.epoch, release.sequence)
    plaintext = model + vectors
    draft = Manifest(
        binding=binding,
        model_version=release.model_version,
        table_digest=bytes(DIGEST_BYTES),
        created=created,
        payload_len=sealed_bytes(len(plaintext)),
        plaintext_len=len(plaintext),
        plaintext_mac=bytes(DIGEST_BYTES),
        model_len=len(model),
        operators=operators,
        contract=contract,
        golden_count=golden_count,
        min_revocation_seq=release.min_revocation_seq,
        not_before=release.not_before,
        expires=release.expires,
        vendor_id=release.vendor_id,
        class_id=release.class_id,
        licence=release.licence,
        evidence=tuple(Evidence(claim.statement, bytes(SEALED_SALT_BYTES)) for claim in evidence),
    )
    # What no manifest can hold is refused before a key is made for it.
    draft.encode()
    begin, end = release.not_before, release.expires
    if begin is not None and end is not None and end <= begin:
        raise InputError("argument", f"expected an expiry after {begin}, got {end}")
    content_key = ContentKey.generate(random=random)
    sealed = encryption.seal(plaintext, content_key, binding, random=random)
    manifest = replace(
        draft,
        table_digest=hashlib.sha256(sealed.table).digest(),
        plaintext_mac=sealed.plaintext_mac,
        evidence=tuple(
            Evidence(
                claim.statement,
                encryption.seal_salt(content_key, binding, claim.statement.digest, claim.salt),
            )
            for claim in evidence
        ),
    )
    bundle = Bundle.build(manifest.encode(), sealed.table, sealed.payload, grants={})
    return Packed(bundle.encode(), content_key, manifest)
