"""gateway enrol, gateway run, and run --cloud against it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

from edgesdk.cli.exits import ExitCode
from edgesdk.cli.gateway import _until_stopped
from edgesdk.record import PublicRecord
from fixtures_cli import CLOUD_DIGITS, Ended
from fixtures_cloud import address

pytestmark = pytest.mark.filterwarnings("default:expected .* locked memory:RuntimeWarning")

CLOUD = ("--mode", "only_in_cloud", "--deadline", "20")


def record_of(cli, number=17):
    return PublicRecord.parse((cli.folder / f"camera-{number}.pub").read_bytes())


# ---- enrol


def test_enrol_puts_records_where_the_gateway_looks(workshop):
    document = workshop.json("gateway", "enrol", "camera-17.pub", "camera-18.pub")
    names = [record_of(workshop, number).name for number in (17, 18)]
    assert [each["device"] for each in document["enrolled"]] == names
    assert [each["name"] for each in document["enrolled"]] == ["camera-17", "camera-18"]
    for name in names:
        assert (workshop.folder / "home" / "devices" / f"{name}.pub").exists()
    out = workshop("gateway", "enrol", "camera-17.pub", "--devices", "elsewhere").out
    assert names[0] in out
    assert (workshop.folder / "elsewhere" / f"{names[0]}.pub").exists()


def test_enrol_takes_a_record_with_a_line_end(workshop):
    text = (workshop.folder / "camera-17.pub").read_text()
    (workshop.folder / "line.pub").write_text(text + "\n")
    workshop("gateway", "enrol", "line.pub")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ([], 2, "UsageError[missing]: expected RECORD, got none"),
        (["no.pub"], 6, "ConfigurationError[missing]: no.pub"),
        (["camera-17.pub", "digits.txt"], 3, "MalformedBundleError[record]: "),
        (["release.pub"], 3, "MalformedBundleError[record]: expected the record of device"),
        (["camera-17.pub", "--devices", "digits.txt"], 6,
         "ConfigurationError[invalid]: digits.txt: expected a folder"),
    ],
)  # fmt: skip
def test_enrol_says_what_is_wrong(workshop, arguments, code, line):
    workshop.refuses("gateway", "enrol", *arguments, code=code, line=line)
    devices = workshop.folder / "home" / "devices"
    assert not devices.exists() or not list(devices.iterdir())


# ---- run


class Worker:
    """`gateway run` in a process of its own."""

    def __init__(self, cli, environment, arguments):
        self.cli = cli
        self.log = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgesdk.cli", "gateway", "run", *arguments],
            cwd=cli.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, text):
        """Read its log up to a line that has this text; its end would end that too."""
        while text not in (line := self._process.stderr.readline()):
            assert line, self.log
            self.log += line
        self.log += line
        return line

    def stop(self, number=signal.SIGTERM):
        self._process.send_signal(number)
        out, err = self._process.communicate(timeout=30)
        self.log += err
        self.cli.seen += [out.encode(), self.log.encode()]
        return Ended(self._process.returncode, out.encode(), self.log)

    def kill(self):
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def gateway(workshop, environment):
    """``gateway(broker, ...)`` starts one that serves the digits."""
    shutil.copy(CLOUD_DIGITS, workshop.folder / "digits_cloud.tflite")
    workshop("gateway", "enrol", "camera-17.pub", "--devices", "devices")
    with contextlib.ExitStack() as stack:

        def start(url, *arguments):
            model = "demo/digits@2.0=digits_cloud.tflite"
            common = ("--broker", url, "--key", "gateway.key", "--devices", "devices")
            worker = Worker(workshop, environment, [*common, "--model", model, *arguments])
            stack.callback(worker.kill)
            return worker

        yield start


def test_the_cloud_answers(workshop, gateway, broker):
    worker = gateway(address(broker))
    version = "5" if broker.mqtt5 else "3.1.1"
    line = worker.wait_for("connected to")
    assert line[8:] == f" info    connected to 127.0.0.1:{broker.port} by MQTT {version}\n"
    assert "offering demo/digits 2.0\n" in worker.log
    url = address(broker)
    document = workshop.json("run", "digits.emb", "digits.npy", "--cloud", url, *CLOUD)
    for result in document["results"]:
        assert (result["origin"], result["model_version"]) == ("cloud", "2.0")
        assert result["cause"]["reason"] == "mode"
        assert result["outputs"][0]["top"][0]["label"]
    lines = workshop("run", "digits.emb", "digits.npy", "--cloud", url, *CLOUD).out.splitlines()
    assert lines[-1] == "the cloud was asked 3 times, and answered 3"
    plain = ("run", "digits.tflite", "--random", "--cloud", url, "--cloud-model", "demo/digits")
    result = workshop.json(*plain, "--threshold", "2", "--deadline", "20")["results"][0]
    assert (result["origin"], result["cause"]["reason"]) == ("cloud", "low-confidence")
    ended = worker.stop()
    assert ended.code == ExitCode.OK
    counts = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert counts == {
        "received": "7",
        "run": "7",
        "answered": "7",
        "repeated": "0",
        "refused": "0",
        "dropped": "0",
    }


def test_the_gateway_logs_what_it_refuses_and_why(workshop, gateway, mosquitto):
    worker = gateway(address(mosquitto), "--json")
    assert json.loads(worker.wait_for("connected to"))["level"] == "info"
    url = address(mosquitto)
    workshop.refuses("run", "digits.emb", "--random", "--cloud", url, *CLOUD,
                     "--cloud-model", "demo/other", code=5,
                     line="RemoteError[unknown-model]: ")  # fmt: skip
    told = json.loads(worker.wait_for("refused a request"))
    assert (told["level"], told["reason"]) == ("warning", "unknown-model")
    assert told["device"] == record_of(workshop).name
    for name in ("trust.json", "gateway.pub"):
        shutil.copy(workshop.folder / "home" / name, workshop.folder / "home-18" / name)
    workshop("run", "digits.emb", "--random", "--cloud", url, "--home", "home-18",
             "--mode", "only_in_cloud", "--deadline", "1", code=5)  # fmt: skip
    assert json.loads(worker.wait_for("dropped"))["reason"] == "unknown-signer"
    ended = worker.stop(signal.SIGINT)
    assert ended.code == ExitCode.OK
    document = ended.document
    assert document["refused"] == {"unknown-model": 2}
    assert document["dropped"]["unknown-signer"] >= 1
    assert document["run"] == document["answered"] == 0


def test_the_gateway_gives_each_device_its_share(workshop, gateway, mosquitto):
    worker = gateway(address(mosquitto), "--quota-burst", "2", "--quota-rate", "0.001")
    worker.wait_for("connected to")
    arguments = ("run", "digits.emb", "digits.npy", "--cloud", address(mosquitto), *CLOUD)
    workshop("run", "digits.emb", "--random", *arguments[3:])
    ended = workshop(*arguments, code=5)
    assert ended.error.startswith("error: QuotaError[quota]: ")
    assert "[quota]" in worker.wait_for("refused a request")
    assert "1 quota" in worker.stop().out


def test_the_gateway_serves_a_bundle_and_outlives_the_broker(workshop, gateway, mosquitto):
    worker = gateway(address(mosquitto), "--model", "digits.emb", "--runners", "1")
    worker.wait_for("connected to")
    assert "offering demo/digits 1.0\n" in worker.log
    mosquitto.kill()
    mosquitto.start()
    worker.wait_for("connected to")
    document = workshop.json("run", "digits.emb", "--random", "--cloud", address(mosquitto), *CLOUD)
    assert document["results"][0]["model_version"] == "1.0"
    assert worker.stop().code == ExitCode.OK


def test_the_gateway_waits_for_a_broker_and_can_be_stopped(gateway):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        worker = gateway(f"mqtt://127.0.0.1:{port}")
        worker.wait_for("offering demo/digits 2.0")
        assert worker.stop().code == ExitCode.OK


GATEWAY = ("--broker", "mqtt://127.0.0.1:1", "--key", "gateway.key", "--devices", "devices")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ([*GATEWAY], 2, "UsageError[missing]: expected --model, got none"),
        ([*GATEWAY, "--model", "=x"], 2,
         "UsageError[usage]: --model: expected [ID[@VERSION]=]PATH, got '=x'"),
        ([*GATEWAY, "--model", "digits.tflite"], 2,
         "UsageError[usage]: --model: expected ID=digits.tflite for a plain model"),
        ([*GATEWAY, "--model", "a=no.tflite"], 6, "ConfigurationError[missing]: no.tflite"),
        ([*GATEWAY, "--model", "unsigned.emb"], 3, "SignatureError[unsigned]: "),
        ([*GATEWAY[2:], "--broker", "tcp://x", "--model", "a=digits.tflite"], 6,
         "ConfigurationError[invalid]: expected mqtt://host"),
        ([*GATEWAY[:2], *GATEWAY[4:], "--key", "release.key", "--model", "a=digits.tflite"], 3,
         "KeyUnavailableError[no-key]: expected the key of a gateway, got one of a signer"),
        ([*GATEWAY[:4], "--devices", "no", "--model", "a=digits.tflite"], 6,
         "ConfigurationError[missing]: no: expected the folder of enrolled devices, got none"),
        ([*GATEWAY, "--model", "a=digits.tflite", "--pool", "A b"], 6,
         "ConfigurationError[invalid]: expected a pool like"),
        (["--broker", "mqtts://127.0.0.1:1", *GATEWAY[2:], "--model", "a=digits.tflite",
          "--broker-ca", "no.pem"], 6, "ConfigurationError[missing]: no.pem"),
        (["--broker", "mqtts://127.0.0.1:1", *GATEWAY[2:], "--model", "a=digits.tflite",
          "--broker-ca", "digits.txt"], 6, "ConfigurationError[invalid]: expected PEM"),
    ],
)  # fmt: skip
def test_the_gateway_says_what_is_wrong(workshop, arguments, code, line):
    (workshop.folder / "devices").mkdir()
    before = signal.getsignal(signal.SIGTERM)
    workshop.refuses("gateway", "run", *arguments, code=code, line=line)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_broker_password_is_never_shown(workshop):
    url = "mqtt://user:hunter2@127.0.0.1:1/wrong"
    ended = workshop("gateway", "run", "--broker", url, *GATEWAY[2:], "--model", "a=b", code=6)
    assert "hunter2" not in ended.err


@pytest.mark.parametrize("flags", [[], ["--json"], ["--debug"]])
def test_a_gateway_that_is_told_to_stop_once_it_is_connected(
    workshop, mosquitto, monkeypatch, flags
):
    """In this process, and so in its main thread, which the signal goes to."""
    (workshop.folder / "devices").mkdir()

    def tell(*_):
        return lambda _: os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("edgesdk.cli.gateway._tell_of_link", tell)
    ended = workshop("gateway", "run", "--broker", address(mosquitto), *GATEWAY[2:],
                     "--model", "a@7=digits.tflite", "--model", "digits.emb", *flags)  # fmt: skip
    assert "offering a 7" in ended.err
    assert "offering demo/digits 1.0" in ended.err
    if flags == ["--json"]:
        assert ended.document["received"] == 0
        assert {json.loads(line)["level"] for line in ended.err.splitlines()} == {"info"}
    else:
        assert "received  0\n" in ended.out


@pytest.mark.timeout(60)
def test_a_signal_that_another_thread_gets_ends_the_wait():
    """The kernel may choose any thread; a lock in the main one would sleep on."""
    with _until_stopped() as wait:

        def get_it():
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

        threading.Thread(target=get_it).start()
        wait()


def test_a_signal_before_the_wait_ends_it():
    with _until_stopped() as wait:
        os.kill(os.getpid(), signal.SIGINT)
        wait()


def test_the_authorities_of_the_broker_come_from_the_configuration_folder(workshop, monkeypatch):
    (workshop.folder / "devices").mkdir()
    (workshop.folder / "home" / "broker-ca.pem").write_text("no certificate")
    arguments = ("--broker", "mqtts://127.0.0.1:1", *GATEWAY[2:], "--model", "a=digits.tflite")
    workshop.refuses("gateway", "run", *arguments, code=6,
                     line="ConfigurationError[invalid]: expected PEM")  # fmt: skip
    (workshop.folder / "home" / "broker-ca.pem").unlink()

    class Stopped(Exception):  # noqa: N818 - it is none
        pass

    def stop(*_, **options):
        assert options["tls"].ca is None
        raise Stopped

    monkeypatch.setattr("edgesdk.maas.gateway.Gateway", stop)
    workshop("gateway", "run", *arguments, code=1)
