"""ShallowNet: its layers one by one, its inputs, and what it refuses."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks import ShallowNet
from tests.networks.formula_weights import draw_images, fill


def test_parameters_by_layer() -> None:
    network = ShallowNet(in_channels=3, num_classes=3)
    convolutions = 5 * 5 * 3 * 32 + 3 * 3 * 32 * 64
    assert sum(weight.numel() for weight in network.parameters()) == (
        convolutions + 2 * (32 + 64) + 64 * 5 * 5 * 3 + 3
    )


def layers(weights: dict[str, Tensor], images: Tensor, widths: int) -> Tensor:
    """The docstring's layers, in eval mode."""
    maps, pooled = (images - 127.5) / 64, False
    for number, layer in enumerate([0, 4, 8][:widths]):
        maps = F.conv2d(maps, weights[f"features.{layer}.weight"], padding="same")
        names = ("running_mean", "running_var", "weight", "bias")
        mean, variance, weight, bias = (weights[f"features.{layer + 1}.{name}"] for name in names)
        maps = F.relu(F.batch_norm(maps, mean, variance, weight, bias))
        if number == 0:
            maps = F.max_pool2d(maps, 3, stride=3, padding=1)
        if number == min(1, widths - 1):
            maps, pooled = F.avg_pool2d(maps, 2), True
    assert pooled
    assert maps.shape[-2:] == (5, 5)
    return F.linear(maps.flatten(1), weights["fc.weight"], weights["fc.bias"])


@pytest.mark.parametrize("widths", [[8], [8, 16], [8, 16, 8]])
def test_its_layers(widths: list[int]) -> None:
    network = ShallowNet(in_channels=3, num_classes=4, widths=widths).eval()
    weights = fill(network)
    images = draw_images(2, 3, 28, 28)
    with torch.no_grad():
        logits = network(images)
        torch.testing.assert_close(logits, layers(weights, images, len(widths)), rtol=1e-4, atol=1e-3)
    assert (logits[0] - logits[1]).abs().max() > 1e-3 * logits.abs().max()  # the images matter


def test_standardized_inputs_do_not_know_brightness_or_contrast() -> None:
    network = ShallowNet(in_channels=3, num_classes=3, inputs="standardized").eval()
    fill(network)
    images = draw_images(2, 3, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(network(images), network(0.5 * images + 40), rtol=1e-2, atol=1e-2)
        assert network(torch.full((1, 3, 28, 28), 7.0)).isfinite().all()


def test_raw_inputs_are_the_scaled_ones_undone() -> None:
    raw, scaled = (ShallowNet(in_channels=3, num_classes=3, inputs=name).eval() for name in ("raw", "scaled"))
    scaled.load_state_dict(raw.state_dict())
    images = draw_images(2, 3, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(raw((images - 127.5) / 64), scaled(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": "grey"}, "network.inputs='grey': choose scaled, standardized, raw"),
        ({"widths": []}, r"network.widths=\[\]: give the filters of one to four convolutions"),
        ({"widths": [8, 0]}, r"network.widths=\[8, 0\]"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(MerError, match=message):
        ShallowNet(in_channels=3, num_classes=3, **options)  # type: ignore[arg-type]


def test_another_size_is_refused() -> None:
    with pytest.raises(MerError, match=r"takes images of 28x28, not 32x32: set encoding\.size=28"):
        ShallowNet(in_channels=3, num_classes=3)(torch.zeros(1, 3, 32, 32))
