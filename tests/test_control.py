"""Subgraphs that operators run, and variables that outlive an invoke, against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from edgesdk.errors import MalformedModelError, ResourceError
from edgesdk.interpreter import Interpreter
from edgesdk.limits import ModelLimits
from networks import Network


def compare(content, frames, resize=None):
    """Every frame on both, one after the other: what is kept in between is compared as well."""
    ours, theirs = (
        Interpreter(model_content=content, engine="native"),
        litert.Interpreter(model_content=content),
    )
    for made in (ours, theirs):
        for detail, shape in zip(made.get_input_details(), resize or [], strict=False):
            made.resize_tensor_input(detail["index"], shape)
        made.allocate_tensors()
    for frame in frames:
        for made in (ours, theirs):
            for detail, value in zip(made.get_input_details(), frame, strict=True):
                made.set_tensor(detail["index"], value)
            made.invoke()
        for a, b in zip(ours.get_output_details(), theirs.get_output_details(), strict=True):
            came, expected = ours.get_tensor(a["index"]), theirs.get_tensor(b["index"])
            assert came.dtype == expected.dtype
            assert np.array_equal(came, expected), (came, expected)
    return ours


def octets(*shape, seed=0):
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


# ---- variables


def handle(net, name, container=""):
    options = schema.VarHandleOptionsT()
    options.container, options.sharedName = container.encode(), name.encode()
    return net.operator("VAR_HANDLE", [], [net.tensor([], "resource")], options, version=1)


def assign(net, variable, value):
    options = schema.AssignVariableOptionsT()
    node = schema.OperatorT()
    node.opcodeIndex = code_of(net, "ASSIGN_VARIABLE")
    node.inputs, node.outputs = np.array([variable, value], np.int32), np.array([], np.int32)
    node.builtinOptions = options
    node.builtinOptionsType = schema.BuiltinOptions.AssignVariableOptions
    net.graph.operators.append(node)


def code_of(net, name):
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
    net.model.operatorCodes.append(code)
    return len(net.model.operatorCodes) - 1


def read(net, variable, shape, dtype="int8"):
    made = net.tensor(shape, dtype, 0.05 if dtype == "int8" else None, 3)
    return net.operator(
        "READ_VARIABLE", [variable], [made], schema.ReadVariableOptionsT(), version=1
    )


def call_once(net, subgraph):
    options = schema.CallOnceOptionsT()
    options.initSubgraphIndex = subgraph
    node = schema.OperatorT()
    node.opcodeIndex = code_of(net, "CALL_ONCE")
    node.inputs = node.outputs = np.array([], np.int32)
    node.builtinOptions = options
    node.builtinOptionsType = schema.BuiltinOptions.CallOnceOptions
    net.graph.operators.append(node)


def accumulator(shape=(1, 4)):
    """state = state + x, starting from a constant; the output is the state before."""
    net = Network(1)
    setup = net.subgraph()
    start = setup.tensor(shape, "int8", 0.05, 3, data=octets(*shape, seed=5))
    assign(setup, handle(setup, "state"), start)
    call_once(net, setup.end())
    x = net.input(list(shape))
    before = read(net, handle(net, "state"), shape)
    after = net.add(x, before)
    assign(net, handle(net, "state"), after)
    return net.build(before, after)


def test_a_variable_is_kept_from_one_invoke_to_the_next():
    compare(accumulator(), [[octets(1, 4, seed=n)] for n in range(6)])


def test_variables_are_told_apart_by_container_and_name():
    net = Network(2)
    x = net.input([1, 3])
    y = net.input([1, 3])
    for name, container, value in (("a", "b", x), ("ab", "", y), ("a", "", net.add(x, y))):
        assign(net, handle(net, name, container), value)
    outs = [read(net, handle(net, n, c), [1, 3]) for n, c in (("a", "b"), ("ab", ""), ("a", ""))]
    compare(net.build(*outs), [[octets(1, 3, seed=n), octets(1, 3, seed=n + 9)] for n in range(3)])


def test_a_variable_takes_the_shape_of_what_is_assigned():
    """The file says [1, 3]; the input is resized, so that the variable has another shape."""
    net = Network(3)
    x = net.input([1, 3])
    state = handle(net, "s")
    assign(net, state, x)
    content = net.build(net.unary("RELU", read(net, state, [1, 3])))
    made = Interpreter(model_content=content, engine="native")
    for rows in (2, 5, 1):
        made.resize_tensor_input(0, [rows, 3])
        made.allocate_tensors()
        made.set_tensor(0, octets(rows, 3))
        made.invoke()
        again = Interpreter(model_content=content, engine="native")
        again.resize_tensor_input(0, [rows, 3])
        again.allocate_tensors()
        again.set_tensor(0, octets(rows, 3))
        again.invoke()
        out = made.get_output_details()[0]
        assert list(out["shape"]) == [rows, 3]
        assert np.array_equal(made.get_tensor(out["index"]), again.get_tensor(out["index"]))


def test_a_variable_that_was_never_assigned_is_an_error_at_invoke():
    net = Network(4)
    x = net.input([1, 3])
    made = Interpreter(model_content=net.build(net.add(x, read(net, handle(net, "s"), [1, 3]))))
    made.allocate_tensors()
    with pytest.raises(MalformedModelError, match="expected a variable that has been assigned"):
        made.invoke()


def test_a_variable_of_another_type_is_an_error_at_invoke():
    net = Network(4)
    x = net.input([1, 3], "float32")
    assign(net, handle(net, "s"), x)
    made = Interpreter(model_content=net.build(read(net, handle(net, "s"), [1, 3])))
    made.allocate_tensors()
    with pytest.raises(MalformedModelError, match="expected a variable of type int8, got float32"):
        made.invoke()


def test_variables_count_against_the_limit_of_the_arena():
    net = Network(6)
    x = net.input([1, 1 << 16])
    for n in range(40):
        assign(net, handle(net, f"s{n}"), x)
    made = Interpreter(
        model_content=net.build(x), limits=ModelLimits(arena_bytes=1 << 20), engine="native"
    )
    made.allocate_tensors()
    with pytest.raises(ResourceError):
        made.invoke()


# ---- IF


def branch(net, shape, change, dtype="int8"):
    sub = net.subgraph()
    x = sub.input(list(shape), dtype)
    return sub.end(change(sub, x))


def conditional(change_then, change_else, shape=(1, 6), out=(1, 6)):
    net = Network(7)
    condition, x = net.input([], "bool"), net.input(list(shape))
    options = schema.IfOptionsT()
    options.thenSubgraphIndex = branch(net, shape, change_then)
    options.elseSubgraphIndex = branch(net, shape, change_else)
    y = net.tensor(list(out), "int8", 0.05, 3)
    net.operator("IF", [condition, x], [y], options, version=1)
    return net, y


def both_ways(count=4, shape=(1, 6)):
    return [[np.array(n % 2 == 0), octets(*shape, seed=n)] for n in range(count)]


def test_if_runs_the_branch_of_its_condition():
    net, y = conditional(lambda g, x: g.unary("RELU", x), lambda g, x: g.add(x, x))
    compare(net.build(y), both_ways())


def test_while_runs_its_body_as_long_as_its_condition_says():
    """By a condition that the body turns: once, or not at all."""
    net = Network(8)
    go, x = net.input([], "bool"), net.input([1, 6])
    ask = net.subgraph()
    asked, _ = ask.input([], "bool"), ask.input([1, 6])
    body = net.subgraph()
    turn, value = body.input([], "bool"), body.input([1, 6])
    turned = body.operator("LOGICAL_NOT", [turn], [body.tensor([], "bool")], version=1)
    options = schema.WhileOptionsT()
    options.condSubgraphIndex = ask.end(asked)
    options.bodySubgraphIndex = body.end(turned, body.unary("RELU", value))
    out = [net.tensor([], "bool"), net.like(x, [1, 6])]
    net.operator("WHILE", [go, x], out, options, version=1)
    compare(net.build(*out), both_ways())


def test_branches_of_different_shapes():
    net, y = conditional(lambda g, x: g.reshape(x, [2, 3]), lambda g, x: g.unary("RELU", x))
    # What follows is planned when the shape is known, and again when it changes.
    y = net.unary("RELU6", y)
    compare(net.build(y), both_ways(6))


def test_a_branch_that_gives_its_input_and_one_that_gives_a_constant():
    def constant(g, x):
        return g.tensor(g.shape(x), "int8", 0.05, 3, data=octets(1, 6, seed=77))

    net, y = conditional(lambda _, x: x, constant)
    compare(net.build(net.unary("RELU", y)), both_ways())


def test_nested_branches():
    def inner(g, x):
        flag = g.tensor([], "bool", data=np.array(True))
        options = schema.IfOptionsT()
        options.thenSubgraphIndex = branch(g, (1, 6), lambda h, v: h.unary("TANH", v))
        options.elseSubgraphIndex = branch(g, (1, 6), lambda h, v: h.unary("RELU", v))
        out = g.tensor([1, 6], "int8", 0.05, 3)
        return g.operator("IF", [flag, x], [out], options, version=1)

    net, y = conditional(inner, lambda g, x: g.add(x, x))
    compare(net.build(y), both_ways())


def test_resized_inputs_reach_the_branches():
    net, y = conditional(lambda g, x: g.unary("RELU", x), lambda g, x: g.add(x, x))
    compare(net.build(y), both_ways(shape=(3, 6)), resize=[[], [3, 6]])


# ---- composites


def test_a_composite_runs_its_decomposition():
    net = Network(10)
    x = net.input([1, 6])
    options = schema.StableHLOCompositeOptionsT()
    options.name, options.compositeAttributes = b"edgesdk.test", [0]
    options.decompositionSubgraphIndex = branch(net, (1, 6), lambda g, v: g.add(v, v))
    y = net.operator("STABLEHLO_COMPOSITE", [x], [net.tensor([1, 6], "int8", 0.05, 3)], version=1)
    node = net.graph.operators[-1]
    node.builtinOptions2 = options
    node.builtinOptions2Type = schema.BuiltinOptions2.StableHLOCompositeOptions
    content = net.build(net.unary("RELU", y))
    compare(content, [[octets(1, 6, seed=n)] for n in range(3)])
    compare(content, [[octets(4, 6)]], resize=[[4, 6]])
    node.builtinOptions2Type = schema.BuiltinOptions2.StablehloCaseOptions
    node.builtinOptions2 = schema.StablehloCaseOptionsT()
    with pytest.raises(MalformedModelError, match="expected options of kind 21, got 23"):
        Interpreter(model_content=net.build(y), engine="native")


# ---- WHILE


def loop(limit, body, shape=(1, 6)):
    """while counter < limit: counter, x = counter + 1, body(x)."""
    net = Network(8)
    counter, x = net.input([], "int32"), net.input(list(shape))
    condition = net.subgraph()
    count, _ = condition.input([], "int32"), condition.input(list(shape))
    bound = condition.tensor([], "int32", data=np.array(limit, np.int32))
    less = condition.tensor([], "bool")
    condition.operator("LESS", [count, bound], [less], schema.LessOptionsT(), version=1)
    options = schema.WhileOptionsT()
    options.condSubgraphIndex = condition.end(less)
    options.bodySubgraphIndex = counting_body(net, body, shape)
    outs = [net.tensor([], "int32"), net.tensor(list(shape), "int8", 0.05, 3)]
    net.operator("WHILE", [counter, x], outs, options, version=1)
    return net.build(*outs)


def counting_body(net, body, shape):
    sub = net.subgraph()
    count, x = sub.input([], "int32"), sub.input(list(shape))
    one = sub.tensor([], "int32", data=np.array(1, np.int32))
    after = sub.tensor([], "int32")
    sub.operator("ADD", [count, one], [after], schema.AddOptionsT(), version=1)
    return sub.end(after, body(sub, x))


def counted(*starts, shape=(1, 6)):
    return [[np.array(n, np.int32), octets(*shape, seed=n + 20)] for n in starts]


def test_while_runs_as_often_as_its_condition_says():
    content = loop(10, lambda g, x: g.unary("TANH", x, scale=0.05, zero_point=3))
    compare(content, counted(0, 3, 9, 10, 99))


def test_a_body_that_lets_its_tensor_grow():
    content = loop(4, lambda g, x: g.concatenate([x, x], 1))
    made = compare(content, counted(1, 3, 4, 0))
    assert made.get_tensor(made.get_output_details()[1]["index"]).shape == (1, 96)


def test_a_loop_without_end_is_stopped():
    content = loop(2**31 - 1, lambda _, x: x)
    made = Interpreter(model_content=content, limits=ModelLimits(calls=1000), engine="native")
    made.allocate_tensors()
    made.set_tensor(0, np.array(0, np.int32))
    with pytest.raises(ResourceError, match="expected at most 1000 calls of subgraphs, got more"):
        made.invoke()


# ---- what may not be


def test_a_subgraph_that_calls_itself_is_refused():
    net, y = conditional(lambda g, x: g.unary("RELU", x), lambda g, x: g.add(x, x))
    net.graph.operators[-1].builtinOptions.thenSubgraphIndex = 0
    with pytest.raises(MalformedModelError):
        Interpreter(model_content=net.build(y), engine="native")
    net, y = conditional(lambda g, x: g.unary("RELU", x), lambda g, x: g.add(x, x))
    inner = net.model.subgraphs[1]
    flag = schema.TensorT()
    flag.shape, flag.type, flag.buffer = np.array([], np.int32), schema.TensorType.BOOL, 0
    flag.isVariable = True
    inner.tensors.append(flag)
    circle = net.graph.operators[-1]
    again = schema.OperatorT()
    again.opcodeIndex, again.builtinOptionsType = circle.opcodeIndex, circle.builtinOptionsType
    again.builtinOptions = schema.IfOptionsT()
    again.builtinOptions.thenSubgraphIndex = again.builtinOptions.elseSubgraphIndex = 1
    again.inputs = np.array([len(inner.tensors) - 1, 0], np.int32)
    again.outputs = inner.operators[0].outputs
    inner.operators = [again]
    with pytest.raises(MalformedModelError, match="or a circle"):
        Interpreter(model_content=net.build(y), engine="native")


def deep(levels):
    net = Network(9)
    x = net.input([1, 2])
    flag = net.tensor([], "bool", data=np.array(True))
    graph, top = net, None
    for _ in range(levels):
        sub = net.subgraph()
        options = schema.IfOptionsT()
        options.thenSubgraphIndex = options.elseSubgraphIndex = sub.index
        out = graph.tensor([1, 2], "int8", 0.05, 3)
        graph.operator("IF", [flag, x], [out], options, version=1)
        if graph is not net:
            graph.end(out)
        top = out if top is None else top
        graph, x = sub, sub.input([1, 2])
        flag = sub.tensor([], "bool", data=np.array(True))
    graph.end(graph.unary("RELU", x))
    return net.build(top)


def test_depth_is_bounded():
    compare(deep(12), [[octets(1, 2)]])
    with pytest.raises(MalformedModelError, match="at most 16 deep"):
        Interpreter(model_content=deep(40), engine="native")


@pytest.mark.parametrize("fault", ["index", "inputs", "outputs", "type"])
def test_a_subgraph_that_does_not_fit_is_refused(fault):
    net, y = conditional(lambda g, x: g.unary("RELU", x), lambda g, x: g.add(x, x))
    inner = net.model.subgraphs[1]
    if fault == "index":
        net.graph.operators[-1].builtinOptions.thenSubgraphIndex = 17
    elif fault == "inputs":
        inner.inputs = np.array([0, 0], np.int32)
    elif fault == "outputs":
        inner.outputs = np.array([1, 1], np.int32)
    else:
        net.graph.tensors[int(net.graph.operators[-1].inputs[1])].type = schema.TensorType.UINT8
    with pytest.raises(MalformedModelError, match="expected"):
        Interpreter(model_content=net.build(y), engine="native")
