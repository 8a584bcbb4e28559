from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks import LEARNet
from mer.networks.learnet import Conv5, Reading
from mer.networks.same_padding import Padding
from tests.networks.formula_weights import draw_images, fill


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# Table VII, weights + biases by row.
PRINTED = (432 + 16) + 4 * (256 + 16) + 4 * (4608 + 32) + 4 * (51200 + 64) + 512 + 2 * (589824 + 256)


def test_parameters_are_those_of_table_vii() -> None:
    assert PRINTED == 1_405_824
    network = LEARNet(in_channels=3, num_classes=8)
    assert parameters(network) - parameters(network.classifier) == PRINTED
    assert parameters(LEARNet(in_channels=3, num_classes=8, norm="lrn")) == parameters(network) - 512


def test_parameters_of_the_release() -> None:
    norms = 2 * 2 * (16 + 32)
    padded = 256 * (4 * 4 - 3 * 3) * 256
    network = LEARNet(in_channels=3, num_classes=8, reading="authors")
    assert parameters(network) == PRINTED + 8 * 257 + norms + padded == 1_866_824
    assert parameters(LEARNet(in_channels=3, num_classes=8, conv5="padded")) == 1_866_824 - norms
    unpadded = LEARNet(in_channels=3, num_classes=8, reading="authors", conv5="unpadded")
    assert parameters(unpadded) == 1_866_824 - padded


def local_response(maps: Tensor) -> Tensor:
    """Each map divided by (2 + 1e-4 * the mean square of it and of two maps on either side) ** 0.75."""
    squares = F.pad(maps.square(), (0, 0, 0, 0, 2, 2))
    mean = sum(squares[:, k : k + maps.shape[1]] for k in range(5)) / 5
    return maps / (2 + 1e-4 * mean) ** 0.75


def by_lane(weights: dict[str, Tensor], images: Tensor, reading: str, norm: str, padding: str) -> Tensor:
    """Table VII lane by lane at 112x112; in the reading of the authors as their code has it."""

    def conv(name: str, maps: Tensor, zeros: tuple[int, int], own: slice = slice(None)) -> Tensor:
        padded = F.pad(maps, zeros * 2)
        return F.relu(
            F.conv2d(padded, weights[f"{name}.weight"][own], weights[f"{name}.bias"][own], stride=2)
        )

    def batch_norm(name: str, maps: Tensor) -> Tensor:
        mean, var, gain, bias = (
            weights[f"{name}.{part}"].view(-1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (maps - mean) / (var + 1e-3).sqrt() * gain + bias

    keras, authors = padding == "keras", reading == "authors"
    zeros3, zeros5 = ((0, 1), (1, 2)) if keras else ((1, 1), (2, 2))
    start = conv("conv1", images, zeros3)
    outputs: list[Tensor] = []
    neighbour = (start, start)  # lane 0 adds nothing
    for lane in range(4):
        maps = conv("conv2", start, (0, 0), slice(16 * lane, 16 * lane + 16))
        adds = lane in (1, 3)
        first = maps
        if adds:
            maps = maps + neighbour[0]
            maps = batch_norm(f"norms1.{lane // 2}", maps) if authors else maps
        second = maps = conv(f"conv3.{lane}", maps, zeros3)
        if adds:
            maps = maps + neighbour[1]
            maps = batch_norm(f"norms2.{lane // 2}", maps) if authors else maps
        outputs.append(conv(f"conv4.{lane}", maps, zeros5))
        neighbour = (first, second)
    maps = torch.cat(outputs, dim=1)
    assert maps.shape[1:] == (256, 7, 7)
    maps = batch_norm("norm", maps) if norm == "batch" else local_response(maps)
    maps = conv("conv5", maps, (1, 1) if authors else (0, 0))  # 7 is odd: both paddings are symmetric
    assert maps.shape[-1] == (4 if authors else 3)
    x = F.relu(F.linear(maps.flatten(1), weights["fc.weight"], weights["fc.bias"]))
    return F.linear(x, weights["classifier.weight"], weights["classifier.bias"])


@pytest.mark.parametrize(
    ("reading", "norm", "padding"),
    [
        ("printed", "batch", "symmetric"),
        ("printed", "lrn", "symmetric"),
        ("printed", "batch", "keras"),
        ("authors", "batch", "symmetric"),
        ("authors", "batch", "keras"),
    ],
)
def test_outputs_are_those_of_the_lanes(reading: Any, norm: Any, padding: Any) -> None:
    network = LEARNet(in_channels=3, num_classes=4, reading=reading, norm=norm, padding=padding)
    weights = fill(network)
    images = draw_images(2, 3, 112, 112)
    with torch.no_grad():
        logits = network(images)
        expected = by_lane(weights, images, reading, norm, padding)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert (logits[0] - logits[1]).abs().max() > 1e-3 * expected.abs().max()  # the images matter


def test_paddings_differ_in_values_only() -> None:
    outputs = []
    padding: Padding
    for padding in ("symmetric", "keras"):
        network = LEARNet(in_channels=1, num_classes=4, padding=padding)
        fill(network)
        with torch.no_grad():
            outputs.append(network(draw_images(1, 1, 112, 112)))
    assert outputs[0].shape == outputs[1].shape == (1, 4)
    assert not torch.allclose(outputs[0], outputs[1], rtol=1e-3)


@pytest.mark.parametrize("size", [33, 64, 128])
@pytest.mark.parametrize("reading", ["printed", "authors"])
def test_other_sizes(size: int, reading: Reading) -> None:
    network = LEARNet(in_channels=1, num_classes=2, size=size, reading=reading)
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 2)


def test_dropout_precedes_the_classifier() -> None:
    network = LEARNet(in_channels=3, num_classes=3, dropout=1.0).train()
    with torch.no_grad():
        torch.testing.assert_close(network(draw_images(2, 3, 112, 112))[1], network.classifier.bias)


def test_momentum_reaches_every_norm() -> None:
    network = LEARNet(in_channels=3, num_classes=3, reading="authors", norm_momentum=0.3)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [(norm.num_features, norm.momentum, norm.eps) for norm in norms] == [
        (features, 0.3, 1e-3) for features in (16, 16, 32, 32, 256)
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reading": "keras"}, r"network\.reading='keras': choose one of printed, authors"),
        ({"conv5": "same"}, r"network\.conv5='same': choose one of unpadded, padded, or null"),
        ({"norm": "layer"}, r"network\.norm='layer': choose one of batch, lrn"),
        ({"padding": "valid"}, r"network\.padding='valid'"),
        ({"norm_momentum": 0}, r"network\.norm_momentum=0"),
        ({"size": 32}, r"network\.size=32: too small"),
        ({"size": 0, "conv5": "padded"}, r"network\.size=0: too small"),
    ],
)
def test_wrong_options_name_the_key(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MerError, match=message):
        LEARNet(in_channels=3, num_classes=3, **options)


def test_another_size_names_the_key() -> None:
    with pytest.raises(MerError, match=r"112x112, not 28x30: set network\.size to encoding\.size"):
        LEARNet(in_channels=3, num_classes=3)(torch.zeros(1, 3, 28, 30))


@pytest.mark.parametrize(("reading", "conv5"), [("printed", None), ("authors", None), ("printed", "padded")])
def test_overfits_eight_images(reading: Reading, conv5: Conv5 | None) -> None:
    torch.manual_seed(0)
    images, targets = draw_images(8, 3, 112, 112), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    network = LEARNet(
        in_channels=3, num_classes=3, reading=reading, conv5=conv5, dropout=0.0, norm_momentum=0.5
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    for _ in range(20):
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(images), targets))
        optimizer.step()
    assert (network.eval()(images).argmax(1) == targets).all()
