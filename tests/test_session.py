import json
import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import edgesdk
from edgesdk.contract import Contract, TensorSpec
from edgesdk.errors import (
    ConfigurationError,
    ContractError,
    DeadlineExceededError,
    DecryptionError,
    InputError,
    KeyUnavailableError,
    LifecycleError,
    MalformedBundleError,
    NotConnectedError,
    RemoteError,
    ResourceError,
    SignatureError,
    TransportError,
)
from edgesdk.maas.engine import InProcess
from edgesdk.session import Mode, Origin, Session
from fixtures_cloud import (
    MODEL_ID,
    PATIENCE,
    SIDE,
    GatedModel,
    LinearModel,
    address,
    frames,
    refused,
)

SHORT = 0.4
EXAMPLES = Path(__file__).parents[1] / "examples" / "digits"


class CloudModel(LinearModel):
    """The cloud's model answers otherwise than the device's, so that both can be told apart."""

    def __init__(self, **options):
        super().__init__(seed=8, version="cloud", **options)


class FailingModel(LinearModel):
    """One that this device cannot run."""

    def infer(self, inputs):
        del inputs
        raise ResourceError("memory", "expected room for the arena, got none")


(FRAME,) = frames(1)
ON_DEVICE = LinearModel().run(FRAME)
IN_CLOUD = CloudModel().run(FRAME)


@pytest.fixture
def session(home):
    """``session(model, broker, ...)``, entered; all are closed at the end."""
    made = []

    def make(model, broker=None, **options):
        options.setdefault("deadline", PATIENCE)
        options.setdefault("home", home)
        if broker is not None:
            options["cloud"] = broker if isinstance(broker, str) else address(broker)
        made.append(Session(model, **options).__enter__())
        return made[-1]

    yield make
    for each in made:
        each.close()


def is_from_device(result):
    np.testing.assert_array_equal(result.outputs, ON_DEVICE)
    assert result.origin is Origin.DEVICE
    assert (result.model, result.version) == (MODEL_ID, "1.0")
    assert result.provenance is None
    assert result.latency >= 0
    return True


def is_from_cloud(result):
    np.testing.assert_array_equal(result.outputs, IN_CLOUD)
    assert result.origin is Origin.CLOUD
    assert (result.model, result.version) == (MODEL_ID, "cloud")
    assert result.provenance.model_digest == CloudModel().digest
    assert result.cloud_error is None
    return True


# Without a cloud


def test_the_device_answers(session):
    result = session(LinearModel()).run(FRAME)
    assert is_from_device(result)
    assert (result.cause, result.cloud_error) == (None, None)


def test_without_a_cloud_there_is_nobody_to_ask(session):
    local = session(LinearModel(), threshold=1e9)
    assert is_from_device(local.run(FRAME))
    result = local.run(FRAME, ask_cloud=True)
    assert is_from_device(result)
    assert result.cause.reason == "asked"
    assert result.cloud_error.reason == "not-connected"
    local.connect()
    assert local.cloud is None


def test_without_a_cloud_a_model_error_is_the_end(session):
    with refused(ResourceError, "memory"):
        session(FailingModel()).run(FRAME)


def test_arrays_go_in_and_come_out_by_name(session):
    class TwoHeaded(LinearModel):
        def __init__(self):
            super().__init__()
            (output,) = self.contract.outputs
            second = TensorSpec("z", np.dtype(np.int32), (1,))
            self.contract = Contract(self.contract.inputs, (output, second))

        def infer(self, inputs):
            return [*super().infer(inputs), np.array([7], np.int32)]

    result = session(TwoHeaded()).run({"x": FRAME})
    np.testing.assert_array_equal(result.outputs["y"], ON_DEVICE)
    assert result.outputs["z"].tolist() == [7]


def test_floats_are_quantized_by_the_contract(session):
    real = (FRAME.astype(np.float32) + 3) / 64
    assert is_from_device(session(LinearModel()).run(real[0]))


# Why the cloud is asked


def test_a_sure_answer_is_the_devices_own(broker, serve, session):
    gateway = serve(broker, CloudModel())
    asking = session(LinearModel(), broker, threshold=0.3)
    # The largest element of this one stands for more than that.
    assert (ON_DEVICE.astype(int).max() + 128) / 256 > 0.3
    assert is_from_device(asking.run(FRAME))
    assert gateway.counters.received == 0


def test_an_unsure_answer_is_put_to_the_cloud(broker, serve, session):
    serve(broker, CloudModel())
    result = session(LinearModel(), broker, threshold=1.5).run(FRAME)
    assert is_from_cloud(result)
    assert result.cause.reason == "low-confidence"
    assert "at least 1.5" in str(result.cause)


@pytest.mark.parametrize(("confidence", "asked"), [(0.9, False), (0.1, True), (np.nan, True)])
def test_an_app_has_its_own_confidence(broker, serve, session, confidence, asked):
    serve(broker, CloudModel())
    seen = []

    def judge(outputs):
        seen.append(outputs)
        return confidence

    result = session(LinearModel(), broker, threshold=0.5, confidence=judge).run(FRAME)
    assert (is_from_cloud if asked else is_from_device)(result)
    np.testing.assert_array_equal(seen, [ON_DEVICE])


def test_the_cloud_is_asked_when_the_caller_asks(broker, serve, session):
    serve(broker, CloudModel())
    asking = session(LinearModel(), broker)
    result = asking.run(FRAME, ask_cloud=True)
    assert is_from_cloud(result)
    assert result.cause.reason == "asked"
    assert is_from_device(asking.run(FRAME))


def test_a_model_error_is_answered_by_the_cloud(broker, serve, session):
    serve(broker, CloudModel())
    result = session(FailingModel(), broker).run(FRAME)
    assert is_from_cloud(result)
    assert result.cause.reason == "model-error"
    assert isinstance(result.cause.error, ResourceError)


@pytest.mark.parametrize("mode", list(Mode))
def test_what_does_not_fit_is_the_callers_fault(broker, serve, session, mode):
    gateway = serve(broker, CloudModel())
    asking = session(LinearModel(), broker, mode=mode)
    for frame, reason in (
        (np.zeros((1, SIDE + 1), np.int8), "shape"),
        (np.zeros((1, SIDE), np.int16), "dtype"),
        ({"z": FRAME}, "tensor"),
        ([1, 2, 3], "dtype"),
    ):
        with refused(InputError, reason):
            asking.run(frame, ask_cloud=True)
    assert gateway.counters.received == 0


# Modes


def test_only_on_device_never_asks(broker, serve, session):
    gateway = serve(broker, CloudModel())
    asking = session(LinearModel(), broker, mode="only_on_device", threshold=1e9)
    result = asking.run(FRAME, ask_cloud=True)
    assert is_from_device(result)
    assert result.cloud_error.reason == "not-connected"
    assert asking.cloud is None
    assert gateway.counters.received == 0
    with refused(ResourceError, "memory"):
        session(FailingModel(), broker, mode="only_on_device").run(FRAME)


def test_prefer_in_cloud_asks_first(broker, serve, session):
    model = LinearModel()
    serve(broker, CloudModel())
    result = session(model, broker, mode="prefer_in_cloud").run(FRAME)
    assert is_from_cloud(result)
    assert result.cause.reason == "mode"
    assert model.runs == 0


def test_prefer_in_cloud_falls_back_to_the_device(broker, session):
    result = session(LinearModel(), broker, mode="prefer_in_cloud", deadline=SHORT).run(FRAME)
    assert is_from_device(result)
    assert result.cause.reason == "mode"
    assert isinstance(result.cloud_error, TransportError)


def test_only_in_cloud_raises_when_there_is_no_answer(broker, session):
    model = LinearModel()
    asking = session(model, broker, mode=Mode.ONLY_IN_CLOUD, deadline=SHORT)
    with pytest.raises(TransportError):
        asking.run(FRAME)
    assert model.runs == 0


# When the cloud does not come back


def breaking(kind, broker, gateway_model):
    """Break the way to the cloud, and give what mends it."""
    if kind == "broker killed":
        broker.kill()
        return lambda: None
    if kind == "broker frozen":
        broker.freeze()
        return broker.thaw
    gateway_model.gate.clear()
    return gateway_model.gate.set


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("broker killed", NotConnectedError),
        ("broker frozen", DeadlineExceededError),
        ("model hangs", DeadlineExceededError),
    ],
)
def test_the_devices_answer_is_kept(broker, serve, session, kind, error):
    class GatedCloudModel(GatedModel, CloudModel):
        pass

    model = GatedCloudModel()
    model.gate.set()
    serve(broker, model)
    asking = session(LinearModel(), broker)
    assert is_from_cloud(asking.run(FRAME, ask_cloud=True))
    asking._seconds = SHORT
    mend = breaking(kind, broker, model)
    try:
        result = asking.run(FRAME, ask_cloud=True)
    finally:
        mend()
    assert is_from_device(result)
    assert result.cause.reason == "asked"
    assert isinstance(result.cloud_error, error)


def test_a_refusal_of_the_gateway_keeps_the_devices_answer(broker, serve, session):
    serve(broker, CloudModel())
    asking = session(LinearModel(), broker, cloud_model="test/other")
    result = asking.run(FRAME, ask_cloud=True)
    assert is_from_device(result)
    assert isinstance(result.cloud_error, RemoteError)
    assert result.cloud_error.reason == "unknown-model"


def test_when_nobody_can_answer_both_errors_are_told(broker, session):
    with pytest.raises(TransportError) as caught:
        session(FailingModel(), broker, deadline=SHORT).run(FRAME)
    assert isinstance(caught.value.__cause__, ResourceError)
    with pytest.raises(TransportError) as caught:
        session(FailingModel(), broker, deadline=SHORT, mode="prefer_in_cloud").run(FRAME)
    assert isinstance(caught.value.__cause__, ResourceError)


def test_every_frame_is_answered_while_the_broker_dies(broker, serve, session):
    serve(broker, CloudModel())
    asking = session(LinearModel(), broker, deadline=1.0)
    assert is_from_cloud(asking.run(FRAME, ask_cloud=True))
    killing = threading.Thread(target=broker.kill)
    origins = []
    for number in range(60):
        if number == 20:
            killing.start()
        result = asking.run(FRAME, ask_cloud=True)
        origins.append(result.origin)
        assert (is_from_cloud if result.origin is Origin.CLOUD else is_from_device)(result)
    killing.join()
    assert origins[0] is Origin.CLOUD
    assert asking.run(FRAME, ask_cloud=True).origin is Origin.DEVICE


def test_threads_share_a_session(broker, serve, session):
    serve(broker, CloudModel())
    asking = session(LinearModel(), broker, outstanding=2)
    asking.run(FRAME, ask_cloud=True)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: asking.run(FRAME, ask_cloud=True), range(60)))
    for result in results:
        assert (is_from_cloud if result.origin is Origin.CLOUD else is_from_device)(result)
        # More than two at a time are not kept waiting.
        assert result.cloud_error is None or result.cloud_error.reason == "outstanding"
    assert any(result.origin is Origin.CLOUD for result in results)


def test_a_session_connects_when_it_is_asked_first(broker, serve, home):
    serve(broker, CloudModel())
    asking = Session(LinearModel(), cloud=address(broker), home=home, deadline=PATIENCE)
    assert asking.cloud is None
    assert is_from_device(asking.run(FRAME))
    assert asking.cloud is None
    assert is_from_cloud(asking.run(FRAME, ask_cloud=True))
    asking.close()


# Wrong use


def test_a_closed_session_is_closed(session):
    closed = session(LinearModel())
    closed.close()
    closed.close()
    with refused(LifecycleError, "closed"):
        closed.run(FRAME)


def test_a_child_process_needs_a_session_of_its_own(session):
    used = session(LinearModel())
    # Another thread may hold it at that moment; nobody would release it in the child.
    used._opening.acquire()
    with warnings.catch_warnings():
        # Newer Pythons warn of what is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        used.close()
        reasons = []
        for use in (lambda: used.run(FRAME), used.connect):
            try:
                use()
            except LifecycleError as error:
                reasons.append(error.reason)
        os._exit(7 if reasons == ["forked", "forked"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    used._opening.release()
    assert is_from_device(used.run(FRAME))


def test_a_session_that_cannot_be_entered_closes_what_it_has_loaded(device, digits):
    (device.home / "gateway.pub").write_bytes(b"junk")
    failed = Session(digits, home=device.home, cloud="mqtt://127.0.0.1:1")
    with refused(MalformedBundleError, "record"):
        failed.__enter__()
    with refused(LifecycleError, "closed"):
        failed._found.local.infer([])


def test_a_model_that_was_passed_in_is_not_closed(home):
    class Watched(LinearModel):
        closed = False

        def close(self):
            self.closed = True

    model = Watched()
    Session(model, home=home).close()
    assert not model.closed


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"mode": "only_in_cloud"}, ConfigurationError, "missing"),
        ({"mode": "in_between"}, InputError, "argument"),
        ({"deadline": 0}, InputError, "argument"),
        ({"deadline": float("nan")}, InputError, "argument"),
        ({"cloud": "http://x"}, ConfigurationError, "invalid"),
        ({"cloud": "mqtt://x", "outstanding": 0}, InputError, "argument"),
        ({"cloud": "mqtt://x", "pool": "A/B"}, ConfigurationError, "invalid"),
    ],
    ids=str,
)
def test_options_are_checked(home, options, error, reason):
    with refused(error, reason):
        Session(LinearModel(), home=home, **options).__enter__()


def test_a_model_without_an_id_needs_one_for_the_cloud(home):
    model = LinearModel(model_id=None)
    with refused(ConfigurationError, "missing"):
        Session(model, home=home, cloud="mqtt://127.0.0.1:1")
    Session(model, home=home, cloud="mqtt://127.0.0.1:1", cloud_model="a").close()
    Session(model, home=home).close()


@pytest.mark.parametrize("name", ["device.key", "gateway.pub"])
def test_a_missing_file_is_missed_at_once(home, name):
    (home / name).unlink()
    with refused(ConfigurationError, "missing"):
        Session(LinearModel(), home=home, cloud="mqtt://127.0.0.1:1")
    Session(LinearModel(), home=home).close()


def test_a_key_open_to_others_is_not_used(home):
    (home / "device.key").chmod(0o644)
    with refused(KeyUnavailableError, "key-permissions"):
        Session(LinearModel(), home=home, cloud="mqtt://127.0.0.1:1").__enter__()


# From a bundle


@pytest.fixture
def device(provisioned, registry, parties, world):
    """The provisioned device, enrolled at the gateway."""
    registry.enrol(world.device_record)
    (provisioned.home / "gateway.pub").write_bytes(parties.gateway_record.encode())
    return provisioned


DIGIT = np.random.default_rng(3).integers(-128, 128, (1, 8, 8, 1), np.int8)


@pytest.fixture
def digits_cloud(broker, serve):
    """A larger model for the digits, served; ``gateway`` serves it at ``broker``."""
    path = EXAMPLES / "digits_cloud.tflite"
    model = edgesdk.load_unprotected(path, model_id="test/digits", version="9")
    engine = InProcess()
    engine.add(model, digest=bytes(32))
    return SimpleNamespace(model=model, broker=broker, gateway=serve(broker, engine=engine))


def test_a_bundle_is_loaded_run_and_closed(device, digits, session):
    running = session(digits, home=device.home)
    with edgesdk.load(digits) as model:
        np.testing.assert_array_equal(running.run(DIGIT).outputs, model.run(DIGIT))
    result = running.run(DIGIT)
    assert (result.model, result.version) == ("test/digits", "1.0")
    loaded = running._found.local
    running.close()
    with refused(LifecycleError, "closed"):
        loaded.run(DIGIT)


def test_a_larger_model_in_the_cloud_answers_for_a_bundle(digits_cloud, device, digits, session):
    frame = np.random.default_rng(4).random((8, 8, 1), np.float32)
    asking = session(digits, digits_cloud.broker, home=device.home)
    result = asking.run(frame, ask_cloud=True)
    np.testing.assert_array_equal(result.outputs, digits_cloud.model.run(frame))
    assert (result.origin, result.version) == (Origin.CLOUD, "9")


class Liar(edgesdk.Interpreter):
    """With it a bundle is packed whose golden vectors no device reproduces."""

    def get_tensor(self, tensor_index):
        return super().get_tensor(tensor_index) ^ 1


@pytest.fixture
def broken(device):
    """A bundle that is in order, of a model that does not do what was signed."""
    content = (EXAMPLES / "digits_device.tflite").read_bytes()
    path = device.release("digits", content, interpreter=Liar)
    with refused(ContractError, "golden"):
        edgesdk.load(path)
    return path


def test_a_bundle_that_does_not_load_is_answered_by_the_cloud(
    digits_cloud, device, broken, session
):
    result = session(broken, digits_cloud.broker, home=device.home).run(DIGIT)
    np.testing.assert_array_equal(result.outputs, digits_cloud.model.run(DIGIT))
    assert (result.origin, result.cause.reason) == (Origin.CLOUD, "model-error")
    assert result.cause.error.reason == "golden"


def test_a_bundle_that_does_not_load_is_the_end_without_a_cloud(device, broken):
    for options in ({}, {"cloud": "mqtt://127.0.0.1:1", "mode": "only_on_device"}):
        with refused(ContractError, "golden"):
            Session(broken, home=device.home, **options)


def test_only_in_cloud_needs_no_grant(digits_cloud, device, session):
    content = (EXAMPLES / "digits_device.tflite").read_bytes()
    path = device.release("digits", content, issue=False)
    with refused(KeyUnavailableError, "no-grant"):
        edgesdk.load(path)
    asking = session(path, digits_cloud.broker, home=device.home, mode="only_in_cloud")
    np.testing.assert_array_equal(asking.run(DIGIT).outputs, digits_cloud.model.run(DIGIT))


def flip(path):
    """Damage the payload of a bundle."""
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(bytes(data))


def test_what_cannot_be_trusted_is_never_masked(digits_cloud, device, digits, world):
    content = (EXAMPLES / "digits_device.tflite").read_bytes()
    foreign = device.release("foreign", content, signer=world.stranger)
    plain = device.home / "plain.tflite"
    plain.write_bytes(content)
    flip(digits)
    options = {"home": device.home, "cloud": address(digits_cloud.broker)}
    for mode in Mode:
        with refused(SignatureError, "unknown-signer"):
            Session(foreign, mode=mode, **options)
        with refused(MalformedBundleError, "prelude"):
            Session(plain, mode=mode, **options)
        # What decrypts nothing does not mind damage to the payload.
        if mode is not Mode.ONLY_IN_CLOUD:
            with refused(DecryptionError, "payload"):
                Session(digits, mode=mode, **options)
    assert digits_cloud.gateway.counters.received == 0


def test_an_app_may_opt_in_to_the_cloud_on_a_trust_error(digits_cloud, device, digits, session):
    with edgesdk.load(digits) as model:
        known = {"contract": model.contract, "cloud_model": "test/digits"}
    flip(digits)
    options = {"home": device.home, "ask_cloud_on_trust_error": True}
    result = session(digits, digits_cloud.broker, **options, **known).run(DIGIT)
    np.testing.assert_array_equal(result.outputs, digits_cloud.model.run(DIGIT))
    assert result.cause.reason == "trust-error"
    assert isinstance(result.cause.error, DecryptionError)
    with refused(ConfigurationError, "missing"):
        Session(digits, cloud=address(digits_cloud.broker), **options)
    with refused(DecryptionError, "payload"):
        Session(digits, **options, **known)


# What is loaded, looked at in fresh processes


def run_fresh(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE * 3,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


WITHOUT_CORE = """
import json, sys
sys.modules["edgesdk._native"] = None
import numpy as np
from edgesdk.session import Session
path, cloud, home, mode = sys.argv[1:]
frame = np.arange(64, dtype=np.int8).reshape(1, 8, 8, 1)
with Session(path, cloud=cloud, home=home, mode=mode, deadline=20) as session:
    result = session.run(frame)
print(json.dumps([result.outputs.tolist(), result.origin.value, result.cause.reason]))
"""


@pytest.mark.parametrize(
    ("mode", "cause"), [("only_in_cloud", "mode"), ("prefer_on_device", "model-error")]
)
def test_a_device_whose_core_cannot_be_loaded_still_answers(
    digits_cloud, device, digits, mode, cause
):
    where = address(digits_cloud.broker)
    outputs, origin, reason = run_fresh(WITHOUT_CORE, digits, where, device.home, mode)
    frame = np.arange(64, dtype=np.int8).reshape(1, 8, 8, 1)
    assert outputs == digits_cloud.model.run(frame).tolist()
    assert (origin, reason) == ("cloud", cause)


LAZY = """
import json, sys
def heavy():
    return sorted({name.split(".")[0] for name in sys.modules} & {"cryptography", "paho", "ssl"})
stages = []
from edgesdk.session import Session
stages.append(heavy())
sys.path[:0] = [sys.argv[1]]
import numpy as np
from edgesdk.contract import Contract, TensorSpec
class Model:
    contract = Contract(
        (TensorSpec("x", np.dtype(np.int8), (1,)),), (TensorSpec("y", np.dtype(np.int8), (1,)),)
    )
    model_id, version = "a", "1"
    def infer(self, inputs):
        return inputs
session = Session(Model(), cloud="mqtt://127.0.0.1:1", home=sys.argv[2], deadline=5)
session.run(np.zeros(1, np.int8))
stages.append(heavy())
result = session.run(np.zeros(1, np.int8), ask_cloud=True)
assert result.cloud_error.reason == "not-connected", result
stages.append(heavy())
session.close()
print(json.dumps(stages))
"""


def test_libraries_come_with_the_first_cloud_call(home):
    stages = run_fresh(LAZY, Path(__file__).parent, home)
    assert stages == [[], [], ["cryptography", "paho", "ssl"]]
