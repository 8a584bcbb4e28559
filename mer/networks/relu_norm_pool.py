"""ReLU, batch norm and max pool as one step, faster on one thread of a CPU."""

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

WINDOW = 3


def relu_norm_pool(maps: Tensor, norm: nn.BatchNorm2d, pool: nn.MaxPool2d) -> Tensor:
    """``pool(norm(relu(maps)))``, which it may change ``maps`` for; moves the statistics of ``norm``.

    Torch passes over the map a dozen times, which takes twice as long as its convolution where the map is
    larger than the cache. A max pool keeps the order of values, so where all weights of the norm are positive
    the pooled values alone are normalized, and two passes do: `mer.networks.pool_kernels`. That needs numba
    (the extra ``fast``), training, one thread, float32, and windows of 3x3 that cover the map; in any other
    case the three modules are called.

    Args:
        maps: (B, C, H, W).
        norm: of C channels.
        pool: of windows that do not overlap.
    """
    if not _applies(maps, norm, pool):
        result: Tensor = pool(norm(torch.relu_(maps)))
        return result
    pooled, mean, variance = _ReluNormPool.apply(maps, norm.weight, norm.bias, norm.eps, pool.padding)
    _move_statistics(norm, mean, variance, count=maps.numel() // maps.shape[1])
    return pooled  # type: ignore[no-any-return]


def _move_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """As torch does: the running variance is the unbiased one."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)


@cache
def has_numba() -> bool:
    """Whether the extra ``fast`` is installed."""
    return find_spec("numba") is not None


def _applies(maps: Tensor, norm: nn.BatchNorm2d, pool: nn.MaxPool2d) -> bool:
    return (
        maps.device.type == "cpu"
        and norm.training
        and torch.get_num_threads() == 1
        and not torch._C._functorch.is_functorch_wrapped_tensor(maps)  # of folds that are trained together
        and maps.dtype == torch.float32
        and norm.momentum is not None
        and norm.track_running_stats
        and (pool.kernel_size, pool.stride, pool.dilation) == (WINDOW, WINDOW, 1)
        and isinstance(pool.padding, int)
        and all((side + 2 * pool.padding) % WINDOW == 0 for side in maps.shape[-2:])
        and has_numba()
        and bool((norm.weight > 0).all())
    )


class _ReluNormPool(torch.autograd.Function):
    """The step in training, with its gradient: (pooled, mean, biased variance) of maps, weight and bias."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, eps: float, padding: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        from mer.networks import pool_kernels

        images, channels, height, width = maps.shape
        rows = _rows(maps)
        high, wide = ((side + 2 * padding) // WINDOW for side in (height, width))
        shift = rows[0].clamp(min=0).view(-1, channels).mean(dim=0)
        pooled = torch.empty(images, high, wide * channels)
        places = torch.empty(images, high, wide * channels, dtype=torch.int8)
        sums, squares = torch.zeros(2, width * channels, dtype=torch.float64)
        each_column = shift.repeat(width)
        pool_kernels.pool(rows, channels, padding, each_column, pooled, places, sums, squares)
        count = images * height * width
        above, square = (each.view(width, channels).sum(dim=0) / count for each in (sums, squares))
        variance = (square - above**2).float()
        mean = shift + above.float()
        scale = torch.rsqrt(variance + eps)
        normalized = (pooled.view(-1, channels) - mean).mul_(scale)
        ctx.save_for_backward(rows, weight, normalized, places, mean, scale)
        ctx.padding, ctx.shape = padding, maps.shape
        ctx.mark_non_differentiable(mean, variance)
        result = torch.addcmul(bias, normalized, weight).view(images, high, wide, channels)
        return result.permute(0, 3, 1, 2), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from mer.networks import pool_kernels

        rows, weight, normalized, places, mean, scale = ctx.saved_tensors
        images, channels, height, width = ctx.shape
        gradient = gradients[0].permute(0, 2, 3, 1).reshape(-1, channels)
        of_bias, of_weight = gradient.sum(dim=0), (gradient * normalized).sum(dim=0)
        own = (gradient * (weight * scale)).view(places.shape)
        # Batch norm's gradient: each value moves the mean and the variance of all.
        count = images * height * width
        slope = -weight * scale**2 * of_weight / count
        offset = -weight * scale * of_bias / count - slope * mean
        out = torch.empty_like(rows)
        columns = (offset.repeat(width), slope.repeat(width))
        pool_kernels.spread(rows, channels, ctx.padding, own, places, *columns, out)
        return out.view(images, height, width, channels).permute(0, 3, 1, 2), of_weight, of_bias, None, None


def _rows(maps: Tensor) -> Tensor:
    """(B, H, W * C): a view where the channels lie last in memory."""
    images, _, height, _ = maps.shape
    return maps.permute(0, 2, 3, 1).contiguous().view(images, height, -1)
