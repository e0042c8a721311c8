"""Fixtures of every area, and how hypothesis runs."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "fixtures_core",
    "fixtures_protect",
    "fixtures_device",
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
