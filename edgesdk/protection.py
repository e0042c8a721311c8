"""How far a model that runs is protected, and what is lost; for apps that must know."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgesdk.litert import LiteRTModel
from edgesdk.litertlibrary import Delegate

if TYPE_CHECKING:
    from edgesdk.native import LockedMemory
    from edgesdk.selection import Loaded

_BY_LITERT = (
    "LiteRT's own copies of weights are neither locked nor kept out of core dumps nor wiped",
    "LiteRT's tensors, inputs and outputs among them, are not either",
    "a forked child inherits all of it",
)


@dataclass(frozen=True)
class ProtectionLevel:
    """What holds for a model's plaintext in this process.

    ``level`` is ``"locked"`` where all memory of the model is locked, left out of core dumps,
    empty in forked children and wiped at the end; ``"reduced"`` where some of that is lost, which
    ``lost`` says in whole sentences; ``"none"`` for a plain model.
    """

    level: Literal["locked", "reduced", "none"]
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ": ".join([self.level, "; ".join(self.lost)] if self.lost else [self.level])


PLAIN = ProtectionLevel("none", ("the model is a plain file, neither signed nor encrypted",))


def level_of(loaded: Loaded) -> ProtectionLevel:
    """The level of a decrypted model."""
    wanted, locked = sizes(loaded)
    lost = []
    if locked < wanted:
        lost.append(f"{wanted - locked} of {wanted} bytes are not locked and may reach the swap")
    if isinstance(loaded, LiteRTModel):
        lost += _BY_LITERT
        for each in loaded.options.delegates:
            name = each.name if isinstance(each, Delegate) else type(each).__name__
            lost.append(f"what the delegate {name} does with the weights is its own affair")
    return ProtectionLevel("reduced" if lost else "locked", tuple(lost))


def sizes(loaded: Loaded) -> tuple[int, int]:
    """Bytes of a loaded model, and those of them that are locked."""
    if isinstance(loaded, LiteRTModel):
        return loaded.mapped_bytes, loaded.locked_bytes
    info = loaded.describe()
    return info["mapped_bytes"], info["locked_bytes"]


_warned = False


def warn_of_unlocked(memory: LockedMemory, loaded: Loaded) -> None:
    """A RuntimeWarning, once for each process, where not all memory could be locked."""
    global _warned  # noqa: PLW0603 - once for each process
    wanted, locked = sizes(loaded)
    wanted += len(memory)
    locked += memory.locked
    if locked >= wanted or _warned:
        return
    _warned = True
    warnings.warn(
        f"expected {wanted} bytes of locked memory for a protected model, got {locked}: the rest "
        "may reach the swap; raise the limit (ulimit -l, LimitMEMLOCK=) or insist with "
        "memory='require-locked'",
        RuntimeWarning,
        stacklevel=2,
    )
