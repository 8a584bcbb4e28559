import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn import functional as F

from mer.networks.refined_relu import (
    ACTIVATIONS,
    Activation,
    RefinedReLU,
    derivative,
    refined_relu,
    refined_relu_derivative,
    value_range,
)

X = torch.arange(-400, 401, dtype=torch.float64) / 20
AWAY = X[X != 0]  # not at the kink


def composed(x: Tensor) -> Tensor:
    return torch.sigmoid(x) * (1 + F.leaky_relu(x, 0.1))


def equation_4(x: Tensor) -> Tensor:
    e = x.exp()
    return torch.where(x < 0, (e + 0.1 * e * x) / (1 + e), (e + e * x) / (1 + e))


def table_1(x: Tensor) -> Tensor:
    """The derivative that the paper prints."""
    e = x.exp()
    return torch.where(x < 0, e * (e + 0.1 * x + 2) / (e + 1) ** 2, e * (e + x + 2) / (e + 1) ** 2)


def test_the_value_is_equation_4() -> None:
    torch.testing.assert_close(refined_relu(X), equation_4(X), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(RefinedReLU()(X), refined_relu(X), rtol=0, atol=0)
    assert refined_relu(torch.zeros(1)) == 0.5


def test_another_slope_reaches_value_and_derivative() -> None:
    x = torch.tensor([-2.0, 3.0], dtype=torch.float64, requires_grad=True)
    expected = torch.sigmoid(x) * (1 + F.leaky_relu(x, 0.3))
    ours = RefinedReLU(slope=0.3)(x)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours.sum(), x), torch.autograd.grad(expected.sum(), x), rtol=1e-12, atol=0
    )


def test_the_derivative_is_the_slope_of_equation_4() -> None:
    step = 1e-5
    differences = (equation_4(AWAY + step) - equation_4(AWAY - step)) / (2 * step)
    torch.testing.assert_close(refined_relu_derivative(AWAY), differences, rtol=0, atol=1e-9)
    # The paper's table I agrees with that above 0, and is off below by (1 - alpha) sigmoid.
    off = table_1(AWAY) - differences
    expected = torch.where(AWAY < 0, 0.9 * torch.sigmoid(AWAY), 0)
    torch.testing.assert_close(off, expected, rtol=0, atol=1e-9)


def test_gradients_also_second_ones() -> None:
    x = AWAY[::40].clone().requires_grad_()
    assert torch.autograd.gradcheck(refined_relu, x)
    assert torch.autograd.gradgradcheck(refined_relu, x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_it_is_the_composed_function_also_at_the_kink(dtype: torch.dtype) -> None:
    x = X.to(dtype).requires_grad_()
    tolerance = 8 * torch.finfo(dtype).eps
    ours, theirs = refined_relu(x), composed(x)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        torch.autograd.grad(ours.sum(), x)[0],
        torch.autograd.grad(theirs.sum(), x)[0],
        rtol=tolerance,
        atol=tolerance,
    )
    assert (derivative(refined_relu)(torch.zeros(1)) - 0.3).abs() < 1e-6  # s'(0) + 0.1 s(0), the left side


def saved_bytes(function: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Bytes that autograd keeps from the forward pass, each storage once."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function(x)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_autograd_keeps_one_tensor_in_place_of_three() -> None:
    x = torch.randn(1000, requires_grad=True)
    assert saved_bytes(refined_relu, x) == 4000
    assert saved_bytes(composed, x) == 12000


@pytest.mark.parametrize("dim", [0, 1])
def test_vmap_gives_each_fold_its_own(dim: int) -> None:
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(row: Tensor) -> Tensor:
        return refined_relu(row).square().sum()

    rows = x.unbind(dim)
    each = torch.stack([refined_relu(row) for row in rows], dim)
    torch.testing.assert_close(vmap(refined_relu, in_dims=dim, out_dims=dim)(x), each, rtol=0, atol=0)
    slopes = torch.stack([grad(loss)(row) for row in rows], dim)
    torch.testing.assert_close(vmap(grad(loss), in_dims=dim, out_dims=dim)(x), slopes, rtol=1e-12, atol=0)


def test_autocast_keeps_the_layers_precision() -> None:
    layer = nn.Linear(5, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        activated = refined_relu(layer(torch.ones(2, 5)))
    assert activated.dtype == torch.bfloat16
    torch.autograd.backward(activated.float().sum())
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    assert layer.weight.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_large_inputs_stay_finite(dtype: torch.dtype) -> None:
    x = torch.tensor([-6e4, -100, 100, 6e4], dtype=dtype, requires_grad=True)
    value = refined_relu(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(value, torch.relu(x) + (x > 0).to(dtype))
    torch.testing.assert_close(slope, (x > 0).to(dtype))


def extremum(function: Callable[[float], float], low: float, high: float, sign: int) -> float:
    """Least (sign 1) or greatest (sign -1) value of a unimodal function, by ternary search."""
    for _ in range(200):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if sign * function(left) < sign * function(right):
            high = right
        else:
            low = left
    return function((low + high) / 2)


def below(x: float) -> float:
    return (1 + 0.1 * x) / (1 + math.exp(-x))


def slope_below(x: float) -> float:
    s = 1 / (1 + math.exp(-x))
    return s * (1 - s) * (1 + 0.1 * x) + 0.1 * s


def slope_above(x: float) -> float:
    s = 1 / (1 + math.exp(-x))
    return s * (1 - s) * (1 + x) + s


def test_the_range_of_the_refined_relu_goes_below_0() -> None:
    low, high = value_range(refined_relu)
    assert low == pytest.approx(extremum(below, -30, -5, 1), rel=1e-6)
    assert -2e-6 < low < 0
    assert high == math.inf
    slopes = value_range(refined_relu_derivative)
    assert slopes[0] == pytest.approx(extremum(slope_below, -30, -5, 1), rel=1e-6)
    assert slopes[0] < 0
    assert slopes[1] == pytest.approx(extremum(slope_above, 0, 10, -1), rel=1e-6)
    assert slopes[1] > 1
    assert slopes == pytest.approx(value_range(derivative(refined_relu)), rel=1e-12)


SIGMOID_SLOPE = 0.25  # s (1 - s) at s = 1/2


@pytest.mark.parametrize(
    ("name", "values", "slopes"),
    [
        ("sigmoid", (0, 1), (0, SIGMOID_SLOPE)),
        ("tanh", (-1, 1), (0, 1)),
        ("relu", (0, math.inf), (0, 1)),
        ("elu", (-0.1, math.inf), (0, 1)),
        ("leaky", (-math.inf, math.inf), (0.1, 1)),
    ],
)
def test_ranges_that_are_known(
    name: Activation, values: tuple[float, float], slopes: tuple[float, float]
) -> None:
    activation = ACTIVATIONS[name]()
    assert value_range(activation) == pytest.approx(values, abs=1e-9)
    assert value_range(derivative(activation)) == pytest.approx(slopes, abs=1e-9)


def test_a_function_that_only_falls_has_no_least_value() -> None:
    assert value_range(lambda x: -x.abs()) == (-math.inf, 0)


def test_table_1_has_all_activations_with_alpha() -> None:
    assert tuple(ACTIVATIONS) == get_args(Activation)
    sigma = torch.sigmoid
    # Forward pass and derivative as the paper's table I prints them, but for the refined ReLU's derivative.
    printed: dict[Activation, tuple[Tensor, Tensor]] = {
        "sigmoid": (sigma(AWAY), sigma(AWAY) * (1 - sigma(AWAY))),
        "tanh": (2 * sigma(2 * AWAY) - 1, 1 - (2 * sigma(2 * AWAY) - 1) ** 2),
        "relu": (AWAY.clamp(min=0), (AWAY > 0).double()),
        "elu": (
            torch.where(AWAY < 0, 0.1 * (AWAY.exp() - 1), AWAY),
            torch.where(AWAY < 0, 0.1 * AWAY.exp(), 1),
        ),
        "leaky": (torch.where(AWAY < 0, 0.1 * AWAY, AWAY), torch.where(AWAY < 0, 0.1, 1.0).double()),
        "refined": (equation_4(AWAY), refined_relu_derivative(AWAY)),
    }
    for name, make in ACTIVATIONS.items():
        value, slope = printed[name]
        assert torch.allclose(make()(AWAY), value, rtol=1e-7, atol=1e-9), name
        assert torch.allclose(derivative(make())(AWAY), slope, rtol=1e-6, atol=1e-7), name
