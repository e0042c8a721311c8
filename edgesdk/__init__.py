"""edgesdk: run, protect and back up quantized models on devices that you do not control.

``load`` a protected model and ``run`` it; put a ``Session`` around it for the cloud; or use
``Interpreter`` in place of LiteRT's. Errors are in ``edgesdk.errors``.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesdk.interpreter import Interpreter
    from edgesdk.model import Model, load, load_unprotected
    from edgesdk.session import Mode, Origin, Result, Session
    from edgesdk.trust import Device

__version__ = "0.1.0"

__all__ = [
    "Device",
    "Interpreter",
    "Mode",
    "Model",
    "Origin",
    "Result",
    "Session",
    "__version__",
    "load",
    "load_unprotected",
]

# Where each name lives. They are imported when first asked for: an app that only runs plain
# models loads neither cryptography nor an MQTT client, and one without the compiled core still
# reaches the cloud.
_HOMES = {
    "Device": "edgesdk.trust",
    "Interpreter": "edgesdk.interpreter",
    "Mode": "edgesdk.session",
    "Model": "edgesdk.model",
    "Origin": "edgesdk.session",
    "Result": "edgesdk.session",
    "Session": "edgesdk.session",
    "load": "edgesdk.model",
    "load_unprotected": "edgesdk.model",
}

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
