"""The ImageNet networks that the papers compare with, from torchvision and timm."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mer.errors import MerError
from mer.networks.imagenet_weights import read_weights, weights_folder

Weights = Literal["imagenet"]

_TORCHVISION = "https://download.pytorch.org/models/"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Architecture:
    """What a network is called, and what its weights expect.

    Attributes:
        name: in torchvision, or in timm.
        url: where its ImageNet weights are published.
        stem: its first convolution.
        head: its classifier, a linear layer or a 1x1 convolution.
        size: side of the images that the papers give it.
        smallest: least side that it takes: below, a map would be empty, or a single pixel at a batch norm,
            which cannot train on a last batch of one image.
        mean: what its training subtracted from R, G and B of 0..1.
        std: what it divided them by.
        file_name: of its weights, where the url has another.
    """

    name: str
    url: str
    stem: str
    head: str
    size: int
    smallest: int
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD
    file_name: str = ""


class ImageNetNetwork(nn.Module):
    """A published network behind the input scaling that its ImageNet weights were trained with.

    Images of 0..255 become (image / 255 - mean) / std, with or without weights, so that the two differ in
    nothing else. Other than three channels get the average mean and std.

    ImageNet weights: the classifier is fresh unless there are 1000 classes. For C other than three channels
    each first filter is the sum of its R, G and B parts over C, in every channel: C equal channels then give
    what a grey image gives, but for the average mean and std. Without weights it is drawn with the spread of
    the one that it replaces.

    Args:
        in_channels: channels of the image.
        num_classes: classes of the label map.
        weights: ``imagenet``, or None for random ones.

    Shape:
        images (B, in_channels, H, W), 0..255 -> logits (B, num_classes).

    Raises:
        MerError: other weights; a weight file that is not there and cannot be had, or is another network's;
            images that are too small.
    """

    architecture: Architecture

    def __init__(self, *, in_channels: int, num_classes: int, weights: Weights | None = None) -> None:
        super().__init__()
        if weights not in ("imagenet", None):
            raise MerError(f"network.weights={weights!r}: choose imagenet, or null for random ones")
        if in_channels < 1:
            raise MerError(f"{type(self).__name__} takes images of one channel or more, not {in_channels}")
        self.network = self.build(num_classes)
        if in_channels != 3:
            self._replace_stem(in_channels)
        if weights == "imagenet":
            self._load(in_channels, num_classes)
        mean, std = torch.tensor(self.architecture.mean), torch.tensor(self.architecture.std)
        if in_channels != 3:
            mean, std = mean.mean(dim=0, keepdim=True), std.mean(dim=0, keepdim=True)
        self.mean: Tensor
        self.scale: Tensor
        # Constants of the architecture: a checkpoint holds the published network's keys only.
        self.register_buffer("mean", 255 * mean.view(-1, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / (255 * std.view(-1, 1, 1)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, in_channels, H, W)."""
        height, width = images.shape[-2:]
        if min(height, width) < self.architecture.smallest:
            least = self.architecture.smallest
            raise MerError(
                f"{type(self).__name__} takes images of {least}x{least} or more, not {height}x{width}: "
                f"set encoding.size={self.architecture.size}"
            )
        logits: Tensor = self.network((images - self.mean) * self.scale)
        return logits

    def build(self, num_classes: int) -> nn.Module:
        """The published network for R, G, B with random weights; its library is imported here, not before."""
        from torchvision.models import get_model

        network: nn.Module = get_model(self.architecture.name, weights=None, num_classes=num_classes)
        return network

    def _replace_stem(self, in_channels: int) -> None:
        stem = self.network.get_submodule(self.architecture.stem)
        assert isinstance(stem, nn.Conv2d)
        filters, _, *sides = stem.weight.shape
        weight = torch.randn(filters, in_channels, *sides) * stem.weight.detach().std()
        stem.weight, stem.in_channels = nn.Parameter(weight), in_channels

    def _load(self, in_channels: int, num_classes: int) -> None:
        spec = self.architecture
        file_name = spec.file_name or spec.url.rpartition("/")[2]
        found = read_weights(spec.url, file_name)
        # The auxiliary classifiers of GoogLeNet's training, which are not built here.
        state = {key: value for key, value in found.items() if not key.startswith(("aux1.", "aux2."))}
        fresh = {f"{spec.head}.weight", f"{spec.head}.bias"} if num_classes != 1000 else set()
        state = {key: value for key, value in state.items() if key not in fresh}
        stem = f"{spec.stem}.weight"
        if in_channels != 3 and stem in state:
            weight = state[stem].sum(dim=1, keepdim=True) / in_channels
            state[stem] = weight.expand(-1, in_channels, -1, -1)
        try:
            missing, unexpected = self.network.load_state_dict(state, strict=False)
        except RuntimeError as error:
            problem = str(error).splitlines()[-1].strip()
        else:
            wrong = sorted((set(missing) - fresh) | set(unexpected))
            if not wrong:
                return
            problem = ", ".join(wrong[:4])
        raise MerError(
            f"{weights_folder() / file_name}: weights of another network than {type(self).__name__} "
            f"({problem}); replace it by {spec.url}"
        )


class AlexNet(ImageNetNetwork):
    """AlexNet in its single-column form (Krizhevsky 2014): 61,100,840 parameters at 1000 classes."""

    architecture = Architecture(
        "alexnet", _TORCHVISION + "alexnet-owt-7be5be79.pth", "features.0", "classifier.6", 227, 63
    )


_SQUEEZENETS = {
    "1.0": Architecture(
        "squeezenet1_0", _TORCHVISION + "squeezenet1_0-b66bff10.pth", "features.0", "classifier.1", 227, 21
    ),
    "1.1": Architecture(
        "squeezenet1_1", _TORCHVISION + "squeezenet1_1-b8a52dc0.pth", "features.0", "classifier.1", 227, 17
    ),
}


class SqueezeNet(ImageNetNetwork):
    """SqueezeNet (Iandola et al. 2016): 1,235,496 parameters at 1000 classes, 1,248,424 in version 1.0.

    LAENet's table 1 prints 1.24 M, which is either, rounded or cut. It prints MATLAB's depths and sizes, and
    MATLAB's SqueezeNet is version 1.1: the default.

    Args:
        in_channels: channels of the image.
        num_classes: classes of the label map.
        weights: ``imagenet``, or None for random ones.
        version: ``1.1`` or ``1.0``.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        weights: Weights | None = None,
        version: Literal["1.0", "1.1"] = "1.1",
    ) -> None:
        if str(version) not in _SQUEEZENETS:  # as text: an override without quotes is a number
            raise MerError(f"network.version={version!r}: choose 1.0 or 1.1")
        self.architecture = _SQUEEZENETS[str(version)]
        super().__init__(in_channels=in_channels, num_classes=num_classes, weights=weights)


class GoogLeNet(ImageNetNetwork):
    """GoogLeNet without auxiliary classifiers (Szegedy et al. 2015): 6,624,904 parameters at 1000 classes.

    torchvision's has batch norm, and 3x3 filters in place of 5x5. Its weights were trained on -1..1.
    """

    architecture = Architecture(
        "googlenet", _TORCHVISION + "googlenet-1378be20.pth", "conv1.conv", "fc", 224, 47, _HALF, _HALF
    )

    def build(self, num_classes: int) -> nn.Module:
        """GoogLeNet for R, G, B with random weights, drawn as its authors' Caffe model was."""
        from torchvision.models import googlenet

        network: nn.Module = googlenet(
            weights=None, num_classes=num_classes, aux_logits=False, init_weights=True
        )
        return network


class VGG16(ImageNetNetwork):
    """VGG-16 (Simonyan and Zisserman 2015): 138,357,544 parameters at 1000 classes."""

    architecture = Architecture(
        "vgg16", _TORCHVISION + "vgg16-397923af.pth", "features.0", "classifier.6", 224, 32
    )


class VGG19(ImageNetNetwork):
    """VGG-19 (Simonyan and Zisserman 2015): 143,667,240 parameters at 1000 classes."""

    architecture = Architecture(
        "vgg19", _TORCHVISION + "vgg19-dcbb9e9d.pth", "features.0", "classifier.6", 224, 32
    )


class ResNet34(ImageNetNetwork):
    """ResNet-34 (He et al. 2016): 21,797,672 parameters at 1000 classes."""

    architecture = Architecture("resnet34", _TORCHVISION + "resnet34-b627a593.pth", "conv1", "fc", 224, 33)


class ResNet50(ImageNetNetwork):
    """ResNet-50 (He et al. 2016): 25,557,032 parameters at 1000 classes, torchvision's V1 weights."""

    architecture = Architecture("resnet50", _TORCHVISION + "resnet50-0676ba61.pth", "conv1", "fc", 224, 33)


class MobileNet(ImageNetNetwork):
    """MobileNet (Howard et al. 2017) from timm: 4,231,976 parameters at 1000 classes.

    Its weights were trained on -1..1.
    """

    architecture = Architecture(
        "mobilenetv1_100",
        "https://huggingface.co/timm/mobilenetv1_100.ra4_e3600_r224_in1k/resolve/main/model.safetensors",
        "conv_stem",
        "classifier",
        224,
        33,
        _HALF,
        _HALF,
        file_name="mobilenetv1_100.ra4_e3600_r224_in1k.safetensors",
    )

    def build(self, num_classes: int) -> nn.Module:
        """MobileNet for R, G, B with random weights."""
        from timm import create_model

        network: nn.Module = create_model(self.architecture.name, pretrained=False, num_classes=num_classes)
        return network


class MobileNetV2(ImageNetNetwork):
    """MobileNetV2 (Sandler et al. 2018): 3,504,872 parameters at 1000 classes, torchvision's V1 weights."""

    architecture = Architecture(
        "mobilenet_v2", _TORCHVISION + "mobilenet_v2-b0353104.pth", "features.0.0", "classifier.1", 224, 33
    )
