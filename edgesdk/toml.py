"""TOML files that people write: integers, strings, booleans, lists and tables, within bounds.

``parse`` gives a ``canonical.Fields``, so that what nobody asks for is refused, as in signed
documents. Order of checks: size; UTF-8; syntax; depth and types of every value.

Floats are refused, and with them ``nan`` and ``inf``, which no comparison would keep out; dates as
well. Not checked here: which members there are.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from edgesdk.canonical import LARGEST_INTEGER, Fields
from edgesdk.limits import EVIDENCE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from edgesdk.canonical import JSON, Refusal


def parse(data: bytes, where: str, *, error: Refusal) -> Fields:
    """A reader of the document, or raise what ``error`` makes of the cause."""
    if len(data) > EVIDENCE.toml_bytes:
        raise error(f"expected at most {EVIDENCE.toml_bytes} bytes, got {len(data)}")
    try:
        value = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as cause:
        raise error(f"expected UTF-8, got another byte at {cause.start}") from None
    except RecursionError:
        raise error(f"expected at most {EVIDENCE.toml_depth} levels, got more") from None
    except ValueError as cause:
        # Its own error is one, and so is that of a numeral with thousands of digits.
        raise error(f"expected TOML, got: {cause}") from None
    _check(value, EVIDENCE.toml_depth, error)
    return Fields(cast("JSON", value), where, error)


def _check(value: object, depth: int, error: Refusal) -> None:
    if isinstance(value, (dict, list)):
        if depth == 0:
            raise error(f"expected at most {EVIDENCE.toml_depth} levels, got more")
        for member in value.values() if isinstance(value, dict) else value:
            _check(member, depth - 1, error)
    elif isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise error(f"expected an integer below 2^53, got {value.bit_length()} bits")
    elif not isinstance(value, str):
        raise error(f"expected integers, texts, lists and tables, got a {type(value).__name__}")
