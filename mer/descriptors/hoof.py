"""Histograms of oriented optical flow, weighted by magnitude (HOOF; Chaudhry et al. 2009)."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from mer.descriptors.blocks import block_sums
from mer.errors import MerError

Angles = Literal["primary", "all"]
EDGE = 1e-9  # of a bin: an angle that rounding puts this far below an edge lies on it


def hoof(flow: Tensor, *, bins: int = 8, blocks: int = 1, angles: Angles = "primary") -> Tensor:
    """Histogram of the flow's directions in each block, each pixel counting with its magnitude.

    Chaudhry divides the whole frame's histogram by its sum; blocks are ours, each divided by its own.
    Scaling the flow changes nothing, and with ``primary`` nor does mirroring the frame left to right.

    Args:
        flow: (B, 2, H, W) float, (u, v) in pixels, u to the right and v down.
        bins: directions (Chaudhry's figures show 4 to 30; 8 is ours).
        blocks: along each side of the frame.
        angles: see ``orientation_bins``; ``primary`` is Chaudhry's.

    Returns:
        (B, blocks, blocks, bins) float32, rows of blocks from the top; each histogram sums to 1, or is all
        0 where nothing moves.

    Raises:
        MerError: a shape or an option is out of range.
    """
    sums = oriented_sums(flow, bins=bins, blocks=blocks, angles=angles)
    return normalised(sums).float()


def oriented_sums(
    flow: Tensor, *, bins: int, blocks: int, angles: Angles = "all", overlap: int = 0
) -> Tensor:
    """Sum of the magnitudes of the flow, by block and direction.

    Args:
        flow: (B, 2, H, W) float.
        bins, angles: see ``orientation_bins``.
        blocks, overlap: see ``block_bounds``.

    Returns:
        (B, blocks, blocks, bins) float64, in pixels.
    """
    directions = orientation_bins(flow, bins=bins, angles=angles)
    magnitude = torch.linalg.vector_norm(flow.double(), dim=1)
    sums = [block_sums(magnitude * (directions == k), blocks, overlap=overlap) for k in range(bins)]
    return torch.stack(sums, dim=-1)


def orientation_bins(flow: Tensor, *, bins: int, angles: Angles = "all") -> Tensor:
    """The bin of each pixel's direction; a direction on an edge lies in the bin that begins there.

    ``all``: the full circle in equal parts, from motion to the left on, over up, right and down, back to
    the left (angles -180 to 180 degrees of (u, v), v down). Motion straight to the left, which is both
    ends, lies in the last bin.

    ``primary``: the smallest signed angle to the horizontal axis, from straight up to straight down,
    so that left and right fall together (Chaudhry et al. 2009, section 3).

    Args:
        flow: (B, 2, H, W) float, (u, v), u to the right and v down.
        bins: number of them.
        angles: ``all`` or ``primary``.

    Returns:
        (B, H, W) int64, 0..bins - 1. Without motion it is that of motion to the right.

    Raises:
        MerError: another shape, no bin, or an unknown option.
    """
    if flow.ndim != 4 or flow.shape[1] != 2 or not flow.is_floating_point():
        raise MerError(f"flow is float (batch, u and v, height, width), not {flow.dtype} {tuple(flow.shape)}")
    if bins < 1:
        raise MerError(f"encoding.bins={bins}: give 1 or more")
    if angles not in get_args(Angles):
        raise MerError(f"encoding.angles={angles!r}: choose one of {', '.join(get_args(Angles))}")
    u, v = flow.double().unbind(1)
    v = v + 0.0  # -0.0 would put motion to the left into the first bin
    if angles == "primary":
        part = torch.atan2(v, u.abs()) / math.pi + 0.5
    else:
        part = torch.atan2(v, u) / (2 * math.pi) + 0.5
    return (part * bins + EDGE).floor().long().clamp(max=bins - 1)


def normalised(histograms: Tensor) -> Tensor:
    """Histograms (..., bins) divided by their sums; an empty one stays 0."""
    total = histograms.sum(-1, keepdim=True)
    return histograms / torch.where(total > 0, total, 1)
