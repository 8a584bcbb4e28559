from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from mer.errors import MerError
from mer.networks import (
    VGG16,
    VGG19,
    AlexNet,
    GoogLeNet,
    MobileNet,
    MobileNetV2,
    ResNet34,
    ResNet50,
    SqueezeNet,
)
from mer.networks.imagenet import ImageNetNetwork
from tests.networks.formula_weights import draw_images, fill

# At 1000 classes: the counts that torchvision publishes, and timm's for MobileNet.
COUNTS: dict[type[ImageNetNetwork], int] = {
    AlexNet: models.AlexNet_Weights.IMAGENET1K_V1.meta["num_params"],
    SqueezeNet: models.SqueezeNet1_1_Weights.IMAGENET1K_V1.meta["num_params"],
    GoogLeNet: models.GoogLeNet_Weights.IMAGENET1K_V1.meta["num_params"],
    VGG16: models.VGG16_Weights.IMAGENET1K_V1.meta["num_params"],
    VGG19: models.VGG19_Weights.IMAGENET1K_V1.meta["num_params"],
    ResNet34: models.ResNet34_Weights.IMAGENET1K_V1.meta["num_params"],
    ResNet50: models.ResNet50_Weights.IMAGENET1K_V1.meta["num_params"],
    MobileNet: 4_231_976,
    MobileNetV2: models.MobileNet_V2_Weights.IMAGENET1K_V1.meta["num_params"],
}
LIGHT = [SqueezeNet, GoogLeNet, ResNet34, MobileNet, MobileNetV2]


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights of the test's own, and no download."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("MER_WEIGHTS", str(folder))
    monkeypatch.setenv("MER_OFFLINE", "1")
    return folder


def on_paper(network: type[ImageNetNetwork], **options: Any) -> ImageNetNetwork:
    """A network without memory for its weights: its layers and their shapes."""
    with torch.device("meta"):
        return network(in_channels=3, num_classes=1000, **options)


@pytest.mark.parametrize("network", COUNTS, ids=lambda network: network.__name__)
def test_counts_stem_and_head(network: type[ImageNetNetwork]) -> None:
    module = on_paper(network)
    assert sum(parameter.numel() for parameter in module.parameters()) == COUNTS[network]
    layers = [layer for layer in module.network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    stem = module.network.get_submodule(module.architecture.stem)
    head = module.network.get_submodule(module.architecture.head)
    assert stem is layers[0]
    assert head is layers[-1]
    assert isinstance(stem, nn.Conv2d)
    assert (stem.in_channels, stem.groups) == (3, 1)
    assert head.weight.shape[0] == 1000


@pytest.mark.parametrize(
    ("network", "published"),
    [
        (AlexNet, models.AlexNet_Weights.IMAGENET1K_V1),
        (SqueezeNet, models.SqueezeNet1_1_Weights.IMAGENET1K_V1),
        (GoogLeNet, models.GoogLeNet_Weights.IMAGENET1K_V1),
        (VGG16, models.VGG16_Weights.IMAGENET1K_V1),
        (VGG19, models.VGG19_Weights.IMAGENET1K_V1),
        (ResNet34, models.ResNet34_Weights.IMAGENET1K_V1),
        (ResNet50, models.ResNet50_Weights.IMAGENET1K_V1),
        (MobileNetV2, models.MobileNet_V2_Weights.IMAGENET1K_V1),
    ],
)
def test_urls_are_torchvisions(network: type[ImageNetNetwork], published: Any) -> None:
    assert on_paper(network).architecture.url == published.url


def test_mobilenet_is_what_timm_publishes() -> None:
    from timm import get_pretrained_cfg

    spec, published = MobileNet.architecture, get_pretrained_cfg("mobilenetv1_100")
    assert published is not None
    assert spec.url.startswith(f"https://huggingface.co/{published.hf_hub_id}/resolve/main/")
    assert (spec.mean, spec.std) == (published.mean, published.std)
    assert (spec.stem, spec.head) == (published.first_conv, published.classifier)


def test_squeezenet_has_two_versions() -> None:
    older = on_paper(SqueezeNet, version="1.0")
    published = models.SqueezeNet1_0_Weights.IMAGENET1K_V1
    assert sum(parameter.numel() for parameter in older.parameters()) == published.meta["num_params"]
    assert older.architecture.url == published.url
    assert on_paper(SqueezeNet, version=1.0).architecture is older.architecture
    with pytest.raises(MerError, match=r"network\.version=1\.2: choose 1\.0 or 1\.1"):
        SqueezeNet(in_channels=3, num_classes=3, version=1.2)  # type: ignore[arg-type]


# VGG is not run: its 500 MB would take longer than all other tests here.
@pytest.mark.parametrize("network", [AlexNet, *LIGHT, ResNet50], ids=lambda network: network.__name__)
def test_the_smallest_size_works_and_one_less_does_not(network: type[ImageNetNetwork]) -> None:
    module = network(in_channels=2, num_classes=3).eval()
    smallest, size = module.architecture.smallest, module.architecture.size
    with torch.no_grad():
        assert module(torch.zeros(1, 2, smallest, smallest + 3)).shape == (1, 3)
        if any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()):
            module.train()(torch.zeros(1, 2, smallest, smallest))  # a last batch of one image
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                module.network(torch.zeros(1, 2, smallest - 1, smallest - 1))
        else:
            with pytest.raises(RuntimeError, match="too small"):
                module.network(torch.zeros(1, 2, smallest - 1, smallest - 1))
    message = rf"{network.__name__} takes images of {smallest}x{smallest} or more.*encoding\.size={size}"
    with pytest.raises(MerError, match=message):
        module(torch.zeros(1, 2, smallest + 1, smallest - 1))


def test_vgg_needs_one_pixel_after_five_halvings() -> None:
    for network in (VGG16, VGG19):
        module = on_paper(network)
        pools = [layer for layer in module.modules() if isinstance(layer, nn.MaxPool2d)]
        assert module.architecture.smallest == 2 ** len(pools)


def published_squeezenet() -> nn.Module:
    network: nn.Module = models.squeezenet1_1(weights=None)
    return network


def published_googlenet() -> nn.Module:
    """As its weight file has it: with auxiliary classifiers, and its own scaling of a normalised image."""
    network: nn.Module = models.googlenet(
        weights=None, aux_logits=True, transform_input=True, init_weights=False
    )
    return network


def published_mobilenet() -> nn.Module:
    from timm import create_model

    network: nn.Module = create_model("mobilenetv1_100")
    return network


PUBLISHED: list[tuple[type[ImageNetNetwork], Callable[[], nn.Module], str]] = [
    (SqueezeNet, published_squeezenet, "squeezenet1_1-b8a52dc0.pth"),
    (GoogLeNet, published_googlenet, "googlenet-1378be20.pth"),
    (MobileNet, published_mobilenet, "mobilenetv1_100.ra4_e3600_r224_in1k.safetensors"),
]
by_network = pytest.mark.parametrize(
    ("network", "publish", "file_name"), PUBLISHED, ids=[network.__name__ for network, *_ in PUBLISHED]
)


def put(state: dict[str, Tensor], path: Path) -> None:
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)


@by_network
def test_weights_from_the_folder_give_the_published_outputs(
    network: type[ImageNetNetwork], publish: Callable[[], nn.Module], file_name: str, weights: Path
) -> None:
    published = publish()
    put(fill(published), weights / file_name)
    images = draw_images(2, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    if network is MobileNet:
        mean = std = torch.full((3,), 0.5)
    normalised = (images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        expected = published(normalised)
        logits = network(in_channels=3, num_classes=1000, weights="imagenet").eval()(images)
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert (logits[0] - logits[1]).abs().max() > 1e-3 * expected.abs().max()  # the images matter


@by_network
def test_a_fresh_classifier_on_published_weights(
    network: type[ImageNetNetwork], publish: Callable[[], nn.Module], file_name: str, weights: Path
) -> None:
    state = fill(publish())
    put(state, weights / file_name)
    module = network(in_channels=3, num_classes=4, weights="imagenet")
    spec = module.architecture
    for name, value in module.network.state_dict().items():
        if not name.startswith(spec.head):
            assert torch.equal(value, state[name]), name
    assert module.network.state_dict()[f"{spec.head}.weight"].shape[0] == 4
    assert module.eval()(draw_images(1, 3, 64, 64)).shape == (1, 4)


def test_grey_images_do_what_grey_in_three_channels_does(weights: Path) -> None:
    """Exactly so where the mean of R, G and B is one and the same, as MobileNet's is."""
    put(fill(published_mobilenet()), weights / MobileNet.architecture.file_name)
    grey = draw_images(2, 1, 64, 64)
    outputs = []
    for channels in (1, 2, 3):
        module = MobileNet(in_channels=channels, num_classes=1000, weights="imagenet").eval()
        with torch.no_grad():
            outputs.append(module(grey.expand(-1, channels, -1, -1)))
    for output in outputs[:2]:
        torch.testing.assert_close(output, outputs[2], rtol=1e-3, atol=1e-3 * float(outputs[2].abs().max()))


def test_other_channels_are_scaled_by_the_average() -> None:
    module = ResNet34(in_channels=2, num_classes=3)
    images = torch.full((1, 2, 33, 33), 255 * (0.485 + 0.456 + 0.406) / 3)
    assert ((images - module.mean) * module.scale).abs().max() < 1e-5
    assert module.scale.item() == pytest.approx(3 / 255 / (0.229 + 0.224 + 0.225))
    assert set(module.state_dict()) == {f"network.{name}" for name in models.resnet34().state_dict()}


def test_a_random_stem_has_the_spread_of_the_one_it_replaces() -> None:
    torch.manual_seed(0)
    three, five = (
        ResNet34(in_channels=channels, num_classes=3).network.get_parameter("conv1.weight")
        for channels in (3, 5)
    )
    assert five.shape == (64, 5, 7, 7)
    assert five.requires_grad
    assert five.detach().std().item() == pytest.approx(three.detach().std().item(), rel=0.05)
    assert not torch.allclose(five[:, 0], five[:, 1])


def test_a_missing_file_says_what_to_put_where(weights: Path) -> None:
    for network, name in ((SqueezeNet, "b8a52dc0.pth"), (MobileNet, "in1k.safetensors")):
        message = rf"{weights}/\S+{name}: no such.*MER_OFFLINE.*put https://\S+ there"
        with pytest.raises(MerError, match=message):
            network(in_channels=3, num_classes=3, weights="imagenet")


def test_weights_of_something_else_are_refused(weights: Path) -> None:
    path = weights / "squeezenet1_1-b8a52dc0.pth"
    state = published_squeezenet().state_dict()
    bias = "features.3.squeeze.bias"
    for wrong, problem in (
        (models.squeezenet1_0(weights=None).state_dict(), "size mismatch.*"),
        ({name: value for name, value in state.items() if name != bias}, bias),
        ({**state, "neck.weight": torch.zeros(1)}, "neck.weight"),
    ):
        torch.save(wrong, path)
        message = (
            rf"b8a52dc0\.pth: weights of another network than SqueezeNet \({problem}\); replace it by https"
        )
        with pytest.raises(MerError, match=message):
            SqueezeNet(in_channels=3, num_classes=3, weights="imagenet")


def test_wrong_options_name_the_key() -> None:
    with pytest.raises(MerError, match=r"network\.weights='best': choose imagenet, or null"):
        AlexNet(in_channels=3, num_classes=3, weights="best")  # type: ignore[arg-type]
    with pytest.raises(MerError, match="one channel or more, not 0"):
        AlexNet(in_channels=0, num_classes=3)


@pytest.mark.parametrize("network", LIGHT, ids=lambda network: network.__name__)
def test_gradients_reach_every_weight(network: type[ImageNetNetwork]) -> None:
    torch.manual_seed(0)
    module = network(in_channels=2, num_classes=3)
    size = module.architecture.smallest + 16
    torch.autograd.backward(F.cross_entropy(module(draw_images(2, 2, size, size)), torch.tensor([0, 1])))
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
