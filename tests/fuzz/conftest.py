"""Profiles of the property-based tests: `ci` is what `make test` runs, MER_FUZZ=long tries thousands."""

import os

from hypothesis import HealthCheck, settings

CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
settings.register_profile(
    "ci", derandomize=True, max_examples=25, deadline=None, database=None, suppress_health_check=CHECKS
)
settings.register_profile(
    "long", max_examples=3000, deadline=None, database=None, suppress_health_check=CHECKS
)
settings.load_profile("long" if os.environ.get("MER_FUZZ") == "long" else "ci")
