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
Rows = NDArray[np.int32]
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
def _three_rows(
    top: Floats,
    middle: Floats,
    low: Floats,
    shift: Floats,
    best: Floats,
    row_of: Rows,
    some: Floats,
    some_squares: Floats,
) -> None:
    """The rows of a window at once: the largest of each column, its row times 3, and the columns' sums."""
    for x in range(len(best)):
        a = ZERO if top[x] < ZERO else top[x]
        b = ZERO if middle[x] < ZERO else middle[x]
        c = ZERO if low[x] < ZERO else low[x]
        larger = b > a
        value = b if larger else a
        row = np.int32(3) if larger else np.int32(0)
        larger = c > value
        best[x] = c if larger else value
        row_of[x] = np.int32(6) if larger else row
        a -= shift[x]
        b -= shift[x]
        c -= shift[x]
        some[x] += a + b + c
        some_squares[x] += a * a + b * b + c * c


@_compile
def _one_row(
    row: Floats,
    first: Any,
    shift: Floats,
    best: Floats,
    row_of: Rows,
    some: Floats,
    some_squares: Floats,
) -> None:
    """The same of one row of a window that the border cuts; ``first`` is its row times 3."""
    for x in range(len(best)):
        value = ZERO if row[x] < ZERO else row[x]
        larger = value > best[x]
        row_of[x] = first if larger else row_of[x]
        best[x] = value if larger else best[x]
        value -= shift[x]
        some[x] += value
        some_squares[x] += value * value


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
    # Of a row of windows: the largest of each column, and its row; what the padding holds stays 0.
    best, row_of = np.zeros((windows, 3, channels), np.float32), np.zeros((windows, 3, channels), np.int32)
    start = padding * channels
    inner, inner_row_of = best.reshape(-1)[start : start + length], row_of.reshape(-1)[start : start + length]
    some, some_squares = np.empty(length, np.float32), np.empty(length, np.float32)
    for image in range(images):
        some[:] = ZERO
        some_squares[:] = ZERO
        for i in range(rows):
            y = 3 * i - padding
            if y >= 0 and y + 3 <= height:
                window = maps[image, y], maps[image, y + 1], maps[image, y + 2]
                _three_rows(*window, shift, inner, inner_row_of, some, some_squares)
            else:
                inner[:] = ZERO
                inner_row_of[:] = 0
                for dy in range(max(0, -y), min(3, height - y)):
                    first = np.int32(3 * dy)
                    _one_row(maps[image, y + dy], first, shift, inner, inner_row_of, some, some_squares)
            out = pooled[image, i].reshape(windows, channels)
            at = places[image, i].reshape(windows, channels)
            for j in range(windows):
                for k in range(channels):
                    value, place = best[j, 0, k], row_of[j, 0, k]
                    for dx in range(1, 3):
                        other, other_place = best[j, dx, k], row_of[j, dx, k] + np.int32(dx)
                        larger = other > value
                        value, place = (other, other_place) if larger else (value, place)
                    out[j, k] = value
                    at[j, k] = place
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
    # Of a row of windows: the gradient of each column's window, and the row times 3 that gets it.
    own, row_of = np.empty((windows, 3, channels), np.float32), np.empty((windows, 3, channels), np.int32)
    start = padding * channels
    inner, inner_row_of = own.reshape(-1)[start : start + length], row_of.reshape(-1)[start : start + length]
    for image in range(images):
        for i in range(rows):
            window = gradient[image, i].reshape(windows, channels)
            at = places[image, i].reshape(windows, channels)
            for j in range(windows):
                for dx in range(3):
                    for k in range(channels):
                        own[j, dx, k] = window[j, k]
                        row_of[j, dx, k] = np.int32(at[j, k]) - np.int32(dx)
            y = 3 * i - padding
            for dy in range(max(0, -y), min(3, height - y)):
                row, out_row = maps[image, y + dy], out[image, y + dy]
                first = np.int32(3 * dy)
                for x in range(length):
                    value = offset[x] + slope[x] * row[x] + (inner[x] if inner_row_of[x] == first else ZERO)
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
