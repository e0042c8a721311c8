"""Three parties in three folders: who publishes models, the device, and the cloud.

All that happens between them is done by the commands that a user would type, and each is shown.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np

from edgesdk.demo.digits import CLASSES, network
from edgesdk.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgesdk.demo.digits import Half

_MODEL_ID = "demo/digits"
CLOUD_MODEL = f"{_MODEL_ID}@2.0=digits_cloud.tflite"
_GOLDEN = 4


class Workshop:
    """The folders below ``folder``, and the commands that fill them.

    ``tell`` gets each command before it runs, and may be replaced.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self.tell = tell
        self.publisher = folder / "publisher"
        self.device = folder / "device"
        self.cloud = folder / "cloud"
        self.bundle = self.publisher / "digits.emb"
        for each in (self.publisher, self.device, self.cloud):
            each.mkdir(mode=0o700)

    def make(self, half: Half) -> None:
        """Keys, trust, the protected model, the device and its place in the cloud."""
        self._lay_out(half)
        for name in ("root", "release", "grant"):
            self.run("publisher", f"keygen {name}.key")
        self.run(
            "publisher",
            "trust init --root root.pub --release release.pub --grant grant.pub --key root.key",
        )
        self.run("device", "device init --home . --name kiosk-1")
        self.run("cloud", "keygen --kind gateway gateway.key")
        self.run(
            "publisher",
            f"pack digits.tflite --model-id {_MODEL_ID} --model-version 1.0 --sequence 1"
            " --label-file digits.txt --golden digits.npy -o unsigned.emb"
            " --content-key digits.content.key",
        )
        self.run("publisher", "sign unsigned.emb --key release.key -o digits.emb")
        self.run("publisher", "grant digits.emb ../device/device.pub --key grant.key")
        self.run("cloud", "gateway enrol ../device/device.pub --devices devices")
        self.hand_over("publisher/trust.json", "device")
        self.hand_over("cloud/gateway.pub", "device")

    def hand_over(self, path: str, to: str) -> None:
        """Copy a public file to another party."""
        shutil.copy(self.folder / path, self.folder / to)
        self.tell(f"cp {path} {to}/")

    def run(self, party: str, arguments: str) -> None:
        """Run a command of ours in the folder of a party.

        Raises:
            ConfigurationError: ``invalid``: it has failed; the message is its own.
        """
        self.tell(f"{party}$ edgesdk {arguments}")
        done = subprocess.run(  # noqa: S603 - this program, with this interpreter
            [sys.executable, "-m", "edgesdk.cli", *shlex.split(arguments)],
            cwd=self.folder / party,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ConfigurationError(
                "invalid", f"expected `edgesdk {arguments}` to work, got {done.stderr.strip()}"
            )

    def environment(self) -> dict[str, str]:
        """That of this process, without a configuration folder of the machine's own."""
        return {name: value for name, value in os.environ.items() if name != "EDGESDK_HOME"}

    def _lay_out(self, half: Half) -> None:
        shutil.copy(network("device"), self.publisher / "digits.tflite")
        shutil.copy(network("cloud"), self.cloud / "digits_cloud.tflite")
        labels = "".join(f"{digit}\n" for digit in range(CLASSES))
        (self.publisher / "digits.txt").write_text(labels)
        np.save(self.publisher / "digits.npy", half.images[:_GOLDEN])
