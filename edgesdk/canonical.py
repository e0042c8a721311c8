"""JSON with one spelling: RFC 8785 restricted to objects, arrays, strings, booleans, integers.

``parse`` promises that ``encode`` gives back the very bytes that came. So what was signed has no
second spelling, and a duplicate member, ``NaN``, ``1e3``, ``1.0``, ``-0``, a superfluous space or
escape falls out without a rule of its own.

Order of checks: depth and ``null`` on the bytes, before anything is built from them; UTF-8;
syntax, duplicate members, the range of numbers; and last the spelling.

Not checked here: which members there are, and of what type. That is what ``Fields`` is for.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from edgesdk.errors import EdgeError, InputError
from edgesdk.limits import BUNDLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | bool"
Refusal: TypeAlias = "Callable[[str], EdgeError]"

# What a double holds exactly, so that every JSON library reads the same number.
LARGEST_INTEGER = 2**53 - 1
_LONGEST_QUOTE = 40
_LONGEST_NUMERAL = len(f"-{LARGEST_INTEGER}")


def parse(data: bytes, *, error: Refusal, depth: int = BUNDLE.json_depth) -> JSON:
    """Read a canonical document, or raise what ``error`` makes of the cause."""
    value = parse_lenient(data, error=error, depth=depth)
    if _spell(value) != data:
        raise error("expected canonical JSON, got another spelling of the same document")
    return value


def parse_lenient(data: bytes, *, error: Refusal, depth: int = BUNDLE.json_depth) -> JSON:
    """Read a document of the same values, of any spelling, otherwise as strictly as ``parse``."""
    _check_nesting(data, error, depth)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise error(f"expected UTF-8, got another byte at {cause.start}") from None
    try:
        value: JSON = _decoder(error).decode(text)
        # A lone surrogate can be escaped, but it cannot be written.
        _spell(value)
    except json.JSONDecodeError as cause:
        raise error(f"expected JSON, got {cause.msg} at character {cause.pos}") from None
    except UnicodeEncodeError:
        raise error("expected Unicode text, got a lone surrogate") from None
    return value


def encode(value: JSON) -> bytes:
    """The one spelling of a value.

    Raises:
        InputError: ``argument``: a value that this JSON does not have.
    """
    _check_value(value, BUNDLE.json_depth)
    try:
        return _spell(value)
    except UnicodeEncodeError:
        raise InputError("argument", "expected Unicode text, got a lone surrogate") from None


def _spell(value: JSON) -> bytes:
    # With names in ASCII, RFC 8785's order by UTF-16 code units is Python's order of strings.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode("utf-8")


def _check_nesting(data: bytes, error: Refusal, depth: int) -> None:
    """Bound the depth before a recursive reader sees the bytes.

    Every second piece between quotes lies outside of strings. That is exact up to the first
    syntax error, where the reader stops, so it cannot go deeper than was counted here.
    """
    pieces = data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    outside = b"".join(pieces[::2])
    if b"null" in outside:
        raise error("expected objects, arrays, strings, booleans and integers, got null")
    brackets = outside.translate(_OPEN_AND_CLOSE, _NO_BRACKETS)
    for _ in range(depth):
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise error(f"expected at most {depth} levels, each closed, got more")


_OPEN_AND_CLOSE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _decoder(error: Refusal) -> json.JSONDecoder:
    def refuse_number(text: str) -> NoReturn:
        raise error(f"expected an integer, got {text[:24]}")

    def integer(text: str) -> int:
        # The length first: turning a long numeral into a number takes quadratic time.
        if len(text) > _LONGEST_NUMERAL or abs(int(text)) > LARGEST_INTEGER:
            raise error(f"expected an integer below 2^53, got {text[:24]}")
        return int(text)

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise error("expected each member once, got one twice")
        if not all(name.isascii() for name in found):
            raise error("expected names of members in ASCII, got others")
        return found

    return json.JSONDecoder(
        object_pairs_hook=members,
        parse_int=integer,
        parse_float=refuse_number,
        parse_constant=refuse_number,
    )


def _check_value(value: object, depth: int) -> None:
    if isinstance(value, (dict, list)):
        if depth == 0:
            raise InputError("argument", f"expected at most {BUNDLE.json_depth} levels, got more")
        for name in value if isinstance(value, dict) else ():
            if not isinstance(name, str) or not name.isascii():
                raise InputError("argument", f"expected a name in ASCII, got {name!r}")
        for member in value.values() if isinstance(value, dict) else value:
            _check_value(member, depth - 1)
    elif isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise InputError(
                "argument", f"expected an integer below 2^53, got {value.bit_length()} bits"
            )
    elif not isinstance(value, str):
        raise InputError("argument", f"expected a JSON value, got a {type(value).__name__}")


class Fields:
    """A reader of one object, that hands out its members by type and bounds.

    ``end`` refuses whatever was not asked for. ``where`` names the object in messages.
    """

    def __init__(self, value: JSON, where: str, error: Refusal) -> None:
        if not isinstance(value, dict):
            raise error(f"{where}: expected an object, got {_kind(value)}")
        self._members = dict(value)
        self._where = where
        self._error = error

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def names(self) -> Iterator[str]:
        """The members that have not been read yet, in order."""
        return iter(sorted(self._members))

    def refuse(self, name: str, expected: str, came: str) -> EdgeError:
        """The error for a member whose value a caller cannot take."""
        return self._error(f"{self._where}.{name}: expected {expected}, got {came}")

    def constant(self, name: str, expected: str | int) -> None:
        """A member that has one value only."""
        value = self._take(name)
        if type(value) is not type(expected) or value != expected:
            raise self.refuse(name, repr(expected), _kind(value))

    def integer(self, name: str, *, least: int = 0, most: int = LARGEST_INTEGER) -> int:
        """An integer from ``least`` to ``most``; ``true`` is none."""
        return self.check_integer(name, self._take(name), least=least, most=most)

    def check_integer(self, name: str, value: JSON, *, least: int, most: int) -> int:
        """The same for an entry of a list."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.refuse(name, "an integer", _kind(value))
        if not least <= value <= most:
            raise self.refuse(name, f"an integer from {least} to {most}", str(value))
        return value

    def text(
        self, name: str, *, longest: int, pattern: re.Pattern[str] | None = None, least: int = 0
    ) -> str:
        """A string of bounded length, in characters, that matches the whole pattern."""
        return self.check_text(
            name, self._take(name), longest=longest, pattern=pattern, least=least
        )

    def check_text(
        self,
        name: str,
        value: JSON,
        *,
        longest: int,
        pattern: re.Pattern[str] | None = None,
        least: int = 0,
    ) -> str:
        """The same for an entry of a list."""
        if not isinstance(value, str):
            raise self.refuse(name, "a string", _kind(value))
        if not least <= len(value) <= longest:
            raise self.refuse(name, f"{least} to {longest} characters", str(len(value)))
        if _INVISIBLE.search(value):
            raise self.refuse(name, "no control characters", "some")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.refuse(
                name, f"a string like {pattern.pattern}", repr(value[:_LONGEST_QUOTE])
            )
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of a few strings."""
        value = self._take(name)
        if not isinstance(value, str) or value not in choices:
            raise self.refuse(name, f"one of {', '.join(choices)}", _kind(value))
        return value

    def hexadecimal(self, name: str, size: int) -> bytes:
        """``size`` bytes as lower-case hexadecimal digits."""
        return self.check_hexadecimal(name, self._take(name), size)

    def check_hexadecimal(self, name: str, value: JSON, size: int) -> bytes:
        """The same for an entry of a list, or a name."""
        if isinstance(value, str) and len(value) == 2 * size and not set(value) - _HEX_DIGITS:
            return bytes.fromhex(value)
        raise self.refuse(name, f"{2 * size} lower-case hexadecimal digits", _kind(value))

    def base64(self, name: str, *, size: int | None = None, longest: int | None = None) -> bytes:
        """Bytes in base64 with padding, of exactly ``size`` or of at most ``longest``."""
        value = self._take(name)
        decoded = _from_base64(value) if isinstance(value, str) else None
        if decoded is None:
            raise self.refuse(name, "base64 with padding", _kind(value))
        if size is not None and len(decoded) != size:
            raise self.refuse(name, f"{size} bytes", str(len(decoded)))
        if longest is not None and len(decoded) > longest:
            raise self.refuse(name, f"at most {longest} bytes", str(len(decoded)))
        return decoded

    def entries(self, name: str, *, longest: int, least: int = 0) -> list[JSON]:
        """A list with a bounded number of entries."""
        value = self._take(name)
        if not isinstance(value, list):
            raise self.refuse(name, "a list", _kind(value))
        if not least <= len(value) <= longest:
            raise self.refuse(name, f"{least} to {longest} entries", str(len(value)))
        return value

    def nested(self, name: str) -> Fields:
        """A reader of an object inside this one."""
        return self.check_nested(name, self._take(name))

    def check_nested(self, name: str, value: JSON) -> Fields:
        """The same for an entry of a list."""
        return Fields(value, f"{self._where}.{name}", self._error)

    def end(self) -> None:
        """Refuse members that nobody has asked for."""
        if self._members:
            raise self._error(
                f"{self._where}: expected no more members, got {min(self._members)!r}"
            )

    def _take(self, name: str) -> JSON:
        if name not in self._members:
            raise self._error(f"{self._where}: expected a member {name!r}, got none")
        return self._members.pop(name)


_HEX_DIGITS = frozenset("0123456789abcdef")
# What could end a line of a log, steer a terminal, or turn the order of what is read.
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def to_base64(data: bytes) -> str:
    """RFC 4648 section 4, with padding."""
    return base64.b64encode(data).decode("ascii")


def _from_base64(text: str) -> bytes | None:
    """The bytes of the one spelling, or nothing: the library skips junk and unused bits."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if to_base64(decoded) == text else None


def _kind(value: JSON) -> str:
    """What came, short enough for a message, and never the text of a long member."""
    if isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, str):
        short = len(value) <= _LONGEST_QUOTE
        return repr(value) if short else f"a string of {len(value)} characters"
    return "an object" if isinstance(value, dict) else "a list"
