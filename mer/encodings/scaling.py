"""Size and range of an encoded image, and the checks of the options that several encodings share."""

from typing import Literal, get_args

import torch
from torch import Tensor

from mer.errors import MerError

Scale = Literal["minmax", "clip", "none"]


def resized(images: Tensor, size: int | None) -> Tensor:
    """Images (B, C, H, W) as squares of side ``size``, bilinear, smoothed first where they shrink.

    The aspect ratio is not kept. None keeps the images. Resizing is linear, so it may come before a sum
    of frames or, for a fraction of the time, after it.
    """
    if size is None:
        return images
    # Kornia takes a second to import, and what does not resize runs without it.
    from kornia.geometry.transform import resize

    square: Tensor = resize(images, (size, size), antialias=True)
    return square


def scaled(images: Tensor, scale: Scale) -> Tensor:
    """Images (B, C, H, W) in the range that ``scale`` names.

    Args:
        images: float, raw sums of any range.
        scale: ``minmax`` stretches each image to 0..255, jointly over its channels (LEARNet's release);
            ``clip`` clamps the raw values to 0..255, as OpenCV does when it writes them to a file
            (OrigiNet's release); ``none`` leaves them.
    """
    if scale == "clip":
        return images.clamp(0, 255)
    return min_max(images) if scale == "minmax" else images


def min_max(images: Tensor) -> Tensor:
    """Each image of (B, C, H, W) stretched to 0..255, jointly over its channels; a constant one becomes 0."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    span = torch.where(high > low, high - low, 1)
    return (images - low) / span * 255


def check_size(size: int | None) -> None:
    """Raise MerError unless size is positive or None."""
    if size is not None and size < 1:
        raise MerError(
            f"encoding.size={size}: give a positive side in pixels, or null to keep the frames' size"
        )


def check_choice(key: str, value: str, choices: object) -> None:
    """Raise MerError unless ``encoding.<key>`` is one of the values of a Literal type."""
    if value not in get_args(choices):
        raise MerError(f"encoding.{key}={value!r}: choose one of {', '.join(get_args(choices))}")
