"""LiteRT's API: each use of an interpreter, on LiteRT and on the core, with one outcome.

An outcome is a result, or what an app may catch: an error here is of every builtin family that
LiteRT's is of. What differs by intent is in `DIFFERS` with its reason, and in
docs/litert-compatibility.md.
"""

from __future__ import annotations

import functools
import gc
import inspect
import sys
import threading
import warnings

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

import networks
from edgesdk import interpreter as ours
from edgesdk.errors import InputError, LifecycleError

# ---- models


def two_layers():
    net = networks.Network(7)
    x = net.input([1, 8], name="frame")
    y = net.softmax(net.dense(x, 4, per_channel=True))
    return net.build(y, signature=({"frame": x}, {"scores": y}))


def scalars():
    """A sum without dimensions, a number handed through, names that are not in the file's order."""
    net = networks.Network(1)
    x, number = net.input([2, 3], "float32"), net.input([], "int32")
    axes = net.tensor([2], "int32", data=np.array([0, 1], np.int32))
    total = net.tensor([], "float32")
    net.operator("SUM", [x, axes], [total], schema.ReducerOptionsT(), version=1)
    return net.build(total, number, signature=({"zz": x, "aa": number}, {"z": total, "a": number}))


def dynamic():
    """A shape that follows from values."""
    net = networks.Network(1)
    x, shape = net.input([2, 3], "float32"), net.input([2], "int32")
    out = net.tensor([2, 3], "float32")
    net.operator("RESHAPE", [x, shape], [out], schema.ReshapeOptionsT(), version=1)
    net.graph.tensors[out].shapeSignature = np.array([-1, -1], np.int32)
    return net.build(out)


def batched():
    """A batch of any size, which the shape signature says."""
    net = networks.Network(1)
    x = net.input([1, 3], "float32")
    out = net.operator("RELU", [x], [net.tensor([1, 3], "float32")], version=1)
    net.graph.tensors[x].shapeSignature = np.array([-1, 3], np.int32)
    return net.build(out)


def two_signatures():
    net = networks.Network(2)
    x = net.input([1, 4])
    y = net.softmax(x)
    other = net.subgraph()
    z = other.input([1, 4], "float32")
    w = other.operator("NEG", [z], [other.tensor([1, 4], "float32")], version=1)
    other.end(w)
    return net.build(
        y,
        signature=({"x": x}, {"y": y}),
        more_signatures={"negate": (other.index, {"z": z}, {"w": w})},
    )


MODELS = {f.__name__: f for f in (two_layers, scalars, dynamic, batched, two_signatures)}
_built: dict[str, bytes] = {}


def content(name):
    if name not in _built:
        _built[name] = MODELS[name]()
    return _built[name]


# ---- uses


def frame(shape=(1, 8), dtype=np.int8):
    return (np.arange(np.prod(shape)) - 3).reshape(shape).astype(dtype)


def ready(made):
    made.allocate_tensors()
    return made


def ran(made, array):
    made = ready(made)
    made.set_tensor(made.get_input_details()[0]["index"], array)
    made.invoke()
    return made


def resized(made, *shape, strict=False):
    made.resize_tensor_input(0, shape, strict)
    return made


def reshaped(made):
    made = ready(made)
    made.set_tensor(0, frame((2, 3), np.float32))
    made.set_tensor(1, np.array([3, 2], np.int32))
    made.invoke()
    return made


def number_set(made):
    ready(made).set_tensor(1, np.int32(5))
    return made.get_tensor(1)


def with_view(made, index=0):
    return ready(made), made.tensor(index)()


def while_viewed(made, use):
    made, view = with_view(made)
    view[...] = 1
    use(made)
    return view.copy()


ONE = two_layers
USES = {
    # before allocation
    "input details": (ONE, lambda i: i.get_input_details()),
    "output details": (ONE, lambda i: i.get_output_details()),
    "all details": (ONE, lambda i: i.get_tensor_details()),
    "get before": (ONE, lambda i: i.get_tensor(0)),
    "get a constant before": (ONE, lambda i: i.get_tensor(1)),
    "set before": (ONE, lambda i: i.set_tensor(0, frame())),
    "view before": (ONE, lambda i: i.tensor(0)()),
    "invoke before": (ONE, lambda i: i.invoke()),
    "reset before": (ONE, lambda i: i.reset_all_variables()),
    "operators": (ONE, lambda i: i._get_ops_details()),
    "an operator": (ONE, lambda i: i._get_op_details(1)),
    "an operator too many": (ONE, lambda i: i._get_op_details(9)),
    "an operator below": (ONE, lambda i: i._get_op_details(-1)),
    "a tensor's details": (ONE, lambda i: i._get_tensor_details(1, 0)),
    "details of none": (ONE, lambda i: i._get_tensor_details(99, 0)),
    "details of a subgraph": (two_signatures, lambda i: i.get_tensor_details(subgraph_index=1)),
    "details of no subgraph": (ONE, lambda i: i.get_tensor_details(1)),
    "details of a subgraph below": (ONE, lambda i: i.get_tensor_details(-1)),
    "subgraphs": (two_signatures, lambda i: i.num_subgraphs()),
    "compressed": (ONE, lambda i: i.experimental_compress_quantization_zero_points),
    # tensors
    "get": (ONE, lambda i: ran(i, frame()).get_tensor(i.get_output_details()[0]["index"])),
    "get by name": (ONE, lambda i: ran(i, frame()).get_tensor(tensor_index=0, subgraph_index=0)),
    "get by a numpy number": (ONE, lambda i: ready(i).get_tensor(np.int64(1))),
    "get by a float": (ONE, lambda i: ready(i).get_tensor(1.0)),
    "get none": (ONE, lambda i: ready(i).get_tensor(99)),
    "get below": (ONE, lambda i: ready(i).get_tensor(-1)),
    "get of no subgraph": (ONE, lambda i: ready(i).get_tensor(0, 3)),
    "get without dimensions": (scalars, lambda i: ran(i, frame((2, 3), np.float32)).get_tensor(3)),
    "set a list": (ONE, lambda i: ready(i).set_tensor(0, [[1] * 8])),
    "set floats": (ONE, lambda i: ready(i).set_tensor(0, frame(dtype=np.float32))),
    "set another shape": (ONE, lambda i: ready(i).set_tensor(0, frame((1, 9)))),
    "set another rank": (ONE, lambda i: ready(i).set_tensor(0, frame((8,)))),
    "set strides": (ONE, lambda i: ran(i, frame((1, 16))[:, ::2]).get_tensor(0)),
    "set columns": (
        scalars, lambda i: ran(i, np.asfortranarray(frame((2, 3), "f4"))).get_tensor(0)
    ),
    "set a number": (scalars, number_set),
    "set a wide number": (scalars, lambda i: ready(i).set_tensor(1, 5)),
    "set an output": (ONE, lambda i: ready(i).set_tensor(4, frame((1, 4)))),
    "set none": (ONE, lambda i: ready(i).set_tensor(99, frame())),
    "set big-endian": (scalars, lambda i: ran(i, frame((2, 3), ">f4")).get_tensor(0)),
    # views
    "view": (ONE, lambda i: ran(i, frame()).tensor(0)()),
    "view of an output": (ONE, lambda i: ran(i, frame()).tensor(4)().flags.writeable),
    "a function of no tensor": (ONE, lambda i: callable(ready(i).tensor(99))),
    "view of none": (ONE, lambda i: ready(i).tensor(99)()),
    "view and invoke": (ONE, lambda i: while_viewed(i, lambda i: i.invoke())),
    "view and allocate": (ONE, lambda i: while_viewed(i, lambda i: i.allocate_tensors())),
    "view and resize": (ONE, lambda i: while_viewed(i, lambda i: resized(i, 2, 8))),
    "view and set": (ONE, lambda i: while_viewed(i, lambda i: i.set_tensor(0, frame()))),
    "view and get": (ONE, lambda i: while_viewed(i, lambda i: i.get_tensor(0))),
    "view and reset": (ONE, lambda i: while_viewed(i, lambda i: i.reset_all_variables())),
    "view written": (ONE, lambda i: (while_viewed(i, lambda _: None), i.get_tensor(0))[1]),
    "safe": (ONE, lambda i: (i._safe_to_run(), with_view(i)[0]._safe_to_run())),
    "unsafe": (ONE, lambda i: (with_view(i), i._safe_to_run())[1]),
    # shapes
    "resize": (ONE, lambda i: ready(resized(i, 3, 8)).get_output_details()),
    "resize by a tuple": (ONE, lambda i: resized(i, 3, 8).get_input_details()),
    "resize by an array": (ONE, lambda i: i.resize_tensor_input(0, np.array([3, 8]))),
    "resize by floats": (ONE, lambda i: i.resize_tensor_input(0, [1.0, 8.0])),
    "resize by a number": (ONE, lambda i: i.resize_tensor_input(0, 8)),
    "resize by two dimensions": (ONE, lambda i: i.resize_tensor_input(0, [[1, 8]])),
    "resize by a text": (ONE, lambda i: i.resize_tensor_input(0, "a")),
    "resize by nothing": (ONE, lambda i: i.resize_tensor_input(0, [None, 8])),
    "resize below": (ONE, lambda i: i.resize_tensor_input(0, [-1, 8])),
    "resize beyond": (ONE, lambda i: i.resize_tensor_input(0, [2**40, 8])),
    "resize none": (ONE, lambda i: i.resize_tensor_input(99, [1, 8])),
    "resize a constant": (ONE, lambda i: i.resize_tensor_input(1, [4, 9])),
    "resize and do not allocate": (ONE, lambda i: resized(ready(i), 1, 8).invoke()),
    "resize to what does not go together": (ONE, lambda i: ready(resized(i, 1, 9))),
    "and invoke": (ONE, lambda i: resized(i, 1, 9).invoke()),
    "resize strictly": (batched, lambda i: resized(i, 4, 3, strict=True).get_input_details()),
    "resize strictly, by name": (
        batched, lambda i: i.resize_tensor_input(input_index=0, tensor_size=[4, 3], strict=True)
    ),
    "resize strictly what stays": (batched, lambda i: resized(i, 4, 4, strict=True)),
    "resize strictly to a rank": (batched, lambda i: resized(i, 4, strict=True)),
    "resize to empty": (scalars, lambda i: (ready(resized(i, 0, 3)).invoke(), i.get_tensor(3))),
    "get empty": (batched, lambda i: ready(resized(i, 0, 3)).get_tensor(0)),
    "view empty": (batched, lambda i: ready(resized(i, 0, 3)).tensor(0)()),
    "set empty": (batched, lambda i: ready(resized(i, 0, 3)).set_tensor(0, frame((0, 3), "f4"))),
    "dynamic before": (dynamic, lambda i: i.get_output_details()),
    "dynamic allocated": (dynamic, lambda i: ready(i).get_output_details()),
    "dynamic after": (dynamic, lambda i: reshaped(i).get_output_details()),
    "dynamic value": (dynamic, lambda i: reshaped(i).get_tensor(2)),
    # signatures
    "signatures": (two_signatures, lambda i: i.get_signature_list()),
    "no signatures": (batched, lambda i: i.get_signature_list()),
    "names in order": (scalars, lambda i: i.get_signature_list()),
    "run": (ONE, lambda i: i.get_signature_runner()(frame=frame())),
    "run by key": (
        two_signatures, lambda i: i.get_signature_runner("negate")(z=frame((1, 4), "f4"))
    ),
    "run resized": (
        ONE, lambda i: i.get_signature_runner(signature_key="serving_default")(frame=frame((3, 8)))
    ),
    "run numbers": (
        scalars, lambda i: i.get_signature_runner()(zz=frame((2, 3), "f4"), aa=np.int32(3))
    ),
    "run another type": (ONE, lambda i: i.get_signature_runner()(frame=frame(dtype="f4"))),
    "run nothing": (ONE, lambda i: i.get_signature_runner()()),
    "run another name": (ONE, lambda i: i.get_signature_runner()(other=frame())),
    "run positional": (ONE, lambda i: i.get_signature_runner()(frame())),
    "run no shape": (ONE, lambda i: i.get_signature_runner()(frame=frame((1, 9)))),
    "runner's inputs": (
        two_signatures, lambda i: i.get_signature_runner("negate").get_input_details()
    ),
    "runner's outputs": (
        two_signatures, lambda i: i.get_signature_runner("negate").get_output_details()
    ),
    "no such runner": (ONE, lambda i: i.get_signature_runner("x")),
    "no only runner": (two_signatures, lambda i: i.get_signature_runner()),
    "no runner": (batched, lambda i: i.get_signature_runner()),
}  # fmt: skip

MAKING = {
    "nothing": lambda make, _: make(),
    "both": lambda make, good: make("a", good),
    "missing": lambda make, _: make(model_path="no such file"),
    "short": lambda make, _: make(model_content=b"short"),
    "none": lambda make, _: make(model_content=b""),
    "other bytes": lambda make, _: make(model_content=b"x" * 1000),
    "threads": lambda make, good: ready(make(model_content=good, num_threads=2)).num_subgraphs(),
    "no threads": lambda make, good: make(model_content=good, num_threads=0),
    "threads below": lambda make, good: make(model_content=good, num_threads=-1),
    "threads by a float": lambda make, good: make(model_content=good, num_threads=4.2),
    "threads by numpy": lambda make, good: make(model_content=good, num_threads=np.int64(2)),
    "no resolver": lambda make, good: make(
        model_content=good, experimental_op_resolver_type="test"
    ),
    "all kept": lambda make, good: ran(
        make(model_content=good, experimental_preserve_all_tensors=True), frame()
    ).get_tensor(3),
}

# What differs, and why.
DIFFERS = {
    "get by a float": "LiteRT raises TypeError, of its binding",
    "set big-endian": "LiteRT copies the bytes as they are, and gets other numbers",
    "resize beyond": "LiteRT raises numpy's OverflowError",
}


def outcome(use):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # LiteRT's, of the memory that kept tensors take
            return use(), None
    except Exception as error:  # noqa: BLE001 - what an app may see
        return None, error


def assert_same(found, expected):
    """Equal in structure, types and values; an error is at least of LiteRT's families."""
    (result, error), (wanted, refused) = found, expected
    if refused is None:
        assert error is None, repr(error)
        assert_equal(result, wanted)
        return
    assert error is not None, f"LiteRT raises {refused!r}, and here it is {result!r}"
    families = {c for c in type(refused).__mro__ if c.__module__ == "builtins"}
    assert isinstance(error, tuple(families - {object, BaseException, Exception})), repr(error)


def assert_equal(found, expected, at=""):
    assert type(found) is type(expected), at
    if isinstance(expected, dict):
        assert list(found) == list(expected), at
        for key in expected:
            assert_equal(found[key], expected[key], f"{at}[{key!r}]")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), at
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert_equal(a, b, f"{at}[{i}]")
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert found.dtype == expected.dtype, at
        assert found.shape == expected.shape, at
        assert np.array_equal(found, expected), at
    else:
        assert found == expected, at


@pytest.mark.parametrize("name", USES)
def test_a_use_has_the_outcome_that_it_has_on_litert(name):
    model, use = USES[name]
    bytes_ = content(model.__name__)
    expected = outcome(lambda: use(litert.Interpreter(model_content=bytes_)))
    found = outcome(lambda: use(ours.Interpreter(model_content=bytes_, engine="native")))
    if name in DIFFERS:
        with pytest.raises(AssertionError):
            assert_same(found, expected)
    else:
        assert_same(found, expected)


@pytest.mark.parametrize("name", MAKING)
def test_making_one_has_the_outcome_that_it_has_on_litert(name):
    good = content("two_layers")
    made = functools.partial(ours.Interpreter, engine="native")
    expected = outcome(lambda: MAKING[name](litert.Interpreter, good))
    assert_same(outcome(lambda: MAKING[name](made, good)), expected)


# ---- names


def parameters(function):
    return [
        (p.name, getattr(p.default, "name", p.default))
        for p in inspect.signature(function).parameters.values()
        if p.kind is not inspect.Parameter.KEYWORD_ONLY
    ]


@pytest.mark.parametrize("name", ["Interpreter", "SignatureRunner"])
def test_every_public_member_is_there_with_its_arguments(name):
    theirs, here = getattr(litert, name), getattr(ours, name)
    for member, value in vars(theirs).items():
        if member.startswith("_") and member != "__call__":
            continue
        assert hasattr(here, member), member
        if inspect.isfunction(value) and member != "__call__":
            assert parameters(getattr(here, member)) == parameters(value), member


def test_an_interpreter_takes_the_arguments_of_litert():
    wanted = parameters(litert.Interpreter.__init__)
    assert parameters(ours.Interpreter.__init__) == wanted
    assert {r.name: r.value for r in ours.OpResolverType} == {
        r.name: r.value for r in litert.OpResolverType
    }


# ---- what only we promise of views


def loaded(name="two_layers", **options):
    return ready(ours.Interpreter(model_content=content(name), engine="native", **options))


def test_a_view_outlives_its_interpreter():
    made = loaded()
    view = made.tensor(0)()
    view[...] = frame()
    del made
    gc.collect()
    assert np.array_equal(view, frame())


def test_whatever_may_move_memory_waits_for_views():
    made = loaded()
    runner = made.get_signature_runner()
    view = made.tensor(0)()[:, ::2]  # what is made of a view counts, too
    for use in (
        made.invoke,
        made.allocate_tensors,
        made.close,
        lambda: made.resize_tensor_input(0, [2, 8]),
        lambda: runner(frame=frame((2, 8))),
    ):
        with pytest.raises(LifecycleError) as caught:
            use()
        assert caught.value.reason == "referenced"
    view[...] = 5
    del view
    made.invoke()
    made.close()
    with pytest.raises(LifecycleError, match="closed"):
        made.tensor(0)()


def test_views_of_constants_cannot_be_written():
    made = loaded()
    weights = made.tensor(1)()
    assert np.array_equal(weights, made.get_tensor(1))
    with pytest.raises(ValueError, match="read-only"):
        weights[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        weights.flags.writeable = True
    with pytest.raises(InputError) as caught:
        made.set_tensor(1, np.array(weights))
    assert caught.value.reason == "tensor"


def test_what_planning_has_relied_upon_cannot_be_written():
    """An output that was computed while planning; steps have been planned by it."""
    net = networks.Network(1)
    x = net.input([2, 3], "float32")
    shape = net.tensor([2], "int32")
    options = schema.ShapeOptionsT()
    options.outType = networks.TYPES["int32"]
    net.operator("SHAPE", [x], [shape], options, version=1)
    out = net.tensor([2, 3], "float32")
    net.operator("RESHAPE", [x, shape], [out], schema.ReshapeOptionsT(), version=1)
    made = ours.Interpreter(model_content=net.build(out, shape), engine="native")
    made.allocate_tensors()
    assert made.tensor(shape)().tolist() == [2, 3]
    assert not made.tensor(shape)().flags.writeable
    with pytest.raises(InputError):
        made.set_tensor(shape, np.array([2**30, 2**30], np.int32))
    assert made.tensor(out)().flags.writeable


def test_no_view_while_another_thread_runs(request):
    """However threads interleave: a view is whole, or refused, and a run beside it refused."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    request.addfinalizer(lambda: sys.setswitchinterval(interval))
    made = loaded()
    stop = threading.Event()
    unexpected = []

    def invoke():
        while not stop.is_set():
            try:
                made.invoke()
            except LifecycleError as error:
                if error.reason not in {"referenced", "busy"}:
                    unexpected.append(error)

    runner = threading.Thread(target=invoke)
    runner.start()
    seen = 0
    while seen < 500 and runner.is_alive():
        try:
            view = made.tensor(0)()
        except LifecycleError as error:
            assert error.reason == "busy"
            continue
        view[...] = seen % 100
        assert (view == seen % 100).all()
        seen += 1
        del view
    stop.set()
    runner.join()
    assert unexpected == []
    made.invoke()


def test_variables_can_be_set():
    net = networks.Network(3)
    x = net.input([1, 4], "float32")
    state = net.tensor([1, 4], "float32")
    net.graph.tensors[state].isVariable = True
    out = net.tensor([1, 4], "float32")
    net.operator("NEG", [state], [out], version=1)
    made = ours.Interpreter(model_content=net.build(out, x), engine="native")
    made.allocate_tensors()
    made.set_tensor(state, frame((1, 4), np.float32))
    made.invoke()
    assert np.array_equal(made.get_tensor(out), -frame((1, 4), np.float32))
    made.reset_all_variables()
    made.invoke()
    assert not made.get_tensor(out).any()
