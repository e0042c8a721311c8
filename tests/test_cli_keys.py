"""keygen, record, device init, trust init."""

from __future__ import annotations

import os
import shutil
import stat
import sys

import pytest

from edgesdk import floors
from edgesdk.cli.options import When, date, now
from edgesdk.files import Home
from edgesdk.keys import SecretKey
from edgesdk.record import PublicRecord
from edgesdk.state import Marks
from edgesdk.trust import TrustRoot


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# ---- keygen


def test_keygen_makes_a_secret_key_and_a_public_record(cli):
    document = cli.json("keygen", "release.key", "--name", "build server")
    key = SecretKey.parse((cli.folder / "release.key").read_bytes())
    record = PublicRecord.parse((cli.folder / "release.pub").read_bytes())
    assert mode(cli.folder / "release.key") == 0o600
    assert (record.kid, record.label, record.kind) == (key.kid, "build server", "signer")
    assert document == {
        "key": "release.key",
        "record": "release.pub",
        "kind": "signer",
        "name": "build server",
        "kid": key.kid.hex(),
        "device_name": key.name,
        "algorithms": ["ed25519", "ml-dsa-65"],
    }


def test_keygen_tells_people_where_it_is(cli):
    lines = cli("keygen", "keys").out.splitlines()
    assert lines[0].split() == ["key", "keys", "(secret,", "mode", "0600)"]
    assert lines[1].split() == ["record", "keys.pub"]
    assert (cli.folder / "keys.pub").exists()


def test_keygen_is_not_misled_by_the_umask(cli):
    before = os.umask(0)
    try:
        cli("keygen", "release.key")
    finally:
        os.umask(before)
    assert mode(cli.folder / "release.key") == 0o600
    assert mode(cli.folder / "release.pub") == 0o644


def test_keygen_for_a_gateway(cli):
    document = cli.json("keygen", "--kind", "gateway", "gw.key", "--record", "public")
    assert document["kind"] == "gateway"
    assert document["algorithms"] == ["ml-kem-768", "x25519", "ed25519"]
    assert PublicRecord.parse((cli.folder / "public").read_bytes()).kind == "gateway"


@pytest.mark.parametrize("suite", ["ed25519", "ml-dsa-65"])
def test_keygen_of_one_algorithm(cli, suite):
    assert cli.json("keygen", "a.key", "--suite", suite)["algorithms"] == [suite]


def test_keygen_never_overwrites_a_key(cli):
    cli("keygen", "a.key")
    before = (cli.folder / "a.key").read_bytes(), (cli.folder / "a.pub").read_bytes()
    ended = cli.refuses("keygen", "a.key", code=3, line="KeyUnavailableError[key-exists]: a.key: ")
    assert ended.hint == "hint: choose another name, or move the old key away"
    cli.refuses("keygen", "a", code=6, line="ConfigurationError[invalid]: a.pub: expected no file")
    assert not (cli.folder / "a").exists()
    assert ((cli.folder / "a.key").read_bytes(), (cli.folder / "a.pub").read_bytes()) == before


def test_keygen_does_not_write_through_a_link(cli):
    (cli.folder / "a.key").symlink_to(cli.folder / "elsewhere")
    cli.refuses("keygen", "a.key", code=3, line="KeyUnavailableError[key-exists]: a.key: ")
    assert not (cli.folder / "elsewhere").exists()


def test_keygen_says_what_is_wrong_with_the_place(cli):
    cli.refuses("keygen", "no/a.key", code=6, line="ConfigurationError[missing]: no/a.key: ")
    for name, came in (("x" * 65, "65 characters"), ("", "0 characters"), ("a\nb", "'a\\nb'")):
        cli.refuses(
            "keygen", "a.key", "--name", name, code=2,
            line="UsageError[bad-value]: --name: expected 1 to 64 printable characters, got "
            f"{came}",
        )  # fmt: skip
    assert not (cli.folder / "a.key").exists()


def test_keygen_wants_a_suite_for_signers_only(cli):
    cli.refuses(
        "keygen", "a.key", "--kind", "gateway", "--suite", "both", code=6,
        line="InputError[argument]: expected --suite for a signer only, got it for a gateway",
    )  # fmt: skip


# ---- record


def test_record_writes_a_record_again(workshop):
    document = workshop.json("record", "release.key", "--name", "release", "-o", "again.pub")
    again = PublicRecord.parse((workshop.folder / "again.pub").read_bytes())
    first = PublicRecord.parse((workshop.folder / "release.pub").read_bytes())
    assert (again.kid, again.keys) == (first.kid, first.keys)
    assert document["record"] == "again.pub"


def test_record_goes_to_a_pipe(workshop):
    ended = workshop("record", "home/device.key", "--kind", "device", "--name", "camera-17")
    record = PublicRecord.parse(ended.stdout)
    assert record.kind == "device"
    assert "standard output" in ended.err


def test_record_of_an_external_signer(workshop, external):
    workshop("record", external, "--name", "hsm", "-o", "hsm.pub")
    assert PublicRecord.parse((workshop.folder / "hsm.pub").read_bytes()).label == "hsm"
    workshop("record", external, "-o", "unnamed.pub")
    label = PublicRecord.parse((workshop.folder / "unnamed.pub").read_bytes()).label
    assert label == sys.executable[:64]


def test_record_of_a_key_in_the_environment(workshop, monkeypatch):
    import base64

    data = (workshop.folder / "release.key").read_bytes()
    monkeypatch.setenv("RELEASE", base64.b64encode(data).decode())
    ended = workshop("record", "env:RELEASE", "-o", "env.pub")
    assert ended.err == (
        "warning: the key in $RELEASE can be seen by whoever may read this process's environment "
        "[key-permissions]\n"
    )
    assert PublicRecord.parse((workshop.folder / "env.pub").read_bytes()).label == "RELEASE"


def test_record_says_what_is_wrong_with_a_key(workshop):
    for arguments, code, line in (
        (["nope.key"], 3, "KeyUnavailableError[no-key]: nope.key: expected a key file, got none"),
        (["env:NOPE"], 3, "KeyUnavailableError[no-key]: expected a key in $NOPE"),
        (["gateway.key"], 3, ("KeyUnavailableError[no-key]: expected the key of a signer, got one "
         "of a gateway")),
        (["tpm:0x81"], 6, "ConfigurationError[invalid]: expected file:PATH, env:NAME"),
        (["exec:/nope"], 3, "KeyUnavailableError[provider]: an external signer: expected a"),
        (["exec:true", "--kind", "device"], 6, ("ConfigurationError[invalid]: expected a device "
         "key in file: or env:")),
        (["digits.npy"], 3, ("KeyUnavailableError[key-permissions]: digits.npy: expected a file "
         "that only its owner may open, got mode 0644")),
    ):  # fmt: skip
        workshop.refuses("record", *arguments, "-o", "x.pub", code=code, line=line)
        assert not (workshop.folder / "x.pub").exists()


# ---- device init


def test_device_init_makes_the_folder_the_key_and_the_record(cli):
    document = cli.json("device", "init", "--name", "camera-17")
    home = cli.folder / "home"
    key = SecretKey.parse((home / "device.key").read_bytes())
    record = PublicRecord.parse((home / "device.pub").read_bytes())
    assert mode(home) == 0o700
    assert mode(home / "device.key") == 0o600
    assert (record.kind, record.label, record.kid) == ("device", "camera-17", key.kid)
    assert floors.find(Home(home)).marks() == Marks()
    assert document == {
        "key": str(home / "device.key"),
        "record": str(home / "device.pub"),
        "kind": "device",
        "name": "camera-17",
        "kid": key.kid.hex(),
        "device_name": key.name,
        "algorithms": ["ml-kem-768", "x25519", "ed25519"],
    }


def test_device_init_takes_the_name_of_the_host(cli, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "board-7." + "x" * 80)
    assert cli.json("device", "init")["name"] == ("board-7." + "x" * 80)[:64]


def test_device_init_says_what_comes_next(cli):
    out = cli("device", "init").out
    assert "Next, the publisher's trust.json goes into the same folder." in out


def test_device_init_prints_the_record(cli):
    ended = cli("device", "init", "--home", "elsewhere", "-o", "-")
    record = PublicRecord.parse(ended.stdout)
    assert record.kid.hex() in ended.err
    assert not (cli.folder / "elsewhere" / "device.pub").exists()


def test_device_init_never_overwrites_a_key(cli):
    cli("device", "init")
    key = cli.folder / "home" / "device.key"
    before = key.read_bytes()
    ended = cli.refuses("device", "init", code=3, line="KeyUnavailableError[key-exists]: ")
    assert ended.hint == f"hint: `edgesdk record {key} --kind device` writes its record again"
    assert key.read_bytes() == before


def test_device_init_keeps_what_the_device_remembers(cli):
    """A new key is no reason to load old models."""
    cli("device", "init")
    kept = floors.find(Home(cli.folder / "home"))
    kept.raise_to(time=5, epoch=3)
    (cli.folder / "home" / "device.key").unlink()
    (cli.folder / "home" / "device.pub").unlink()
    cli("device", "init")
    assert kept.marks() == Marks(time=5, epoch=3)


def test_device_init_gives_floors_to_a_device_that_has_its_key(cli):
    cli("device", "init")
    home = Home(cli.folder / "home")
    key = home.device_key.read_bytes()
    shutil.rmtree(home.state)
    home.floors_required.unlink()
    document = cli.json("device", "init", "--floors-only")
    assert document == {"floors": str(home.state)}
    kept = floors.find(home)
    kept.raise_to(time=5)
    assert f"floors  {home.state}" in cli("device", "init", "--floors-only").out
    assert kept.marks() == Marks(time=5)
    assert home.device_key.read_bytes() == key
    cli.refuses(
        *("device", "init", "--floors-only", "--name", "x"), code=2,
        line="UsageError[usage]: expected --name and -o for a new key, got them with --floors-only",
    )  # fmt: skip


def test_device_init_makes_no_key_where_floors_are_damaged(cli):
    cli("device", "init")
    home = cli.folder / "home"
    for path in (home / "device.key", home / "device.pub", *(home / "state").glob("floors.?")):
        path.unlink()
    cli.refuses("device", "init", code=3, line="StateError[state]: expected the floors of this")
    assert not (home / "device.key").exists()


def test_device_init_says_what_is_wrong_with_the_folder(cli):
    (cli.folder / "file").touch()
    cli.refuses(
        "device", "init", "--home", "file/x", code=6,
        line="ConfigurationError[invalid]: file/x: expected a folder, got: Not a directory",
    )  # fmt: skip


def test_device_init_says_that_it_may_not(cli, powerless):
    (cli.folder / "closed").mkdir(mode=0o500)
    ended = powerless("device", "init", "--home", "closed/x", code=6)
    assert ended.error.startswith(
        "error: ConfigurationError[permissions]: closed/x: expected to make this folder"
    )


# ---- trust init

ROLES = ("--root", "root.pub", "--release", "release.pub", "--grant", "grant.pub")


def test_trust_init_demands_both_algorithms(workshop):
    root = TrustRoot.parse((workshop.folder / "trust.json").read_bytes())
    assert [algorithm.label for algorithm in root.suite] == ["ed25519", "ml-dsa-65"]
    assert (root.version, root.epoch, root.expires) == (1, 0, None)
    assert {name: role.scope for name, role in root.roles.items()} == {
        "root": ("*",),
        "release": ("*",),
        "grant": ("*",),
        "auditor": ("*",),
    }


def test_trust_init_with_everything_said(workshop):
    document = workshop.json(
        "trust", "init", *ROLES, "--release", "stranger.pub", "--key", "root.key", "-o", "t.json",
        "--threshold", "release=2", "--scope", "release=door/*,gate", "--epoch", "3",
        "--expires", "2030-01-31", "--suite", "ed25519",
    )  # fmt: skip
    assert document["suite"] == ["ed25519"]
    assert document["epoch"] == 3
    assert document["expires"] == 1_896_048_000
    assert document["roles"]["release"]["threshold"] == 2
    assert document["roles"]["release"]["scope"] == ["door/*", "gate"]
    assert sorted(document["signers"].values()) == ["grant", "release", "root", "stranger"]
    text = workshop("inspect", "t.json").out
    assert "2 of 2" in text
    assert "door/*, gate" in text


def test_trust_init_makes_the_next_version(workshop):
    command = ("trust", "init", *ROLES, "--previous", "trust.json", "-o", "t2.json")
    document = workshop.json(*command, "--key", "root.key")
    assert (document["version"], document["epoch"]) == (2, 0)
    ended = workshop.refuses(
        "trust", "init", "--root", "stranger.pub", *ROLES[2:], "--previous", "trust.json",
        "-o", "t3.json", "--key", "stranger.key",
        code=3, line="SignatureError[unknown-signer]: expected a signer of role root",
    )  # fmt: skip
    assert ended.out == ""
    assert not (workshop.folder / "t3.json").exists()
    workshop("trust", "init", "--root", "stranger.pub", *ROLES[2:], "--previous", "trust.json",
             "-o", "t3.json", "--key", "stranger.key", "--key", "root.key")  # fmt: skip


def test_trust_init_by_an_external_signer(workshop, external):
    workshop("record", external, "--name", "hsm", "-o", "hsm.pub")
    workshop("trust", "init", "--root", "hsm.pub", *ROLES[2:], "--key", external, "-o", "h.json")


def test_trust_init_goes_to_a_pipe(workshop):
    ended = workshop("trust", "init", *ROLES, "--key", "root.key", "-o", "-")
    TrustRoot.parse(ended.stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ([*ROLES, "--key", "root.key"], 6, ("ConfigurationError[invalid]: trust.json: expected no "
         "file of that name, got one; it is not overwritten")),
        ([*ROLES, "--key", "stranger.key", "-o", "t"], 3,
         "SignatureError[unknown-signer]: expected a signer of role root, got others only"),
        (["--root", "camera-17.pub", *ROLES[2:], "--key", "root.key", "-o", "t"], 6,
         "InputError[argument]: expected a signer with ed25519 and ml-dsa-65, got device"),
        (["--root", "digits.txt", *ROLES[2:], "--key", "root.key", "-o", "t"], 3,
         "MalformedBundleError[record]: a public record: expected JSON"),
        (["--root", "no.pub", *ROLES[2:], "--key", "root.key", "-o", "t"], 6,
         "ConfigurationError[missing]: no.pub: expected a file, got none"),
        ([*ROLES, "--key", "root.key", "-o", "t", "--threshold", "root=2"], 6,
         "InputError[argument]: --threshold: expected 1 to 1, as there are signers, got 2"),
        ([*ROLES, "--key", "root.key", "-o", "t", "--threshold", "2"], 6,
         "InputError[argument]: --threshold: expected as NAME=VALUE, got '2'"),
        ([*ROLES, "--key", "root.key", "-o", "t", "--scope", "rot=*"], 6,
         "InputError[argument]: --scope: expected a role of root, release, grant, got rot"),
        ([*ROLES, "--key", "root.key", "-o", "t", "--scope", "root=a", "--scope", "root=b"], 6,
         "InputError[argument]: --scope: expected root once, got it twice"),
        ([*ROLES, "--key", "root.key", "-o", "t", "--scope", "root=Door"], 6,
         "InputError[argument]: trust.roles.root.scope: expected a string like"),
        ([*ROLES, "--key", "root.key", "-o", "no/t"], 6, "ConfigurationError[missing]: no/t: "),
        ([*ROLES, "--key", "root.key", "-o", "t", "--previous", "root.pub"], 3,
         "MalformedBundleError[trust-file]: "),
    ],
)  # fmt: skip
def test_trust_init_says_what_is_wrong(workshop, arguments, code, line):
    workshop.refuses("trust", "init", *arguments, code=code, line=line)
    assert not (workshop.folder / "t").exists()


def test_trust_init_wants_keys_of_the_suite(workshop):
    workshop("keygen", "old.key", "--suite", "ed25519")
    arguments = ("--root", "old.pub", *ROLES[2:], "--key", "old.key", "-o", "t")
    workshop.refuses(
        "trust", "init", *arguments, code=6,
        line="InputError[argument]: expected a signer with ed25519 and ml-dsa-65, got signer old "
        "without ml-dsa-65",
    )  # fmt: skip
    workshop("trust", "init", *arguments, "--suite", "ed25519")


def test_trust_init_reads_the_previous_one_like_a_device(workshop):
    (workshop.folder / "trust.json").chmod(0o666)
    workshop.refuses(
        "trust", "init", *ROLES, "--key", "root.key", "--previous", "trust.json", "-o", "t",
        code=6, line="ConfigurationError[permissions]: trust.json: expected a file that only its",
    )  # fmt: skip


# ---- times


def test_times():
    when = When()

    def convert(text):
        return when.convert(text, None, None)

    assert convert("2027-01-31") == 1_801_353_600
    assert convert("2027-01-31T00:00:00Z") == 1_801_353_600
    assert convert("2027-01-31T02:00:00+02:00") == 1_801_353_600
    assert convert("1970-01-01") == 0
    for text, seconds in (("30s", 30), ("5m", 300), ("2h", 7200), ("90d", 7_776_000),
                          ("1w", 604_800)):  # fmt: skip
        assert 0 <= convert(text) - now() - seconds <= 1 or convert(text) == now() + seconds
    assert convert(5) == 5
    assert date(1_801_353_600) == "2027-01-31 00:00:00 UTC"
    assert date(None) == "never"
    assert date(2**53 - 1) == f"{2**53 - 1} s after 1970"


def test_a_folder_that_is_copied_keeps_working(workshop):
    """What `cp` makes of a key file is refused or works, as its mode says."""
    shutil.copyfile(workshop.folder / "release.key", workshop.folder / "copied.key")
    (workshop.folder / "copied.key").chmod(0o644)
    ended = workshop.refuses(
        "sign", "digits.emb", "--key", "copied.key", code=3,
        line="KeyUnavailableError[key-permissions]: copied.key: ",
    )  # fmt: skip
    assert ended.hint == "hint: chmod 600 copied.key; if others could read it, make a new key"
