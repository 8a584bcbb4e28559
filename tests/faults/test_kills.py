"""Five kills in CI; ``python -m tests.faults.kills`` does fifty, by hand."""

from pathlib import Path

import pytest

from tests.faults.kills import SCENARIOS, campaign


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_kills_change_no_byte(tmp_path: Path) -> None:
    """Of `mer table`, which encodes, trains with two workers, and writes."""
    [table] = [scenario for scenario in SCENARIOS if scenario.name == "table"]
    tally = campaign(tmp_path, 5, seed=7, scenarios=[table])
    assert tally.kills == 5
    assert tally.finished >= 1
    assert tally.bytes > 0
