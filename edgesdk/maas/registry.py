"""Which devices a gateway serves: a folder with one public record for each.

The file of a device is called by its name, ``<name>.pub``, so that a device is found by looking
for one file, however many there are, and is turned away by removing it. A record is read when
its device first asks, and again when its file has changed.

Order of checks: the file's size; the record's form and signatures; its kind; and that its ``kid``
is the one that was looked for.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from cachetools import LRUCache

from edgesdk.errors import EdgeError, MalformedBundleError, SignatureError
from edgesdk.files import read_once, write_replace
from edgesdk.limits import BUNDLE
from edgesdk.record import PublicRecord, name_of

if TYPE_CHECKING:
    from edgesdk.files import PathLike

_REMEMBERED = 10_000


class Registry:
    """Enrolled devices. Safe to share between threads."""

    def __init__(self, folder: PathLike) -> None:
        self.folder = Path(folder)
        self._lock = threading.Lock()
        self._records: LRUCache[bytes, tuple[tuple[int, int, int], PublicRecord]] = LRUCache(
            _REMEMBERED
        )

    def enrol(self, record: PublicRecord) -> Path:
        """Serve this device from now on; enrolling it again replaces its record.

        Raises:
            MalformedBundleError: ``record``: not the record of a device.
            ConfigurationError: the folder cannot be written.
        """
        path = self._path(_device(record, record.kid).kid)
        write_replace(path, record.encode())
        return path

    def find(self, kid: bytes) -> PublicRecord:
        """The record of an enrolled device.

        Raises:
            SignatureError: ``unknown-signer``: no such device, or no sound record of it.
        """
        path = self._path(kid)
        try:
            status = path.stat()
        except OSError:
            raise SignatureError(
                "unknown-signer", f"expected an enrolled device, got {name_of(kid)}"
            ) from None
        mark = (status.st_mtime_ns, status.st_size, status.st_ino)
        with self._lock:
            found = self._records.get(kid)
        if found is not None and found[0] == mark:
            return found[1]
        record = self._read(path, kid)
        with self._lock:
            self._records[kid] = (mark, record)
        return record

    def _read(self, path: Path, kid: bytes) -> PublicRecord:
        try:
            return _device(PublicRecord.parse(read_once(path, limit=BUNDLE.record_bytes)), kid)
        except EdgeError as error:
            raise SignatureError(
                "unknown-signer", f"expected the sound record of a device, got: {error}"
            ) from error

    def _path(self, kid: bytes) -> Path:
        return self.folder / f"{name_of(kid)}.pub"


def _device(record: PublicRecord, kid: bytes) -> PublicRecord:
    if record.kind != "device" or record.kid != kid:
        raise MalformedBundleError(
            "record",
            f"expected the record of device {name_of(kid)}, "
            f"got that of the {record.kind} {record.name}",
        )
    return record
