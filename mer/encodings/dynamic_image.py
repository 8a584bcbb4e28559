"""The dynamic image: approximate rank pooling of a clip's frames (Bilen 2016; OrigiNet's ablation WDy)."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mer.encodings.scaling import Scale, check_choice, check_size, resized, scaled
from mer.encodings.weighted_sum import check_clips, weighted_sum


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
    gives: ClassVar[Literal["image", "sequence"]] = "image"
    masks_eyes: ClassVar[bool] = False

    def __init__(self, *, size: int | None = None, scale: Scale = "minmax") -> None:
        super().__init__()
        check_size(size)
        check_choice("scale", scale, Scale)
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
            not kept); None keeps H and W.
        scale: see ``DynamicImage``. A constant image becomes 0 under ``minmax``.

    Returns:
        (B, C, H', W') float32. Deterministic; padding has no influence.

    Raises:
        MerError: an option, a shape or a length is out of range.
    """
    check_size(size)
    check_choice("scale", scale, Scale)
    check_clips(clips, lengths)
    weights = dynamic_image_weights(lengths, clips.shape[1])
    return scaled(resized(weighted_sum(clips, weights, (lengths == 1).float()), size), scale)


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
