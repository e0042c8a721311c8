"""The one door to the file system.

Every read names its bound, opens without following a symbolic link, looks at what was opened
(never at the path a second time), and reads it once into private memory: what was checked is what
is used. Every write is whole or absent.

Order of checks of a read: it opens; a regular file; owner and mode, where they matter; size; and
again no more bytes than that while reading.

Not checked here: the folders above a file. Who may rename in them may replace it by another that
passes the same checks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from edgesdk.errors import (
    ConfigurationError,
    EdgeError,
    KeyUnavailableError,
    MalformedBundleError,
)
from edgesdk.limits import BUNDLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PathLike: TypeAlias = "str | os.PathLike[str]"
# Makes an error from one of MalformedBundleError's reasons and a text.
Refusal: TypeAlias = "Callable[[str, str], EdgeError]"

DEFAULT_HOME = Path("/etc/edgesdk")

# Not blocking, so that a pipe without a writer cannot hold the reader before it is seen for one.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_LOCK = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_LOCK_PAUSE = 0.005  # seconds between two attempts
# What file systems say that cannot make a name durable.
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES})
_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def read_once(
    path: PathLike,
    *,
    limit: int,
    error: Refusal = MalformedBundleError,
    follow: bool = False,
) -> bytes:
    """The bytes of a file that may lie anywhere and belong to anybody.

    ``follow`` allows a symbolic link: for files of which nothing is believed, such as a plain
    model that the caller names.

    Raises:
        MalformedBundleError: ``not-a-regular-file``, ``too-large`` (or what ``error`` makes).
        ConfigurationError: ``missing``, ``permissions``.
    """
    with _opened(path, missing=_not_there, error=error, follow=follow) as (descriptor, status):
        _check_size(path, status.st_size, limit, error)
        return _read_to_end(path, descriptor, status.st_size, limit, error)


def read_trusted(path: PathLike, *, limit: int) -> bytes:
    """The bytes of a file that says whom to trust: nobody but root and this user may write it.

    Raises:
        MalformedBundleError: ``not-a-regular-file``, ``too-large``.
        ConfigurationError: ``missing``, ``permissions``.
    """
    with _opened(path, missing=_not_there) as (descriptor, status):
        if status.st_uid not in {0, os.geteuid()}:
            raise ConfigurationError(
                "permissions",
                f"{path}: expected a file of root or of user {os.geteuid()},"
                f" got one of user {status.st_uid}",
            )
        if status.st_mode & _WRITABLE_BY_OTHERS:
            raise ConfigurationError(
                "permissions",
                f"{path}: expected a file that only its owner may write,"
                f" got mode {stat.S_IMODE(status.st_mode):04o}",
                hint=f"chmod go-w {path}",
            )
        _check_size(path, status.st_size, limit, MalformedBundleError)
        return _read_to_end(path, descriptor, status.st_size, limit, MalformedBundleError)


def read_private(path: PathLike, *, limit: int) -> bytearray:
    """The bytes of a file that only this user may read. The caller wipes them.

    Raises:
        MalformedBundleError: ``not-a-regular-file``, ``too-large``.
        KeyUnavailableError: ``no-key``, ``key-permissions``.
    """
    with _opened(path, missing=_no_key, denied=_key_permissions) as (descriptor, status):
        if status.st_uid != os.geteuid():
            raise _key_permissions(
                path, f"expected a file of user {os.geteuid()}, got one of user {status.st_uid}"
            )
        if status.st_mode & _OPEN_TO_OTHERS:
            mode = stat.S_IMODE(status.st_mode)
            raise KeyUnavailableError(
                "key-permissions",
                f"{path}: expected a file that only its owner may open, got mode {mode:04o}",
                hint=f"chmod 600 {path}; if others could read it, make a new key",
            )
        _check_size(path, status.st_size, limit, MalformedBundleError)
        return _read_into_place(path, descriptor, status.st_size)


def write_new(path: PathLike, data: bytes | bytearray | memoryview, *, mode: int = 0o600) -> None:
    """Create a file, durably, and never overwrite one. A failure leaves nothing behind.

    Raises:
        KeyUnavailableError: ``key-exists``: there is something of that name.
        ConfigurationError: ``missing``, ``permissions``, ``invalid``.
    """
    temporary = _temporary(path, data, mode)
    try:
        _name(temporary, path, mode, data)
    except FileExistsError:
        raise KeyUnavailableError(
            "key-exists", f"{path}: expected no file of that name, got one; it is not overwritten"
        ) from None
    except OSError as cause:
        raise _unwritable(path, cause) from None
    finally:
        with suppress(OSError):
            temporary.unlink()
    _sync_folder(Path(path).parent)


def write_replace(
    path: PathLike, data: bytes | bytearray | memoryview, *, mode: int = 0o644
) -> None:
    """Write a file in one step: a reader sees the old bytes or the new ones, also after a crash.

    Raises:
        ConfigurationError: ``missing``, ``permissions``, ``invalid``.
    """
    target = Path(path)
    temporary = _temporary(path, data, mode)
    try:
        temporary.replace(target)
    except OSError as cause:
        with suppress(OSError):
            temporary.unlink()
        raise _unwritable(path, cause) from None
    _sync_folder(target.parent, strict=True)


def make_private_folder(path: PathLike) -> None:
    """Make a folder that only this user may look into, durably, unless it is there.

    Raises:
        ConfigurationError: ``missing``, ``permissions``, ``invalid``.
    """
    folder = Path(path)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as cause:
        raise _unwritable(path, cause) from None
    _sync_folder(folder.parent, strict=True)


@contextmanager
def locked(path: PathLike, *, seconds: float) -> Iterator[None]:
    """One process or thread at a time. The lock is advisory, and is a file that stays.

    It goes with the process that holds it, however that ends.

    Raises:
        ConfigurationError: ``missing``, ``permissions``, ``invalid``: another held it too long.
    """
    try:
        # For reading: a lock needs no more, and the folder may have been mounted so meanwhile.
        descriptor = os.open(path, _LOCK, 0o600)
    except OSError as cause:
        raise _unwritable(path, cause) from None
    try:
        _lock(path, descriptor, time.monotonic() + seconds)
        try:
            yield
        finally:
            # By name, as a child that was forked meanwhile has the same open file.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _lock(path: PathLike, descriptor: int, until: float) -> None:
    """The system's own wait has no deadline, so it is asked again and again."""
    try:
        while not _lock_at_once(descriptor, last=time.monotonic() >= until):
            time.sleep(_LOCK_PAUSE)
    except OSError as cause:
        raise _unwritable(path, cause) from None


def _lock_at_once(descriptor: int, *, last: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if last:
            raise
        return False
    return True


def remove_leftovers(path: PathLike) -> None:
    """Remove what a writer of this file left behind when the power went. Nobody may be writing."""
    target = Path(path)
    with suppress(OSError):
        for each in target.parent.iterdir():
            if each.name.startswith(f".{target.name[:32]}.") and each.name.endswith(".new"):
                each.unlink()


def is_there(path: PathLike) -> bool:
    """Whether there is something of that name; where this user may not look, there may be."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def grant_beside(bundle: PathLike) -> Path:
    """Where a bundle's grant lies: ``NAME.grant`` for ``NAME.emb``."""
    return Path(f"{os.fspath(bundle).removesuffix('.emb')}.grant")


class Home:
    """The configuration folder of a device: whom it trusts, and who it is."""

    def __init__(self, folder: PathLike) -> None:
        # An empty text would be the current folder: whoever can write there would be trusted.
        if not os.fspath(folder):
            raise ConfigurationError(
                "missing", "expected a configuration folder, got an empty path"
            )
        self.folder = Path(folder)

    @classmethod
    def find(cls, path: PathLike | None = None) -> Home:
        """The folder of the argument, else of ``$EDGESDK_HOME``, else ``/etc/edgesdk``."""
        if path is not None:
            return cls(path)
        return cls(os.environ.get("EDGESDK_HOME") or DEFAULT_HOME)

    def __repr__(self) -> str:
        return f"Home({str(self.folder)!r})"

    @property
    def trust(self) -> Path:
        """Whom this device trusts."""
        return self.folder / "trust.json"

    @property
    def device_key(self) -> Path:
        """What this device opens grants and signs requests with."""
        return self.folder / "device.key"

    @property
    def floors_required(self) -> Path:
        """Whose presence says that this device has floors (docs/bundle-format.md, section 6)."""
        return self.folder / "floors.required"

    @property
    def state(self) -> Path:
        """The folder of what this device must remember. It may lie on another disk."""
        return self.folder / "state"

    @property
    def policy(self) -> Path:
        """What this device demands of a model's evidence. There may be none."""
        return self.folder / "policy.toml"

    @property
    def gateway(self) -> Path:
        """The public record of the gateway."""
        return self.folder / "gateway.pub"

    @property
    def broker_ca(self) -> Path:
        """The certificate authorities of the broker."""
        return self.folder / "broker-ca.pem"

    def grants(self) -> list[Path]:
        """The grants in this folder, by name. There may be none."""
        try:
            found = sorted((self.folder / "grants").glob("*.grant"))
        except OSError:
            return []
        return found[: BUNDLE.grant_files]


@contextmanager
def _opened(
    path: PathLike,
    *,
    missing: Callable[[PathLike], EdgeError],
    denied: Callable[[PathLike, str], EdgeError] | None = None,
    error: Refusal = MalformedBundleError,
    follow: bool = False,
) -> Iterator[tuple[int, os.stat_result]]:
    """Open for reading, see to it that it is a regular file, and close it afterwards."""
    try:
        descriptor = os.open(path, _READ & ~os.O_NOFOLLOW if follow else _READ)
    except OSError as cause:
        if cause.errno in {errno.ENOENT, errno.ENOTDIR}:
            raise missing(path) from None
        if cause.errno in {errno.ELOOP, errno.EMLINK}:
            raise _irregular(path, "a symbolic link", error) from None
        if cause.errno in {errno.ENXIO, errno.ENODEV}:
            raise _irregular(path, "a socket or device", error) from None
        refusal = denied or _not_permitted
        raise refusal(path, f"expected a readable file, got: {cause.strerror}") from None
    except ValueError:
        # A path with a zero byte in it.
        raise missing(path) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _irregular(path, f"file type {stat.S_IFMT(status.st_mode):o}", error)
        yield descriptor, status
    except OSError as cause:
        raise _not_permitted(path, f"expected a readable file, got: {cause.strerror}") from None
    finally:
        os.close(descriptor)


def _check_size(path: PathLike, size: int, limit: int, error: Refusal) -> None:
    if size > limit:
        raise error("too-large", f"{path}: expected at most {limit} bytes, got {size}")


def _read_to_end(path: PathLike, descriptor: int, size: int, limit: int, error: Refusal) -> bytes:
    """One byte more than the size is asked for, so that the usual file is one read, not copied."""
    parts = []
    room = limit + 1
    while room and (part := os.read(descriptor, min(room, size + 1))):
        parts.append(part)
        room -= len(part)
    if not room:
        raise error("too-large", f"{path}: expected at most {limit} bytes, got more")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _read_into_place(path: PathLike, descriptor: int, size: int) -> bytearray:
    """Into memory that can be wiped; a view, as a traceback shows the contents of anything else."""
    view = memoryview(bytearray(size))
    filled = 0
    while filled < size and (count := os.readv(descriptor, [view[filled:]])):
        filled += count
    if filled < size or os.read(descriptor, 1):
        raise MalformedBundleError(
            "key-file", f"{path}: expected {size} bytes, got a file that changed while it was read"
        )
    return cast("bytearray", view.obj)


def _temporary(path: PathLike, data: bytes | bytearray | memoryview, mode: int) -> Path:
    """A new file in the same folder, whole and durable."""
    target = Path(path)
    temporary = target.with_name(f".{target.name[:32]}.{secrets.token_hex(8)}.new")
    try:
        descriptor = os.open(temporary, _CREATE, mode)
    except OSError as cause:
        raise _unwritable(path, cause) from None
    _fill(temporary, descriptor, data)
    return temporary


def _name(temporary: Path, path: PathLike, mode: int, data: bytes | bytearray | memoryview) -> None:
    """Give a file its name, unless something has it already."""
    try:
        os.link(temporary, path)
    except OSError as cause:
        if cause.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
            raise
        # A file system without hard links: whole or absent as long as this process lives.
        _fill(Path(path), os.open(path, _CREATE, mode), data)


def _fill(path: Path, descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write all, durably, and close; or remove the file."""
    try:
        try:
            view = memoryview(data).cast("B")
            while len(view):
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException as cause:
        with suppress(OSError):
            path.unlink()
        if isinstance(cause, OSError):
            raise _unwritable(path, cause) from None
        raise


def _sync_folder(folder: Path, *, strict: bool = False) -> None:
    """Make a new name survive a power cut. Some file systems cannot, and say so.

    ``strict`` raises where one can, and failed.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as cause:
        if strict and cause.errno not in _CANNOT_SYNC:
            raise _unwritable(folder, cause) from None


def _irregular(path: PathLike, came: str, error: Refusal) -> EdgeError:
    return error("not-a-regular-file", f"{path}: expected a regular file, got {came}")


def _not_there(path: PathLike) -> EdgeError:
    return ConfigurationError("missing", f"{path}: expected a file, got none")


def _no_key(path: PathLike) -> EdgeError:
    return KeyUnavailableError("no-key", f"{path}: expected a key file, got none")


def _not_permitted(path: PathLike, text: str) -> EdgeError:
    return ConfigurationError("permissions", f"{path}: {text}")


def _key_permissions(path: PathLike, text: str) -> EdgeError:
    return KeyUnavailableError("key-permissions", f"{path}: {text}")


def _unwritable(path: PathLike, cause: OSError) -> EdgeError:
    reason = {
        errno.ENOENT: "missing",
        errno.ENOTDIR: "missing",
        errno.EACCES: "permissions",
        errno.EPERM: "permissions",
        errno.EROFS: "permissions",
    }.get(cause.errno or 0, "invalid")
    return ConfigurationError(reason, f"{path}: expected to write it, got: {cause.strerror}")
