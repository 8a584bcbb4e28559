from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from mer.errors import MerError
from mer.networks.deeplab_largefov import SpatialNetwork
from tests.networks.formula_weights import draw_images, fill, parameters

SMALL = 1 / 8
FILE = "vgg16-397923af.pth"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("MER_WEIGHTS", str(folder))
    return folder


def published() -> nn.Module:
    """torchvision's VGG-16 with random weights, of which a run reads the convolutions."""
    with torch.device("meta"):
        network: nn.Module = models.vgg16(weights=None)
    return network


def vgg_convolutions(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """A weight file's entries of the convolutions, drawn; and one of the classifier, which is not read."""
    draw = torch.Generator().manual_seed(3)
    found = {
        f"features.{name}": torch.randn(value.shape, generator=draw, dtype=dtype) * 0.05
        for name, value in published().features.state_dict().items()  # type: ignore[union-attr]
    }
    return found | {"classifier.6.bias": torch.zeros(1000)}


def reference(convolutions: list[tuple[Tensor, Tensor]], frames: Tensor, fc6_dilation: int) -> Tensor:
    """DeepLab-LargeFOV up to fc6 from its table of layers: the 14 convolutions in order."""
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=frames.dtype).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225], dtype=frames.dtype).view(3, 1, 1)
    maps = (frames / 255 - mean) / deviation
    layer = iter(convolutions)
    for count, stride, dilation in ((2, 2, 1), (2, 2, 1), (3, 2, 1), (3, 1, 1), (3, 1, 2)):
        for _ in range(count):
            weight, bias = next(layer)
            maps = F.conv2d(maps, weight, bias, padding=dilation, dilation=dilation).clamp(min=0)
        maps = F.max_pool2d(maps, 3, stride, 1)
    weight, bias = next(layer)
    return F.conv2d(maps, weight, bias, padding=fc6_dilation, dilation=fc6_dilation).clamp(min=0)


def test_parameters_at_the_papers_width() -> None:
    with torch.device("meta"):
        network = SpatialNetwork(num_classes=5)
    vgg = parameters(published()) - parameters(published().classifier)  # type: ignore[arg-type]
    assert parameters(network.vgg) == vgg
    assert parameters(network.fc6) == 9 * 512 * 1024 + 1024
    assert parameters(network.classifier) == 1024 * 6 + 6


def test_parameters_with_batch_norm() -> None:
    """A gain in place of nothing, a shift in place of the bias."""
    plain, batch = (SpatialNetwork(num_classes=5, width=SMALL, norm=norm) for norm in ("none", "batch"))
    channels = sum(layer.out_channels for layer in plain.modules() if isinstance(layer, nn.Conv2d))
    assert channels == (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512 + 1024) // 8
    assert parameters(batch) - parameters(plain) == channels


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 32), (16, 40)])
@pytest.mark.parametrize("fc6_dilation", [2, 12])
def test_shapes(height: int, width: int, fc6_dilation: int) -> None:
    network = SpatialNetwork(num_classes=5, width=SMALL, fc6_dilation=fc6_dilation)
    frames = draw_images(2, 3, height, width)
    with torch.no_grad():
        assert network.features(frames).shape == (2, 1024 // 8, height // 8, width // 8)
        assert network(frames).shape == (2, 6)


@pytest.mark.parametrize("fc6_dilation", [2, 12])
def test_features_are_deeplabs(fc6_dilation: int) -> None:
    network = SpatialNetwork(num_classes=2, width=SMALL, fc6_dilation=fc6_dilation).double()
    fill(network)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    pairs = [(layer.weight.detach(), layer.bias.detach()) for layer in layers if layer.bias is not None]
    frames = draw_images(2, 3, 64, 64).double()
    with torch.no_grad():
        found = network.features(frames)
        expected = reference(pairs, frames, fc6_dilation)
        logits = network(frames)
    assert len(pairs) == 14
    assert (expected[0] - expected[1]).abs().max() > 1e-3 * expected.abs().max()  # the frames matter
    # The mean and the deviation are constants in single precision.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    pooled = found.mean((2, 3)) @ network.classifier.weight.T + network.classifier.bias
    torch.testing.assert_close(logits, pooled, rtol=1e-9, atol=1e-9)


def test_deeplabs_dilation_sees_its_centre_tap_only_on_small_maps() -> None:
    network = SpatialNetwork(num_classes=2, width=SMALL, fc6_dilation=12).double()
    fill(network)
    frames = draw_images(1, 3, 64, 64).double()
    with torch.no_grad():
        before = network.features(frames)
        layer = network.fc6[0]
        assert isinstance(layer, nn.Conv2d)
        centre = layer.weight[:, :, 1:2, 1:2].clone()
        layer.weight.zero_()[:, :, 1:2, 1:2] = centre
        torch.testing.assert_close(network.features(frames), before, rtol=1e-9, atol=1e-9)


def test_batch_norm_keeps_the_spread_that_plain_xavier_loses() -> None:
    frames = draw_images(4, 3, 32, 32)
    spreads = []
    for norm in ("none", "batch"):
        torch.manual_seed(0)
        network = SpatialNetwork(num_classes=2, width=SMALL, norm=norm)
        with torch.no_grad():
            spreads.append(network.features(frames).std().item())
    assert spreads[0] < 0.1 < spreads[1]


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_gradients_reach_every_parameter(norm: Any) -> None:
    torch.manual_seed(0)
    network = SpatialNetwork(num_classes=2, width=SMALL, norm=norm)
    torch.autograd.backward(F.cross_entropy(network(draw_images(3, 3, 32, 32)), torch.tensor([0, 1, 2])))
    dead = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not dead


def test_imagenet_weights_fill_the_convolutions(weights: Path) -> None:
    state = vgg_convolutions()
    torch.save(state, weights / FILE)
    network = SpatialNetwork(num_classes=4, weights="imagenet")
    frames = draw_images(1, 3, 16, 16)
    pairs = [(state[key], state[key.replace("weight", "bias")]) for key in state if key.endswith("weight")]
    fc6 = network.fc6[0]
    assert isinstance(fc6, nn.Conv2d)
    assert fc6.bias is not None
    with torch.no_grad():
        expected = reference([*pairs, (fc6.weight, fc6.bias)], frames, 2)
        found = network.features(frames)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_a_missing_weight_file_says_what_to_put_where(weights: Path) -> None:
    url = models.VGG16_Weights.IMAGENET1K_V1.url
    with pytest.raises(MerError, match=rf"{weights}/{FILE}: no such.*MER_OFFLINE.*put {url} there"):
        SpatialNetwork(num_classes=4, weights="imagenet")


@pytest.mark.parametrize("wrong", ["one fewer", "one more", "no bias", "another shape"])
def test_weights_of_another_network_are_refused(wrong: str, weights: Path) -> None:
    # Of shapes alone: one stored number each.
    state = {name: torch.zeros(1).expand(value.shape) for name, value in published().state_dict().items()}
    if wrong == "one fewer":
        del state["features.28.weight"], state["features.28.bias"]
    elif wrong == "one more":
        state["features.30.weight"] = state["features.30.bias"] = torch.zeros(1)
    elif wrong == "no bias":
        del state["features.0.bias"]
    else:
        state["features.0.weight"] = torch.zeros(64, 3, 5, 5)
    torch.save(state, weights / FILE)
    message = rf"{FILE}: weights of another network than VGG-16 \(convolution \d+ of 13\); replace it by http"
    with pytest.raises(MerError, match=message):
        SpatialNetwork(num_classes=4, weights="imagenet")


def test_wrong_options_name_the_key() -> None:
    for options, message in (
        ({"width": 0}, r"network\.width=0"),
        ({"fc6_dilation": 0}, r"network\.fc6_dilation=0: give 1 or more"),
        ({"norm": "layer"}, r"network\.norm='layer': choose one of none, batch"),
        ({"weights": "best"}, r"network\.weights='best': choose imagenet, or null"),
        ({"weights": "imagenet", "width": 0.5}, r"network\.weights=imagenet.*network\.width=0\.5"),
        ({"weights": "imagenet", "norm": "batch"}, r"network\.weights=imagenet.*network\.norm=batch"),
    ):
        with pytest.raises(MerError, match=message):
            SpatialNetwork(num_classes=4, **options)


@pytest.mark.parametrize("shape", [(28, 32), (32, 0)])
def test_frames_of_another_size_are_refused(shape: tuple[int, int]) -> None:
    network = SpatialNetwork(num_classes=4, width=SMALL)
    with pytest.raises(MerError, match=rf"multiples of 8, not {shape[0]}x{shape[1]}: set encoding\.size"):
        network(torch.zeros(1, 3, *shape))
