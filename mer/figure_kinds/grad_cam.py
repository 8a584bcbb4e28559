"""``mer figures grad-cam``: where in the encoded image a class is seen (Selvaraju et al. 2017)."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor, nn
from torch.nn import functional as F

from mer.errors import MerError
from mer.figure_kinds import trained
from mer.figure_kinds.responses import Picture, image_picture
from mer.figure_kinds.trained import Shown, Source
from mer.plots import picture_grid, save_figure

COLOURS = "jet"  # as the paper has them
LEAST, MOST = (
    0.15,
    0.55,
)  # how much of the colour covers the image, where the map is 0 and where it is highest
READING = (
    "Gradients of a class's score (eq 1) weigh the layer's maps, and what is positive of their sum (eq 2) is "
    "shown, upsampled: from blue, 0, to red, the highest of the map. A map of 0 alone leaves the clip as it "
    "is."
)


class ClipCam(NamedTuple):
    """Grad-CAM of one clip.

    Attributes:
        layer: whose maps are weighed.
        true: index of its class.
        predicted: index of the class with the highest score.
        probabilities: (num_classes,).
        maps: (2, H, W), at least 0: of the true class, and of the predicted one.
    """

    layer: str
    true: int
    predicted: int
    probabilities: Tensor
    maps: Tensor


def grad_cam(network: nn.Module, images: Tensor, classes: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """Grad-CAM of a class of each image, and the logits.

    Eq 1: alpha_k = the mean over places of dy / dA_k, with y the class's score before the softmax and A_k the
    k-th map of the layer. Eq 2: ReLU(sum_k alpha_k A_k). The maps are the layer's output itself: of a
    convolution before its activation, where that is a layer of its own.

    Args:
        network: in eval mode, where no image has an influence on another.
        images: (B, C, H, W).
        classes: (B,) int64.
        layer: name of a module that gives maps (B, K, h, w); where it is called several times, the last.

    Returns:
        Maps (B, h, w), 0 or more, and logits (B, num_classes).

    Raises:
        MerError: no such layer, or one that is not called, gives no maps or does not decide the score.
    """
    modules = dict(network.named_modules())
    if layer not in modules:
        named = ", ".join(name for name, module in modules.items() if isinstance(module, nn.Conv2d))
        raise MerError(
            f"--layer {layer}: {type(network).__name__} has no such layer; its convolutions are {named}"
        )
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise MerError(f"--layer {layer}: it gives no maps (B, K, h, w); choose a convolution")
        kept.append(output)
        return output.clone()  # what follows may change its input in place

    hook = modules[layer].register_forward_hook(keep)
    try:
        with torch.enable_grad():
            # The gradient reaches the maps even where no weight before them learns.
            logits: Tensor = network(images.detach().clone().requires_grad_())
            if not kept:
                raise MerError(f"--layer {layer}: {type(network).__name__} does not call it on these images")
            maps = kept[-1]
            score = logits.gather(1, classes[:, None]).sum()
            (slopes,) = torch.autograd.grad(score, maps, allow_unused=True)
    finally:
        hook.remove()
    if slopes is None:
        raise MerError(f"--layer {layer}: the scores do not depend on it")
    weights = slopes.mean((-2, -1), keepdim=True)
    return (weights * maps).sum(1).relu().detach(), logits.detach()


@torch.no_grad()
def last_convolution(network: nn.Module, images: Tensor) -> str:
    """The name of the convolution that is called last in a forward pass.

    Raises:
        MerError: it calls none.
    """
    called: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not called:
        raise MerError(f"{type(network).__name__}: it calls no convolution; name a layer with --layer")
    return called[-1]


def draw(arguments: Sequence[str]) -> Path:
    """Draw Grad-CAM of clips for their true and their predicted class; returns the path.

    Args:
        arguments: ``[--run FOLDER] [--clip NAME]... [--layer NAME] [overrides]``.

    Raises:
        MerError: no such clip or layer, or a network that has none.
    """
    parser = argparse.ArgumentParser(
        prog="mer figures grad-cam", description="Where in the image a class is seen."
    )
    parser.add_argument(
        "--run", type=Path, help="a run folder with saved weights; random initial ones without"
    )
    parser.add_argument(
        "--clip", action="append", default=[], help="<subject>/<clip>; one a class by default"
    )
    parser.add_argument("--layer", help="a module of the network; its last convolution by default")
    parser.add_argument("overrides", nargs="*", help="of mer train")
    options = parser.parse_intermixed_args(list(arguments))
    source = trained.read_source(options.overrides, options.run)
    shown = trained.show(source, trained.choose(source, options.clip))
    cams = cams_of(source, shown, options.layer)
    blocks = {}
    for name, image, cam in zip(trained.names(shown), shown.images, cams, strict=True):
        picture = image_picture(image)
        covered = [overlay(picture, values) for values in cam.maps]
        told = [f"{shown.classes[k]} {cam.probabilities[k]:.2f}" for k in (cam.true, cam.predicted)]
        blocks[name] = {f"true: {told[0]}\npredicted: {told[1]}": [picture, *covered]}
    network = source.cfg.network["_target_"].rpartition(".")[2]
    title = trained.heading(shown, source, f"Grad-CAM of {network}, layer {cams[0].layer}")
    notes = [f"Network: {source}.", READING, trained.commit()]
    # One file a network and layer.
    path = trained.folder(source) / f"grad-cam-{network.lower()}-{cams[0].layer}-{source.cfg.data.name}.png"
    columns = ["encoded clip", "of the true class", "of the predicted class"]
    save_figure(picture_grid(blocks, columns, title, notes), path)
    return path


def cams_of(source: Source, shown: Shown, layer: str | None) -> list[ClipCam]:
    """Grad-CAM of each clip for its true and its predicted class, upsampled to the image.

    Raises:
        MerError: as :func:`grad_cam`.
    """
    found = []
    for number, network in enumerate(trained.networks(source, shown)):
        image = shown.images[number : number + 1]
        with torch.no_grad():
            logits = network(image)
        name = layer or last_convolution(network, image)
        true, predicted = shown.classes.index(shown.clips["label"].iloc[number]), int(logits[0].argmax())
        maps, _ = grad_cam(network, image.expand(2, -1, -1, -1), torch.tensor([true, predicted]), name)
        size = (image.shape[-2], image.shape[-1])
        upsampled = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
        found.append(ClipCam(name, true, predicted, logits[0].softmax(0), upsampled))
    return found


def overlay(picture: Picture, values: Tensor) -> Picture:
    """A map (H, W), 0 or more, over a picture (H, W, 3), turned grey: blue is 0, red the map's highest.

    Where the whole map is 0, the picture is left as it is.
    """
    highest = float(values.max())
    if highest <= 0:
        return picture
    share = values.numpy() / highest
    grey = picture.mean(2, keepdims=True)
    covered = (LEAST + (MOST - LEAST) * share)[..., None]
    mixed: Picture = (
        ((1 - covered) * grey + covered * 255 * colormaps[COLOURS](share)[..., :3]).round().astype(np.uint8)
    )
    return mixed
