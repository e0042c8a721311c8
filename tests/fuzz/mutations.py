"""Changes to a JSON document that leave it one, and canonical.

A fuzzer that changes bytes hardly ever makes a second canonical document: it would test over and
over that other spellings are refused, and no rule behind that one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

# What has broken readers elsewhere: bounds of integers, other types, text that steers.
VALUES = (
    *(0, 1, -1, 2, 16, 17, 255, 256, 2**31 - 1, 2**31, 2**32, 2**53 - 1, 2**53, -(2**53), 10**30),
    *(True, False, [], {}, [[]], [{}], {"": 0}, {"expires": 1}, [0, 0], [-1], [1] * 9),
    *("", "a", "*", "/", "..", "a/*", "\x00", "\u202e", "\xe9", "\U0001f600", "A" * 300, "0" * 64),
    *("=", "AA==", "AAAA", "7f800000", "ffc00000", "80000000", "00000001", "ed25519", "x25519"),
)


def change(body: bytes, random: Random) -> bytes | None:
    """The document with one to three changes, or nothing where ``body`` is no document."""
    try:
        value = json.loads(body)
        for _ in range(random.randint(1, 3)):
            places = list(_places(value))
            if not places:
                break
            _change(*random.choice(places), places, random)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return None


def _places(value: object) -> Iterator[tuple[dict | list, str | int]]:
    """Every member and entry, at any depth, by what holds it and under which key."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _change(holder: dict | list, key: str | int, places: list, random: Random) -> None:
    other, name = random.choice(places)
    match random.randrange(7):
        case 0:
            del holder[key]
        case 1:
            holder[key] = random.choice(VALUES)
        case 2 | 3:
            holder[key] = _nudge(holder[key], random)
        case 4:
            holder[key] = json.loads(json.dumps(other[name]))
        case 5 if isinstance(holder, dict):
            holder[random.choice(["", "x", str(name)])] = holder.pop(key)
        case _ if isinstance(holder, list):
            holder.insert(random.randint(0, len(holder)), json.loads(json.dumps(holder[key])))
        case _:
            holder[str(name)] = random.choice(VALUES)


def _nudge(value: object, random: Random) -> object:
    """Something near by, of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + random.choice([-1, 1, 2 ** random.randrange(64)])
    if isinstance(value, str) and value:
        place = random.randrange(len(value))
        letter = random.choice(["", "0", "f", "A", "/", "=", value[place] * 2, "\n", "-"])
        return value[:place] + letter + value[place + 1 :]
    if isinstance(value, list):
        return random.sample(value, len(value))
    return value
