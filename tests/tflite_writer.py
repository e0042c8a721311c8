"""Writes small flatbuffers, so that tests can make the models that they need."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass, field

RELU = 19
INT8, FLOAT32 = 9, 0
NUMPY_CODES = {"int8": INT8, "float32": FLOAT32}


@dataclass
class Table:
    """Fields by number: bytes for a scalar in place, or something that is written behind it."""

    fields: dict[int, object] = field(default_factory=dict)


def uint8(value):
    return struct.pack("<B", value)


def int32(value):
    return struct.pack("<i", value)


def uint32(value):
    return struct.pack("<I", value)


@dataclass
class Scalars:
    """A vector of scalars: count, and packed elements."""

    count: int
    data: bytes


def int32s(values):
    return Scalars(len(values), struct.pack(f"<{len(values)}i", *values))


def int64s(values):
    return Scalars(len(values), struct.pack(f"<{len(values)}q", *values))


def floats(values):
    return Scalars(len(values), struct.pack(f"<{len(values)}f", *values))


def octets(data):
    return Scalars(len(data), bytes(data))


def write(root, identifier):
    """The bytes of a flatbuffer; what a field refers to lies behind it, as offsets are positive."""
    out = bytearray(8)
    out[4:8] = identifier
    waiting = [(0, root)]
    while waiting:
        slot, item = waiting.pop(0)
        while len(out) % 16 != 12:  # vectors of eight-byte scalars start four bytes later
            out.append(0)
        if isinstance(item, Table):
            at = _write_table(out, item, waiting)
        elif isinstance(item, Scalars):
            at = len(out)
            out += struct.pack("<I", item.count) + item.data
        elif isinstance(item, str):
            at = len(out)
            data = item.encode()
            out += struct.pack("<I", len(data)) + data + b"\0"
        else:
            at = len(out)
            out += struct.pack("<I", len(item))
            for number, member in enumerate(item):
                waiting.append((at + 4 + 4 * number, member))
            out += bytes(4 * len(item))
        struct.pack_into("<I", out, slot, at - slot)
    return bytes(out)


def _write_table(out, table, waiting):
    count = max(table.fields, default=-1) + 1
    vtable = len(out)
    out += bytes(4 + 2 * count)
    while len(out) % 4:
        out.append(0)
    at = len(out)
    out += struct.pack("<i", at - vtable)
    for number, value in sorted(table.fields.items()):
        struct.pack_into("<H", out, vtable + 4 + 2 * number, len(out) - at)
        if isinstance(value, bytes):
            out += value + bytes(-len(value) % 4)
        else:
            waiting.append((len(out), value))
            out += bytes(4)
    struct.pack_into("<HH", out, vtable, 4 + 2 * count, len(out) - at)
    return at


def quantization(scale, zero_point):
    return Table({2: floats([scale]), 3: int64s([zero_point])})


def tensor(name, shape, *, dtype="int8", scale=0.5, zero_point=-3):
    fields = {0: int32s(shape), 1: uint8(NUMPY_CODES[dtype]), 2: uint32(0), 3: name}
    if dtype == "int8":
        fields[4] = quantization(scale, zero_point)
    return Table(fields)


def relu_model(*, shape=(1, 4), dtype="int8", metadata=None, files=None):
    """One RELU from tensor 0 to tensor 1; metadata as bytes, and files in a ZIP behind it."""
    operator = Table({1: int32s([0]), 2: int32s([1])})
    subgraph = Table(
        {
            0: [tensor("x", shape, dtype=dtype), tensor("y", shape, dtype=dtype)],
            1: int32s([0]),
            2: int32s([1]),
            3: [operator],
            4: "main",
        }
    )
    buffers = [Table()]
    model = {
        0: uint32(3),
        1: [Table({0: uint8(RELU), 2: int32(1), 3: int32(RELU)})],
        2: [subgraph],
        3: "a test's model",
        4: buffers,
    }
    if metadata is not None:
        buffers.append(Table({0: octets(metadata)}))
        model[6] = [Table({0: "TFLITE_METADATA", 1: uint32(1)})]
    data = write(Table(model), b"TFL3")
    return data + archive(files) if files else data


def archive(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        for name, data in files.items():
            zipped.writestr(name, data)
    return out.getvalue()


def image_metadata(*, colour=1, mean=(127.5,), std=(127.5,), labels="labels.txt"):
    """What the metadata tools write for an image classifier."""
    content = Table({0: uint8(2), 1: Table({0: uint8(colour)})})
    unit = Table({0: uint8(1), 1: Table({0: floats(mean), 1: floats(std)})})
    outputs = Table({0: "y", 6: [Table({0: labels, 2: uint8(2)})]} if labels else {0: "y"})
    subgraph = Table({2: [Table({0: "x", 3: content, 4: [unit]})], 3: [outputs]})
    return write(Table({0: "classifier", 3: [subgraph]}), b"M001")
