import math

import pytest

from mer.errors import MerError
from mer.networks.width import scaled


@pytest.mark.parametrize("channels", [64, 128, 256, 512, 1024])
@pytest.mark.parametrize("width", [1.0, 0.5, 0.25, 0.3, 1 / 7, 2.0])
def test_multiples_of_eight_at_least_as_wide(channels: int, width: float) -> None:
    found = scaled(channels, width)
    assert found % 8 == 0
    assert 0 <= found - channels * width < 8


def test_the_papers_width_and_the_least() -> None:
    assert [scaled(c, 1.0) for c in (64, 256, 1024)] == [64, 256, 1024]
    assert scaled(64, 1e-6) == 8


@pytest.mark.parametrize("width", [0.0, -1.0, math.inf, math.nan])
def test_a_width_that_is_none(width: float) -> None:
    with pytest.raises(MerError, match=r"network\.width=.*give a factor above 0"):
        scaled(64, width)
