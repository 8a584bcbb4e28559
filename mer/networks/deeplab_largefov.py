"""The spatial network of the time-contrasted network: DeepLab-LargeFOV (Chen et al. 2015) on VGG-16."""

from typing import Literal

import torch
from torch import Tensor, nn

from mer.errors import MerError
from mer.networks.imagenet import VGG16, Weights
from mer.networks.imagenet_weights import read_weights, weights_folder
from mer.networks.options import check_choice
from mer.networks.width import scaled
from mer.networks.xavier import fill_xavier

Norm = Literal["none", "batch"]

# VGG-16's 13 convolutions: channels, how many, then the stride of the pool and the dilation.
_STAGES = ((64, 2, 2, 1), (128, 2, 2, 1), (256, 3, 2, 1), (512, 3, 1, 1), (512, 3, 1, 2))


class SpatialNetwork(nn.Module):
    """VGG-16's convolutions at 1/8 of the resolution, fc6 as a dilated convolution, a classifier of frames.

    Conv 3x3 in five stages (64, 64 | 128, 128 | 256 x3 | 512 x3 | 512 x3), each with ReLU and followed by a
    max pool 3x3: with stride 2 after the first three, 1 after the last two. The last stage is dilated by 2.
    fc6: conv 3x3 of 1024 channels, dilated, ReLU. At width 1 that is 14,714,688 (VGG-16's convolutions) +
    4,719,616 parameters. DeepLab's fc7 and fc8 are not built, nor the 3x3 average pool that its release has
    before fc6. Its training alone, stage 1, needs a head: the average over the map and one FC (ours).

    DeepLab dilates fc6 by 12, for frames of 321 pixels: on a map of 8x8 each of its outer taps falls on the
    padding. Hence 2 (ours).

    Xavier initialisation, as in the paper. Without ImageNet weights 14 layers with ReLU halve the variance
    about 14 times, so that a small network hardly learns from scratch: ``norm="batch"`` (ours) puts a batch
    norm after each convolution, in place of its bias.

    Args:
        num_classes: classes of the label map; the head has one more.
        width: factor on every number of channels, see :func:`mer.networks.width.scaled`.
        fc6_dilation: 12 in DeepLab.
        norm: ``none`` (VGG-16) or ``batch``.
        weights: ``imagenet`` for torchvision's VGG-16 in the 13 convolutions (fc6 stays random), or None.

    Shape:
        frames (N, 3, H, W), R, G, B of 0..255, H and W multiples of 8 -> logits (N, num_classes + 1), the
        last one of neutral frames. ImageNet's mean is subtracted and its deviation divided by, with or
        without its weights.

    Raises:
        MerError: an option is out of range; ImageNet weights for another width, or with batch norm; a weight
            file that is not there and cannot be had, or is another network's; frames of another size.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        fc6_dilation: int = 2,
        norm: Norm = "none",
        weights: Weights | None = None,
    ) -> None:
        super().__init__()
        check_choice("norm", norm, Norm)
        if fc6_dilation < 1:
            raise MerError(f"network.fc6_dilation={fc6_dilation}: give 1 or more, 2 here, 12 in DeepLab")
        if weights not in ("imagenet", None):
            raise MerError(f"network.weights={weights!r}: choose imagenet, or null for random ones")
        if weights and (width != 1 or norm != "none"):
            raise MerError(
                f"network.weights=imagenet are VGG-16's, which network.width={width} and network.norm={norm} "
                "do not give: set width=1.0 and norm=none, or weights=null"
            )
        layers: list[nn.Module] = []
        before = 3
        for channels, convolutions, stride, dilation in _STAGES:
            for _ in range(convolutions):
                layers += _convolution(before, scaled(channels, width), dilation, norm)
                before = scaled(channels, width)
            layers.append(nn.MaxPool2d(3, stride=stride, padding=1))
        self.vgg = nn.Sequential(*layers)
        self.channels = scaled(1024, width)
        self.fc6 = nn.Sequential(*_convolution(before, self.channels, fc6_dilation, norm))
        self.classifier = nn.Linear(self.channels, num_classes + 1)
        fill_xavier(self)
        if weights == "imagenet":
            self._load()
        mean, std = torch.tensor(VGG16.architecture.mean), torch.tensor(VGG16.architecture.std)
        self.mean: Tensor
        self.scale: Tensor
        # Constants: a checkpoint holds what is learnt.
        self.register_buffer("mean", 255 * mean.view(-1, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / (255 * std.view(-1, 1, 1)), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Logits (N, num_classes + 1) of frames (N, 3, H, W): stage 1."""
        logits: Tensor = self.classifier(self.features(frames).mean((-2, -1)))
        return logits

    def features(self, frames: Tensor) -> Tensor:
        """Maps (N, 1024 times the width, H / 8, W / 8), at least 0, of frames (N, 3, H, W) of 0..255."""
        height, width = frames.shape[-2:]
        if not height or not width or height % 8 or width % 8:
            raise MerError(
                f"the spatial network takes frames whose sides are multiples of 8, not {height}x{width}: "
                "set encoding.size=64"
            )
        maps: Tensor = self.fc6(self.vgg((frames - self.mean) * self.scale))
        return maps

    def _load(self) -> None:
        spec = VGG16.architecture
        file_name = spec.url.rpartition("/")[2]
        found = read_weights(spec.url, file_name)
        # They go by the places of the convolutions in torchvision's list, which has no other weights.
        places = [int(key.split(".")[1]) for key in found if key.startswith("features.") and "weight" in key]
        ours = [layer for layer in self.vgg if isinstance(layer, nn.Conv2d)]
        theirs = [(found[f"features.{k}.weight"], found.get(f"features.{k}.bias")) for k in sorted(places)]
        for k, layer in enumerate(ours):
            weight, bias = theirs[k] if k < len(theirs) else (None, None)
            assert layer.bias is not None
            if (
                weight is None
                or bias is None
                or (weight.shape, bias.shape) != (layer.weight.shape, layer.bias.shape)
                or len(theirs) != len(ours)
            ):
                raise MerError(
                    f"{weights_folder() / file_name}: weights of another network than VGG-16 "
                    f"(convolution {k + 1} of {len(ours)}); replace it by {spec.url}"
                )
            with torch.no_grad():
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)


def _convolution(before: int, after: int, dilation: int, norm: Norm) -> list[nn.Module]:
    """A 3x3 convolution that keeps the size, and its ReLU."""
    plain = norm == "none"
    convolution = nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation, bias=plain)
    return [convolution, *([] if plain else [nn.BatchNorm2d(after)]), nn.ReLU(inplace=True)]
