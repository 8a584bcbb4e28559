"""Which responses each figure of AffectiveNet, OrigiNet and LEARNet shows, and of which networks.

The papers print pictures of people and say little of how they were made: what is ours stands in ``reading``,
and below the title of the figure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mer.figure_kinds.responses import responses, strongest
from mer.networks.affectivenet import AffectiveNet
from mer.networks.learnet import LEARNet
from mer.networks.originet import OrigiNet

Maps = Mapping[str, Mapping[str, Tensor]]
"""Name of a row -> name of a column -> map (h, w)."""

MEAN = "Each map is the mean response of a layer's filters after their activation."
BOXES = "The paper's red boxes are drawn by hand, and are left out."

# Where the first two levels of the networks that the papers compare with end, activation included.
_FIRST = {"ResNet50": "network.relu", "ResNet34": "network.relu", "MobileNet": "network.bn1"}
_FIRST |= dict.fromkeys(("VGG16", "VGG19"), "network.features.1")
_SECOND = {"MobileNet": "network.blocks.0.0.bn1", "VGG19": "network.features.3"}


@dataclass(frozen=True)
class PaperFigure:
    """A figure of a paper.

    Attributes:
        caption: as the paper prints it, where it fits any clip.
        panels: what a network is called there -> its variant; the paper's own network, None, comes last.
        maps: of a network and an image (C, H, W).
        reading: what is ours.
        beside: whether the networks stand side by side, and not below each other.
    """

    caption: str
    panels: Mapping[str, str | None]
    maps: Callable[[nn.Module, Tensor], Maps]
    reading: str
    beside: bool = False


def microfeat(network: nn.Module, image: Tensor) -> Maps:
    """AffectiveNet, figure 3: the four convolutions of each of MICRoFeat's streams."""
    assert isinstance(network, AffectiveNet)
    parts = ("0", "2.small", "2.large", "2.refine")
    count = range(len(network.streams))
    found = responses(network, image, [f"streams.{k}.{part}" for k in count for part in parts])
    columns = ("conv 1", "EncapFeat, smaller", "EncapFeat, larger", "EncapFeat, refined")
    return {
        f"stream {k + 1}, {_side(network, f'streams.{k}.0')}": {
            column: found[f"streams.{k}.{part}"].relu().mean(0)
            for column, part in zip(columns, parts, strict=True)
        }
        for k in count
    }


def first_level(network: nn.Module, image: Tensor) -> Maps:
    """AffectiveNet, figure 4: the first convolution of each stream."""
    assert isinstance(network, AffectiveNet)
    layers = [f"streams.{k}.0" for k in range(len(network.streams))]
    found = responses(network, image, layers)
    return {"": {f"conv {_side(network, layer)}": found[layer].relu().mean(0) for layer in layers}}


def first_multi_scale(network: nn.Module, image: Tensor) -> Maps:
    """AffectiveNet, figure 7: the two convolutions that EncapFeat adds, of each stream."""
    assert isinstance(network, AffectiveNet)
    names = [(k, which) for k in range(len(network.streams)) for which in ("small", "large")]
    found = responses(network, image, [f"streams.{k}.2.{which}" for k, which in names])
    words = {"small": "smaller", "large": "larger"}
    sides = [_side(network, f"streams.0.2.{which}") for which in words]
    return {
        " and ".join(sides): {
            f"stream {k + 1}, {words[which]}": found[f"streams.{k}.2.{which}"].relu().mean(0)
            for k, which in names
        }
    }


def three_strongest(network: nn.Module, image: Tensor) -> Maps:
    """AffectiveNet, figure 6, and LEARNet, figure 5: the three strongest maps of the first level."""
    if isinstance(network, AffectiveNet):
        layers = [f"streams.{k}.0" for k in range(len(network.streams))]
    else:
        layers = ["conv1" if isinstance(network, LEARNet) else _FIRST[type(network).__name__]]
    found = responses(network, image, layers)
    maps = torch.cat([found[layer].relu() for layer in layers])
    return {"": {f"map {k}": each for k, each in enumerate(strongest(maps, 3), start=1)}}


def conv_1(network: nn.Module, image: Tensor) -> Maps:
    """OrigiNet, figure 4: the two lanes of the first stage, and their sum."""
    assert isinstance(network, OrigiNet)
    found = responses(network, image, ["small.0", "large.0"])
    small, large = (network.activation(found[name]).mean(0) for name in found)
    sides = [_side(network, name) for name in found]
    return {"": {f"conv {sides[0]}": small, f"conv {sides[1]}": large, "sum": small + large}}


def two_levels(network: nn.Module, image: Tensor) -> Maps:
    """OrigiNet, figure 5: the mean responses of the first two levels."""
    if isinstance(network, OrigiNet):
        found = responses(network, image, [f"{lane}.{k}" for k in range(2) for lane in ("small", "large")])
        means = {name: network.activation(maps).mean(0) for name, maps in found.items()}
        levels = [means[f"small.{k}"] + means[f"large.{k}"] for k in range(2)]
    else:
        names = [level[type(network).__name__] for level in (_FIRST, _SECOND)]
        found = responses(network, image, names)
        levels = [found[name].relu().mean(0) for name in names]
    return {"": {f"level {k}": each for k, each in enumerate(levels, start=1)}}


def conv_1_filters(network: nn.Module, image: Tensor) -> Maps:
    """LEARNet, figure 3: the sixteen maps of the first convolution."""
    maps = responses(network, image, ["conv1"])["conv1"].relu()
    return {"": {f"filter {k}": each for k, each in enumerate(maps, start=1)}}


def accretion(network: nn.Module, image: Tensor) -> Maps:
    """LEARNet, figure 4: lanes 1 and 2 after their 1x1 convolution, and their sum; lanes 3 and 4."""
    found = responses(network, image, ["conv2", "norms1.0", "norms1.1"])
    lanes = [lane.mean(0) for lane in found["conv2"].relu().chunk(4)]
    return {
        f"lanes {2 * k + 1} and {2 * k + 2}": {
            "plain lane (Conv-2.1)": lanes[2 * k],
            "its neighbour (Conv-2.2)": lanes[2 * k + 1],
            "accretion": found[f"norms1.{k}"].mean(0),
        }
        for k in range(2)
    }


def _side(network: nn.Module, layer: str) -> str:
    convolution = network.get_submodule(layer)
    assert isinstance(convolution, nn.Conv2d)
    return "x".join(map(str, convolution.kernel_size))


_AFFECTIVENET = {
    3: PaperFigure(
        "the feature maps at each convolutional layer of the MICRoFeat block",
        {"AffectiveNet": None},
        microfeat,
        f"{MEAN} {BOXES}",
    ),
    4: PaperFigure(
        "the feature maps at the 1st level convolutional layers, of different emotion classes",
        {"AffectiveNet": None},
        first_level,
        f"{MEAN} {BOXES}",
    ),
    6: PaperFigure(
        "feature maps of ResNet, MobileNet and the proposed network",
        {"ResNet-50": "resnet50", "MobileNet": "mobilenet", "AffectiveNet": None},
        three_strongest,
        "The paper's three most effective maps, read as those of the first level with the highest mean "
        f"response. {BOXES}",
        beside=True,
    ),
    7: PaperFigure(
        "responses at the 1st multi-scale layers of the ablation's networks",
        {"Af-Net-KS-1": "ks1", "Af-Net-KS-2": "ks2", "Af-Net-LFC": "lfc", "AffectiveNet": None},
        first_multi_scale,
        f"The two convolutions that EncapFeat adds: {MEAN[0].lower()}{MEAN[1:]}",
    ),
}
_ORIGINET = {
    4: PaperFigure(
        "neurons' responses at the 1st convolution layer, the mean of all",
        {"OrigiNet": None},
        conv_1,
        f"{MEAN} {BOXES}",
    ),
    5: PaperFigure(
        "VGG-19, MobileNet and OrigiNet, mean responses",
        {"VGG-19": "vgg19", "MobileNet": "mobilenet", "OrigiNet": None},
        two_levels,
        f"The paper's two most effective responses, read as the first two levels. {MEAN}",
        beside=True,
    ),
}
_LEARNET = {
    3: PaperFigure(
        "response maps at the 1st level of the convolution layers, of different emotion classes",
        {"LEARNet": None},
        conv_1_filters,
        "One map a filter, after its ReLU.",
    ),
    4: PaperFigure(
        "neuron responses of Conv-2.1, Conv-2.2, and the accretion response",
        {"LEARNet": None},
        accretion,
        MEAN,
    ),
    5: PaperFigure(
        "existing models and LEARNet",
        {"VGG-16": "vgg16", "VGG-19": "vgg19", "ResNet-34": "resnet34", "LEARNet": None},
        three_strongest,
        "The paper names neither the models nor the layer: those of its tables, and the three maps of the "
        "first level with the highest mean response.",
        beside=True,
    ),
}
ACTIVATIONS_FIGURE = 3
"""Of OrigiNet: activation curves, which need no clip."""

FIGURES: Mapping[str, Mapping[int, PaperFigure]] = {
    "affectivenet": _AFFECTIVENET,
    "originet": _ORIGINET,
    "learnet": _LEARNET,
}
"""By the name of the paper's experiment, then by the figure's number."""
