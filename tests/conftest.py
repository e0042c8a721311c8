"""Fixtures of every area, and how hypothesis runs."""

from __future__ import annotations

import logging
import os

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "fixtures_core",
    "fixtures_protect",
    "fixtures_evidence",
    "fixtures_device",
    "fixtures_floors",
    "fixtures_cloud",
    "fixtures_cli",
]

# Timings on shared machines say nothing: no deadlines. CI looks further than a developer's run.
settings.register_profile(
    "default", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "ci", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that no process is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def stays_in_the_core(request):
    """Fails a test whose model has gone to LiteRT unnoticed: what it shows is not of the core.

    Tests of that choice ask for ``may_leave_the_core``.
    """
    chosen = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = chosen.append
    selection = logging.getLogger("edgesdk.selection")
    selection.addHandler(handler)
    yield
    selection.removeHandler(handler)
    if "may_leave_the_core" not in request.fixturenames:
        assert [record.getMessage() for record in chosen] == []


@pytest.fixture
def may_leave_the_core():
    """For tests in which LiteRT may run what the core does not."""
