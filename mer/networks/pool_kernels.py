"""ReLU, sums and max pool in one pass over a map, and its gradient in one: machine code by numba, one thread.

Both walk a map (images, height, width * channels), channels last, by rows of pooling windows: 3x3, a step of
3, every pixel in one window. The inner loops run along whole rows, so they are vectorized for any channels.
They are called as operations of torch, so that what counts or traces operations sees them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
ZERO = np.float32(0)


def _compile(function: Callable[..., None]) -> Any:
    """The function as machine code, kept on the disk for the next process where there is room for it."""
    # Sums in any order; nan and infinity stay what they are: a fold that diverges has to show it.
    compiled = partial(numba.njit, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
    try:
        return compiled(function, cache=True)
    except RuntimeError:  # no folder that can be written
        return compiled(function)


@_compile
def _pool(
    maps: Floats,
    channels: int,
    padding: int,
    shift: Floats,
    pooled: Floats,
    places: NDArray[np.int8],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    images, height, length = maps.shape
    rows, windows = pooled.shape[1], pooled.shape[2] // channels
    wide = 3 * windows * channels
    start = padding * channels
    best, row_of = np.empty(wide, np.float32), np.empty(wide, np.int32)
    some, some_squares = np.empty(length, np.float32), np.empty(length, np.float32)
    for image in range(images):
        some[:] = ZERO
        some_squares[:] = ZERO
        for i in range(rows):
            best[:] = ZERO
            row_of[:] = 0
            inner, inner_row_of = best[start : start + length], row_of[start : start + length]
            for dy in range(3):
                y = 3 * i - padding + dy
                if y < 0 or y >= height:
                    continue
                row = maps[image, y]
                for x in range(length):
                    value = ZERO if row[x] < ZERO else row[x]
                    value -= shift[x]
                    some[x] += value
                    some_squares[x] += value * value
                first = np.int32(3 * dy)
                for x in range(length):
                    larger = row[x] > inner[x]
                    inner_row_of[x] = first if larger else inner_row_of[x]
                    inner[x] = row[x] if larger else inner[x]
            for j in range(windows):
                left = 3 * j * channels
                middle, right, end = left + channels, left + 2 * channels, left + 3 * channels
                a, b, c = best[left:middle], best[middle:right], best[right:end]
                at_a, at_b, at_c = row_of[left:middle], row_of[middle:right], row_of[right:end]
                out = pooled[image, i, j * channels : (j + 1) * channels]
                at = places[image, i, j * channels : (j + 1) * channels]
                for k in range(channels):
                    value, place = a[k], at_a[k]
                    larger = b[k] > value
                    value, place = (b[k], at_b[k] + np.int32(1)) if larger else (value, place)
                    larger = c[k] > value
                    value, place = (c[k], at_c[k] + np.int32(2)) if larger else (value, place)
                    out[k] = value
                    at[k] = place
        for x in range(length):
            sums[x] += some[x]
            squares[x] += some_squares[x]


@_compile
def _spread(
    maps: Floats,
    channels: int,
    padding: int,
    gradient: Floats,
    places: NDArray[np.int8],
    offset: Floats,
    slope: Floats,
    out: Floats,
) -> None:
    images, height, length = maps.shape
    rows, windows = gradient.shape[1], gradient.shape[2] // channels
    wide = 3 * windows * channels
    start = padding * channels
    own, own_row = np.empty(wide, np.float32), np.empty(wide, np.int32)
    inner, inner_row = own[start : start + length], own_row[start : start + length]
    for image in range(images):
        for i in range(rows):
            for j in range(windows):
                window = gradient[image, i, j * channels : (j + 1) * channels]
                at = places[image, i, j * channels : (j + 1) * channels]
                for dx in range(3):
                    left = (3 * j + dx) * channels
                    to, to_row = own[left : left + channels], own_row[left : left + channels]
                    for k in range(channels):
                        to[k] = window[k]
                        to_row[k] = np.int32(at[k]) - np.int32(dx)
            for dy in range(3):
                y = 3 * i - padding + dy
                if y < 0 or y >= height:
                    continue
                row, out_row = maps[image, y], out[image, y]
                first = np.int32(3 * dy)
                for x in range(length):
                    value = offset[x] + slope[x] * row[x] + (inner[x] if inner_row[x] == first else ZERO)
                    out_row[x] = value if row[x] > ZERO else ZERO


@torch.library.custom_op("mer::pool", mutates_args=("pooled", "places", "sums", "squares"))
def pool(
    maps: Tensor,
    channels: int,
    padding: int,
    shift: Tensor,
    pooled: Tensor,
    places: Tensor,
    sums: Tensor,
    squares: Tensor,
) -> None:
    """Fill ``pooled`` and ``places`` (images, windows, windows * channels), and add to the sums.

    Args:
        maps: (images, height, width * channels), float32, before ReLU.
        channels: of a pixel.
        padding: of the pool; its pixels count in no sum.
        shift: (width * channels,) subtracted before the sums, near the mean, so that no digits are lost.
        pooled: largest value of each window after ReLU.
        places: where in its window it lies, 0 to 8 by rows, int8.
        sums: (width * channels,), float64, of the values after ReLU, less the shift.
        squares: (width * channels,) of their squares.
    """
    filled = (pooled.numpy(), places.numpy(), sums.numpy(), squares.numpy())
    _pool(maps.numpy(), channels, padding, shift.numpy(), *filled)


@torch.library.custom_op("mer::spread", mutates_args=("out",))
def spread(
    maps: Tensor,
    channels: int,
    padding: int,
    gradient: Tensor,
    places: Tensor,
    offset: Tensor,
    slope: Tensor,
    out: Tensor,
) -> None:
    """Fill ``out``, the gradient of a map: offset + slope * value, and a window's own gradient at its place.

    Args:
        maps: (images, height, width * channels), before ReLU; a value that is not above 0 has no gradient.
        channels: of a pixel.
        padding: of the pool.
        gradient: (images, windows, windows * channels) of the pooled values.
        places: as :func:`pool` filled them.
        offset: (width * channels,) what each value's gradient has from the mean and the variance,
        slope: (width * channels,) and what of it grows with the value.
        out: as ``maps``.
    """
    given = (gradient.numpy(), places.numpy(), offset.numpy(), slope.numpy())
    _spread(maps.numpy(), channels, padding, *given, out.numpy())
