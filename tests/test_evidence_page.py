"""docs/evidence.md: its commands work, and print what the page says."""

from __future__ import annotations

import re
import sys

import pytest

from fixtures_cli import ROOT

PAGE = ROOT / "docs" / "evidence.md"
BLOCKS = re.findall(r"```(console|text)\n(.*?)```", PAGE.read_text(), re.DOTALL)

pytestmark = [
    pytest.mark.checkout,
    pytest.mark.filterwarnings("default:expected .* locked memory:RuntimeWarning"),
]


def commands(block):
    return re.sub(r"^\$ ", "", block, flags=re.MULTILINE)


def constant(text):
    """Without what differs from day to day and from machine to machine."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "<time>", text)
    text = re.sub(r"for [a-z2-7]{26}, ", "for <device>, ", text)
    text = re.sub(r"[0-9,]+ bytes of packed weights", "<bytes> of packed weights", text)
    # A column is as wide as its widest text.
    return [" ".join(line.split()) for line in text.strip().splitlines()]


def test_the_page_prints_what_it_says(cli, shell):
    (cli.folder / "examples").symlink_to(ROOT / "examples")
    # As at a prompt: what a pipe ends with is what its last command ends with.
    start = "set -e +o pipefail\nexport EDGESDK_HOME=$PWD/device\n"
    start += f'python3() {{ {sys.executable} "$@"; }}\n'
    checked, said = 0, ""
    for kind, block in BLOCKS:
        if kind == "text":
            assert constant(said) == constant(block)
            checked += 1
            continue
        said = shell(start + commands(block)).out
    assert checked > 6


def test_every_kind_and_reason_is_on_the_page():
    from edgesdk.claim import FORMS
    from edgesdk.errors import EvidenceError

    text = PAGE.read_text()
    for name in (*FORMS, *EvidenceError.reasons):
        assert f"`{name}`" in text
    for form in FORMS.values():
        for name in form.members:
            assert f"`{name}`" in text or f"`{name}," in text, name
