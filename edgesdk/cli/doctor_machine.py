"""Processor, kernels, memory, clock and libraries of this machine."""

# ruff: noqa: PLC0415 - the core and the libraries may be missing: that is what is looked for
from __future__ import annotations

import os
import platform
import resource
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgesdk
from edgesdk.cli.options import date
from edgesdk.errors import EdgeError
from edgesdk.limits import KIB, MIB

if TYPE_CHECKING:
    from edgesdk.cli.doctor import Findings

# Before this release was made: 2026-01-01.
_EARLIEST = 1_767_225_600
# Locking is tried with so much at most: a small board must live through it.
_MOST_LOCKED = 64 * MIB
_WANTED_LOCKED = 1 * MIB

LIBRARIES = ("numpy", "cryptography", "paho-mqtt")
EXTRAS = {
    "cli": ("click", "rich"),
    "litert": ("ai-edge-litert",),
    "tflite-runtime": ("tflite-runtime",),
    "pkcs11": ("python-pkcs11",),
    "tpm": ("tpm2-pytss",),
    "ota": ("tuf", "starlette", "sqlalchemy", "alembic", "zstandard", "obstore"),
    "publish": ("ai-edge-quantizer", "scikit-learn"),
    "maas": ("cachetools",),
    "demo": ("scikit-learn", "amqtt", "matplotlib", "jinja2"),
}
_PROVIDERS = {"file": True, "env": True, "exec": True, "pkcs11": False, "tpm": False}


def examine(found: Findings) -> None:
    """All of it."""
    _machine(found)
    _core(found)
    _clock(found)
    _libraries(found)


def _machine(found: Findings) -> None:
    system = f"{platform.system()} {platform.release()}"
    found.add(
        "machine",
        [
            ("edgesdk", edgesdk.__version__),
            ("python", f"{platform.python_implementation()} {platform.python_version()}"),
            ("system", f"{system}, {platform.machine()}"),
        ],
        edgesdk=edgesdk.__version__,
        python=platform.python_version(),
        system=system,
        machine=platform.machine(),
    )


def _core(found: Findings) -> None:
    try:
        from edgesdk.interpreter import LockedMemory, machine
    except EdgeError as error:
        found.add("processor", [("core", "missing: models run in the cloud only")], core=False)
        found.fault_of("core", error)
        return
    here: Any = machine()
    _processor(found, here)
    _kernels(found, here["kernels"])
    _memory(found, LockedMemory)


def _processor(found: Findings, here: dict[str, Any]) -> None:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    processors = os.cpu_count()
    threads = here["threads"]
    text = f"{threads} of {processors} processors"
    if allowed is not None and allowed != processors:
        text += f"; affinity allows {allowed}"
    if threads < (allowed or processors or threads):
        text += "; the cgroup's quota allows no more"
    rows = [
        ("instruction sets", ", ".join(here["isa"])),
        ("used by default", here["isa_default"]),
        ("threads", text),
    ]
    facts = {"isa": here["isa"], "isa_default": here["isa_default"], "threads": threads}
    found.add("processor", rows, core=True, processors=processors, affinity=allowed, **facts)
    if here["isa"] == ["scalar"]:
        found.warning("kernels", "only the scalar ones run on this processor: models are slow")


def _kernels(found: Findings, kernels: list[dict[str, str]]) -> None:
    by_isa: dict[str, list[str]] = {}
    for kernel in kernels:
        by_isa.setdefault(kernel["isa"], []).append(f"{kernel['type']}_{kernel['family']}")
    found.add("kernels", [(isa, ", ".join(names)) for isa, names in by_isa.items()], **by_isa)


def _memory(found: Findings, locked_memory: Any) -> None:  # noqa: ANN401 - the core's type
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    limit = None if soft == resource.RLIM_INFINITY else soft
    locked = _locked(locked_memory)
    swap = _swap()
    core = resource.getrlimit(resource.RLIMIT_CORE)[0] != 0
    shown = "at least " if locked >= _MOST_LOCKED else ""
    found.add(
        "memory",
        [
            ("limit of locks", "none" if limit is None else f"{limit:,} bytes (ulimit -l)"),
            ("locks in fact", f"{shown}{locked:,} bytes at once"),
            (
                "swap",
                {None: "unknown", False: "none", True: "in use: unlocked pages may go there"}[swap],
            ),
            ("core dumps", "on, without protected models" if core else "off"),
        ],
        lock_limit_bytes=limit,
        locks_bytes=locked,
        swap=swap,
        core_dumps=core,
    )
    if locked < _WANTED_LOCKED and swap is not False:
        found.warning(
            "memory",
            f"only {locked:,} bytes can be locked: parts of a protected model may reach the swap",
            "raise the limit: ulimit -l, or LimitMEMLOCK= of a systemd unit",
        )


def _locked(locked_memory: Any) -> int:  # noqa: ANN401 - the core's type
    """The most that could be locked in one piece, to a factor of two."""
    size = 64 * KIB
    most = 0
    while size <= _MOST_LOCKED:
        try:
            memory = locked_memory(size)
        except EdgeError:
            break
        locked = memory.locked
        memory.close()
        most = max(most, locked)
        if locked < size:
            break
        size *= 2
    return most


def _swap() -> bool | None:
    try:
        lines = Path("/proc/swaps").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return len(lines) > 1


def _clock(found: Findings) -> None:
    now = int(time.time())
    synchronized = True if Path("/run/systemd/timesync/synchronized").exists() else None
    found.add(
        "clock",
        [("now", f"{date(now)}{', synchronized' if synchronized else ''}")],
        now=now,
        synchronized=synchronized,
    )
    if now < _EARLIEST:
        found.fault(
            "clock",
            f"expected a time after {date(_EARLIEST)}, got {date(now)}",
            "set the clock: what expires cannot be checked, and gateways refuse",
        )


def _libraries(found: Findings) -> None:
    versions = {name: _version(name) for name in LIBRARIES}
    extras = {extra: {name: _version(name) for name in names} for extra, names in EXTRAS.items()}
    found.add("libraries", [(n, v or "missing") for n, v in versions.items()], **versions)
    found.add("extras", [(e, _in_words(names)) for e, names in extras.items()], **extras)
    for name, version in versions.items():
        if version is None:
            found.fault("libraries", f"expected {name}, got none", "pip install edgesdk")
    numpy = versions["numpy"]
    if extras["tflite-runtime"]["tflite-runtime"] and numpy and int(numpy.split(".")[0]) > 1:
        found.warning(
            "extras",
            f"tflite-runtime fails with numpy {numpy}: its Interpreter raises SystemError",
            'pip install "numpy<2"',
        )
    ready = ", ".join(f"{name}:" for name, here in _PROVIDERS.items() if here)
    later = ", ".join(f"{name}:" for name, here in _PROVIDERS.items() if not here)
    found.add("keys", [("providers", ready), ("not yet", later)], providers=_PROVIDERS)


def _in_words(names: dict[str, str | None]) -> str:
    missing = [name for name, version in names.items() if version is None]
    if missing:
        return f"not installed ({', '.join(missing)})"
    return ", ".join(f"{name} {version}" for name, version in names.items())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
