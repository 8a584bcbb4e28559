"""The references of ``mer bench encode``: one clip's sum of frames, as scripts take it in NumPy."""

import numpy as np
from numpy.typing import NDArray


def all_pairs(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The active image as OrigiNet's release takes it: V_j - V_k added up over all pairs with k <= j - 2.

    Args:
        frames: (T, ...) of one clip.

    Returns:
        (...) in double precision, as there. T frames cost (T - 1)(T - 2) / 2 differences.
    """
    values = frames.astype(np.float64)
    sums = np.zeros(values.shape[1:])
    for j in range(2, len(values)):
        for k in range(j - 1):
            sums += values[j] - values[k]
    return sums


def accumulated(frames: NDArray[np.uint8], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weight times frame, added up in one pass over the frames.

    Args:
        frames: (T, ...) of one clip.
        weights: (T,).

    Returns:
        (...) in single precision.
    """
    sums = np.zeros(frames.shape[1:], np.float32)
    for weight, frame in zip(weights, frames, strict=True):
        sums += weight * frame
    return sums
