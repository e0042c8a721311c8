"""Inputs and outputs of a model: how they are shown, and arrays for them from files.

An ``.npy`` file holds the one input of a model, an ``.npz`` file its inputs by name. Either holds
one frame, or several, one after the other along a leading dimension more.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgesdk.contract import Array, Contract, TensorSpec, dequantize
from edgesdk.errors import InputError
from edgesdk.limits import PUBLISHER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHOWN_ENTRIES = 5

Frame: TypeAlias = "Array | dict[str, Array]"


# ---- how a tensor is shown


def describe(spec: TensorSpec) -> dict[str, Any]:
    """For programs; what there is none of is null."""
    return {
        "name": spec.name,
        "dtype": spec.dtype.name,
        "shape": list(spec.shape),
        "shape_signature": list(spec.shape_signature) if spec.shape_signature else None,
        "scale": spec.scale,
        "zero_point": spec.zero_point,
        "colour": spec.colour,
        "mean": list(spec.mean) if spec.mean else None,
        "std": list(spec.std) if spec.std else None,
        "labels": list(spec.labels) if spec.labels else None,
    }


def describe_contract(contract: Contract) -> dict[str, Any]:
    """The same for all."""
    return {
        "inputs": [describe(spec) for spec in contract.inputs],
        "outputs": [describe(spec) for spec in contract.outputs],
    }


def contract_rows(contract: Contract) -> list[tuple[str, str, str, str]]:
    """For people: which, name, type and shape, and what the numbers mean."""
    return [
        (side, spec.name, f"{spec.dtype.name} {list(spec.shape)}", _meaning(spec))
        for side, specs in (("input", contract.inputs), ("output", contract.outputs))
        for spec in specs
    ]


def _meaning(spec: TensorSpec) -> str:
    parts = []
    if spec.scale is not None:
        parts.append(f"{spec.scale:.6g} * (q - {spec.zero_point})".replace("- -", "+ "))
    if spec.shape_signature is not None:
        parts.append(f"shape may be {list(spec.shape_signature)}")
    if spec.colour:
        parts.append(spec.colour)
    if spec.mean and spec.std:
        mean, std = (", ".join(f"{x:g}" for x in values) for values in (spec.mean, spec.std))
        parts.append(f"(x - {mean}) / {std}")
    if spec.labels:
        parts.append(f"{len(spec.labels)} labels")
    return "; ".join(parts)


# ---- arrays for inputs


def read_frames(data: bytes, contract: Contract, *, where: str) -> list[Frame]:
    """The frames of an ``.npy`` or ``.npz`` file.

    Raises:
        InputError: ``argument``: not such a file; ``tensor``, ``shape``: not for this model.
    """
    arrays = _by_name(_load(data, where), contract)
    split = {spec.name: _split(spec, arrays[spec.name]) for spec in contract.inputs}
    counts = {len(parts) for parts in split.values()}
    if len(counts) != 1:
        raise InputError(
            "shape", f"{where}: expected as many frames of each input, got {sorted(counts)}"
        )
    if len(split) == 1:
        return list(next(iter(split.values())))
    return [dict(zip(split, parts, strict=True)) for parts in zip(*split.values(), strict=True)]


def random_frame(contract: Contract, generator: np.random.Generator) -> Frame:
    """Random arrays for each input."""
    arrays = {spec.name: spec.random(generator) for spec in contract.inputs}
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def _load(data: bytes, where: str) -> Array | dict[str, Array]:
    """What numpy reads, without ever unpickling."""
    try:
        if data[:2] == b"PK":
            _check_unpacked(data, where)
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        return {name: np.asarray(loaded[name]) for name in loaded.files}
    except InputError:
        raise
    except Exception as cause:  # noqa: BLE001 - whatever numpy's parsers and zipfile meet
        raise _unreadable(where, cause) from None


def _check_unpacked(data: bytes, where: str) -> None:
    """A small archive may unpack to more than there is memory."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > PUBLISHER.array_bytes:
        raise InputError(
            "argument",
            f"{where}: expected at most {PUBLISHER.array_bytes} bytes of arrays, got {size}",
        )


def _unreadable(where: str, cause: Exception) -> InputError:
    text = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    return InputError("argument", f"{where}: expected an .npy or .npz file, got: {text[:120]}")


def _by_name(loaded: Array | dict[str, Array], contract: Contract) -> Mapping[str, Array]:
    names = [spec.name for spec in contract.inputs]
    if isinstance(loaded, np.ndarray):
        if len(names) > 1:
            raise InputError(
                "tensor", f"expected an .npz file with {', '.join(names)}, got one array"
            )
        return {names[0]: loaded}
    if len(names) == 1 and list(loaded) == ["arr_0"]:
        # What numpy calls an array that was given no name.
        return {names[0]: loaded["arr_0"]}
    if set(loaded) != set(names):
        came = ", ".join(sorted(loaded)) or "none"
        raise InputError("tensor", f"expected the inputs {', '.join(names)}, got {came}")
    return loaded


def _split(spec: TensorSpec, array: Array) -> Sequence[Array]:
    """One frame, or several along a leading dimension."""
    single = spec.shape[:1] == (1,)
    if array.shape == spec.shape or (single and array.shape == spec.shape[1:]):
        return [array]
    if array.ndim and array.shape[1:] == spec.shape:
        return [array[i, ...] for i in range(len(array))]
    if single and array.ndim and array.shape[1:] == spec.shape[1:]:
        return [array[i : i + 1] for i in range(len(array))]
    raise InputError(
        "shape",
        f"{spec.name}: expected shape {list(spec.shape)}, or several of it, "
        f"got {list(array.shape)}",
    )


# ---- outputs


def describe_output(spec: TensorSpec, raw: Array) -> dict[str, Any]:
    """An output for programs: as it is, in real numbers, and its largest entries."""
    real = dequantize(spec, raw)
    return {
        "name": spec.name,
        "dtype": raw.dtype.name,
        "shape": list(raw.shape),
        "raw": _plain(raw),
        "real": _plain(real),
        "top": top(spec, real),
    }


def top(spec: TensorSpec, real: Array) -> list[dict[str, Any]] | None:
    """The largest entries of a vector, with their labels; nothing for other outputs."""
    entries = real.reshape(-1)
    is_vector = real.ndim > 0 and real.size == real.shape[-1] > 1
    if not is_vector or not np.isfinite(entries).all():
        return None
    order = np.argsort(-entries, kind="stable")[:SHOWN_ENTRIES]
    return [
        {
            "index": int(i),
            "label": spec.labels[i] if spec.labels else None,
            "score": float(entries[i]),
        }
        for i in order
    ]


def in_words(spec: TensorSpec, raw: Array) -> list[tuple[str, str]]:
    """An output for people: its largest entries, or what it is like."""
    real = dequantize(spec, raw)
    best = top(spec, real)
    if best is not None:
        return [(e["label"] or f"[{e['index']}]", f"{e['score']:.4f}") for e in best]
    finite = real[np.isfinite(real)]
    if not finite.size:
        return [("values", "none is finite")]
    if real.size <= SHOWN_ENTRIES:
        return [("values", " ".join(f"{x:.6g}" for x in real.reshape(-1)))]
    return [("min, mean, max", f"{finite.min():.4g}, {finite.mean():.4g}, {finite.max():.4g}")]


def _plain(array: Array) -> Any:  # noqa: ANN401 - nested lists
    """Lists of numbers; JSON has no word for what is not finite."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array.tolist()
    objects = array.astype(object)
    objects[~np.isfinite(array)] = None
    return objects.tolist()
