"""Tables of a flatbuffer, read field by field.

For the few fields of a ``.tflite`` file that Python needs; the core reads models by itself. Each
offset is checked against the bytes before it is followed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesdk.errors import MalformedModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Fields by their number in schema.fbs of TensorFlow Lite.
_MODEL_CODES, _MODEL_SUBGRAPHS = 1, 2
_CODE_VERSION, _SUBGRAPH_OPERATORS, _OPERATOR_CODE = 2, 3, 0


def subgraph_count(model: bytes) -> int:
    """How many subgraphs a model has.

    Raises:
        MalformedModelError: offsets that lead out of the bytes.
    """
    return Table.root(model).count(_MODEL_SUBGRAPHS)


def operator_versions(model: bytes, *, most: int) -> list[int]:
    """The versions of the main subgraph's operators, in order.

    Raises:
        MalformedModelError: offsets that lead out of the bytes, or more than ``most`` operators.
    """
    root = Table.root(model)
    # A version that is not written is the first.
    codes = [code.uint32(_CODE_VERSION) or 1 for code in root.tables(_MODEL_CODES, most)]
    found = []
    for operator in next(root.tables(_MODEL_SUBGRAPHS, most)).tables(_SUBGRAPH_OPERATORS, most):
        code = operator.uint32(_OPERATOR_CODE)
        if code >= len(codes):
            raise malformed(f"one of {len(codes)} operator codes", str(code))
        found.append(codes[code])
    return found


@dataclass(frozen=True)
class Table:
    """A table of a flatbuffer: a position, behind which a list of offsets of fields is found."""

    data: bytes
    position: int

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The table that the file begins with."""
        return cls(data, _unpack("<I", data, 0))

    def tables(self, field: int, most: int) -> Iterator[Table]:
        """The tables of a vector of at most so many."""
        start, count = self._vector(field, 4)
        if count > most:
            raise malformed(f"at most {most} entries", str(count))
        for slot in range(start, start + 4 * count, 4):
            yield Table(self.data, slot + _unpack("<I", self.data, slot))

    def count(self, field: int) -> int:
        """How many tables a vector has."""
        return self._vector(field, 4)[1]

    def table(self, field: int) -> Table | None:
        """A table within this one."""
        at = self._field(field)
        return None if at is None else Table(self.data, at + _unpack("<I", self.data, at))

    def union(self, field: int, kind: int) -> Table | None:
        """The value of a union, if it is of this kind."""
        return self.table(field + 1) if self.uint8(field) == kind else None

    def text(self, field: int) -> str | None:
        """A string; what is not UTF-8 in it is replaced."""
        if self._field(field) is None:
            return None
        return self.octets(field).decode("utf-8", "replace")

    def octets(self, field: int) -> bytes:
        """A vector of bytes."""
        start, count = self._vector(field, 1)
        return self.data[start : start + count]

    def floats(self, field: int) -> tuple[float, ...]:
        """A vector of float32."""
        start, count = self._vector(field, 4)
        return struct.unpack_from(f"<{count}f", self.data, start)

    def uint8(self, field: int) -> int:
        """A number; 0 where it is not written."""
        at = self._field(field)
        return 0 if at is None else _unpack("<B", self.data, at)

    def uint32(self, field: int) -> int:
        """A number; 0 where it is not written."""
        at = self._field(field)
        return 0 if at is None else _unpack("<I", self.data, at)

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        """Where the elements start, and how many there are; all of them lie within the bytes."""
        at = self._field(field)
        if at is None:
            return 0, 0
        at += _unpack("<I", self.data, at)
        count = _unpack("<I", self.data, at)
        if at + 4 + width * count > len(self.data):
            raise malformed("a vector within the file", f"{count} elements at {at}")
        return at + 4, count

    def _field(self, field: int) -> int | None:
        """Where a field is, or nothing when it has its default."""
        offsets = self.position - _unpack("<i", self.data, self.position)
        entry = 4 + 2 * field
        if entry + 2 > _unpack("<H", self.data, offsets):
            return None
        offset = _unpack("<H", self.data, offsets + entry)
        return self.position + offset if offset else None


def _unpack(form: str, data: bytes, at: int) -> int:
    # Below zero, struct would count from the end.
    if not 0 <= at <= len(data) - struct.calcsize(form):
        raise malformed("an offset within the file", f"{at} of {len(data)}")
    (value,) = struct.unpack_from(form, data, at)
    return int(value)


def malformed(expected: str, came: str) -> MalformedModelError:
    """The error for bytes that contradict themselves."""
    return MalformedModelError(
        "malformed-model", f"the model's bytes: expected {expected}, got {came}"
    )
