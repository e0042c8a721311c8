"""What a ``.tflite`` model is made of, and what the core here makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgesdk.cli.tensors import contract_rows, describe_contract
from edgesdk.contract import Contract
from edgesdk.errors import ContractError
from edgesdk.interpreter import Interpreter
from edgesdk.publish import metadata

if TYPE_CHECKING:
    from edgesdk.cli.output import Output


def show_model(out: Output, data: bytes) -> None:
    """Inputs, outputs, operators with their kernels, and memory."""
    loaded = Interpreter(model_content=data, engine="native")
    loaded.allocate_tensors()
    contract = _contract(out, loaded)
    operators: list[dict[str, Any]] = [
        {name: operator[name] for name in ("name", "version", "kernel", "macs")}
        for operator in loaded.operator_details()
    ]
    memory = loaded.memory()
    macs = sum(operator["macs"] for operator in operators)
    found = metadata.read(data)
    out.document.update(
        {
            "type": "model",
            "contract": describe_contract(contract) if contract else None,
            "signatures": sorted(loaded.get_signature_list()),
            "operators": operators,
            "macs": macs,
            "memory": {"packed_bytes": memory["packed"], "mapped_bytes": memory["mapped"]},
            "metadata": bool(found[0] or found[1]),
        }
    )
    out.fields(
        [
            ("what", f"a TensorFlow Lite model, {len(data):,} bytes"),
            ("operators", f"{len(operators)}, all of them run here"),
            ("one run", f"{macs:,} multiply-accumulates"),
            ("memory", f"{memory['mapped']:,} bytes, {memory['packed']:,} of them packed weights"),
            ("metadata", "yes" if found[0] or found[1] else "none"),
        ]
    )
    out.line()
    if contract:
        out.table(("", "name", "type", "meaning"), contract_rows(contract))
        out.line()
    rows = [
        (
            str(i),
            operator["name"],
            f"v{operator['version']}",
            operator["kernel"],
            f"{operator['macs']:,}" if operator["macs"] else "",
        )
        for i, operator in enumerate(operators)
    ]
    out.table(("", "operator", "", "kernel", "MACs"), rows, right=(0, 4))


def _contract(out: Output, loaded: Interpreter) -> Contract | None:
    """What it says of itself; not every model that runs can be packed."""
    try:
        return Contract.of(loaded)
    except ContractError as error:
        out.warn(str(error))
        return None
