"""What ``edgesdk run`` shows of answers."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesdk.cli.tensors import describe_output, in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesdk.cli.output import Output
    from edgesdk.contract import Array, Contract
    from edgesdk.session import Result


def tell(out: Output, path: str, contract: Contract, results: Sequence[Result]) -> None:
    """For programs and for people."""
    out.document["model"] = path
    if out.as_json:
        # Each element becomes an object of its own: not for nothing.
        out.document["results"] = [_describe(contract, result) for result in results]
    if len(results) == 1:
        _tell_one(out, contract, results[0])
    else:
        _tell_many(out, contract, results)


def _describe(contract: Contract, result: Result) -> dict[str, Any]:
    error = result.cloud_error
    return {
        "origin": result.origin.value,
        "model_id": result.model,
        "model_version": result.version,
        "seconds": result.latency,
        "cause": _cause(result),
        "cloud_error": None
        if error is None
        else {"class": type(error).__name__, "reason": error.reason, "message": error.message},
        "outputs": [
            describe_output(spec, array)
            for spec, array in zip(contract.outputs, _arrays(contract, result), strict=True)
        ],
    }


def _cause(result: Result) -> dict[str, str] | None:
    cause = result.cause
    return None if cause is None else {"reason": cause.reason, "message": cause.message}


def _arrays(contract: Contract, result: Result) -> list[Array]:
    outputs = result.outputs
    if isinstance(outputs, dict):
        return [outputs[spec.name] for spec in contract.outputs]
    return [outputs]


def _tell_one(out: Output, contract: Contract, result: Result) -> None:
    for spec, array in zip(contract.outputs, _arrays(contract, result), strict=True):
        out.line(f"{spec.name}  {array.dtype.name} {list(array.shape)}")
        out.fields([(f"  {name}", value) for name, value in in_words(spec, array)])
    which = " ".join(filter(None, (result.model, result.version)))
    who = "the cloud" if result.origin.value == "cloud" else "this device"
    rows = [("by", f"{who}{f', {which}' if which else ''}, in {result.latency * 1e3:.2f} ms")]
    if result.cause is not None:
        rows.append(("asked the cloud", result.cause.message))
    if result.cloud_error is not None:
        error = result.cloud_error
        rows.append(("no answer of it", f"{type(error).__name__}[{error.reason}]: {error.message}"))
    out.fields(rows)


def _tell_many(out: Output, contract: Contract, results: Sequence[Result]) -> None:
    spec = contract.outputs[0]
    rows = []
    for number, result in enumerate(results):
        name, value = in_words(spec, _arrays(contract, result)[0])[0]
        rows.append((str(number), name, value, result.origin.value, f"{result.latency * 1e3:.2f}"))
    out.table(("frame", spec.name, "", "by", "ms"), rows, right=(0, 4))
    asked = sum(result.cause is not None for result in results)
    if asked:
        got = sum(result.origin.value == "cloud" for result in results)
        out.line(f"the cloud was asked {asked} times, and answered {got}")


def archive(contract: Contract, results: Sequence[Result]) -> bytes:
    """Each output by its name; several frames one after the other."""
    columns = zip(*(_arrays(contract, result) for result in results), strict=True)
    stacked = {
        spec.name: arrays[0] if len(arrays) == 1 else np.stack(arrays)
        for spec, arrays in zip(contract.outputs, columns, strict=True)
    }
    buffer = io.BytesIO()
    # An output may have a name that savez has for an option of its own.
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in stacked.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    return buffer.getvalue()
