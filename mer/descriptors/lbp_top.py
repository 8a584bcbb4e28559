"""Local binary patterns on three orthogonal planes of a clip (LBP-TOP; Zhao and Pietikainen 2007)."""

import math

import torch
from torch import Tensor

from mer.descriptors.blocks import block_bounds, block_numbers
from mer.descriptors.lbp import BINS, CHUNK, lbp_codes
from mer.errors import MerError

NEIGHBOURS = 8
UNIFORM_BINS = 59
ONE = 1 << 22  # weights of the interpolation are whole parts of this: 255 of it still fit into int32
SLACK = ONE >> 12  # a neighbour darker by less than this is as bright: more than the weights' rounding


def lbp_top(
    clip: Tensor, *, radius: int = 1, radius_t: int = 4, blocks: int = 5, uniform: bool = True
) -> Tensor:
    """Histograms of the LBP codes in the planes XY, XT and YT around every pixel, by block of the frame.

    8 neighbours stand on an ellipse around the pixel, ``radius`` wide along x and y and ``radius_t`` along
    time, interpolated bilinearly; neighbour p sets bit p where it is not darker than the centre. A pixel
    counts where all its neighbours exist, in the same set for the three planes. The codes are found on
    the whole frame and then divided into blocks, so that none is lost between blocks (ours).

    Brightness and contrast change nothing. No length of clip is preferred: histograms are shares.

    The papers print no settings. The defaults are ours, after those that the baseline of CASME II is
    usually cited with (5x5 blocks, radii 1, 1 and 4).

    Args:
        clip: (T, H, W) uint8, grey.
        radius: along x and y, in pixels.
        radius_t: along time, in frames.
        blocks: along each side of the frame; a block spans the whole clip.
        uniform: 59 bins, see ``uniform_bins``; else one for each of the 256 codes.

    Returns:
        (blocks * blocks, 3, bins) float32, blocks row by row from the top, planes XY, XT, YT; each
        histogram sums to 1. On the device of ``clip``.

    Raises:
        MerError: another shape or type; an option out of range; a clip shorter than 2 radius_t + 1 frames;
            a block without any code.
    """
    if clip.ndim != 3 or clip.dtype != torch.uint8:
        raise MerError(
            f"LBP-TOP takes a grey uint8 clip (frames, height, width), not {clip.dtype} {tuple(clip.shape)}"
        )
    for name, value in (("radius", radius), ("radius_t", radius_t)):
        if value < 1:
            raise MerError(f"encoding.{name}={value}: give 1 or more")
    frames, height, width = clip.shape
    if frames <= 2 * radius_t:
        raise MerError(
            f"{frames} frames are too few for LBP-TOP with encoding.radius_t={radius_t}, which needs "
            f"{2 * radius_t + 1}: make it smaller, or leave the clip out"
        )
    rows, columns = (_inner_blocks(size, blocks, radius, clip) for size in (height, width))
    time = slice(radius_t, frames - radius_t)
    inner_y, inner_x = slice(radius, height - radius), slice(radius, width - radius)
    # Each plane as a stack of images: its place along the third axis, then its own two. The blocks of the
    # codes are laid out alike.
    grid = rows[:, None] * blocks + columns
    planes = (
        (clip[time], (radius, radius), grid[None]),
        (clip[:, inner_y].permute(1, 0, 2), (radius_t, radius), grid[:, None]),
        (clip[:, :, inner_x].permute(2, 0, 1), (radius_t, radius), grid.T[:, None]),
    )
    bins = UNIFORM_BINS if uniform else BINS
    label = (uniform_bins() if uniform else torch.arange(BINS)).to(clip.device)
    counts = [
        _count(plane_codes(images.contiguous(), radii), block, label, blocks * blocks * bins)
        for images, radii, block in planes
    ]
    histograms = torch.stack(counts).view(3, blocks * blocks, bins).transpose(0, 1).double()
    return (histograms / histograms.sum(-1, keepdim=True)).float()


def plane_codes(images: Tensor, radii: tuple[int, int]) -> Tensor:
    """The LBP code of every pixel that has its 8 neighbours, as ``lbp_codes`` gives at radius 1.

    Args:
        images: (N, A, B) uint8: rows along any axis, columns along another.
        radii: of the ellipse along A and along B.

    Returns:
        (N, A - 2 radius, B - 2 radius) uint8, on the device of ``images``.
    """
    if radii == (1, 1):
        return lbp_codes(images)
    return _interpolated_codes(images, radii)


def uniform_bins() -> Tensor:
    """(256,) int64: bin of each code. The 58 uniform codes, with at most two changes between neighbouring
    bits around the circle, have one each in rising order; all others share the last.
    """
    code = torch.arange(BINS)
    bits = code[:, None] >> torch.arange(NEIGHBOURS) & 1
    uniform = (bits != bits.roll(1, 1)).sum(1) <= 2
    return torch.where(uniform, uniform.cumsum(0) - 1, UNIFORM_BINS - 1)


def _interpolated_codes(images: Tensor, radii: tuple[int, int]) -> Tensor:
    total, *size = images.shape
    height, width = (side - 2 * radius for side, radius in zip(size, radii, strict=True))
    codes = images.new_zeros(total, height, width)
    step = max(1, CHUNK // (size[0] * size[1]))  # bounds the memory
    neighbours = [_corners(k, radii) for k in range(NEIGHBOURS)]
    for part, code in zip(torch.split(images, step), torch.split(codes, step), strict=True):
        values = part.int()

        def shifted(down: int, right: int, values: Tensor = values) -> Tensor:
            top, left = radii[0] + down, radii[1] + right
            return values[:, top : top + height, left : left + width]

        for k, corners in enumerate(neighbours):
            difference = shifted(0, 0) * -ONE
            for down, right, weight in corners:
                difference.add_(shifted(down, right), alpha=weight)
            # Equal greys come out of the interpolation equal only up to rounding.
            code += (difference >= -SLACK).to(torch.uint8) << k
    return codes


def _corners(neighbour: int, radii: tuple[int, int]) -> list[tuple[int, int, int]]:
    """The pixels around a neighbour's place, as (rows down, columns right, weight in parts of ``ONE``)."""
    angle = 2 * math.pi * neighbour / NEIGHBOURS
    # Rounded, so that sin 180 degrees is 0.
    down, right = round(-radii[0] * math.sin(angle), 9), round(radii[1] * math.cos(angle), 9)
    return [
        (y, x, weight)
        for y, share_y in _around(down)
        for x, share_x in _around(right)
        if (weight := round(ONE * share_y * share_x))
    ]


def _around(place: float) -> list[tuple[int, float]]:
    below = math.floor(place)
    return [(below, below + 1 - place), (below + 1, place - below)]


def _inner_blocks(size: int, blocks: int, radius: int, clip: Tensor) -> Tensor:
    """The number of the block of each pixel of a side that has neighbours on both of its sides."""
    bounds = block_bounds(size, blocks)
    empty = any(min(end, size - radius) <= max(start, radius) for start, end in bounds)
    if empty:
        raise MerError(
            f"frames of {clip.shape[2]}x{clip.shape[1]} pixels are too small for encoding.blocks={blocks} "
            f"with encoding.radius={radius}: some block has no code; give fewer blocks"
        )
    return block_numbers(size, blocks)[radius : size - radius].to(clip.device)


def _count(codes: Tensor, block: Tensor, label: Tensor, bins: int) -> Tensor:
    """How often each (block, label) occurs: codes (N, A, B), block that broadcasts to it -> (bins,) int64."""
    per_block = int(label.max()) + 1
    offset = (block * per_block).expand(codes.shape)
    counts = label.new_zeros(bins)
    step = max(1, CHUNK // codes[0].numel())
    for part, first in zip(torch.split(codes, step), torch.split(offset, step), strict=True):
        counts += torch.bincount((label[part.long()] + first).flatten(), minlength=bins)
    return counts
