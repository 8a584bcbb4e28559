"""What modules of a network answer to an image, and maps and images as pictures."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from torch import Tensor, nn

from mer.errors import MerError

Picture = NDArray[np.uint8]
COLOURS = "magma"


@torch.no_grad()
def responses(network: nn.Module, image: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
    """The output of each named module at its first call, (C, h, w), before anything changes it in place.

    Args:
        network: in eval mode.
        image: (C, H, W).
        names: of modules, as ``named_modules`` has them.

    Raises:
        MerError: no such module, or one that was not called or gives no maps.
    """
    found: dict[str, Tensor] = {}
    modules = dict(network.named_modules())
    hooks = []
    for name in dict.fromkeys(names):
        if name not in modules:
            raise MerError(
                f"{type(network).__name__} has no module {name!r}; it has {', '.join(filter(None, modules))}"
            )

        def keep(_module: nn.Module, _inputs: Any, output: Tensor, name: str = name) -> None:
            found.setdefault(name, output[0].clone())

        hooks.append(modules[name].register_forward_hook(keep))
    try:
        network(image[None])
    finally:
        for hook in hooks:
            hook.remove()
    for name in names:
        if name not in found or found[name].ndim != 3:
            raise MerError(f"{type(network).__name__}: module {name} gives no maps of this image")
    return found


def strongest(maps: Tensor, count: int) -> list[Tensor]:
    """The maps (h, w) with the highest mean of maps (C, h, w), the highest first."""
    order = maps.mean((-2, -1)).argsort(descending=True, stable=True)
    return list(maps[order[:count]])


def map_picture(values: Tensor) -> Picture:
    """A map (h, w) in colour (h, w, 3), from its own least value (black) to its greatest (light)."""
    scaled = _scaled(values.double()).numpy()
    picture: Picture = (colormaps[COLOURS](scaled)[..., :3] * 255).round().astype(np.uint8)
    return picture


def image_picture(image: Tensor) -> Picture:
    """An encoded image (C, H, W) as (H, W, 3): grey of one channel, (u, v) as red and green, else three.

    Values outside 0..255 are scaled to it, from the least to the greatest.
    """
    if image.min() < 0 or image.max() > 255:
        image = 255 * _scaled(image)
    if len(image) == 1:
        image = image.expand(3, -1, -1)
    elif len(image) == 2:
        image = torch.cat([image, torch.zeros_like(image[:1])])
    picture: Picture = image[:3].round().to(torch.uint8).permute(1, 2, 0).numpy()
    return picture


def _scaled(values: Tensor) -> Tensor:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else torch.zeros_like(values)
