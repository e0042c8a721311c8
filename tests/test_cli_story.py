"""The whole way in real processes: with pipes, and as docs/cli.md tells it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from fixtures_cli import DIGITS, ROOT, frames

DOCS = (ROOT / "docs" / "cli.md").read_text()


def test_from_a_model_to_a_device_by_pipes(cli, shell):
    np.save(cli.folder / "digits.npy", frames(2))
    (cli.folder / "digits.tflite").write_bytes(DIGITS.read_bytes())
    shell("edgesdk device init --name camera-17 -o - > camera-17.pub")
    for name in ("root", "release", "grant"):
        shell(f"edgesdk keygen {name}.key")
    shell(
        "edgesdk trust init --root root.pub --release release.pub --grant grant.pub "
        "--key root.key -o - > home/trust.json"
    )
    ended = shell(
        "edgesdk pack - --model-id demo/digits --model-version 1.0 --sequence 1 "
        "--content-key digits.content.key < digits.tflite"
        " | edgesdk grant - camera-17.pub --key grant.key --content-key digits.content.key --attach"
        " | edgesdk sign - --key release.key"
        " | tee digits.emb"
        " | edgesdk verify - --json"
    )
    assert ended.document["verified"]
    ended = shell("edgesdk verify digits.emb --deep --json")
    assert [each["ok"] for each in ended.document["checks"]] == [True] * 15
    ended = shell("edgesdk run digits.emb - --json < digits.npy")
    assert len(ended.document["results"]) == 2
    ended = shell("edgesdk run digits.emb digits.npy -o - | python3 -c 'import sys; "
                  "print(sys.stdin.buffer.read(2))'")  # fmt: skip
    assert ended.out == "b'PK'\n"


def test_a_pipe_fails_where_its_first_command_fails(cli, shell):
    shell("edgesdk keygen release.key")
    ended = shell("edgesdk pack no.tflite --model-id a --model-version 1 --sequence 1 -o - "
                  "--content-key k | edgesdk sign - --key release.key", code=3)  # fmt: skip
    assert "error: ConfigurationError[missing]: no.tflite: " in ended.err
    assert "error: MalformedBundleError[prelude]: " in ended.err
    assert not (cli.folder / "k").exists()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("edgesdk --version", 0),
        ("edgesdk sgin", 2),
        ("edgesdk inspect no.emb", 6),
        ("edgesdk keygen a.key && edgesdk keygen a.key", 3),
        ("head -c 100 /dev/zero > x.tflite && edgesdk inspect x.tflite", 6),
        ("printf '\\040\\0\\0\\0TFL3' > x.tflite && edgesdk inspect x.tflite", 4),
    ],
)
def test_exit_codes_of_real_processes(shell, line, code):
    shell(line, code=code)


# ---- docs/cli.md


def commands(text):
    """The lines after the prompts of the page, in order."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", "\\\n").split("\n$ "):
            yield line.removeprefix("$ ").strip()


def test_the_page_of_the_command_line_is_a_story_that_works(cli, shell):
    """Each command of the page, one after the other in one folder; they have one shell."""
    (cli.folder / "examples").symlink_to(ROOT / "examples")
    lines = list(commands(DOCS))
    assert len(lines) > 25
    shell("set -e\n" + "\n".join(lines))
    shell("set -e\nexport EDGESDK_HOME=$PWD/device\nedgesdk verify digits.emb --deep")


def test_the_documents_of_the_page_are_json():
    found = re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL)
    assert len(found) > 12
    for block in found:
        json.loads(block)


def test_help_examples_work(workshop, shell):
    """Those that need neither a broker, nor a terminal, nor a minute."""
    from test_cli import COMMANDS

    skipped = {("gateway", "run"), ("demo",), ("completion",), ("device", "init")}
    (workshop.folder / "fleet.jsonl").write_text((workshop.folder / "camera-17.pub").read_text())
    for words, command in COMMANDS.items():
        if words in skipped:
            continue
        for number, example in enumerate(command.examples):
            if "exec:" in example or "--cloud" in example:
                continue
            folder = f"try-{'-'.join(words)}-{number}"
            made = [part for part in ("trust.json",) if words == ("trust", "init")]
            made += ["release.key", "gateway.key", "release.pub", "gateway.pub"] * (
                words == ("keygen",)
            )
            made += ["digits.emb", "digits.content.key"] * (words == ("pack",))
            made += ["digits.grant"] * (words == ("grant",))
            shell(
                f"set -e; mkdir {folder}; cp -a *.* home {folder}; cd {folder}; "
                "export EDGESDK_HOME=$PWD/home; "
                + "".join(f"mv {name} old-{name}; " for name in made)
                + ("cp digits.content.key unsigned.content.key; " if words == ("grant",) else "")
                + example
            )
