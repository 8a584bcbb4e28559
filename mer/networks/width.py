"""Networks of fewer channels than their papers', for machines without a GPU."""

import math

from mer.errors import MerError


def scaled(channels: int, width: float) -> int:
    """``width`` times as many channels, rounded up to a multiple of eight, at least eight.

    Raises:
        MerError: the width is not above 0, or not finite.

    >>> scaled(256, 1.0), scaled(64, 0.3), scaled(64, 0.01)
    (256, 24, 8)
    """
    if not 0 < width < math.inf:
        raise MerError(f"network.width={width}: give a factor above 0, 1 for the paper's channels")
    return max(1, math.ceil(channels * width / 8)) * 8
