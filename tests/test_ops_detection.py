"""TFLite_Detection_PostProcess against LiteRT, and its options, which are a FlexBuffer."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from flatbuffers import flexbuffers

from edgesdk.errors import EdgeError, InputError, MalformedModelError
from edgesdk.interpreter import Interpreter
from fixtures_core import public_data
from networks import Network

CHOICES = {
    "max_detections": 10,
    "max_classes_per_detection": 1,
    "detections_per_class": 100,
    "use_regular_nms": False,
    "nms_score_threshold": 0.3,
    "nms_iou_threshold": 0.5,
    "num_classes": 3,
    "y_scale": 10.0,
    "x_scale": 10.0,
    "h_scale": 5.0,
    "w_scale": 5.0,
}


def packed(choices):
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in choices.items():
            builder.Key(key)
            if isinstance(value, bool):
                builder.Bool(value)
            elif isinstance(value, int):
                builder.Int(value)
            else:
                builder.Float(value)
    return bytes(builder.Finish())


def model(boxes, columns, choices=None, *, dtype="float32", custom=None):
    net = Network(0)
    scales = [(0.05, 128), (1 / 256, 0), (0.01, 0)] if dtype == "uint8" else [(None, 0)] * 3
    shapes = [[1, boxes, 4], [1, boxes, columns], [boxes, 4]]
    inputs = []
    for shape, (scale, zero_point) in zip(shapes, scales, strict=True):
        inputs.append(net.tensor(shape, dtype, scale, zero_point))
    net.inputs += inputs
    outputs = [net.tensor(shape, "float32") for shape in ([], [], [], [])]
    chosen = packed({**CHOICES, **(choices or {})}) if custom is None else custom
    net.custom("TFLite_Detection_PostProcess", inputs, outputs, chosen)
    return net.build(*outputs)


def frames(boxes, columns, dtype, random):
    if dtype == "uint8":
        return [random.integers(0, 256, shape).astype(np.uint8)
                for shape in ([1, boxes, 4], [1, boxes, columns], [boxes, 4])]  # fmt: skip
    centres = random.uniform(0, 1, [boxes, 2])
    sizes = random.uniform(0.1, 0.6, [boxes, 2])
    scores = random.integers(0, 20, [1, boxes, columns]) / 20
    return [
        a.astype(np.float32)
        for a in (random.normal(0, 2, [1, boxes, 4]), scores, np.hstack([centres, sizes]))
    ]


def run(made, inputs):
    made.allocate_tensors()
    for detail, value in zip(made.get_input_details(), inputs, strict=True):
        made.set_tensor(detail["index"], value)
    made.invoke()
    return [made.get_tensor(d["index"]) for d in made.get_output_details()]


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("regular", [False, True])
def test_detections_are_those_of_litert(dtype, regular):
    found = 0
    for trial in range(40):
        random = np.random.default_rng([trial, regular])
        classes, boxes = int(random.integers(1, 9)), int(random.integers(1, 60))
        columns = classes + int(random.integers(0, 2))
        choices = {
            "num_classes": classes,
            "use_regular_nms": regular,
            "max_detections": int(random.integers(1, 20)),
            "max_classes_per_detection": 1 if regular else int(random.integers(1, 4)),
            "detections_per_class": int(random.integers(1, 20)),
            "nms_iou_threshold": float(random.uniform(0.1, 1)),
        }
        content = model(boxes, columns, choices, dtype=dtype)
        inputs = frames(boxes, columns, dtype, random)
        came = run(Interpreter(model_content=content, engine="native"), inputs)
        expected = run(litert.Interpreter(model_content=content), inputs)
        count = int(expected[3][0])
        slots = choices["max_classes_per_detection"]
        wanted = min(slots, classes)
        assert int(came[3][0]) == count
        assert [a.shape for a in came] == [a.shape for a in expected]
        for outputs in zip(came[:3], expected[:3], strict=True):
            # LiteRT leaves what is behind them as it was.
            a, b = (v.reshape(-1, slots, *v.shape[2:])[:count, :wanted] for v in outputs)
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
            assert np.array_equal(a, b) or a.ndim == 3
        found += count
    assert found > 40


def test_what_is_behind_the_last_detection_is_0():
    made = Interpreter(model_content=model(5, 4), engine="native")
    inputs = frames(5, 4, "float32", np.random.default_rng(1))
    inputs[1][:] = 0
    inputs[1][0, 2, 1] = 1
    boxes, classes, scores, count = run(made, inputs)
    assert count[0] == 1
    assert scores[0, 0] == 1
    assert boxes[0, 0].any()
    assert not any(a[0, 1:].any() for a in (boxes, classes, scores))


def test_anchors_that_turn_boxes_inside_out_fail_the_invoke():
    made = Interpreter(model_content=model(5, 4), engine="native")
    inputs = frames(5, 4, "float32", np.random.default_rng(1))
    inputs[2][3, 2] = -1
    with pytest.raises(InputError, match="ends are behind their begins"):
        run(made, inputs)
    inputs[2][3, 2] = 1
    run(made, inputs)


@pytest.mark.parametrize(
    "choices",
    [
        {"num_classes": 0},
        {"nms_iou_threshold": 0.0},
        {"nms_iou_threshold": 1.5},
        {"max_detections": -1},
        {"max_detections": 1 << 30},
        {"max_classes_per_detection": 0},
        {"y_scale": float("nan")},
    ],
)
def test_options_without_meaning_are_refused(choices):
    with pytest.raises(MalformedModelError, match="options of a detection"):
        Interpreter(model_content=model(5, 4, choices), engine="native")


@pytest.mark.parametrize("columns", [2, 5])
def test_scores_of_another_count_are_refused(columns):
    made = Interpreter(model_content=model(5, columns), engine="native")
    with pytest.raises(MalformedModelError, match="scores of 3 classes"):
        made.allocate_tensors()


def test_wide_maps_are_read():
    choices = {**CHOICES, "padding": "x" * 70_000}
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in choices.items():
            builder.Key(key)
            builder.Add(value)
    content = model(5, 4, custom=bytes(builder.Finish()))
    inputs = frames(5, 4, "float32", np.random.default_rng(2))
    came = run(Interpreter(model_content=content, engine="native"), inputs)
    expected = run(litert.Interpreter(model_content=content), inputs)
    assert came[3] == expected[3]


def test_broken_options_are_refused_or_run():
    """Cut anywhere, and with any one byte changed: an error of ours, or a model that runs."""
    whole = packed(CHOICES)
    random = np.random.default_rng(0)
    variants = [whole[:n] for n in range(len(whole))]
    for i in range(len(whole)):
        changed = bytearray(whole)
        changed[i] = int(random.integers(0, 256))
        variants.append(bytes(changed))
    inputs = frames(5, 4, "float32", random)
    refused = 0
    for custom in variants:
        try:
            run(Interpreter(model_content=model(5, 4, custom=custom), engine="native"), inputs)
        except EdgeError:
            refused += 1
    assert len(whole) // 2 < refused < len(variants)


@pytest.mark.parametrize("name", ["model_with_detection_postprocess",
                                  "model_with_detection_postprocess_static"])  # fmt: skip
def test_published_models_detect_as_litert_does(name):
    path = public_data(f"models/units/tum-ei-eda+mlonmcu-models__{name}.tflite")
    reference = litert.Interpreter(model_path=str(path))
    random = np.random.default_rng(3)
    inputs = []
    for detail in reference.get_input_details():
        shape = detail["shape"]
        inputs.append(random.integers(0, 256, shape).astype(detail["dtype"])
                      if detail["dtype"] == np.uint8
                      else random.uniform(0, 1, shape).astype(np.float32))  # fmt: skip
    expected = run(reference, inputs)
    came = run(Interpreter(model_content=path.read_bytes(), engine="native"), inputs)
    count = int(expected[3][0])
    assert int(came[3][0]) == count
    for a, b in zip(came[:3], expected[:3], strict=True):
        np.testing.assert_allclose(a[:, :count], b[:, :count], rtol=1e-6, atol=1e-6)
