"""TV-L1 optical flow of many pairs at once, on any device (Zach, Pock and Bischof 2007; Sanchez, IPOL 2013).

The energy ``|grad u| + lambda |second(x + u) - first(x)|`` is split by an auxiliary flow v that is tied to
u with strength 1 / theta: v follows the images point by point (a threshold), u follows v and stays smooth (a
projection of its dual variable p). Pyramid, warps, median filter and parameters are those of OpenCV's
``DualTVL1OpticalFlow``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad

from mer.errors import MerError

SMALLEST = 16  # px, the shortest side of a level, but for the images themselves
CHECKED = 5  # iterations from one look at the change to the next: on a GPU each look waits for the device
PLANES = 100  # float32 planes of its own size that a pair holds at most, 63 of them in the median of 25
# Bytes of those planes. A CPU is quickest while they fit its cache, a GPU on as many pixels as there are.
BUDGETS = {"cpu": 16 << 20, "cuda": 8 << 30}


@dataclass(frozen=True, kw_only=True)
class TVL1:
    """Parameters of OpenCV's ``DualTVL1OpticalFlow``, with its defaults (Zach et al. 2007).

    The published flow images were made with IPOL's tvl1flow instead: see ``ipol``.

    Args:
        tau: time step of the numerical scheme.
        lambda_: weight of the data term: the smaller, the smoother the flow.
        theta: tightness of the coupling between the data term and the smoothness term.
        scales: most levels of the pyramid; it ends by itself where a side falls below 16 pixels.
        warps: warpings a level.
        epsilon: change, in pixels, below which the iterations stop.
        inner_iterations: most iterations between two median filterings.
        outer_iterations: most median filterings a warping.
        scale_step: size of a level relative to the finer one, between 0 and 1.
        median: side of the median filter, 3 or 5; 1 is none.
    """

    tau: float = 0.25
    lambda_: float = 0.15
    theta: float = 0.3
    scales: int = 5
    warps: int = 5
    epsilon: float = 0.01
    inner_iterations: int = 30
    outer_iterations: int = 10
    scale_step: float = 0.8
    median: int = 5

    def __post_init__(self) -> None:
        """Raise MerError for values on which OpenCV stops without naming the parameter."""
        for name, value in vars(self).items():
            if value <= 0:
                raise MerError(f"encoding.{name}={value}: give a positive number")
        if self.scale_step >= 1:
            raise MerError(f"encoding.scale_step={self.scale_step}: give a number between 0 and 1")
        if self.median not in (1, 3, 5):
            raise MerError(f"encoding.median={self.median}: choose 3 or 5, or 1 for no median filter")

    @classmethod
    def ipol(cls) -> Self:
        """The parameters of IPOL's tvl1flow: a pyramid of halves down to 16 pixels, no median filter.

        The same numbers, not the same program: IPOL's also smooths both frames (sigma 0.8) and stretches
        their joint range to 0..255 first, and repeats at most 300 times, which is here 30 x 10.
        """
        return cls(scales=100, scale_step=0.5, median=1)


@torch.no_grad()
def tvl1_flow(first: Tensor, second: Tensor, *, options: TVL1 | None = None) -> Tensor:
    """TV-L1 optical flow: ``second(x + u, y + v) = first(x, y)``.

    Pairs are solved together, as many at a time as ``BUDGETS`` allows for the device; each stops by itself,
    as soon as its flow changes by less than ``epsilon``, so that its neighbours do not matter. The change is
    looked at after every ``CHECKED`` iterations; OpenCV looks after each.

    Args:
        first: (N, 1, H, W) or (N, H, W), uint8 or float, 0..255, sides of at least 2 pixels.
        second: the same shape.
        options: None is OpenCV's defaults.

    Returns:
        (N, 2, H, W) float32, pixels: channel 0 is u (right is positive), channel 1 is v (down is positive),
        on the device of ``first``. The same input gives the same bytes; another batch around a pair, or
        another device, changes no more than rounding.

    Raises:
        MerError: shapes differ, are not those above, or have a side below 2.
    """
    grey = first.ndim == 3 or (first.ndim == 4 and first.shape[1] == 1)
    if not grey or first.shape != second.shape:
        raise MerError(
            f"TV-L1 takes two batches of grey images (batch, 1, height, width), "
            f"not {tuple(first.shape)} and {tuple(second.shape)}"
        )
    height, width = first.shape[-2:]
    if min(height, width) < 2:
        raise MerError(f"TV-L1 takes images of 2 pixels or more along each side, not {width}x{height}")
    options = options or TVL1()
    budget = BUDGETS["cpu" if first.device.type == "cpu" else "cuda"]
    at_once = max(1, budget // (4 * PLANES * height * width))
    flow = torch.empty(len(first), 2, height, width, device=first.device)
    for start in range(0, len(first), at_once):
        chunk = slice(start, start + at_once)
        pair = [images[chunk].reshape(-1, height, width).float() for images in (first, second)]
        flow[chunk] = _solve(torch.stack(pair, 1), options)
    return flow


def _solve(pairs: Tensor, options: TVL1) -> Tensor:
    """Flow (N, 2, H, W) of pairs (N, 2, H, W), from the coarsest level to the finest."""
    levels = [pairs]
    while len(levels) < options.scales:
        height, width = (round(side * options.scale_step) for side in levels[-1].shape[-2:])
        if min(height, width) < SMALLEST:
            break
        levels.append(interpolate(levels[-1], size=(height, width), mode="bilinear"))
    flow = torch.zeros_like(levels[-1])
    for level in reversed(levels):
        (height, width), (coarse_height, coarse_width) = level.shape[-2:], flow.shape[-2:]
        flow = interpolate(flow, size=(height, width), mode="bilinear")
        flow[:, 0] *= width / coarse_width
        flow[:, 1] *= height / coarse_height
        _refine(level[:, :1], level[:, 1:], flow, options)
    return flow


def _refine(first: Tensor, second: Tensor, flow: Tensor, options: TVL1) -> None:
    """Improve the flow (N, 2, H, W) of one level, of images (N, 1, H, W), in place."""
    count, _, height, width = flow.shape
    moving = _padded(torch.cat([second, *_centred_gradient(second)], 1))
    # theta p, of x and of y, with a row and a column of zeros before the first: what flows in from outside.
    dual = flow.new_zeros(count, 2, 2, height + 1, width + 1)
    for _ in range(options.warps):
        warped = _warp(moving, flow)
        slope = warped[:, 1:]
        # Where the image is flat nothing pulls: the slope is 0, whatever it is divided by.
        steepness = slope.square().sum(1, keepdim=True).clamp_(min=torch.finfo(torch.float32).eps)
        residual = warped[:, :1] - first - (slope * flow).sum(1, keepdim=True)
        _iterate(flow, dual, slope, -slope / steepness, -residual / steepness, options)


def _iterate(flow: Tensor, dual: Tensor, slope: Tensor, pull: Tensor, rest: Tensor, options: TVL1) -> None:
    """Solve one warp in place; see ``_Moving``. Pairs that have stopped leave the batch."""
    rows = torch.arange(len(flow), device=flow.device)
    pairs = _Moving(flow, dual, slope, pull, rest)
    still = options.epsilon**2 * flow[0, 0].numel()
    for iteration in range(options.outer_iterations * options.inner_iterations):
        if iteration % options.inner_iterations == 0 and options.median > 1:
            pairs.flow.copy_(_median(pairs.flow, options.median))
        looked_at = (iteration + 1) % CHECKED == 0
        before = pairs.flow.clone() if looked_at else None
        pairs.step(options)
        if before is None:
            continue
        change = before.sub_(pairs.flow).square_().sum((1, 2, 3))
        kept = (change > still).nonzero()[:, 0]
        if len(kept) == len(rows):
            continue
        if pairs.flow is not flow:
            flow[rows], dual[rows] = pairs.flow, pairs.dual
        if not len(kept):
            return
        rows, pairs = rows[kept], pairs.select(kept)
    if pairs.flow is not flow:
        flow[rows], dual[rows] = pairs.flow, pairs.dual


class _Moving:
    """The pairs of one warp whose flow still changes.

    Args:
        flow: (N, 2, H, W), u.
        dual: (N, 2, 2, H + 1, W + 1), theta p: of x and of y, of both components of u; zeros come first.
        slope: (N, 2, H, W), the gradient of the warped image.
        pull: (N, 2, H, W), minus the slope over its square.
        rest: (N, 1, H, W), minus the residual at u = 0 over the square of the slope.
    """

    def __init__(self, flow: Tensor, dual: Tensor, slope: Tensor, pull: Tensor, rest: Tensor) -> None:
        self.flow, self.dual, self.slope, self.pull, self.rest = flow, dual, slope, pull, rest
        self._step = torch.empty_like(rest)
        # Of x and of y; the last column and the last row stay 0.
        self._gradient = torch.zeros_like(dual[..., 1:, 1:])
        self._norm = torch.empty_like(flow[:, None])

    def select(self, kept: Tensor) -> "_Moving":
        return _Moving(*(state[kept] for state in (self.flow, self.dual, self.slope, self.pull, self.rest)))

    def step(self, options: TVL1) -> None:
        """One iteration: v by its threshold, u by v and the divergence of p, p by the gradient of u."""
        u, p, limit = self.flow, self.dual, options.lambda_ * options.theta
        torch.addcmul(self.rest, self.pull[:, :1], u[:, :1], out=self._step)
        self._step.addcmul_(self.pull[:, 1:], u[:, 1:]).clamp_(-limit, limit)
        u.addcmul_(self._step, self.slope)
        u.add_(p[:, 0, :, 1:, 1:]).sub_(p[:, 0, :, 1:, :-1])
        u.add_(p[:, 1, :, 1:, 1:]).sub_(p[:, 1, :, :-1, 1:])
        along_x, along_y = self._gradient.unbind(1)
        torch.sub(u[..., 1:], u[..., :-1], out=along_x[..., :-1])
        torch.sub(u[..., 1:, :], u[..., :-1, :], out=along_y[..., :-1, :])
        torch.hypot(along_x, along_y, out=self._norm[:, 0])
        self._norm.mul_(options.tau / options.theta).add_(1)
        p[..., 1:, 1:].add_(self._gradient, alpha=options.tau).div_(self._norm)


def _padded(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with zeros to the right and below, so that both sides are a power of two plus 1.

    ``grid_sample`` wants positions as -1..1. Only with such sides are pixels' positions exact, so that
    where nothing moves the flow is 0 to the last bit.
    """
    height, width = images.shape[-2:]
    below, right = ((1 << (side - 2).bit_length()) + 1 - side for side in (height, width))
    return pad(images, (0, right, 0, below))


def _warp(images: Tensor, flow: Tensor) -> Tensor:
    """Images of ``_padded`` at x + u, bicubic; 0 outside, where the gradient then pulls nowhere."""
    rows, columns = (torch.arange(side, device=flow.device) for side in flow.shape[-2:])
    x = (flow[:, 0] + columns) * (2 / (images.shape[-1] - 1)) - 1
    y = (flow[:, 1] + rows[:, None]) * (2 / (images.shape[-2] - 1)) - 1
    return grid_sample(images, torch.stack([x, y], -1), mode="bicubic", align_corners=True)


def _centred_gradient(images: Tensor) -> tuple[Tensor, Tensor]:
    """Half the difference of the two neighbours, along x and along y; the border is its own neighbour."""
    padded = pad(images, (1, 1, 1, 1), mode="replicate")
    along_x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    along_y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return along_x, along_y


def _median(planes: Tensor, side: int) -> Tensor:
    """Median of the side x side neighbours (3 or 5) of each pixel of (N, C, H, W); the border is repeated.

    Columns are sorted once for all windows that hold them, then the ranks of the columns along x. What is
    sorted both ways leaves few candidates: an element that is not below (above) more than half is out.
    """
    reach, (height, width) = side // 2, planes.shape[-2:]
    padded = pad(planes, (reach,) * 4, mode="replicate")
    columns = _sorted([padded[..., k : k + height, :] for k in range(side)], range(side))
    half = (side * side + 1) // 2
    candidates: list[Tensor] = []
    for i, ranked in enumerate(columns):
        wanted = [j for j in range(side) if (i + 1) * (j + 1) <= half and (side - i) * (side - j) <= half]
        candidates += _sorted([ranked[..., k : k + width] for k in range(side)], wanted)
    return _sorted(candidates, [len(candidates) // 2])[0]


def _sorted(planes: Sequence[Tensor], wanted: Sequence[int]) -> list[Tensor]:
    """The planes of the wanted ranks, 0 for the smallest, of every pixel on its own."""
    ranked = list(planes)
    for low, high, keeps_low, keeps_high in _comparisons(len(ranked), tuple(wanted)):
        one, other = ranked[low], ranked[high]
        if keeps_low:
            ranked[low] = torch.minimum(one, other)
        if keeps_high:
            ranked[high] = torch.maximum(one, other)
    return [ranked[rank] for rank in wanted]


@cache
def _comparisons(count: int, wanted: tuple[int, ...]) -> list[tuple[int, int, bool, bool]]:
    """Batcher's merge exchange (Knuth 5.2.2, algorithm M), without what the wanted ranks do not need.

    Returns:
        Pairs to put in order, and whether the smaller and whether the larger is read again.
    """
    pairs: list[tuple[int, int]] = []
    top = 1 << max((count - 1).bit_length() - 1, 0)
    stride = top
    while stride:
        span, offset, distance = top, 0, stride
        while True:
            pairs += [(k, k + distance) for k in range(count - distance) if k & stride == offset]
            if span == stride:
                break
            distance, span, offset = span - stride, span // 2, stride
        stride //= 2
    read, kept = set(wanted), []
    for low, high in reversed(pairs):
        if {low, high} & read:
            kept.append((low, high, low in read, high in read))
            read |= {low, high}
    return kept[::-1]
