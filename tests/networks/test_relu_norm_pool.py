import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from mer.networks import relu_norm_pool as fused
from mer.networks.relu_norm_pool import relu_norm_pool

pytest.importorskip("numba", reason="needs the extra `fast`")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As each fold trains."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def layers(channels: int, padding: int, eps: float = 1e-5) -> tuple[nn.BatchNorm2d, nn.MaxPool2d]:
    norm = nn.BatchNorm2d(channels, eps=eps)
    generator = torch.Generator().manual_seed(channels)
    norm.weight.data = torch.rand(channels, generator=generator) + 0.5
    norm.bias.data = torch.randn(channels, generator=generator)
    return norm, nn.MaxPool2d(3, stride=3, padding=padding)


def draw(images: int, channels: int, side: int, scale: float = 1.0, mean: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(images)
    maps = torch.randn(images, channels, side, side, generator=generator) * scale + mean
    return maps.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(
    ("images", "channels", "side", "padding", "scale", "mean"),
    [
        (7, 8, 28, 1, 1.0, 0.0),  # LAENet
        (5, 16, 30, 0, 1.0, 0.0),  # STSTNet's release
        (4, 1, 6, 0, 1.0, 0.0),
        (3, 3, 7, 1, 1.0, 0.0),
        (6, 8, 28, 1, 3.0, 200.0),  # far from 0: nothing of it is cut off, and digits could be lost
        (6, 8, 28, 1, 1.0, -2.0),  # nearly all of it is cut off
    ],
)
def test_values_gradients_and_statistics_are_the_modules(
    images: int,
    channels: int,
    side: int,
    padding: int,
    scale: float,
    mean: float,
    memory_format: torch.memory_format,
) -> None:
    """Against the three modules in float64, which are less exact in float32 than the fused step."""
    norm, pool = layers(channels, padding)
    reference = copy.deepcopy(norm).double()
    maps = draw(images, channels, side, scale, mean).contiguous(memory_format=memory_format)
    results = []
    for each, kind in ((norm, torch.float32), (reference, torch.float64)):
        given = maps.detach().clone().to(kind).requires_grad_()
        assert fused._applies(given, each, pool) == (kind == torch.float32)
        # ReLU in place may not reach a leaf.
        pooled = relu_norm_pool(given * 1, each, pool)
        weights = torch.linspace(-1, 2, pooled.numel(), dtype=kind).view(pooled.shape)
        torch.autograd.backward((pooled * weights).sum())
        gradients = (given.grad, each.weight.grad, each.bias.grad)
        statistics = (each.running_mean, each.running_var, each.num_batches_tracked)
        results.append([each.double() for each in (pooled, *gradients, *statistics)])  # type: ignore[union-attr]
    for ours, theirs in zip(*results, strict=True):
        error = (ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12)
        assert error < 2e-5


def test_a_window_of_equal_values_has_one_place() -> None:
    norm, pool = layers(2, 0)
    maps = torch.ones(2, 2, 6, 6)
    maps[1] = 2
    given = maps.requires_grad_()
    torch.autograd.backward(relu_norm_pool(given * 1, norm, pool)[0, 0, 0, 0])
    assert given.grad is not None
    window = given.grad[0, 0, :3, :3].flatten()
    # The first of the window, as torch's pool; the others only move the mean and the variance.
    assert (window[1:] == window[1]).all()
    assert window[0] > window[1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_fold_that_diverges_shows_it(value: float) -> None:
    norm, pool = layers(2, 0)
    maps = draw(2, 2, 6)
    maps[1, 1, 3, 3] = value
    expected = pool(copy.deepcopy(norm)(torch.relu(maps)))
    pooled = relu_norm_pool(maps, norm, pool)
    assert torch.equal(pooled.isfinite().all(dim=0), expected.isfinite().all(dim=0))


def test_other_cases_are_left_to_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    norm, pool = layers(2, 0)
    maps = draw(3, 2, 6)
    assert fused._applies(maps, norm, pool)
    assert not fused._applies(maps.double(), norm, pool)
    assert not fused._applies(maps, copy.deepcopy(norm).eval(), pool)
    assert not fused._applies(maps, nn.BatchNorm2d(2, momentum=None), pool)
    assert not fused._applies(maps, nn.BatchNorm2d(2, track_running_stats=False), pool)
    assert not fused._applies(maps, norm, nn.MaxPool2d(2, stride=2))
    assert not fused._applies(draw(3, 2, 7), norm, pool), "a row and a column are in no window"
    torch.set_num_threads(2)
    assert not fused._applies(maps, norm, pool), "torch's own operations share the work among threads"
    torch.set_num_threads(1)
    falling = copy.deepcopy(norm)
    falling.weight.data[1] = -0.5
    assert not fused._applies(maps, falling, pool), "the smallest value of a window becomes the largest"
    expected = pool(copy.deepcopy(falling)(torch.relu(maps)))
    torch.testing.assert_close(relu_norm_pool(maps.clone(), falling, pool), expected)
    monkeypatch.setattr(fused, "has_numba", lambda: False)
    assert not fused._applies(maps, norm, pool)


def test_folds_together_are_left_to_torch() -> None:
    norm, pool = layers(2, 0)
    maps = draw(3, 2, 6)
    weights = torch.stack([norm.weight.detach(), norm.weight.detach() * 2])

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(2)

        def forward(self, maps: Tensor) -> Tensor:
            return relu_norm_pool(maps * 1, self.norm, pool)

    def call(weight: Tensor, mean: Tensor, variance: Tensor, each: Tensor) -> Tensor:
        state = {"norm.weight": weight, "norm.running_mean": mean, "norm.running_var": variance}
        result: Tensor = functional_call(Step(), state, (each,))
        return result

    both = vmap(call)(weights, torch.zeros(2, 2), torch.ones(2, 2), torch.stack([maps, maps]))
    torch.testing.assert_close(both[1], both[0] * 2)
