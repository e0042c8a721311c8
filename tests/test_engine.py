"""Which engine runs a model, LiteRT behind the same face, and what that costs a protected one."""

from __future__ import annotations

import ctypes
import gc
import importlib
import logging
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert

import edgesdk
import networks
from edgesdk.engine import Options
from edgesdk.errors import (
    ConfigurationError,
    ContractError,
    EngineError,
    InputError,
    LifecycleError,
    MalformedModelError,
    UnsupportedOperatorError,
)
from edgesdk.interpreter import (
    Interpreter,
    InterpreterWithCustomOps,
    OpResolverType,
    load_delegate,
)
from edgesdk.limits import ModelLimits
from edgesdk.litert import LiteRTModel
from edgesdk.lockedbytes import LockedBytes
from edgesdk.publish import pack as publish
from fixtures_device import EXAMPLES
from test_interpreter import frame, in_child, run

pytestmark = pytest.mark.usefixtures("may_leave_the_core")

NATIVE = Path(__file__).parent / "native"
DIGITS = EXAMPLES / "digits" / "digits_device.tflite"
# An operator that LiteRT has and that no network has need of on a device. Where the core learns
# it, `test_native_never_leaves_the_core` fails, and another must be put in its place.
FOREIGN = "STABLEHLO_ADD"


def foreign():
    """Numbers through an operator that the core does not run."""
    net = networks.Network()
    x = net.input([1, 4], "int32", scale=None)
    return net.build(net.operator(FOREIGN, [x, x], [net.tensor([1, 4], "int32")], version=1))


def made(content, **options):
    found = Interpreter(model_content=content, **options)
    found.allocate_tensors()
    return found


@pytest.fixture
def no_litert(monkeypatch):
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, name, None)


# ---- the choice


def test_auto_goes_to_litert_for_what_the_core_does_not_run(caplog):
    with caplog.at_level(logging.INFO, "edgesdk"):
        found = made(foreign())
    assert found.engine == "litert"
    value = np.array([[1, 2**30, -1, 0]], np.int32)
    assert np.array_equal(run(found, value), value + value)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert FOREIGN in record.getMessage()
    assert "ai-edge-litert 2.3.0" in record.getMessage()
    assert found.operators() == [(FOREIGN, 1)]
    (node,) = found.operator_details()
    assert node == {"name": FOREIGN, "version": 1, "kernel": "litert", "macs": 0,
                    "inputs": (0, 0), "outputs": (1,)}  # fmt: skip


def test_auto_stays_in_the_core_for_what_that_runs(tiny, caplog):
    with caplog.at_level(logging.INFO, "edgesdk"):
        assert made(tiny).engine == "native"
    assert caplog.records == []


def test_native_never_leaves_the_core(caplog):
    with pytest.raises(UnsupportedOperatorError, match=FOREIGN):
        Interpreter(model_content=foreign(), engine="native")
    assert caplog.records == []


@pytest.mark.parametrize("asked", [{"isa": "scalar"}, {"limits": ModelLimits(tensors=100)}])
def test_what_only_the_core_obeys_keeps_auto_there(tiny, asked):
    with pytest.raises(UnsupportedOperatorError, match=FOREIGN):
        Interpreter(model_content=foreign(), **asked)
    with pytest.raises(ConfigurationError) as caught:
        Interpreter(model_content=tiny, engine="litert", **asked)
    assert caught.value.reason == "invalid"


def test_auto_does_not_hand_malformed_files_on(tiny):
    for content in (b"", tiny[:50], b"x" * 1000):
        with pytest.raises(MalformedModelError, match="expected"):
            Interpreter(model_content=content)


def test_options_that_only_litert_has_choose_it(tiny, caplog):
    with caplog.at_level(logging.INFO, "edgesdk"):
        found = made(tiny, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    assert found.engine == "litert"
    assert "BUILTIN_REF" in caplog.text
    assert np.array_equal(run(found, frame()), run(made(tiny), frame()))
    for options in (
        {"experimental_op_resolver_type": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES},
        {"experimental_default_delegate_latest_features": True},
    ):
        assert made(tiny, **options).engine == "litert"


def test_options_that_change_no_answer_leave_it_to_the_core(tiny):
    found = made(
        tiny,
        experimental_disable_delegate_clustering=True,
        experimental_compress_quantization_zero_points=True,
        experimental_disable_delegate_node_fusion=True,
        experimental_force_delegate_node_profiling=True,
    )
    assert found.engine == "native"
    assert found.experimental_compress_quantization_zero_points


def test_refuses_an_unknown_engine(tiny, digits):
    for use in (
        lambda: Interpreter(model_content=tiny, engine="tpu"),
        lambda: edgesdk.load(digits, engine="tpu"),
        lambda: edgesdk.load_unprotected(DIGITS, engine="tpu"),
    ):
        with pytest.raises(ConfigurationError, match="'tpu'"):
            use()


@pytest.mark.usefixtures("no_litert")
def test_without_litert_the_operator_is_named_and_the_remedy_too(tiny):
    with pytest.raises(UnsupportedOperatorError, match=FOREIGN) as caught:
        Interpreter(model_content=foreign())
    assert caught.value.hint == 'pip install "edgesdk[litert]"'
    for use in (
        lambda: Interpreter(model_content=tiny, engine="litert"),
        lambda: load_delegate("any.so"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            use()
        assert caught.value.reason == "extra"
        assert caught.value.hint == 'pip install "edgesdk[litert]"'
    assert made(tiny).engine == "native"


def test_plain_models_have_the_same_choice(tmp_path):
    path = tmp_path / "foreign.tflite"
    path.write_bytes(foreign())
    with edgesdk.load_unprotected(path) as model:
        assert model.engine == "litert"
        assert model.protection_level.level == "none"
        assert model.run(np.zeros((1, 4), np.int32)).dtype == np.int32
    with pytest.raises(UnsupportedOperatorError):
        edgesdk.load_unprotected(path, engine="native")
    with edgesdk.load_unprotected(DIGITS, engine="litert") as model:
        assert model.engine == "litert"


# ---- LiteRT behind the face


def test_details_are_those_of_litert(tiny):
    theirs, ours = litert.Interpreter(model_content=tiny), made(tiny, engine="litert")
    theirs.allocate_tensors()
    for mine, others in (
        (ours.get_input_details(), theirs.get_input_details()),
        (ours.get_output_details(), theirs.get_output_details()),
        (ours.get_tensor_details(), theirs.get_tensor_details()),
    ):
        assert repr(mine) == repr(others)
    assert ours.get_signature_list() == theirs.get_signature_list()
    assert ours.num_subgraphs() == theirs.num_subgraphs() >= 1
    assert ours.memory() == {"packed": 0, "mapped": len(tiny), "locked": 0}
    for index in (-1, 7):
        with pytest.raises(InputError) as caught:
            ours.get_tensor_details(index)
        assert caught.value.reason == "tensor"


def test_it_gives_the_bits_of_the_core(every_operator):
    value = np.random.default_rng(1).normal(0, 2, (1, 12, 10, 6)).astype(np.float32)
    ours, theirs = (made(every_operator, engine=name) for name in ("native", "litert"))
    assert np.array_equal(run(ours, value), run(theirs, value))
    assert ours.operators() == theirs.operators()


@pytest.mark.parametrize("engine", ["native", "litert"])
def test_both_obey_the_same_rules(tiny, engine):
    found = Interpreter(model_content=tiny, engine=engine)
    assert found.engine == engine
    (given,), (wanted,) = found.input_indices, found.output_indices
    for use in (
        found.invoke,
        lambda: found.set_tensor(given, frame()),
        lambda: found.get_tensor(wanted),
    ):
        with pytest.raises(LifecycleError) as caught:
            use()
        assert caught.value.reason == "not-allocated"
    found.allocate_tensors()
    for use, reason in (
        (lambda: found.set_tensor(given, frame().astype(np.float32)), "dtype"),
        (lambda: found.set_tensor(given, frame((1, 9))), "shape"),
        (lambda: found.set_tensor(1, found.get_tensor(1)), "tensor"),
        (lambda: found.get_tensor(99), "tensor"),
        (lambda: found.get_tensor(0, 5), "tensor"),
        (lambda: found.resize_tensor_input(given, [2, 8], strict=True), "shape"),
        (lambda: found.resize_tensor_input(wanted, [2, 8]), "tensor"),
        (lambda: found.get_signature_runner("none"), "argument"),
        (lambda: found.get_signature_runner()(other=frame()), "argument"),
        (lambda: found.get_signature_runner()(frame=frame().astype(np.int32)), "dtype"),
    ):
        with pytest.raises(InputError) as caught:
            use()
        assert caught.value.reason == reason
    found.allocate_tensors()
    expected = run(found, frame())
    runner = found.get_signature_runner()
    assert np.array_equal(runner(frame=frame())["scores"], expected)
    assert runner(frame=frame((5, 8)))["scores"].shape == (5, 4)
    assert runner.get_input_details()["frame"]["index"] == given
    assert list(runner.get_output_details()) == ["scores"]
    found.resize_tensor_input(given, [3, 8])
    found.allocate_tensors()
    assert run(found, frame((3, 8))).shape == (3, 4)
    found.reset_all_variables()
    found.close()
    for use in (found.invoke, found.get_input_details, found.reset_all_variables, runner):
        with pytest.raises((LifecycleError, InputError)) as caught:
            use()
    with pytest.raises(LifecycleError) as caught:
        found.invoke()
    assert caught.value.reason == "closed"


@pytest.mark.parametrize("engine", ["native", "litert"])
def test_tensors_in_between_can_be_kept(engine):
    net = networks.Network(4)
    x = net.input([1, 6])
    hidden = net.dense(x, 5)
    content = net.build(net.softmax(hidden))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # LiteRT's, of the memory it takes
        found = made(content, engine=engine, experimental_preserve_all_tensors=True)
    assert found.engine == engine
    run(found, frame((1, 6)))
    end = networks.Network(4)
    x = end.input([1, 6])
    assert np.array_equal(
        found.get_tensor(hidden), run(made(end.build(end.dense(x, 5))), frame((1, 6)))
    )


@pytest.mark.parametrize("engine", ["native", "litert"])
def test_views_look_into_the_interpreter(tiny, engine):
    found = made(tiny, engine=engine)
    look = found.tensor(found.input_indices[0])
    look()[:] = frame()
    found.invoke()
    expected = found.get_tensor(found.output_indices[0])
    assert np.array_equal(expected, run(made(tiny), frame()))
    view = look()
    with pytest.raises(LifecycleError) as caught:
        found.invoke()
    assert caught.value.reason == "referenced"
    with pytest.raises(LifecycleError) as caught:
        found.close()
    assert caught.value.reason == "referenced"
    assert not found._safe_to_run()
    del view
    assert found._safe_to_run()
    found.invoke()
    found.close()


def test_a_view_of_litert_outlives_its_interpreter(tiny):
    found = made(bytearray(tiny), engine="litert")
    weights, expected = found.tensor(1)(), found.get_tensor(1)
    del found
    gc.collect()
    assert np.array_equal(weights, expected)


def test_custom_operators_are_litert_s(tiny):
    resolvers = []
    found = InterpreterWithCustomOps([resolvers.append], model_content=tiny)
    found.allocate_tensors()
    assert found.engine == "litert"
    assert len(resolvers) == 1
    assert np.array_equal(run(found, frame()), run(made(tiny), frame()))
    assert InterpreterWithCustomOps(model_content=tiny).engine == "native"
    with pytest.raises(EngineError, match="NoSuchRegisterer"):
        InterpreterWithCustomOps(["NoSuchRegisterer"], model_content=tiny)
    with pytest.raises(ConfigurationError, match="registerers"):
        Interpreter(model_content=tiny, engine="native", custom_op_registerers=[resolvers.append])


def test_what_litert_cannot_load_or_run():
    for content in (b"x" * 1000, b"\x18\0\0\0TFL3", b""):
        with pytest.raises(MalformedModelError):
            Interpreter(model_content=content, engine="litert")
    net = networks.Network()
    x = net.input([1, 4])
    newer = net.operator("RELU", [x], [net.like(x, [1, 4])], version=99)
    with pytest.raises(UnsupportedOperatorError, match=r"RELU.*99"):
        Interpreter(model_content=net.build(newer), engine="litert")
    net = networks.Network()
    x = net.input([1, 4])
    wrong = net.operator("CUMSUM", [x], [net.like(x, [1, 4])], version=1)
    found = Interpreter(model_content=net.build(wrong), engine="litert")
    for _ in range(2):
        with pytest.raises(EngineError, match=r"CUMSUM.*failed to prepare") as caught:
            found.allocate_tensors()
        assert str(caught.value).count("failed to prepare") == 1
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, RuntimeError)
    with pytest.raises(LifecycleError):
        found.invoke()


def test_one_thread_at_a_time():
    net = networks.Network(11)
    x = net.input([1, 96, 96, 16])
    content = net.build(net.conv(net.conv(net.conv(x, 64), 64), 32))
    found = made(content, engine="litert")
    found.set_tensor(x, frame((1, 96, 96, 16)))
    stop, reasons = threading.Event(), set()

    def work():
        while not stop.is_set():
            try:
                found.invoke()
            except LifecycleError as error:
                reasons.add(error.reason)
                stop.set()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    stop.set()
    assert reasons == {"busy"}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told_to_load_again(tiny):
    found = made(tiny, engine="litert")
    found.set_tensor(0, frame())
    assert "load again in the child" in in_child(found.invoke)
    found.invoke()


# ---- delegates


@pytest.fixture(scope="session")
def delegate(tmp_path_factory):
    """The library of a real delegate (native/delegate.c)."""
    path = tmp_path_factory.mktemp("delegate") / "libdelegate.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run(
        [compiler, "-std=c11", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", path,
         NATIVE / "delegate.c"],
        check=True,
    )  # fmt: skip
    return path


def counted(library):
    """How many delegates were created, looked at a graph, and were destroyed, up to now."""
    gc.collect()
    counts = ctypes.CDLL(str(library))
    return np.array(
        [getattr(counts, f"delegates_{what}")() for what in ("created", "prepared", "destroyed")]
    )


def test_a_delegate_sees_the_graph(tiny, delegate):
    before = counted(delegate)
    loaded = load_delegate(str(delegate))
    assert np.array_equal(counted(delegate) - before, [1, 0, 0])
    found = made(tiny, experimental_delegates=[loaded])
    assert found.engine == "litert"
    assert np.array_equal(counted(delegate) - before, [1, 1, 0])
    assert np.array_equal(run(found, frame()), run(made(tiny), frame()))
    # A second interpreter has a delegate of its own.
    second = made(tiny, engine="litert", delegates=[loaded])
    assert np.array_equal(counted(delegate) - before, [2, 2, 0])
    found.close()
    second.close()
    assert np.array_equal(counted(delegate) - before, [2, 2, 2])


def test_litert_s_own_delegates_are_taken_too(tiny, delegate):
    before = counted(delegate)
    found = made(tiny, experimental_delegates=[litert.load_delegate(str(delegate))])
    assert np.array_equal(counted(delegate) - before, [1, 1, 0])
    assert np.array_equal(run(found, frame()), run(made(tiny), frame()))


def test_delegates_that_cannot_be_had(tiny, delegate, tmp_path):
    plain = tmp_path / "libplain.so"
    (tmp_path / "plain.c").write_text("int nothing;\n")
    subprocess.run(
        [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", plain, tmp_path / "plain.c"],
        check=True,
    )
    for library, options, text in (
        ("libedgetpu-none.so.1", {"device": "usb"}, "libedgetpu-none.so.1"),
        (str(plain), None, "tflite_plugin_create_delegate"),
        (str(delegate), {"refuse": "device"}, "no device of that name"),
    ):
        with pytest.raises(ConfigurationError, match=text) as caught:
            load_delegate(library, options)
        assert caught.value.reason == "delegate"
        assert isinstance(caught.value, ValueError)
    refusing = load_delegate(str(delegate), {"refuse": "graph"})
    with pytest.raises(EngineError) as caught:
        made(tiny, delegates=[refusing])
    assert caught.value.reason == "prepare"
    working = load_delegate(str(delegate))
    for options in (
        {"delegates": [working], "experimental_delegates": [working]},
        {"delegates": [working], "engine": "native"},
    ):
        with pytest.raises(ConfigurationError) as caught:
            Interpreter(model_content=tiny, **options)
        assert caught.value.reason == "invalid"


# ---- protected models


def image():
    return np.random.default_rng(3).integers(-128, 128, (1, 8, 8, 1)).astype(np.int8)


def test_a_protected_model_in_the_core_loses_nothing(digits):
    with edgesdk.load(digits) as model:
        assert model.engine == "native"
        level = model.protection_level
        memory = model.interpreter.memory()
    if memory["locked"] == memory["mapped"]:
        assert (level.level, level.lost, str(level)) == ("locked", (), "locked")
    else:
        assert level.level == "reduced"
        assert "swap" in str(level)


def test_a_protected_model_runs_on_litert_when_asked(digits, delegate):
    with edgesdk.load(digits) as native:
        expected = native.run(image())
    before = counted(delegate)
    with edgesdk.load(
        digits, engine="litert", delegates=[load_delegate(str(delegate))], num_threads=2
    ) as model:
        assert model.engine == "litert"
        assert np.array_equal(model.run(image()), expected)
        assert counted(delegate)[1] > before[1]
        level = model.protection_level
        assert level.level == "reduced"
        text = str(level)
        assert "neither locked nor kept out of core dumps nor wiped" in text
        assert str(delegate) in text
        face = model.interpreter
        assert face.engine == "litert"
        for index in set(range(20)) - {*face.input_indices, *face.output_indices}:
            for use in (face.get_tensor, face.tensor):
                with pytest.raises(InputError) as caught:
                    use(index)
                assert caught.value.reason == "protected"
        with pytest.raises(InputError):
            face.get_tensor_details()
    created, _, destroyed = counted(delegate) - before
    assert created == destroyed > 0


def test_its_bytes_are_wiped_with_the_last_model(digits):
    one, two = (edgesdk.load(digits, engine="litert") for _ in range(2))
    assert one._packed is two._packed
    expected = one.run(image())
    content = one._packed.content
    assert content[4:8] == b"TFL3"
    one.close()
    del one
    gc.collect()
    assert np.array_equal(two.run(image()), expected)
    assert content[4:8] == b"TFL3"
    face = two.interpreter
    two.close()
    del two
    gc.collect()
    assert not any(content)
    with pytest.raises(LifecycleError):
        face.invoke()


def test_auto_says_how_to_ask_for_litert(provisioned):
    on_litert = partial(Interpreter, engine="litert")
    path = provisioned.release("foreign", foreign(), interpreter=on_litert)
    with pytest.raises(UnsupportedOperatorError, match=FOREIGN) as caught:
        edgesdk.load(path)
    assert "edgesdk.load(..., engine='litert')" in caught.value.hint
    with pytest.raises(UnsupportedOperatorError) as caught:
        edgesdk.load(path, engine="native")
    assert caught.value.hint is None
    with edgesdk.load(path, engine="litert") as model:
        value = np.array([[1, 2, 3, 4]], np.int32)
        assert np.array_equal(model.run(value), value + value)


def test_what_a_protected_model_may_not_be_asked_for(digits, delegate):
    for options in (
        {"delegates": [load_delegate(str(delegate))]},
        {"delegates": [load_delegate(str(delegate))], "engine": "native"},
        {"delegates": [litert.load_delegate(str(delegate))], "engine": "litert"},
        {"isa": "scalar", "engine": "litert"},
        {"memory": "require-locked", "engine": "litert"},
    ):
        with pytest.raises(ConfigurationError) as caught:
            edgesdk.load(digits, **options)
        assert caught.value.reason == "invalid"


def test_golden_vectors_are_reproduced_on_litert_as_well(provisioned, monkeypatch):
    seal = publish._seal

    def altered(model, vectors, release, **options):
        vectors = bytearray(vectors)
        vectors[-1] ^= 1
        return seal(model, bytes(vectors), release, **options)

    monkeypatch.setattr(publish, "_seal", altered)
    path = provisioned.release("altered", DIGITS.read_bytes())
    with pytest.raises(ContractError) as caught:
        edgesdk.load(path, engine="litert")
    assert caught.value.reason == "golden"


# ---- locked bytes


def flags_of(address):
    """What the kernel says of the memory at an address."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if "-" in head and not head.endswith(":"):
            start, end = (int(n, 16) for n in head.split("-"))
            inside = start <= address < end
        elif inside and head == "VmFlags:":
            return set(line.split()[1:])
    return set()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("size", [1, 100, 5000, 2**20 + 1])
def test_bytes_in_locked_memory(size):
    secret = os.urandom(size)
    made = [LockedBytes(memoryview(secret)) for _ in range(3)]
    if made[0].locked < size:
        pytest.skip(f"this process may lock only {made[0].locked} bytes")
    for each in made:
        address = np.frombuffer(each.value, np.uint8).ctypes.data
        assert type(each.value) is bytes
        assert each.value == secret
        assert {"lo", "dd"} <= flags_of(address)
        assert {"lo", "dd"} <= flags_of(address + size - 1)
    first, *others = made
    kept = first.value
    first.close()
    first.close()
    assert kept == bytes(size)
    with pytest.raises(LifecycleError):
        first.value  # noqa: B018
    for each in others:
        # They may share pages with the first.
        assert each.value == secret
        assert "lo" in flags_of(np.frombuffer(each.value, np.uint8).ctypes.data)


def test_bytes_are_wiped_when_they_are_forgotten():
    model = LiteRTModel(memoryview(DIGITS.read_bytes()), Options(), protected=True)
    kept = model.content
    assert kept[4:8] == b"TFL3"
    del model
    gc.collect()
    assert not any(kept)


# ---- tflite-runtime

APP = """
import sys
import numpy as np
from edgesdk.errors import ConfigurationError
from edgesdk.interpreter import Interpreter, load_delegate
from edgesdk import litertlibrary
path, library = sys.argv[1:]
try:
    name = litertlibrary.library()[1]
    delegates = [load_delegate(library)]
    answers = []
    for options in ({"engine": "native"}, {"engine": "litert"}, {"delegates": delegates}):
        made = Interpreter(path, num_threads=2, **options)
        made.allocate_tensors()
        (given,), (wanted,) = made.get_input_details(), made.get_output_details()
        value = np.random.default_rng(1).integers(-128, 128, given["shape"]).astype(np.int8)
        made.set_tensor(given["index"], value)
        made.invoke()
        answers.append(made.get_tensor(wanted["index"]))
        (key,) = made.get_signature_list()
        (found,) = made.get_signature_runner(key)(**{
            n: value for n in made.get_signature_list()[key]["inputs"]}).values()
        assert np.array_equal(found, answers[-1])
        assert made.operators() and made.num_subgraphs() == 1
        assert given["quantization_parameters"]["block_size"] == 0
        print(made.engine, name, np.array_equal(answers[0], answers[-1]))
except ConfigurationError as error:
    print(error.reason, "|", error, "|", error.hint)
"""


def pip(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


@pytest.mark.slow
def test_tflite_runtime_is_that_engine_too(tmp_path, delegate):
    if sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime 2.14 has wheels up to Python 3.11 only")
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    done = pip("--python", str(python), "install", "tflite-runtime==2.14.0", "numpy<2")
    if done.returncode:
        pytest.skip(f"no tflite-runtime from the package index: {done.stderr[-300:]}")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "edgesdk").symlink_to(Path(edgesdk.__file__).parent)

    def app(*more):
        ended = subprocess.run(
            [python, "-W", "error", "-c", APP, DIGITS, delegate],
            capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*more, str(tmp_path / "path")])},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.splitlines()

    name = "tflite-runtime 2.14.0 True"
    assert app() == [f"native {name}", f"litert {name}", f"litert {name}"]
    done = pip("--python", str(python), "install", "--target", str(tmp_path / "two"), "numpy>=2")
    assert done.returncode == 0, done.stderr
    (line,) = app(str(tmp_path / "two"))
    assert line.startswith("extra | expected NumPy below 2 beside tflite-runtime 2.14.0, got 2.")
    assert line.endswith("| pip install 'numpy<2'")


def test_the_newer_of_the_two_is_preferred():
    assert importlib.import_module("edgesdk.litertlibrary").library()[1] == "ai-edge-litert 2.3.0"
