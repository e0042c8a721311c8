"""The README: what it tells a newcomer to type works, and prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from brokers import READY_SECONDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

pytestmark = pytest.mark.checkout


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def commands():
    """The lines after the prompts, in order."""
    for block in blocks("console"):
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            yield command.strip()


class Background:
    """A command that stays; ``with`` is entered when it has logged ``until``."""

    def __init__(self, command, until, **options):
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],  # noqa: S607
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self._until = until
        self._ready = threading.Event()
        self._log = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self._process.stderr as log:
            for line in log:
                self._log.append(line)
                if self._until in line:
                    self._ready.set()

    def __enter__(self):
        if not self._ready.wait(READY_SECONDS):
            self.__exit__()
            pytest.fail("".join(self._log))
        return self

    def __exit__(self, *_):
        self._process.terminate()
        assert self._process.wait(READY_SECONDS) == 0
        self._reader.join(READY_SECONDS)


def test_from_install_to_an_answer_from_the_cloud(cli, shell, environment, broker):
    """Commands in one shell, the gateway beside it, then the snippets as one program."""
    (cli.folder / "examples").symlink_to(ROOT / "examples")
    url = f"mqtt://127.0.0.1:{broker.port}"
    *before, gateway = [each.replace("mqtt://localhost", url) for each in commands()]
    assert len(before) > 7
    assert gateway.startswith("edgesdk gateway run ")
    shell("set -e\n" + "\n".join(before))
    (cli.folder / "app.py").write_text("\n".join(blocks("python")).replace("mqtt://localhost", url))
    here = {"cwd": cli.folder, "env": {**environment, "EDGESDK_HOME": f"{cli.folder}/device"}}
    with Background(gateway, "connected to", **here):
        ended = subprocess.run(
            [sys.executable, "-W", "error", "app.py"],
            capture_output=True, text=True, check=False, timeout=READY_SECONDS, **here,
        )  # fmt: skip
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert ended.stdout == "".join(blocks("text"))


def test_its_targets_of_make_are_there():
    rules = re.findall(r"^([a-z0-9 -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = " ".join(rules).split()
    for page in PAGES:
        for target in re.findall(
            r"^make ([a-z0-9-]+)|`make ([a-z0-9-]+)`", page.read_text(), re.MULTILINE
        ):
            assert "".join(target) in targets, f"{page.name} says make {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
