"""Batch norm over the rows that count, for batches that are filled up to a common size."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class MaskedBatchNorm(TorchFunctionMode):
    """Within it, every batch norm in training takes its statistics from the rows that count.

    It replaces ``torch.nn.functional.batch_norm``, so it reaches the layers of any library, and in
    ``torch.func.vmap`` each fold has its own rows.

    Args:
        counted: (B,) bool, of the rows of a batch.
    """

    def __init__(self, counted: Tensor) -> None:
        super().__init__()
        self.counted = counted

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Torch asks it instead of calling ``func``."""
        if func is F.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        return masked_batch_norm(
            input, self.counted, running_mean, running_var, weight, bias, momentum=momentum, eps=eps
        )


def masked_batch_norm(
    input: Tensor,
    counted: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    momentum: float,
    eps: float,
) -> Tensor:
    """``torch.nn.functional.batch_norm`` in training, of ``input[counted]``; the other rows change alike.

    Args:
        input: (B, C, ...).
        counted: (B,) bool.
        running_mean: (C,), moved in place, as ``running_var`` is by the unbiased variance; or None.
        running_var: (C,) or None.
        weight: (C,) or None.
        bias: (C,) or None.
        momentum: weight of this batch in the running statistics.
        eps: added to the variance.

    Returns:
        As ``input``; rows that do not count have no part in the others.
    """
    values = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
    over = [0, *range(2, input.ndim)]
    channels = [1, -1] + [1] * (input.ndim - 2)
    number = counted.sum().to(values.dtype) * input[0, 0].numel()
    share = (counted / number).view(-1, *[1] * (input.ndim - 1))
    mean = (values * share).sum(over)
    centred = values - mean.view(channels)
    variance = (centred * centred * share).sum(over)
    with torch.no_grad():
        if running_mean is not None:
            running_mean.mul_(1 - momentum).add_(mean * momentum)
        if running_var is not None:
            running_var.mul_(1 - momentum).add_(variance * (momentum * number / (number - 1)))
    scale = torch.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * weight
    normed = centred * scale.view(channels)
    if bias is not None:
        normed = normed + bias.view(channels)
    return normed.to(input.dtype)
