"""The refined ReLU of OrigiNet, and the activations that its table I sets beside it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.1
"""alpha of the paper, the slope below 0 ("a constant value", under eq 4)."""

Activation = Literal["sigmoid", "tanh", "relu", "elu", "leaky", "refined"]


def refined_relu(x: Tensor, *, slope: float = SLOPE) -> Tensor:
    """sigmoid(x) * (1 + leaky_relu(x)), elementwise (OrigiNet eq 4).

    torch's ``RReLU`` is another function. Autograd keeps x alone; the same product written with torch's
    functions keeps three tensors of that size.

    Args:
        x: float, any shape.
        slope: of the leaky ReLU below 0.

    Returns:
        As x. Grows like x + 1 on the right; on the left it crosses 0 at -1/slope, and at slope 0.1 has its
        minimum of about -1.7e-6 near -11, so the paper's range [0, x + 1] is not exact.
    """
    value: Tensor = _RefinedReLU.apply(x, slope)
    return value


def refined_relu_derivative(x: Tensor, *, slope: float = SLOPE) -> Tensor:
    """s'(x) (1 + l(x)) + s(x) l'(x) with s the sigmoid and l the leaky ReLU, elementwise.

    Below 0 that is s'(x)(1 + slope x) + slope s(x); the one in the paper's table I has 1 in place of slope
    there. At 0, where the two sides differ, it is the left one, as torch's leaky ReLU has it.
    """
    s = torch.sigmoid(x)
    # The kernels of torch's own backward passes: one pass over memory each.
    result: Tensor = torch.ops.aten.sigmoid_backward(F.leaky_relu(x, slope).add_(1), s)
    return result.add_(torch.ops.aten.leaky_relu_backward(s, x, slope, False))


class _RefinedReLU(torch.autograd.Function):
    """Saves x, and computes the sigmoid again on the way back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, slope: float) -> Tensor:
        s = torch.sigmoid(x)
        return torch.addcmul(s, s, F.leaky_relu(x, slope))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], _output: Tensor) -> None:
        x, ctx.slope = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * refined_relu_derivative(x, slope=ctx.slope), None


class RefinedReLU(nn.Module):
    """:func:`refined_relu` as a module."""

    def __init__(self, *, slope: float = SLOPE) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise, any shape."""
        return refined_relu(x, slope=self.slope)

    def extra_repr(self) -> str:
        """The slope."""
        return f"slope={self.slope}"


ACTIVATIONS: Mapping[Activation, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": partial(nn.ELU, SLOPE),
    "leaky": partial(nn.LeakyReLU, SLOPE),
    "refined": RefinedReLU,
}
"""The rows of OrigiNet's table I, in its order, all with its alpha. Each makes a module."""


def derivative(activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The derivative of an elementwise function, by autograd; where it has a kink, torch's choice."""

    def slope_at(x: Tensor) -> Tensor:
        at = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation(at).sum(), at)
        return slope

    return slope_at


def value_range(function: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    """Infimum and supremum of an elementwise function of one variable, found numerically.

    It is evaluated in double precision every 1/1000 on [-50, 50], and at powers of two up to 2^30 on both
    sides. Where it still grows by more than 1 from 2^29 to 2^30, that end is infinite. A limit that is not
    attained, such as a sigmoid's, counts. An extremum between two points is missed by at most 1/8 of a
    millionth of the second derivative.
    """
    near = torch.arange(-50_000, 50_001, dtype=torch.float64) / 1000
    far = 2.0 ** torch.arange(6, 31, dtype=torch.float64)
    values, ends = function(near), function(torch.stack([far, -far]))
    growth = ends[:, -1] - ends[:, -2]
    low = float("-inf") if growth.min() < -1 else min(values.min().item(), ends.min().item())
    high = float("inf") if growth.max() > 1 else max(values.max().item(), ends.max().item())
    return low, high
