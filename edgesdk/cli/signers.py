"""Signers by their URIs, wiped when they have signed."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgesdk.keys import Signer


@contextmanager
def opened(uris: Iterable[str]) -> Iterator[list[Signer]]:
    """All of them; a key that was read into this process is overwritten afterwards."""
    from edgesdk.keys import SecretKey, open_signer  # noqa: PLC0415 - brings cryptography

    with ExitStack() as stack:
        found = []
        for uri in uris:
            signer = open_signer(uri)
            if isinstance(signer, SecretKey):
                stack.enter_context(signer)
            found.append(signer)
        yield found


def shown(uri: str) -> str:
    """A key's URI without what stands behind a program's name: that may be a PIN."""
    if not uri.startswith("exec:"):
        return uri
    return " ".join(uri.split(maxsplit=1)[:1])
