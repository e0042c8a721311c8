"""What holds for all commands: how they are found, how they fail, what they load and print."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgesdk import errors
from edgesdk.cli.exits import EXIT_CODES, ExitCode, explain, printable
from edgesdk.cli.options import Command
from edgesdk.cli.root import SECTIONS, LazyGroup, edgesdk
from fixtures_cli import DIGITS, ROOT

pytestmark = pytest.mark.filterwarnings("default:expected .* locked memory:RuntimeWarning")


def commands(group=edgesdk, path=()):
    """Every command, by its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name), found


COMMANDS = dict(commands())
WORDS = [" ".join(words) for words in COMMANDS]


# ---- finding and helping


def test_without_a_command_shows_what_there_is(cli):
    for arguments, words in (([], "edgesdk"), (["trust"], "edgesdk trust")):
        ended = cli(*arguments, code=2)
        assert f"Usage: {words} [OPTIONS] COMMAND" in ended.err
        assert ended.out == ""
    assert cli.json(code=2)["error"] == {
        "class": "UsageError",
        "reason": "usage",
        "message": "expected a command, got none",
        "hint": "edgesdk --help",
    }


def test_help_is_a_document_too(cli):
    for words in ((), ("trust",), ("sign",)):
        assert cli.json(*words, "--help")["help"] == cli(*words, "--help").out.rstrip("\n")


def test_the_version(cli):
    assert cli("--version").out == "edgesdk 0.1.0\n"
    assert cli.json("--version") == {"version": "0.1.0"}


def test_the_overview_says_what_each_command_says_of_itself():
    def check(sections):
        for entries in sections.values():
            for name, entry in entries.items():
                if entry.group is not None:
                    check(entry.group)
                else:
                    module, _, attribute = entry.where.partition(":")
                    found = getattr(__import__(module, fromlist=[attribute]), attribute)
                    assert found.name == name
                    first = found.help.split("\n\n")[0].replace("\n", " ")
                    assert first.startswith(entry.text.rstrip(".")), name

    check(SECTIONS)


@pytest.mark.parametrize("words", WORDS)
def test_help_has_examples_and_fits_80_columns(cli, words):
    for option in ("--help", "-h"):
        ended = cli(*words.split(), option)
        assert ended.out.startswith(f"Usage: edgesdk {words}")
        assert "\nExamples:\n  " in ended.out
        assert max(map(len, ended.out.splitlines())) <= 80
        assert "--json" in ended.out
        assert "--debug" in ended.out


@pytest.mark.parametrize("words", WORDS)
def test_examples_parse(words):
    command = COMMANDS[tuple(words.split())]
    assert isinstance(command, Command)
    assert command.examples
    own = 0
    for example in command.examples:
        for part in example.replace("\\\n", " ").split(" | "):
            arguments = shlex.split(part.split(" > ")[0].split(" < ")[0])
            if arguments[0] == "edgesdk":
                found, rest = edgesdk, arguments[1:]
                while isinstance(found, click.Group):
                    found = found.get_command(click.Context(found), rest.pop(0))
                found.make_context("edgesdk", rest)
                own += found is command
    assert own >= 1


@pytest.mark.parametrize("words", WORDS)
def test_each_command_is_documented(words):
    text = (ROOT / "docs" / "cli.md").read_text()
    assert f"### `edgesdk {words}" in text


def test_exit_codes_are_documented():
    text = (ROOT / "docs" / "cli.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)
    assert rows == [(str(code.value), meaning) for code, meaning in EXIT_CODES.items()]
    assert list(EXIT_CODES) == list(ExitCode)


# ---- usage errors


@pytest.mark.parametrize(
    ("arguments", "line", "hint"),
    [
        (["sgin"], "UsageError[usage]: expected a command of `edgesdk`, got 'sgin'",
         "did you mean sign?"),
        (["trust", "make"], "UsageError[usage]: expected a command of `edgesdk trust`, got 'make'",
         "edgesdk trust --help"),
        (["--nope"], "UsageError[no-such-option]: expected an option of `edgesdk`, got --nope",
         "edgesdk --help"),
        (["sign", "a.emb", "--kee", "b"],
         "UsageError[no-such-option]: expected an option of `edgesdk sign`, got --kee",
         "did you mean --key?"),
        (["sign", "a.emb"], "UsageError[missing]: expected --key, got none", "edgesdk sign --help"),
        (["sign", "--key", "b"], "UsageError[missing]: expected BUNDLE, got none",
         "edgesdk sign --help"),
        (["sign", "a", "b", "--key", "c"], "UsageError[usage]: Got unexpected extra argument (b)",
         "edgesdk sign --help"),
        (["keygen", "a.key", "--kind", "device"],
         "UsageError[bad-value]: --kind: expected one of signer, gateway, got 'device'",
         "edgesdk keygen --help"),
        (["pack", "a", "--model-id", "a", "--model-version", "1", "--sequence", "0"],
         "UsageError[bad-value]: --sequence: expected an integer, at least 1, got '0'",
         "edgesdk pack --help"),
        (["run", "a", "--random", "--threads", "x"],
         "UsageError[bad-value]: --threads: expected an integer, 1 to 1024, got 'x'",
         "edgesdk run --help"),
        (["run", "a", "--random", "--deadline", "0"],
         "UsageError[bad-value]: --deadline: expected a number above 0, got '0'",
         "edgesdk run --help"),
        (["run", "a", "--random", "--threshold", "nan"],
         "UsageError[bad-value]: --threshold: expected a number, got 'nan'",
         "edgesdk run --help"),
        (["verify", "a", "--now", "soon"],
         ("UsageError[bad-value]: --now: expected a time like 2027-01-31, 2027-01-31T12:00:00Z or "
         "90d, got 'soon'"), "edgesdk verify --help"),
        (["verify", "a", "--now", "1969-12-31"],
         "UsageError[bad-value]: --now: expected a time from 1970 on, got '1969-12-31'",
         "edgesdk verify --help"),
        (["run", "a"], "UsageError[usage]: expected INPUT or --random, got neither",
         "edgesdk run --help"),
        (["run", "a", "b", "--random"], "UsageError[usage]: expected INPUT or --random, got both",
         "edgesdk run --help"),
        (["run", "a", "b", "--mode", "only_in_cloud"],
         "UsageError[usage]: expected --mode together with --cloud, got it without",
         "edgesdk run --help"),
        (["run", "a", "b", "--cloud", "mqtt://x", "--grant", "g"],
         "UsageError[usage]: expected no --grant together with --cloud, got both",
         "with --cloud everything is in the configuration folder, --home"),
        (["verify", "-", "--deep"],
         "UsageError[usage]: expected a file for --deep, got standard input",
         "edgesdk verify --help"),
        (["verify", "a", "--grant", "g"],
         "UsageError[usage]: expected --device-key and --grant with --deep, got them without",
         "edgesdk verify --help"),
        (["completion", "tcsh"],
         "UsageError[bad-value]: SHELL: expected one of bash, zsh, fish, got 'tcsh'",
         "edgesdk completion --help"),
    ],
)  # fmt: skip
def test_misuse_is_a_line_a_hint_and_code_2(cli, arguments, line, hint):
    ended = cli(*arguments, code=2)
    assert ended.err == f"error: {line}\nhint: {hint}\n"
    assert ended.out == ""
    told = cli.json(*arguments, code=2)["error"]
    assert f"{told['class']}[{told['reason']}]: {told['message']}" == line
    assert told["hint"] == hint


def test_an_option_without_its_value(cli):
    ended = cli("sign", "a", "--key", code=2)
    assert ended.err == (
        "error: UsageError[usage]: Option '--key' requires an argument.\n"
        "hint: edgesdk sign --help\n"
    )
    assert cli("sign", "--json", "a", "--key", code=2).document["error"]["reason"] == "usage"


# ---- every error, its line and its code

FAMILIES = {
    errors.TrustError: ExitCode.TRUST,
    errors.ModelError: ExitCode.MODEL,
    errors.TransportError: ExitCode.TRANSPORT,
    errors.UpdateError: ExitCode.UPDATE,
    errors.InputError: ExitCode.INPUT,
    errors.ConfigurationError: ExitCode.INPUT,
    # Only a fault of a command can use something at the wrong time.
    errors.LifecycleError: ExitCode.INTERNAL,
}
EVERY = [
    (kind, reason)
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.EdgeError)
    for reason in kind.reasons or ["any"]
    if kind is not errors.EdgeError
]


@pytest.mark.parametrize(
    ("kind", "reason"), EVERY, ids=lambda value: getattr(value, "__name__", value)
)
def test_every_error_has_a_line_and_a_code(cli, monkeypatch, kind, reason):
    def fail(*_, **__):
        raise kind(reason, "expected this, got that", hint="try another")

    monkeypatch.setattr("edgesdk.files.read_once", fail)
    (code,) = {code for family, code in FAMILIES.items() if issubclass(kind, family)}
    ended = cli("verify", "some.emb", code=code)
    assert ended.err == (
        f"error: {kind.__name__}[{reason}]: expected this, got that\nhint: try another\n"
    )
    assert cli.json("verify", "some.emb", code=code)["error"] == {
        "class": kind.__name__,
        "reason": reason,
        "message": "expected this, got that",
        "hint": "try another",
    }


def test_a_fault_of_ours_says_where_and_not_with_what(cli, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("with the secret 5ec2e7")

    monkeypatch.setattr("edgesdk.files.read_once", fail)
    ended = cli("verify", "some.emb", code=1)
    assert re.fullmatch(
        r"error: InternalError\[internal\]: internal error, RuntimeError at test_cli.py:\d+\n"
        r"hint: this is a fault of edgesdk: please report it, with what --debug shows\n",
        ended.err,
    )
    document = cli.json("verify", "some.emb", code=1)
    assert document["error"]["reason"] == "internal"
    # What was known until then is there as well.
    assert document["verified"] is False


def test_debug_shows_where(monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError("what happened")

    monkeypatch.setattr("edgesdk.files.read_once", fail)
    with pytest.raises(SystemExit) as ended:
        edgesdk.main(["verify", "some.emb", "--debug"])
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "Traceback (most recent call last)" in told
    assert "RuntimeError: what happened" in told
    assert "error: InternalError[internal]: " in told


def test_debug_shows_the_log(workshop):
    ended = workshop("verify", "unsigned.emb", "--debug", code=3)
    assert "warning: refused a bundle: expected signatures of role release" in ended.err
    assert "refused" not in workshop("verify", "unsigned.emb", code=3).err


def test_no_memory_is_an_error_like_others(cli, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("edgesdk.files.read_once", fail)
    cli.refuses("verify", "some.emb", code=4, line="ResourceError[memory]: expected memory for it")


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        ("numpy", "pip install edgesdk"),
        ("cachetools", 'pip install "edgesdk[maas]"'),
        ("amqtt", 'pip install "edgesdk[demo]"'),
    ],
)
def test_a_missing_library_says_what_to_install(cli, monkeypatch, module, remedy):
    def fail(*_, **__):
        raise ModuleNotFoundError(f"No module named '{module}'", name=f"{module}.sub")

    monkeypatch.setattr("edgesdk.files.read_once", fail)
    ended = cli.refuses(
        "verify", "a.emb", code=6,
        line=f"ConfigurationError[extra]: expected the library {module}, got none",
    )  # fmt: skip
    assert ended.hint == f"hint: {remedy}"


def test_a_module_of_ours_that_is_missing_is_a_fault_of_ours(cli, monkeypatch):
    def fail(*_, **__):
        raise ModuleNotFoundError("No module named 'edgesdk.nope'", name="edgesdk.nope")

    monkeypatch.setattr("edgesdk.files.read_once", fail)
    cli.refuses("verify", "a.emb", code=1, line="InternalError[internal]: internal error, Module")


def test_control_characters_never_reach_the_terminal(cli):
    name = "door\x1b[2J\x07\n\u202eemb.\udcff"
    assert printable(name) == "door\\x1b[2J\\x07\\n\\u202eemb.\\udcff"
    ended = cli("inspect", name, code=6)
    assert "\x1b" not in ended.err
    assert "\u202e" not in ended.err
    assert ended.error.startswith("error: ConfigurationError[missing]: door\\x1b[2J\\x07\\n")


def test_names_in_a_model_cannot_steer_the_terminal(cli):
    # Of the same length, so that the file stays sound.
    data = DIGITS.read_bytes().replace(b"output_0", b"o\x1b[2Jut0")
    assert data != DIGITS.read_bytes()
    (cli.folder / "evil.tflite").write_bytes(data)
    ended = cli("inspect", "evil.tflite")
    assert "\x1b" not in ended.out + ended.err
    assert "expected no control characters" in ended.err
    assert cli.json("inspect", "evil.tflite")["contract"] is None
    cli.refuses(
        "pack", "evil.tflite", "--model-id", "a", "--model-version", "1", "--sequence", "1",
        code=4, line="ContractError[contract]: no contract can hold this model",
    )  # fmt: skip


def test_errors_of_the_core_are_lines_too(cli):
    (cli.folder / "bad.tflite").write_bytes(b"\x20\0\0\0TFL3" + bytes(64))
    cli.refuses("inspect", "bad.tflite", code=4, line="MalformedModelError[malformed-model]: ")


def test_explains_an_abort_like_ctrl_c():
    for error in (KeyboardInterrupt(), click.Abort()):
        assert explain(error).code == ExitCode.INTERRUPTED
        assert explain(error).text == "Interrupted[interrupted]: stopped by Ctrl-C"


# ---- what is loaded


def loaded_by(*arguments, environment):
    program = (
        "import json, sys\n"
        "from edgesdk.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "sys.stderr.write('\\n' + json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


HEAVY = {"numpy", "cryptography", "paho", "rich", "ssl", "amqtt", "sklearn", "cachetools"}


@pytest.mark.parametrize(
    "arguments", ["--version", "--help", "--version --json", *(f"{w} --help" for w in WORDS)]
)
def test_version_and_help_load_nothing_heavy(environment, arguments):
    assert not loaded_by(*arguments.split(), environment=environment) & HEAVY


def test_completion_of_commands_and_options_loads_nothing_heavy(environment):
    for words, expected in (("edgesdk gr", "plain,grant"), ("edgesdk sign --k", "plain,--key")):
        program = (
            "import sys\nfrom edgesdk.cli import main\n"
            "try:\n    main()\nexcept SystemExit:\n"
            f"    found = set(sys.modules) & {HEAVY!r}\n"
            "    sys.exit(str(found) if found else 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={
                **environment,
                "_EDGESDK_COMPLETE": "bash_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": str(len(words.split()) - 1),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert expected in done.stdout.splitlines()


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_it_says_what_to_install(environment, missing):
    program = f"import sys\nsys.modules[{missing!r}] = None\nfrom edgesdk.cli import main\nmain()"

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("--version")
    assert done.returncode == ExitCode.INPUT
    assert done.stdout == ""
    assert done.stderr == (
        f"error: ConfigurationError[extra]: expected click and rich, got no {missing}: "
        'pip install "edgesdk[cli]"\n'
    )
    done = run("doctor", "--json")
    assert done.returncode == ExitCode.INPUT
    assert json.loads(done.stdout)["error"] == {
        "class": "ConfigurationError",
        "reason": "extra",
        "message": f"expected click and rich, got no {missing}",
        "hint": 'pip install "edgesdk[cli]"',
    }


# ---- pipes, terminals, signals


@pytest.mark.parametrize(
    "arguments",
    ["--help", "--version", "sign --help", "inspect digits.tflite", "inspect digits.tflite --json",
     "completion bash", "keygen a.key", "sign digits.emb --key release.key -o -"],
)  # fmt: skip
def test_a_closed_pipe_ends_it_quietly(workshop, environment, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "edgesdk.cli", *arguments.split()],
            cwd=workshop.folder,
            env=environment,
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (ExitCode.PIPE, "")


@pytest.mark.usefixtures("workshop")
def test_head_ends_it_quietly(shell):
    ended = shell("set +o pipefail; edgesdk inspect digits.tflite | head -1")
    assert ended.out.startswith("what ")
    assert ended.err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.usefixtures("workshop")
@pytest.mark.parametrize(
    "arguments",
    ["inspect digits.tflite", "inspect digits.tflite --json", "--version --json", "--help",
     "sign --help", "sign digits.emb --key release.key -o -"],
)  # fmt: skip
def test_a_full_disk_behind_standard_output_is_an_error(shell, arguments):
    ended = shell(f"edgesdk {arguments} > /dev/full", code=6)
    text = os.strerror(errno.ENOSPC)
    assert ended.err == (
        "error: ConfigurationError[invalid]: standard output: expected to write to it, "
        f"got: {text}\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_error_is_told_even_where_its_document_cannot_be(shell):
    ended = shell("edgesdk verify no.emb --json > /dev/full", code=6)
    assert ended.err == "error: ConfigurationError[missing]: no.emb: expected a file, got none\n"


@pytest.mark.usefixtures("workshop")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("edgesdk --help >&-", 6),
        ("edgesdk inspect digits.emb >&-", 6),
        ("edgesdk inspect digits.emb --json >&-", 6),
        ("edgesdk sign digits.emb --key release.key -o - >&-", 6),
        ("edgesdk sign - --key release.key -o - <&- > signed.emb", 6),
        ("edgesdk verify digits.emb 2>&-", 0),
        ("edgesdk verify no.emb 2>&-", 6),
        ("edgesdk verify no.emb --json 2>&-", 6),
    ],
)
def test_closed_streams(shell, line, code):
    ended = shell(line, code=code)
    lines = ended.err.splitlines()
    told = [] if "2>&-" in line else ["error"]
    assert [each.split(":")[0] for each in lines] == told
    assert "InternalError" not in ended.err + ended.out


def test_no_file_takes_the_place_of_a_closed_stream(shell):
    """Else what the command prints would end up in the key."""
    shell("edgesdk keygen a.key --json <&- >&- 2>&-", code=6)
    assert json.loads(shell("edgesdk inspect a.key --json").stdout)["kind"] == "signer"


def heed_ctrl_c():
    """A shell without job control starts what it puts into the background with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_it_with_130(workshop, environment):
    """While it waits for a program that signs and has said that it begins."""
    (workshop.folder / "slow.py").write_text(
        "import sys, time\nsys.stdin.readline()\nprint('asked', file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )
    for flags, expected in (([], None), (["--json"], "interrupted")):
        process = subprocess.Popen(
            [sys.executable, "-m", "edgesdk.cli", "sign", "digits.emb",
             "--key", f"exec:{sys.executable} slow.py", *flags],
            cwd=workshop.folder, env=environment, text=True,
            preexec_fn=heed_ctrl_c,  # noqa: PLW1509
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        with process:
            assert process.stderr.readline() == "asked\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert process.returncode == ExitCode.INTERRUPTED
        assert err == "error: Interrupted[interrupted]: stopped by Ctrl-C\n"
        assert (json.loads(out)["error"]["reason"] if out else None) == expected


class Terminal:
    """Run a command on a terminal of 80 columns."""

    def __init__(self, cli, environment):
        self.cli = cli
        self.environment = {**environment, "TERM": "xterm-256color"}
        self.environment.pop("NO_COLOR", None)

    def __call__(self, *arguments, **changes):
        main, worker = pty.openpty()
        with os.fdopen(main, "rb", buffering=0) as screen:
            import fcntl
            import struct
            import termios

            fcntl.ioctl(worker, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            process = subprocess.Popen(
                [sys.executable, "-m", "edgesdk.cli", *arguments],
                cwd=self.cli.folder,
                env=self.environment | changes,
                stdin=worker,
                stdout=worker,
                stderr=worker,
                start_new_session=True,
            )
            os.close(worker)
            shown = b""
            while True:
                try:
                    part = screen.read(4096)
                except OSError:
                    break  # the other end is closed
                if not part:
                    break
                shown += part
            code = process.wait(30)
        self.cli.seen.append(shown)
        return code, shown.decode().replace("\r\n", "\n")


@pytest.fixture
def terminal(workshop, environment):
    return Terminal(workshop, environment)


def test_refuses_to_write_a_bundle_to_a_terminal(terminal):
    code, shown = terminal("sign", "digits.emb", "--key", "release.key", "-o", "-", NO_COLOR="1")
    assert code == ExitCode.INPUT
    assert shown == (
        "error: InputError[argument]: expected a file or a pipe for the bundle, got a terminal\n"
        "hint: name a file with -o FILE, or pipe it into the next command\n"
    )


def test_refuses_to_read_from_a_terminal(terminal):
    code, shown = terminal("inspect", "-", NO_COLOR="1")
    assert code == ExitCode.INPUT
    assert shown.startswith(
        "error: InputError[argument]: expected a file on standard input, got a terminal\n"
    )


def test_a_record_may_go_to_a_terminal(terminal):
    code, shown = terminal("record", "release.key")
    assert code == ExitCode.OK
    assert '"payloadType":"application/vnd.edgesdk.record+json"' in shown
    assert shown.splitlines()[0].endswith("}]}")


def test_colours_follow_the_environment(terminal):
    def coloured(**changes):
        return "\x1b[" in terminal("verify", "unsigned.emb", **changes)[1]

    assert coloured()
    assert not coloured(NO_COLOR="1")
    assert not coloured(TERM="dumb")


def test_a_terminal_of_80_columns_is_enough(terminal):
    for arguments in (
        ["inspect", "digits.emb"],
        ["inspect", "digits.tflite"],
        ["inspect", "trust.json"],
        ["inspect", "digits.grant"],
        ["verify", "digits.emb", "--deep"],
        ["run", "digits.emb", "digits.npy"],
        ["doctor"],
    ):
        code, shown = terminal(*arguments, NO_COLOR="1")
        assert code == ExitCode.OK, shown
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
        assert max(len(line.split("\r")[-1]) for line in plain.splitlines()) <= 80, shown


def test_shows_progress_on_a_terminal_only(terminal, workshop):
    records = [(workshop.folder / f"camera-{n}.pub").read_text() for n in (17, 18)]
    (workshop.folder / "fleet.jsonl").write_text("\n".join(records))
    arguments = ("grant", "digits.emb", "--devices", "fleet.jsonl", "--key", "grant.key")
    code, shown = terminal(*arguments)
    assert code == ExitCode.OK
    assert "granting" in shown
    code, shown = terminal(*arguments, "--json")
    assert "granting" not in shown
    assert "granting" not in workshop(*arguments).err


def test_where_there_is_no_terminal_lines_stay_whole(workshop):
    lines = workshop("inspect", "digits.emb").out.splitlines()
    (operators,) = [line for line in lines if line.startswith("operators")]
    assert "CONV_2D v3" in operators
    assert "SOFTMAX v2" in operators


def test_an_encoding_that_lacks_a_letter_does_not_end_it(workshop, shell):
    (workshop.folder / "labels.txt").write_text("\n".join(["żółw"] * 10))
    ended = shell(
        "export PYTHONIOENCODING=ascii; edgesdk pack digits.tflite --model-id a --model-version 1 "
        "--sequence 1 --label-file labels.txt -o a.emb && edgesdk sign a.emb --key release.key && "
        "edgesdk grant a.emb camera-17.pub --key grant.key && edgesdk run a.emb --random"
    )
    assert "\\u017c\\xf3\\u0142w" in ended.out


# ---- the structure


def test_groups_import_a_command_when_it_is_called():
    group = edgesdk.get_command(click.Context(edgesdk), "gateway")
    assert isinstance(group, LazyGroup)
    assert group.list_commands(click.Context(group)) == ["enrol", "run"]
    assert group.get_command(click.Context(group), "nope") is None


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_scripts(cli, shell_name):
    script = cli("completion", shell_name).out
    assert "_EDGESDK_COMPLETE" in script
    assert cli.json("completion", shell_name) == {"shell": shell_name, "script": script}


def test_the_bash_completion_is_sound(cli, shell):
    (cli.folder / "script").write_text(cli("completion", "bash").out)
    shell("bash -n script && source ./script && complete -p edgesdk")


COMPLETE = """
eval "$(edgesdk completion bash)"
COMP_WORDS=(edgesdk {words} '{last}')
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
function=$(complete -p edgesdk | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" edgesdk '{last}' ''
echo "${{COMPREPLY[*]}}"
"""


@pytest.mark.parametrize(
    ("words", "last", "expected"),
    [
        ("", "k", "keygen"),
        ("device", "", "init"),
        ("trust init", "--su", "--suite"),
        ("keygen --kind", "", "signer gateway"),
        ("completion", "", "bash zsh fish"),
        ("sign a.emb", "--js", "--json"),
    ],
)
def test_bash_completes(shell, words, last, expected):
    """As bash itself calls what the script has defined."""
    assert shell(COMPLETE.format(words=words, last=last)).out.strip() == expected
