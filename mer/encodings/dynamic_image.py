"""The dynamic image: approximate rank pooling of a clip's frames (Bilen 2016; OrigiNet's ablation WDy)."""

from typing import ClassVar, Literal, get_args

import torch
from kornia.geometry.transform import resize
from torch import Tensor, nn

from mer.errors import MerError

Scale = Literal["minmax", "clip", "none"]


class DynamicImage(nn.Module):
    """``dynamic_image`` with its options: the motion of a whole clip in one image.

    Args:
        size: side of the square output; None keeps the frames' size.
        scale: ``minmax`` stretches each clip's image to 0..255, jointly over channels; ``clip`` clamps
            the raw sums to 0..255; ``none`` leaves them.

    Shape:
        clips (B, T, C, H, W), lengths (B,) -> images (B, C, size, size), or (B, C, H, W) without size.
    """

    reads: ClassVar[Literal["clip", "onset_apex"]] = "clip"

    def __init__(self, *, size: int | None = None, scale: Scale = "minmax") -> None:
        super().__init__()
        check_options(size, scale)
        self.size = size
        self.scale: Scale = scale

    def forward(self, clips: Tensor, lengths: Tensor) -> Tensor:
        """Images of clips (B, T, C, H, W) padded at the end to T frames; lengths (B,) int64."""
        return dynamic_image(clips, lengths, size=self.size, scale=self.scale)


def dynamic_image(
    clips: Tensor, lengths: Tensor, *, size: int | None = None, scale: Scale = "minmax"
) -> Tensor:
    """Weighted sum of each clip's frames, resized, then scaled (Bilen 2016, approximate rank pooling).

    Args:
        clips: (B, T, C, H, W), uint8 or float, 0..255, padded at the end to T frames.
        lengths: (B,) int64, the frames of each clip, 1..T.
        size: side of the square output (bilinear, smoothed first where it shrinks, the aspect ratio is
            not kept); None keeps H and W. Resizing and summing are linear, so their order is free.
        scale: see ``DynamicImage``. A constant image becomes 0 under ``minmax``.

    Returns:
        (B, C, H', W') float32. Deterministic; padding has no influence.

    Raises:
        MerError: an option, a shape or a length is out of range.
    """
    check_options(size, scale)
    check_clips(clips, lengths)
    weights = dynamic_image_weights(lengths, clips.shape[1]).to(clips.device)
    # From two frames on the weights sum to 0, so frames may be measured from the first one. It keeps a
    # still clip at exactly 0: rounding left over from sums of some 10^4 would be stretched to 0..255.
    several = (lengths > 1).to(clips.device, torch.float32)
    motion = (clips - clips[:, :1] * several[:, None, None, None, None]).float()
    images = torch.einsum("bt,btchw->bchw", weights, motion)
    if size is not None:
        images = resize(images, (size, size), antialias=True)
    if scale == "clip":
        return images.clamp(0, 255)
    return min_max(images) if scale == "minmax" else images


def dynamic_image_weights(lengths: Tensor, frames: int) -> Tensor:
    """Weight of frame t in a clip of T frames: sum over i = t..T of (2i - T - 1) / i (Bilen 2016).

    They sum to 0 for T >= 2. For T = 1 the sum is 0, but the weight is 1, as in Bilen's code: the image
    of a single frame is that frame. For T = 2 they are -1/2 and 1/2.

    Args:
        lengths: (B,) int64, T of each clip, 1..frames.
        frames: number of columns; those after T are 0.

    Returns:
        (B, frames) float32, on the CPU: CUDA's cumulative sum is not deterministic.
    """
    total = lengths.cpu().double()[:, None]
    index = torch.arange(1, frames + 1, dtype=torch.float64)
    terms = torch.where(index <= total, (2 * index - total - 1) / index, 0)
    sums = terms.flip(1).cumsum(1).flip(1)
    single = (total == 1) & (index == 1)
    weights = torch.where(index <= total, sums, 0)
    return torch.where(single, 1, weights).float()


def min_max(images: Tensor) -> Tensor:
    """Each image of (B, C, H, W) stretched to 0..255, jointly over its channels; a constant one becomes 0."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    span = torch.where(high > low, high - low, 1)
    return (images - low) / span * 255


def check_options(size: int | None, scale: str) -> None:
    """Raise MerError unless size is positive or None and scale is one of ``Scale``."""
    if size is not None and size < 1:
        raise MerError(
            f"encoding.size={size}: give a positive side in pixels, or null to keep the frames' size"
        )
    if scale not in get_args(Scale):
        raise MerError(f"encoding.scale={scale!r}: choose one of {', '.join(get_args(Scale))}")


def check_clips(clips: Tensor, lengths: Tensor) -> None:
    """Raise MerError unless clips are (B, T, C, H, W) and lengths (B,) lie in 1..T."""
    if clips.ndim != 5:
        raise MerError(
            f"clips have shape {tuple(clips.shape)}: give (batch, frames, channels, height, width)"
        )
    if lengths.shape != clips.shape[:1]:
        raise MerError(
            f"lengths have shape {tuple(lengths.shape)}: give one for each of the {clips.shape[0]} clips"
        )
    outside = (lengths < 1) | (lengths > clips.shape[1])
    if outside.any():
        raise MerError(
            f"a clip's length is {int(lengths[outside][0])}: give 1 to {clips.shape[1]}, "
            "the frames that are there"
        )
