"""Profiles of the property-based tests: `ci` is what `make test` runs, MER_FUZZ=<n> tries n inputs a test."""

import os

from hypothesis import HealthCheck, settings

CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
settings.register_profile(
    "ci", derandomize=True, max_examples=25, deadline=None, database=None, suppress_health_check=CHECKS
)
if examples := os.environ.get("MER_FUZZ"):
    settings.register_profile(
        "long", max_examples=int(examples), deadline=None, database=None, suppress_health_check=CHECKS
    )
settings.load_profile("long" if examples else "ci")
