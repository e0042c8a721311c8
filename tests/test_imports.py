"""What importing loads, looked at in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def modules_after(code):
    """Names in sys.modules after ``code`` has run in a new interpreter."""
    program = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def heavy(modules):
    roots = {name.split(".")[0] for name in modules}
    return roots & {"cryptography", "paho", "ssl", "click", "rich", "amqtt", "sklearn"}


def test_importing_the_package_loads_next_to_nothing():
    modules = modules_after("import edgesdk")
    assert not heavy(modules)
    assert "numpy" not in modules
    assert "edgesdk._native" not in modules


def test_a_plain_interpreter_loads_neither_cryptography_nor_mqtt(tmp_path, tiny):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny)
    modules = modules_after(
        "import edgesdk, numpy\n"
        f"made = edgesdk.Interpreter({str(path)!r}, num_threads=2)\n"
        "made.allocate_tensors()\n"
        "made.set_tensor(made.get_input_details()[0]['index'], numpy.zeros((1, 8), numpy.int8))\n"
        "made.invoke()\n"
    )
    assert not heavy(modules)
    assert "edgesdk._native" in modules


def test_litert_is_imported_when_it_is_asked_for(tmp_path, tiny):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny)
    for engine, expected in (("auto", set()), ("native", set()), ("litert", {"ai_edge_litert"})):
        modules = modules_after(
            "import edgesdk, edgesdk.model\n"
            f"assert edgesdk.Interpreter({str(path)!r}, engine={engine!r}).engine\n"
        )
        found = {name.split(".")[0] for name in modules} & {"ai_edge_litert", "tflite_runtime"}
        assert found == expected


@pytest.mark.parametrize("name", ["edgesdk.interpreter", "edgesdk.session"])
def test_rooms_of_the_device_path_import_light(name):
    assert not heavy(modules_after(f"import {name}"))


def test_a_missing_core_is_a_clear_error():
    code = (
        "sys.modules['edgesdk._native'] = None\n"
        "import edgesdk\n"
        "from edgesdk.errors import IsaError\n"
        "try:\n    edgesdk.Interpreter\n"
        "except IsaError as error:\n    assert error.reason == 'core-missing', error.reason\n"
        "else:\n    raise SystemExit('no error')\n"
    )
    modules_after(code)
