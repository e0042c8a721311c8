"""LiteRT's interpreter API: structures, errors, resizing, threads, processes."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from hypothesis import given
from hypothesis import strategies as st

import edgesdk
import networks
from edgesdk.errors import (
    ConfigurationError,
    EdgeError,
    InputError,
    IsaError,
    LifecycleError,
    MalformedModelError,
    ResourceError,
    UnsupportedOperatorError,
)
from edgesdk.interpreter import (
    Interpreter,
    LockedMemory,
    OpResolverType,
    machine,
    pack,
)
from edgesdk.limits import ModelLimits


def loaded(content, **options):
    made = Interpreter(model_content=content, **options)
    made.allocate_tensors()
    return made


def frame(shape=(1, 8), seed=0):
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def run(made, value):
    made.set_tensor(made.get_input_details()[0]["index"], value)
    made.invoke()
    return made.get_tensor(made.get_output_details()[0]["index"])


def test_details_equal_those_of_litert(every_operator, tiny):
    for content in (every_operator, tiny):
        theirs, ours = litert.Interpreter(model_content=content), Interpreter(model_content=content)
        theirs.allocate_tensors()
        ours.allocate_tensors()
        for mine, other in (
            (ours.get_input_details(), theirs.get_input_details()),
            (ours.get_output_details(), theirs.get_output_details()),
        ):
            assert len(mine) == len(other)
            for a, b in zip(mine, other, strict=True):
                assert a.keys() == b.keys()
                assert a["name"] == b["name"]
                assert a["index"] == b["index"]
                assert a["dtype"] is b["dtype"]
                assert a["quantization"] == b["quantization"]
                assert a["sparsity_parameters"] == b["sparsity_parameters"]
                for name in ("shape", "shape_signature"):
                    assert np.array_equal(a[name], b[name])
                    assert a[name].dtype == b[name].dtype
                one, two = a["quantization_parameters"], b["quantization_parameters"]
                assert one.keys() == two.keys()
                assert np.array_equal(one["scales"], two["scales"])
                assert one["scales"].dtype == two["scales"].dtype
                assert np.array_equal(one["zero_points"], two["zero_points"])
                assert one["zero_points"].dtype == two["zero_points"].dtype
                assert one["quantized_dimension"] == two["quantized_dimension"]


def test_details_of_all_tensors_equal_those_of_litert(every_operator, tiny):
    for content in (every_operator, tiny):
        theirs, ours = litert.Interpreter(model_content=content), loaded(content)
        theirs.allocate_tensors()
        mine, others = ours.get_tensor_details(), theirs.get_tensor_details()
        assert len(mine) <= len(others)  # delegates add some of their own
        for a, b in zip(mine, others, strict=False):
            assert a.keys() == b.keys()
            assert (a["name"], a["index"], a["dtype"]) == (b["name"], b["index"], b["dtype"])
            assert np.array_equal(a["shape"], b["shape"])
            assert a["quantization"] == b["quantization"]
        with pytest.raises(InputError):
            ours.get_tensor_details(1)
    protected = Interpreter.over(pack(tiny, protected=True), protected=True)
    with pytest.raises(InputError) as caught:
        protected.get_tensor_details()
    assert caught.value.reason == "protected"


def test_numbers_beyond_int32_are_wrong_arguments(tiny):
    made = loaded(tiny)
    for use in (
        lambda: made.get_tensor(2**40),
        lambda: made.get_tensor(-(2**40)),
        lambda: made.resize_tensor_input(2**40, [1, 8]),
        lambda: made.resize_tensor_input(0, [2**40, 8]),
        lambda: made.resize_tensor_input(0, [-(2**40), 8]),
    ):
        with pytest.raises(InputError):
            use()


def test_one_changed_import_line_is_enough(tiny):
    def app(interpreter_class):
        made = interpreter_class(model_content=tiny, num_threads=2)
        made.allocate_tensors()
        entry, out = made.get_input_details()[0], made.get_output_details()[0]
        made.set_tensor(entry["index"], frame())
        made.invoke()
        return made.get_tensor(out["index"])

    assert np.array_equal(app(litert.Interpreter), app(Interpreter))


def test_reads_a_path(tiny, tmp_path):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny)
    link = tmp_path / "current.tflite"
    link.symlink_to(path)
    expected = run(loaded(tiny), frame())
    for name in (path, str(path), link):
        made = Interpreter(name)
        made.allocate_tensors()
        assert np.array_equal(run(made, frame()), expected)


def test_the_bytes_of_a_model_stay_where_they_are(tiny):
    content = bytearray(tiny)
    made = loaded(content)
    with pytest.raises(BufferError):
        content.clear()
    assert made.get_input_details()[0]["name"] == "frame"
    made.close()
    content.clear()
    content = bytearray(tiny)
    packed = pack(content, protected=True)
    content.clear()
    assert packed.describe()["operators"] == 2
    for broken in (bytearray(tiny[:50]), bytearray()):
        with pytest.raises(EdgeError):
            Interpreter(model_content=broken)
        broken.extend(b"nobody holds it")


def test_refuses_a_missing_path(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        Interpreter(model_path=tmp_path / "nothing.tflite")
    assert caught.value.reason == "missing"


@pytest.mark.parametrize(
    "arguments",
    [{}, {"model_path": "a", "model_content": b"b"}],
    ids=["neither", "both"],
)
def test_refuses_neither_or_both_sources(arguments):
    with pytest.raises(InputError) as caught:
        Interpreter(**arguments)
    assert caught.value.reason == "argument"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_refuses_odd_thread_counts(tiny, threads):
    with pytest.raises(InputError) as caught:
        Interpreter(model_content=tiny, num_threads=threads)
    assert caught.value.reason == "argument"


def test_the_core_refuses_delegates_and_other_kernels(tiny):
    for options in (
        {"experimental_delegates": [object()]},
        {"experimental_op_resolver_type": OpResolverType.BUILTIN_REF},
        {"experimental_default_delegate_latest_features": True},
    ):
        with pytest.raises(ConfigurationError) as caught:
            Interpreter(model_content=tiny, engine="native", **options)
        assert caught.value.reason == "invalid"
        assert "engine='litert'" in caught.value.hint


def test_accepts_the_resolvers_that_mean_the_same(tiny):
    for resolver in (OpResolverType.AUTO, OpResolverType.BUILTIN):
        Interpreter(model_content=tiny, experimental_op_resolver_type=resolver)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x18\0\0\0TFL3", b"x" * 1000])
def test_refuses_what_is_not_a_model(content):
    with pytest.raises(MalformedModelError) as caught:
        Interpreter(model_content=content)
    assert isinstance(caught.value, ValueError)
    assert "expected" in str(caught.value)


def test_names_an_operator_that_it_does_not_run():
    net = networks.Network()
    x = net.input([1, 4])
    y = net.operator("SKIP_GRAM", [x], [net.like(x, [1, 4])], version=1)
    with pytest.raises(UnsupportedOperatorError, match=r"operator 0.*SKIP_GRAM.*version 1") as got:
        Interpreter(model_content=net.build(y), engine="native")
    assert isinstance(got.value, ValueError)
    assert isinstance(got.value, RuntimeError)


def test_names_types_that_it_does_not_run():
    net = networks.Network()
    x = net.input([1, 4], "int64")
    y = net.operator("RELU", [x], [net.tensor([1, 4], "int64")])
    with pytest.raises(UnsupportedOperatorError, match=r"RELU v2.*int8.*int64"):
        Interpreter(model_content=net.build(y), engine="native")


def test_refuses_a_foreign_isa(tiny):
    with pytest.raises(IsaError):
        Interpreter(model_content=tiny, isa="cray")


def test_every_isa_of_this_machine_runs(tiny, isa):
    assert np.array_equal(run(loaded(tiny, isa=isa), frame()), run(loaded(tiny), frame()))


def test_machine_lists_kernels_of_every_isa():
    here = machine()
    assert here["isa_default"] in here["isa"]
    assert "scalar" in here["isa"]
    symbols = {kernel["symbol"] for kernel in here["kernels"]}
    assert "edge_qs8_gemm__scalar" in symbols
    assert len(symbols) == len(here["kernels"])
    assert {kernel["isa"] for kernel in here["kernels"]} >= set(here["isa"])


def test_limits_are_obeyed(every_operator):
    for limits in (
        ModelLimits(model_bytes=1000),
        ModelLimits(tensors=5),
        ModelLimits(operators=5),
        ModelLimits(packed_bytes=1000),
    ):
        with pytest.raises(ResourceError) as caught:
            Interpreter(model_content=every_operator, limits=limits)
        assert caught.value.reason == "limit"
    made = Interpreter(model_content=every_operator, limits=ModelLimits(arena_bytes=1000))
    with pytest.raises(ResourceError):
        made.allocate_tensors()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.zeros((1, 8), np.float32), "dtype"),
        (np.zeros((1, 8), np.uint8), "dtype"),
        ([[0] * 8], "dtype"),
        (np.zeros((8,), np.int8), "shape"),
        (np.zeros((1, 9), np.int8), "shape"),
        (np.zeros((1, 8, 1), np.int8), "shape"),
    ],
)
def test_refuses_wrong_inputs(tiny, value, reason):
    made = loaded(tiny)
    with pytest.raises(InputError) as caught:
        made.set_tensor(made.get_input_details()[0]["index"], value)
    assert caught.value.reason == reason
    assert isinstance(caught.value, ValueError)


def test_refuses_unknown_tensors(tiny):
    made = loaded(tiny)
    output = made.get_output_details()[0]["index"]
    constant = 1
    for index in (-1, 99, constant):
        with pytest.raises(InputError) as caught:
            made.set_tensor(index, made.get_tensor(constant))
        assert caught.value.reason == "tensor"
    for index in (-1, 99):
        with pytest.raises(InputError):
            made.get_tensor(index)
    with pytest.raises(InputError):
        made.get_tensor(output, subgraph_index=1)


def test_takes_arrays_that_are_not_contiguous(tiny):
    wide = frame((1, 16))
    made = loaded(tiny)
    assert np.array_equal(run(made, wide[:, ::2]), run(made, wide[:, ::2].copy()))


def test_needs_allocated_tensors(tiny):
    made = Interpreter(model_content=tiny)
    index = made.get_input_details()[0]["index"]
    for use in (
        made.invoke,
        lambda: made.set_tensor(index, frame()),
        lambda: made.get_tensor(index),
    ):
        with pytest.raises(LifecycleError) as caught:
            use()
        assert caught.value.reason == "not-allocated"


def test_inputs_are_kept_and_outputs_are_copies(tiny):
    made = loaded(tiny)
    value = frame()
    first = run(made, value)
    assert np.array_equal(made.get_tensor(made.get_input_details()[0]["index"]), value)
    kept = first.copy()
    second = run(made, frame(seed=1))
    assert np.array_equal(first, kept)
    assert not np.array_equal(first, second)
    assert np.array_equal(run(made, value), kept)


def test_constants_can_be_read():
    net = networks.Network(5)
    x = net.input([1, 6])
    y = net.dense(x, 3)
    content = net.build(y)
    weights = next(
        i
        for i, t in enumerate(net.graph.tensors)
        if t.buffer and [int(n) for n in t.shape] == [3, 6]
    )
    expected = net.model.buffers[net.graph.tensors[weights].buffer].data.view(np.int8)
    assert np.array_equal(loaded(content).get_tensor(weights).ravel(), expected)


def test_resizes_inputs(isa):
    net = networks.Network(3)
    x = net.input([1, 8, 8, 4])
    net.graph.tensors[x].shapeSignature = np.array([-1, 8, 8, 4], np.int32)
    y = net.conv(net.depthwise(x), 6, 3, 2)
    content = net.build(y)
    single, batch = loaded(content, isa=isa), Interpreter(model_content=content, isa=isa)
    batch.resize_tensor_input(x, [3, 8, 8, 4], strict=True)
    batch.allocate_tensors()
    assert list(batch.get_output_details()[0]["shape"]) == [3, 4, 4, 6]
    frames = frame((3, 8, 8, 4))
    together = run(batch, frames)
    apart = [run(single, one[np.newaxis])[0] for one in frames]
    assert np.array_equal(together, np.stack(apart))
    with pytest.raises(InputError):
        batch.resize_tensor_input(x, [3, 9, 8, 4], strict=True)
    with pytest.raises(InputError):
        batch.resize_tensor_input(y, [1])
    with pytest.raises(InputError):
        batch.resize_tensor_input(x, [1] * 9)
    with pytest.raises(InputError):
        batch.resize_tensor_input(x, [-1, 8, 8, 4])


def test_a_refused_size_leaves_an_error_not_a_model():
    net = networks.Network(3)
    x = net.input([1, 8, 8, 4])
    made = loaded(net.build(net.conv(x, 6, 5, same=False)))
    made.resize_tensor_input(x, [1, 2, 2, 4])
    with pytest.raises(MalformedModelError, match="window"):
        made.allocate_tensors()
    with pytest.raises(LifecycleError):
        made.invoke()
    made.resize_tensor_input(x, [1, 8, 8, 4])
    made.allocate_tensors()
    run(made, frame((1, 8, 8, 4)))


def test_signatures(tiny):
    made = Interpreter(model_content=tiny)
    assert made.get_signature_list() == {
        "serving_default": {"inputs": ["frame"], "outputs": ["scores"]}
    }
    runner = made.get_signature_runner()
    assert runner.get_input_details()["frame"]["dtype"] is np.int8
    assert list(runner.get_output_details()) == ["scores"]
    assert np.array_equal(runner(frame=frame())["scores"], run(loaded(tiny), frame()))
    batch = runner(frame=frame((5, 8)))["scores"]
    assert batch.shape == (5, 4)
    for wrong in ({}, {"image": frame()}, {"frame": frame(), "more": frame()}):
        with pytest.raises(InputError) as caught:
            runner(**wrong)
        assert caught.value.reason == "argument"
    with pytest.raises(InputError):
        made.get_signature_runner("another")


def test_a_model_without_signatures_says_so(every_operator):
    made = Interpreter(model_content=every_operator)
    assert made.get_signature_list() == {}
    with pytest.raises(InputError):
        made.get_signature_runner()


def test_operators_are_listed(every_operator):
    made = Interpreter(model_content=every_operator)
    names = [name for name, _ in made.operators()]
    assert names == sorted(set(names))
    assert {"CONV_2D", "ADD", "SOFTMAX", "DEQUANTIZE"} <= set(names)
    details = made.operator_details()
    assert sum(o["macs"] for o in details) > 0
    assert all(o["kernel"] for o in details)


def test_closed_is_closed(tiny):
    made = loaded(tiny)
    made.close()
    with pytest.raises(LifecycleError) as caught:
        made.invoke()
    assert caught.value.reason == "closed"


# ---- threads and processes


def test_thread_counts_give_the_same_bits(isa):
    net = networks.Network(9)
    x = net.input([2, 17, 13, 5])
    y = net.conv(net.depthwise(net.conv(x, 40), 3, multiplier=2), 33, 3, 2)
    content = net.build(y, net.dense(net.mean(y), 50))
    value = frame((2, 17, 13, 5))
    one = loaded(content, isa=isa)
    many = loaded(content, isa=isa, num_threads=4)
    for made in (one, many):
        run(made, value)
    for detail in one.get_output_details():
        index = detail["index"]
        assert np.array_equal(one.get_tensor(index), many.get_tensor(index))


def test_interpreters_in_many_threads_are_independent(every_operator):
    values = [
        np.random.default_rng(i).normal(0, 2, (1, 12, 10, 6)).astype(np.float32) for i in range(8)
    ]
    expected = [run(loaded(every_operator), value) for value in values]
    wrong = []

    def work(i):
        made = loaded(every_operator, num_threads=1 + i % 2)
        for _ in range(20):
            if not np.array_equal(run(made, values[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_second_thread_gets_an_error_not_a_race():
    net = networks.Network(11)
    x = net.input([1, 96, 96, 16])
    for _ in range(3):
        x = net.conv(x, 32)
    made = loaded(net.build(x))
    made.set_tensor(made.get_input_details()[0]["index"], frame((1, 96, 96, 16)))
    begun, refused, failed = threading.Event(), [], []

    def work():
        begun.set()
        try:
            for _ in range(50):
                made.invoke()
        except LifecycleError as error:
            refused.append(error.reason)
        except Exception as error:  # noqa: BLE001 - whatever else it is, the test must see it
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun.is_set()
    assert failed == []
    assert set(refused) <= {"busy"}
    assert len(refused) <= 1


def test_another_thread_neither_reads_nor_writes_while_the_model_runs():
    net = networks.Network(11)
    x = net.input([1, 96, 96, 16])
    y = net.conv(net.conv(net.conv(x, 64), 64), 32)
    made = loaded(net.build(y))
    value, out = frame((1, 96, 96, 16)), made.output_indices[0]
    made.set_tensor(x, value)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            made.invoke()

    worker = threading.Thread(target=work)
    worker.start()
    reasons = set()
    try:
        for use in (lambda: made.get_tensor(out), lambda: made.set_tensor(x, value)):
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    use()
                except LifecycleError as error:
                    reasons.add((use, error.reason))
                    break
    finally:
        stop.set()
        worker.join()
    assert sorted(reason for _, reason in reasons) == ["busy", "busy"]
    assert made.get_tensor(out).shape == (1, 96, 96, 32)


def in_child(function):
    """What ``function`` returns in a forked child, as text; the child must end by itself."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        os.close(reader)
        try:
            text = str(function())
        except BaseException as error:  # noqa: BLE001 - told to the parent
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return text


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("protected", [False, True], ids=["plain", "protected"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_is_told_to_load_again(tiny, threads, protected):
    made = Interpreter.over(pack(tiny, protected=protected), num_threads=threads)
    made.allocate_tensors()
    expected = run(made, frame())
    assert "load again in the child" in in_child(made.invoke)
    assert "load again in the child" in in_child(made.allocate_tensors)
    assert "load again in the child" in in_child(lambda: made.set_tensor(0, frame()))
    assert "load again in the child" in in_child(lambda: made.get_tensor(made.output_indices[0]))
    assert "load again in the child" in in_child(made.get_input_details)
    assert "load again in the child" in in_child(made.operators)
    assert "load again in the child" in in_child(made.get_signature_list)
    assert "load again in the child" in in_child(made.memory)

    def load_again():
        return np.array_equal(run(loaded(tiny, num_threads=threads), frame()), expected)

    assert in_child(load_again) == "True"
    assert np.array_equal(run(made, frame()), expected)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("protected", [False, True], ids=["plain", "protected"])
def test_a_forked_child_can_let_go_of_its_copy(tiny, protected):
    box = [Interpreter.over(pack(tiny, protected=protected), num_threads=2)]
    box[0].allocate_tensors()

    def let_go():
        box.clear()
        gc.collect()
        return "gone"

    assert in_child(let_go) == "gone"
    run(box[0], frame())


def test_packed_weights_take_no_place_among_activations():
    net = networks.Network(3)
    x = net.input([1, 4000])
    content = net.build(net.dense(x, 250))
    limits = ModelLimits(arena_bytes=128 * 1024)  # the weights are a megabyte
    for protected in (False, True):
        made = Interpreter.over(pack(content, protected=protected, limits=limits))
        made.allocate_tensors()


def test_the_model_is_freed_with_its_last_interpreter(tiny):
    made = loaded(tiny)
    packed = weakref.ref(made._engine._core.model)
    made.close()
    gc.collect()
    assert packed() is None


# ---- memory for secrets


def test_locked_memory_is_wiped_and_guards_its_views():
    memory = LockedMemory(10_000)
    view = memoryview(memory)
    view[:] = b"\xaa" * 10_000
    assert len(memory) == 10_000
    assert 0 <= memory.locked <= 10_000
    with pytest.raises(LifecycleError) as caught:
        memory.close()
    assert caught.value.reason == "referenced"
    view.release()
    memory.close()
    memory.close()
    with pytest.raises(LifecycleError) as caught:
        memoryview(memory)
    assert caught.value.reason == "closed"


# ---- properties


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3]))
def test_any_network_runs_alike_everywhere(seed, threads):
    """Random small networks: all ISAs and thread counts give one answer, or one error."""
    random = np.random.default_rng(seed)
    net = networks.Network(seed)
    height, width, channels = (int(n) for n in random.integers(1, 20, 3))
    x = net.input(
        [1, height, width, channels], scale=0.02, zero_point=int(random.integers(-128, 128))
    )
    entry = frame((1, height, width, channels), seed)
    y = net.conv(
        x, int(random.integers(1, 40)), int(random.integers(1, 6)), int(random.integers(1, 4))
    )
    y = net.depthwise(y, int(random.integers(1, 6)), int(random.integers(1, 3)))
    content = net.build(y, net.mean(y))
    results = set()
    for isa in machine()["isa"]:
        try:
            results.add(run(loaded(content, isa=isa, num_threads=threads), entry).tobytes())
        except EdgeError as error:
            results.add(str(error))
    assert len(results) == 1


def test_public_names_are_few_and_there():
    assert len(edgesdk.__all__) <= 15
    for name in edgesdk.__all__:
        assert getattr(edgesdk, name) is not None
    with pytest.raises(AttributeError):
        edgesdk.something  # noqa: B018 - looking is the test
