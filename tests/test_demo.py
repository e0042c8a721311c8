"""The demonstration as a user runs it, and the statistics that it shows."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesdk.demo.intervals import proportion, quantile
from edgesdk.demo.measure import Answers, choose_threshold, trade_off


def test_proportion_has_the_published_interval():
    # The example of R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872: 81 of 263.
    found = proportion(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


@given(st.integers(1, 5000), st.data())
def test_proportion_stays_within_its_bounds(trials, data):
    hits = data.draw(st.integers(0, trials))
    found = proportion(hits, trials)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_interval_of_a_median_covers_it_as_often_as_it_says():
    generator = np.random.default_rng(5)
    covered = 0
    for _ in range(2000):
        found = quantile(generator.exponential(size=199), 0.5)
        covered += found.low <= math.log(2) <= found.high
    assert 0.935 < covered / 2000 < 0.975


def test_interval_of_a_quantile_is_open_where_samples_are_too_few():
    assert quantile([1.0, 2.0, 3.0], 0.99).high == math.inf


def answers(confidences, right):
    count = len(confidences)
    return Answers(
        digits=np.array(right, int),
        confidences=np.array(confidences),
        seconds=np.ones(count),
        asked=np.zeros(count, bool),
        labels=np.ones(count, int),
    )


def test_threshold_is_the_lowest_from_which_answers_are_right():
    assert choose_threshold(answers([0.9, 0.8, 0.7, 0.6], [1, 1, 1, 0])) == 0.7


def test_threshold_takes_equal_confidences_together():
    assert choose_threshold(answers([0.9, 0.7, 0.7, 0.6], [1, 1, 0, 0])) == 0.9


def test_threshold_keeps_nothing_when_nothing_is_good_enough():
    assert choose_threshold(answers([0.9, 0.8], [0, 0])) == 1.0


def test_trade_off_begins_with_the_device_and_ends_with_the_cloud():
    device, cloud = answers([0.1, 0.9, 0.5], [0, 1, 0]), answers([1, 1, 1], [1, 0, 1])
    share, right = trade_off(device, cloud)
    assert list(share) == [0, 1 / 3, 2 / 3, 1]
    assert list(right) == [1 / 3, 2 / 3, 1, 2 / 3]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The demonstration, run as a program into a pipe: what it printed, and its folder."""
    report = tmp_path_factory.mktemp("demo") / "report"
    done = subprocess.run(
        [sys.executable, "-m", "edgesdk.cli", "demo", "--report", str(report)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, report


def test_demo_shows_the_gain(shown):
    found = json.loads((shown[1] / "findings.json").read_text())
    device, cloud, together = (found["answers"][n] for n in ("device", "cloud", "together"))
    assert device["accuracy"]["high"] < together["accuracy"]["low"]
    assert together["accuracy"]["value"] <= cloud["accuracy"]["high"]
    assert device["cloud_share"]["value"] == 0
    assert cloud["cloud_share"]["value"] == 1
    assert 0 < together["cloud_share"]["value"] < 0.5
    assert {each["requests"] for each in found["answers"].values()} == {899}


def test_demo_refuses_what_must_not_load(shown):
    found = json.loads((shown[1] / "findings.json").read_text())
    assert [each["verdict"] for each in found["refusals"]] == [
        "DecryptionError[payload]",
        "SignatureError[unknown-signer]",
        "KeyUnavailableError[no-grant]",
    ]


def test_demo_answers_every_request_with_the_broker_dead(shown):
    found = json.loads((shown[1] / "findings.json").read_text())
    before, dead, after = found["outage"]
    assert [phase["unanswered"] for phase in (before, dead, after)] == [0, 0, 0]
    assert dead["by_cloud"] == 0
    assert dead["kept"] > 0
    assert before["by_cloud"] > 0
    assert after["by_cloud"] > 0
    assert found["gateway"]["answered"] >= before["by_cloud"] + after["by_cloud"]


def test_demo_fits_into_80_columns(shown):
    lines = [line for line in shown[0].splitlines() if "Report:" not in line]
    assert max(map(len, lines)) <= 80
    assert "device alone" in shown[0]


def test_report_is_whole_and_loads_nothing_from_elsewhere(shown):
    page = (shown[1] / "index.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    for name in ("accuracy.svg", "latency.svg", "outage.svg"):
        assert f'src="{name}"' in page
        # It is our own file.
        assert ET.parse(shown[1] / name).getroot().tag.endswith("svg")  # noqa: S314


def test_demo_leaves_no_process_behind_when_it_is_ended(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "edgesdk.cli", "demo", "--report", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        for line in process.stdout:
            if "gateway run" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(60) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
