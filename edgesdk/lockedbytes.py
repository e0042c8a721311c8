"""A ``bytes`` object for secrets, for libraries that take nothing else.

LiteRT reads a model from a ``bytes`` object, where it lies and for as long as it runs. The one
made here is written in place while nobody else knows of it, lies in pages that are locked as far
as the system allows and left out of core dumps, and is wiped at the end.

What it cannot have, as the allocator places it: pages of its own that a forked child finds empty,
and guard pages. ``LockedMemory`` has both.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading
import weakref
from collections import Counter
from typing import cast

from edgesdk.errors import LifecycleError, ResourceError

_PAGE = mmap.PAGESIZE
# Of <sys/mman.h> on Linux; elsewhere core dumps are not ours to shape.
_MADV_DONTDUMP, _MADV_DODUMP = 16, 17
# What is locked at a time: at most this much of a limit on locked memory is left unused.
_STEP = 16 * _PAGE

_libc = ctypes.CDLL(None, use_errno=True)
for _name in ("mlock", "munlock"):
    getattr(_libc, _name).argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

_new_bytes = ctypes.pythonapi.PyBytes_FromStringAndSize
_new_bytes.restype = ctypes.py_object
_new_bytes.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t]

# How many secrets lie in each locked page: the allocator may give two of them one page, and a page
# is locked or not, however often that was asked for.
_pages: Counter[int] = Counter()
_turn = threading.Lock()


def _forget_after_fork() -> None:
    """A child inherits no locks of pages, and perhaps a lock that nobody will free."""
    global _turn  # noqa: PLW0603 - the module's own
    _pages.clear()
    _turn = threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)


class LockedBytes:
    """A copy of ``content`` as ``bytes``; ``close`` wipes it.

    Raises:
        ResourceError: ``memory``.
    """

    def __init__(self, content: memoryview) -> None:
        size = content.nbytes
        try:
            value = cast("bytes", _new_bytes(None, size))
        except MemoryError:
            raise ResourceError("memory", f"expected {size} bytes of memory, got none") from None
        # Up to here it is an object that only this function knows, which is what makes it legal
        # to write to. Its address stays, and so does everything that refers to it.
        address = ctypes.cast(ctypes.c_char_p(value), ctypes.c_void_p).value or 0
        pages = range(address - address % _PAGE, address + size, _PAGE)
        locked = _lock(pages)
        self._end = weakref.finalize(self, _wipe, value, address, pages[:locked])
        self._value: bytes | None = value
        self.locked = size if locked == len(pages) else min(size, locked * _PAGE)
        memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")[:] = content

    @property
    def value(self) -> bytes:
        """The bytes; whoever takes them must be gone before ``close``."""
        if self._value is None:
            raise LifecycleError("closed", "expected open memory, got closed memory")
        return self._value

    def close(self) -> None:
        """Wipes the bytes, also for those who still refer to them."""
        self._value = None
        self._end()


def _lock(pages: range) -> int:
    """Locks pages until the system refuses; how many it were, from the first on."""
    done = 0
    with _turn:
        for start in range(pages.start, pages.stop, _STEP):
            part = range(start, min(start + _STEP, pages.stop), _PAGE)
            if _libc.mlock(start, len(part) * _PAGE) != 0:
                break
            _advise(part, _MADV_DONTDUMP)
            _pages.update(part)
            done += len(part)
    return done


def _wipe(value: bytes, address: int, pages: range) -> None:
    ctypes.memset(address, 0, len(value))
    with _turn:
        for page in pages:
            if _pages[page] > 1:
                _pages[page] -= 1
            elif _pages.pop(page, 0):
                _advise(range(page, page + _PAGE, _PAGE), _MADV_DODUMP)
                _libc.munlock(page, _PAGE)


def _advise(pages: range, advice: int) -> None:
    if sys.platform.startswith("linux"):
        _libc.madvise(pages.start, len(pages) * _PAGE, advice)
