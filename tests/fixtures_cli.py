"""The command line for tests: ``cli("sign", ...)`` in this process, ``shell("...")`` in another.

Whatever a test makes the commands print is searched, at its end, for the secrets of every key
file that lies in its folder.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgesdk.cli.root import edgesdk

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits" / "digits_device.tflite"
CLOUD_DIGITS = ROOT / "examples" / "digits" / "digits_cloud.tflite"
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PACK = ("--model-id", "demo/digits", "--model-version", "1.0", "--sequence", "1")
CLAIMS = f"""
format = 1

[[claim]]
kind = "accuracy"
ppm = 934_000
dataset = "{"ab" * 32}"
samples = 360

[[claim]]
kind = "licence"
spdx = "Apache-2.0"
"""
POLICY = f"""
format = 1

[[require]]
claim = "accuracy"
min_ppm = 900_000
dataset = "{"ab" * 32}"
min_samples = 300
by = ["auditor"]
max_age_days = 365

[[require]]
claim = "licence"
spdx = ["Apache-2.0", "MIT"]
"""
# Before click 8.2 both streams were one, unless it was told otherwise.
_APART = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
RUNNER = CliRunner(**_APART)


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    stdout: bytes
    err: str

    @property
    def out(self) -> str:
        return self.stdout.decode()

    @property
    def document(self):
        """The one JSON document of standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line of the error."""
        (line,) = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return line

    @property
    def hint(self) -> str:
        (line,) = [line for line in self.err.splitlines() if line.startswith("hint: ")]
        return line


@dataclass
class Cli:
    """Runs commands, and remembers what they said."""

    folder: Path
    seen: list[bytes] = field(default_factory=list)

    def __call__(self, *arguments, code=0, stdin=None) -> Ended:
        result = RUNNER.invoke(
            edgesdk, [str(each) for each in arguments], input=stdin, catch_exceptions=False
        )
        ended = Ended(result.exit_code, result.stdout_bytes, result.stderr)
        self.seen += [ended.stdout, ended.err.encode()]
        assert ended.code == code, (ended.code, ended.err, ended.out[-2000:])
        assert "Traceback" not in ended.err
        return ended

    def json(self, *arguments, code=0, stdin=None):
        """The document; what it says of failure must be what the line and the code say."""
        ended = self(*arguments, "--json", code=code, stdin=stdin)
        document = ended.document
        assert ("error" in document) == (code != 0)
        if code:
            told = document["error"]
            assert set(told) == {"class", "reason", "message", "hint"}
            assert ended.error.startswith(f"error: {told['class']}[{told['reason']}]: ")
        return document

    def refuses(self, *arguments, code, line, stdin=None) -> Ended:
        """A command that fails with this line (its beginning), in both forms."""
        ended = self(*arguments, code=code, stdin=stdin)
        assert ended.error.startswith(f"error: {line}"), ended.error
        if "-" not in arguments:
            told = self.json(*arguments, code=code)["error"]
            assert f"{told['class']}[{told['reason']}]" == line.split(":")[0]
        return ended

    def check_secrets(self):
        """No secret of any key file in the folder has been said."""
        keys = [key.read_bytes() for key in self.folder.rglob("*.key") if key.is_file()]
        needles = [needle for key in keys for needle in spellings(key)]
        for said in self.seen:
            for needle in needles:
                assert needle not in said


def spellings(key_file: bytes):
    """How the secrets of a key file could show in a text."""
    start = 32
    while start < len(key_file):
        length = int.from_bytes(key_file[start + 2 : start + 4], "little")
        secret = key_file[start + 4 : start + 4 + length]
        start += 4 + length
        part = secret[:16]
        yield part
        yield part.hex().encode()
        yield part.hex().upper().encode()
        yield repr(part)[2:-1].encode()
        for shift in range(3):
            # Behind so many other bytes, the same letters come out.
            yield base64.b64encode(bytes(shift) + secret[:24])[4:24]


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Commands in an empty folder, that is also their configuration folder's home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGESDK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    made = Cli(tmp_path)
    yield made
    made.check_secrets()


@pytest.fixture(scope="session")
def _workshop(tmp_path_factory):
    """Everything on the way from a model to a device, made by the commands themselves, once."""
    folder = tmp_path_factory.mktemp("workshop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("EDGESDK_HOME", str(folder / "home"))
        cli = Cli(folder)
        shutil.copy(DIGITS, "digits.tflite")
        Path("digits.txt").write_text("\n".join(NAMES) + "\n")
        np.save("digits.npy", frames(3))
        cli("device", "init", "--name", "camera-17", "-o", "camera-17.pub")
        cli("device", "init", "--home", "home-18", "--name", "camera-18", "-o", "camera-18.pub")
        for name in ("root", "release", "grant", "auditor", "stranger"):
            cli("keygen", f"{name}.key")
        cli("keygen", "--kind", "gateway", "gateway.key")
        cli("trust", "init", "--root", "root.pub", "--release", "release.pub",
            "--grant", "grant.pub", "--auditor", "auditor.pub", "--key", "root.key")  # fmt: skip
        shutil.copy("trust.json", "home")
        shutil.copy("gateway.pub", "home")
        cli("pack", "digits.tflite", *PACK, "--label-file", "digits.txt", "--golden", "digits.npy")
        shutil.copy("digits.emb", "unsigned.emb")
        cli("sign", "digits.emb", "--key", "release.key")
        cli("grant", "digits.emb", "camera-17.pub", "--key", "grant.key")
        Path("claims.toml").write_text(CLAIMS)
        Path("policy.toml").write_text(POLICY)
        cli("claim", "digits.tflite", "claims.toml", "--model-id", "demo/digits",
            "--key", "auditor.key")  # fmt: skip
        cli("pack", "digits.tflite", *PACK, "--evidence", "digits.claim", "-o", "audited.emb")
        cli("sign", "audited.emb", "--key", "release.key")
        cli("grant", "audited.emb", "camera-17.pub", "--key", "grant.key")
        cli.check_secrets()
    return folder


@pytest.fixture
def workshop(_workshop, cli):
    """A copy of it, as the working folder; returns ``cli``."""
    shutil.copytree(_workshop, cli.folder, dirs_exist_ok=True)
    return cli


def frames(count):
    """Digits as the training had them, more or less: float32 in 0 ... 1."""
    random = np.random.default_rng(11)
    return random.random((count, 8, 8, 1), np.float32)


# ---- real processes


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """A folder with ``edgesdk`` in it, for PATH."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "edgesdk"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgesdk.cli "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.fixture
def environment(program):
    """What a process needs to find the command."""
    paths = (str(ROOT), os.environ.get("PYTHONPATH"))
    return {
        **os.environ,
        "PATH": f"{program}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(filter(None, paths)),
    }


@pytest.fixture
def shell(cli, environment):
    """Run a line of bash; a pipe fails where any of its commands does."""

    def run(line, *, code=0, **options):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],  # noqa: S607
            env=environment,
            cwd=cli.folder,
            capture_output=True,
            timeout=120,
            check=False,
            **options,
        )
        ended = Ended(done.returncode, done.stdout, done.stderr.decode())
        cli.seen += [ended.stdout, done.stderr]
        assert ended.code == code, (line, ended.code, ended.err, ended.out)
        return ended

    return run


def process(cli, environment, beginning):
    """Run a command in a process that begins with some lines of Python."""

    def run(*arguments, code=0):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"{beginning}\nfrom edgesdk.cli import main\nmain()",
                *arguments,
            ],
            env=environment,
            cwd=cli.folder,
            capture_output=True,
            check=False,
        )
        ended = Ended(done.returncode, done.stdout, done.stderr.decode())
        cli.seen += [ended.stdout, done.stderr]
        assert ended.code == code, (ended.code, ended.err, ended.out)
        return ended

    return run


@pytest.fixture
def without_core(cli, environment):
    """Run a command where the compiled core cannot be imported."""
    return process(cli, environment, "import sys\nsys.modules['edgesdk._native'] = None")


# Root may look into any folder, unless it gives its capabilities up.
POWERLESS = """
import ctypes
libc = ctypes.CDLL(None)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
assert libc.capset(header, (ctypes.c_uint32 * 6)()) == 0
"""


@pytest.fixture
def powerless(cli, environment):
    """Run a command as somebody whom permissions bind."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs capset")
    return process(cli, environment, POWERLESS)


SIGNER = """
import base64, json, sys
sys.path.insert(0, {root!r})
from edgesdk.keys import SecretKey
with open({key!r}, "rb") as file:
    key = SecretKey.parse(file.read())
question = json.loads(sys.stdin.readline())
def text(data):
    return base64.b64encode(data).decode()
if question.get("command") == "public":
    answer = {{"keys": {{a.label: text(p) for a, p in key.keys().items()}}}}
else:
    message, context = (base64.b64decode(question[n]) for n in ("message", "context"))
    made = {{a.label: s for a, s in key.sign(message, context).items()}}
    answer = {{"signature": text(made[question["algorithm"]])}}
print(json.dumps(answer))
"""


@pytest.fixture
def external(workshop):
    """A program that signs with the release key, as a URI."""
    key = str(workshop.folder / "release.key")
    (workshop.folder / "signer.py").write_text(SIGNER.format(root=str(ROOT), key=key))
    return f"exec:{sys.executable} signer.py"
