"""Who a device, a signer or a gateway is: key files, public records, and keys named by URIs.

A key is born where it is used (``SecretKey.generate``), is saved once with mode 0600 and never
overwritten, and is known to others by its ``PublicRecord``. Secrets live in memory that ``close``
overwrites; they are in no ``repr``, no pickle and no message.

=====================  ====================================================
``file:PATH``, a path  a key file (docs/bundle-format.md, section 2)
``env:NAME``           the same in base64; a process's environment is easy to see: for tests
``exec:COMMAND``       an external signer (docs/keys.md); signing keys only
=====================  ====================================================

Order of checks of a key file: owner and mode (``files``); size; magic; kind; protection; length;
entries ascending, of known type and right size; the types that its kind must have; ``kid`` as
computed from the body.

Not checked here: whether anybody trusts a key. That is what ``trust`` is for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import os
import re
import secrets
import struct
import weakref
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, TypeVar

from edgesdk import files, primitives
from edgesdk.errors import (
    ConfigurationError,
    InputError,
    KeyUnavailableError,
    LifecycleError,
    MalformedBundleError,
)
from edgesdk.limits import BUNDLE
from edgesdk.primitives import ED25519, ML_KEM_768, X25519, Algorithm
from edgesdk.record import (
    KINDS,
    RECEIVER,
    SIGNER,
    Kind,
    PublicRecord,
    Signer,
    fits,
    make_kid,
    make_record,
    name_of,
)
from edgesdk.signer import ExecSigner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from edgesdk.files import PathLike
    from edgesdk.primitives import Buffer

__all__ = [
    "ContentKey",
    "PublicRecord",
    "SecretKey",
    "Signer",
    "make_record",
    "open_device_key",
    "open_secret_key",
    "open_signer",
]

logger = logging.getLogger(__name__)

_Key = TypeVar("_Key")

CONTENT_KEY_BYTES = 32

_CONTENT_KIND = 4
_CONTENT_TYPE = 5
_MAGIC = b"EDGEKEY\x01"
_HEAD = struct.Struct("<8sHHI16s")
_ENTRY = struct.Struct("<HH")
_UNPROTECTED = 0


class _Closing:
    """What holds secrets: ``close`` overwrites them, and nothing else gives them away."""

    __slots__ = ("__weakref__", "_close")

    def __init__(self, material: list[memoryview]) -> None:
        # Views, as a traceback that shows variables shows the contents of anything else.
        # Also when it is forgotten: at collection, and when the interpreter ends.
        self._close = weakref.finalize(self, _wipe_all, material)

    def encode(self) -> bytearray:
        """The bytes of the file. The caller wipes them."""
        raise NotImplementedError

    def save(self, path: PathLike) -> None:
        """Write a file that only this user can read, durably; never overwrite one."""
        data = self.encode()
        try:
            files.write_new(path, memoryview(data), mode=0o600)
        finally:
            primitives.wipe(data)

    def close(self) -> None:
        """Overwrite the secrets. What is public is still known afterwards."""
        self._close()

    def _check_open(self) -> None:
        if not self._close.alive:
            raise LifecycleError("closed", f"expected an open key, got {self!r} after close()")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"expected something that may be copied or pickled, got {self!r}")


class SecretKey(_Closing):
    """The key file of a device, signer or gateway. Close it, or use it in ``with``."""

    __slots__ = ("_public", "_secrets", "kid", "kind")

    def __init__(self, kind: Kind, material: Mapping[Algorithm, memoryview]) -> None:
        super().__init__(list(material.values()))
        self.kind = kind
        self._secrets = dict(sorted(material.items()))
        self._public = {a: primitives.public_of(a, secret) for a, secret in self._secrets.items()}
        self.kid = make_kid(KINDS[kind], self._public.items())

    @classmethod
    def generate(
        cls,
        kind: Kind,
        *,
        algorithms: Sequence[Algorithm] | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> SecretKey:
        """A new key. A signer has Ed25519 and ML-DSA-65 unless ``algorithms`` names one."""
        chosen = tuple(algorithms or (SIGNER if kind == "signer" else RECEIVER))
        if not fits(kind, chosen):
            names = ", ".join(algorithm.label for algorithm in chosen)
            raise InputError("argument", f"expected the algorithms of a {kind}, got {names}")
        return cls(kind, {a: _private(random(a.sizes.secret)) for a in chosen})

    @classmethod
    def parse(cls, data: Buffer) -> SecretKey:
        """Read a key file; ``data`` is copied, and the caller wipes it.

        Raises:
            MalformedBundleError: ``key-file``.
        """
        number, kid, entries = _unpack(memoryview(data), {a: a.sizes.secret for a in Algorithm})
        kind = next((kind for kind, value in KINDS.items() if value == number), None)
        if kind is None:
            raise _malformed("kind 1, 2 or 3", str(number))
        algorithms = tuple(Algorithm(entry) for entry in entries)
        if not fits(kind, algorithms):
            names = ", ".join(algorithm.label for algorithm in algorithms) or "none"
            raise _malformed(f"the entries of a {kind}", names)
        key = cls(kind, {Algorithm(entry): _private(view) for entry, view in entries.items()})
        if key.kid != kid:
            key.close()
            raise _malformed("the kid of its body", "another")
        return key

    def encode(self) -> bytearray:
        """The bytes of a key file. The caller wipes them."""
        self._check_open()
        return _pack(KINDS[self.kind], self.kid, self._secrets.items())

    @property
    def name(self) -> str:
        """The ``kid`` in base32: 26 characters that fit into a topic or a host name."""
        return name_of(self.kid)

    def public(self) -> Mapping[Algorithm, bytes]:
        """Every public key."""
        return MappingProxyType(self._public)

    def keys(self) -> Mapping[Algorithm, bytes]:
        """The public keys of those that sign."""
        return {a: public for a, public in self._public.items() if a.signs}

    def sign(self, message: bytes, context: bytes) -> dict[Algorithm, bytes]:
        """A signature by each signing key; ``context`` is for ML-DSA."""
        self._check_open()
        return {
            algorithm: primitives.sign(algorithm, secret, message, context)
            for algorithm, secret in self._secrets.items()
            if algorithm.signs
        }

    def sign_ed25519(self, message: bytes) -> bytes:
        """A signature by the Ed25519 key alone."""
        self._check_open()
        if ED25519 not in self._secrets:
            raise InputError("argument", f"expected a key with ed25519, got {self!r}")
        return primitives.sign(ED25519, self._secrets[ED25519], message, b"")

    def unseal(self, sealed: bytes, info: bytes) -> bytearray:
        """Open what was sealed to the public record. The caller wipes it.

        Raises:
            DecryptionError: ``payload``: for every cause.
        """
        self._check_open()
        if X25519 not in self._secrets:
            raise InputError("argument", f"expected a key that opens, got {self!r}")
        return primitives.hpke_open(self._secrets[ML_KEM_768], self._secrets[X25519], sealed, info)

    def record(self, label: str) -> PublicRecord:
        """What others may know, under a name for people, signed by this key."""
        return make_record(self, label, kind=self.kind, public=self._public)

    def __repr__(self) -> str:
        return f"<SecretKey {self.kind} {self.kid.hex()}>"


class ContentKey(_Closing):
    """The key of one bundle's payload, that a publisher keeps to make grants with."""

    __slots__ = ("_material",)

    def __init__(self, material: memoryview) -> None:
        if len(material) != CONTENT_KEY_BYTES:
            raise InputError("argument", f"expected {CONTENT_KEY_BYTES} bytes, got {len(material)}")
        super().__init__([material])
        self._material = material

    @classmethod
    def generate(cls, *, random: Callable[[int], bytes] = secrets.token_bytes) -> ContentKey:
        """A new one, for one packing."""
        return cls(_private(random(CONTENT_KEY_BYTES)))

    @classmethod
    def parse(cls, data: Buffer) -> ContentKey:
        """Read a content key file; ``data`` is copied, and the caller wipes it.

        Raises:
            MalformedBundleError: ``key-file``.
        """
        number, kid, entries = _unpack(memoryview(data), {_CONTENT_TYPE: CONTENT_KEY_BYTES})
        if number != _CONTENT_KIND or _CONTENT_TYPE not in entries:
            raise _malformed(f"a content key, kind {_CONTENT_KIND}", f"kind {number}")
        key = cls(_private(entries[_CONTENT_TYPE]))
        if key.kid != kid:
            key.close()
            raise _malformed("the kid of its body", "another")
        return key

    @classmethod
    def open(cls, path: PathLike) -> ContentKey:
        """Read one from a file that only this user may open."""
        return _parse_and_wipe(files.read_private(path, limit=BUNDLE.key_bytes), cls.parse)

    def encode(self) -> bytearray:
        """The bytes of a content key file. The caller wipes them."""
        return _pack(_CONTENT_KIND, self.kid, [(_CONTENT_TYPE, self.material)])

    @property
    def kid(self) -> bytes:
        """A name that does not betray the key: it is a hash of 32 random bytes."""
        digest = hashlib.sha256(b"edgesdk/content-key/v1\x00")
        digest.update(self.material)
        return make_kid(_CONTENT_KIND, [(_CONTENT_TYPE, digest.digest())])

    @property
    def material(self) -> memoryview:
        """The 32 bytes, until ``close``."""
        self._check_open()
        return self._material

    def __repr__(self) -> str:
        return "<ContentKey>"


# ---- keys by URI


def open_signer(uri: PathLike) -> Signer:
    """A signer by its URI.

    Raises:
        KeyUnavailableError: ``no-key``, ``key-permissions``, ``provider``.
        MalformedBundleError: what is there is not a key file.
        ConfigurationError: ``invalid``: not a URI of this release.
    """
    scheme, rest = _split(uri)
    if scheme == "exec":
        return ExecSigner(rest)
    return open_secret_key(uri, kind="signer")


def open_device_key(uri: PathLike) -> SecretKey:
    """The key of this device by its URI; raises what ``open_signer`` raises."""
    return open_secret_key(uri, kind="device")


def open_secret_key(uri: PathLike, *, kind: Kind) -> SecretKey:
    """A key file of one kind by its URI."""
    scheme, rest = _split(uri)
    if scheme == "exec":
        raise ConfigurationError(
            "invalid",
            f"expected a {kind} key in file: or env:, got exec:, which can only sign",
        )
    data = _read_environment(rest) if scheme == "env" else _read_file(rest)
    key = _parse_and_wipe(data, SecretKey.parse)
    if key.kind != kind:
        came = key.kind
        key.close()
        raise KeyUnavailableError("no-key", f"expected the key of a {kind}, got one of a {came}")
    return key


def _split(uri: PathLike) -> tuple[str, str]:
    """Scheme and rest; a plain path is a file's."""
    text = os.fspath(uri)
    found = re.match(r"([a-z][a-z0-9+.-]*):", text)
    if found is None or not isinstance(uri, str):
        return "file", text
    scheme, rest = found.group(1), text[found.end() :]
    if scheme not in {"file", "env", "exec"} or not rest:
        raise ConfigurationError(
            "invalid",
            f"expected file:PATH, env:NAME, exec:COMMAND or a path, got {scheme}:",
            hint="for a file of this name, write file: in front of it",
        )
    if scheme == "file" and rest.startswith("//"):
        rest = rest[2:]
        if not rest.startswith("/"):
            raise ConfigurationError("invalid", f"expected file:/PATH on this machine, got {text}")
    return scheme, rest


def _read_file(path: str) -> bytearray:
    return files.read_private(path, limit=BUNDLE.key_bytes)


def _read_environment(name: str) -> bytearray:
    text = os.environ.get(name)
    if text is None:
        raise KeyUnavailableError("no-key", f"expected a key in ${name}, got no such variable")
    logger.warning(
        "the key in $%s can be seen by whoever may read this process's environment",
        name,
        extra={"reason": "key-permissions"},
    )
    try:
        return bytearray(base64.b64decode(text.strip(), validate=True))
    except (binascii.Error, ValueError):
        del text
        raise _malformed(f"base64 in ${name}", "something else") from None


def _parse_and_wipe(data: bytearray, parse: Callable[[memoryview], _Key]) -> _Key:
    try:
        return parse(memoryview(data))
    finally:
        primitives.wipe(data)


# ---- the container


def _pack(kind: int, kid: bytes, entries: Collection[tuple[int, memoryview]]) -> bytearray:
    body = sum(_ENTRY.size + len(secret) for _, secret in entries)
    data = bytearray(_HEAD.size + body)
    _HEAD.pack_into(data, 0, _MAGIC, kind, _UNPROTECTED, body, kid)
    offset = _HEAD.size
    for entry, secret in entries:
        _ENTRY.pack_into(data, offset, entry, len(secret))
        offset += _ENTRY.size
        data[offset : offset + len(secret)] = secret
        offset += len(secret)
    return data


def _unpack(data: memoryview, sizes: Mapping[int, int]) -> tuple[int, bytes, dict[int, memoryview]]:
    """Kind, kid and entries; ``sizes`` gives the types of entry and the length of each."""
    if not _HEAD.size <= len(data) <= BUNDLE.key_bytes:
        raise _malformed(f"{_HEAD.size} to {BUNDLE.key_bytes} bytes", str(len(data)))
    magic, kind, protection, body, kid = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise _malformed("the first bytes of a key file", "others")
    if protection != _UNPROTECTED:
        raise _malformed("protection 0, the one of this release", str(protection))
    if body != len(data) - _HEAD.size:
        raise _malformed(f"a body of {body} bytes", f"{len(data) - _HEAD.size}")
    entries: dict[int, memoryview] = {}
    rest = data[_HEAD.size :]
    while rest:
        if len(rest) < _ENTRY.size:
            raise _malformed("an entry", f"{len(rest)} bytes")
        entry, length = _ENTRY.unpack_from(rest)
        if sizes.get(entry) != length or entry <= max(entries, default=0):
            raise _malformed("known entries in ascending order", f"type {entry}, {length} bytes")
        if len(rest) < _ENTRY.size + length:
            raise _malformed(f"an entry of {length} bytes", f"{len(rest) - _ENTRY.size}")
        entries[entry] = rest[_ENTRY.size : _ENTRY.size + length]
        rest = rest[_ENTRY.size + length :]
    return kind, kid, entries


def _private(data: Buffer) -> memoryview:
    """A copy that can be wiped."""
    return memoryview(bytearray(data))


def _wipe_all(material: list[memoryview]) -> None:
    for secret in material:
        primitives.wipe(secret)


def _malformed(expected: str, came: str) -> MalformedBundleError:
    return MalformedBundleError("key-file", f"a key file: expected {expected}, got {came}")
