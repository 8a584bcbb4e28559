"""The affective-motion image: a weighted sum of all frames that keeps the face (AffectiveNet eq 1-5)."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mer.encodings.scaling import Scale, check_choice, check_size, resized, scaled
from mer.encodings.weighted_sum import check_clips, weighted_sum

Reading = Literal["released", "literal"]


class AffectiveMotionImage(nn.Module):
    """``affective_motion_image`` with its options: the input of AffectiveNet and of LEARNet's release.

    Args:
        size: side of the square output (112 in LEARNet, and by its parameters in AffectiveNet); None
            keeps the frames' size.
        scale: ``minmax`` stretches each clip's image to 0..255, jointly over channels, as LEARNet's release
            does, which then drops the fractions; ``clip`` clamps the raw sums; ``none`` leaves them.
        reading: which weights, see ``affective_motion_weights``.

    Shape:
        clips (B, T, C, H, W), lengths (B,) -> images (B, C, size, size), or (B, C, H, W) without size.
    """

    reads: ClassVar[Literal["clip", "onset_apex"]] = "clip"
    gives: ClassVar[Literal["image", "sequence"]] = "image"
    masks_eyes: ClassVar[bool] = False

    def __init__(
        self, *, size: int | None = None, scale: Scale = "minmax", reading: Reading = "released"
    ) -> None:
        super().__init__()
        check_size(size)
        check_choice("scale", scale, Scale)
        check_choice("reading", reading, Reading)
        self.size = size
        self.scale: Scale = scale
        self.reading: Reading = reading

    def forward(self, clips: Tensor, lengths: Tensor) -> Tensor:
        """Images of clips (B, T, C, H, W) padded at the end to T frames; lengths (B,) int64."""
        return affective_motion_image(clips, lengths, size=self.size, scale=self.scale, reading=self.reading)


def affective_motion_image(
    clips: Tensor,
    lengths: Tensor,
    *,
    size: int | None = None,
    scale: Scale = "minmax",
    reading: Reading = "released",
) -> Tensor:
    """Weighted sum of each clip's frames (AffectiveNet eq 4-5), resized, then scaled.

    Args:
        clips: (B, T, C, H, W), uint8 or float, 0..255, padded at the end to T frames.
        lengths: (B,) int64, the frames of each clip, 1..T.
        size, scale, reading: see ``AffectiveMotionImage``. A constant image becomes 0 under ``minmax``.

    Returns:
        (B, C, H', W') float32. A still clip gives T times its frame under ``released`` (before scaling),
        0 under ``literal``. Deterministic; padding has no influence.

    Raises:
        MerError: an option, a shape or a length is out of range.
    """
    check_size(size)
    check_choice("scale", scale, Scale)
    check_clips(clips, lengths)
    weights = affective_motion_weights(lengths, clips.shape[1], reading=reading)
    totals = lengths.float() if reading == "released" else torch.zeros(len(lengths))
    return scaled(resized(weighted_sum(clips, weights, totals), size), scale)


def affective_motion_weights(lengths: Tensor, frames: int, *, reading: Reading = "released") -> Tensor:
    """Weight of frame t in a clip of T frames: a sum of (2i - T) / i from i = t on (AffectiveNet eq 1-3).

    ``released`` sums to i = T, as LEARNet's code does (same authors): the weights sum to T, and the image
    is the dynamic image plus the sum of 1/i, which is the appearance that it keeps. T = 1 gives the frame
    itself, T = 2 the sum of both frames.

    ``literal`` leaves the term i = T out, as eq 3 is printed (its upper limit is k - i): these are Bilen's
    weights of the first T - 1 frames, the last frame weighs 0, and the sum is 0. At T = 1 and T = 2 every
    weight is 0, so is the image: eq 3 has no exception for a single frame.

    Args:
        lengths: (B,) int64, T of each clip, 1..frames.
        frames: number of columns; those after T are 0.
        reading: ``released`` or ``literal``.

    Returns:
        (B, frames) float32, on the CPU: CUDA's cumulative sum is not deterministic.

    Raises:
        MerError: an unknown reading.
    """
    check_choice("reading", reading, Reading)
    total = lengths.cpu().double()[:, None]
    last = total if reading == "released" else total - 1
    index = torch.arange(1, frames + 1, dtype=torch.float64)
    terms = torch.where(index <= last, (2 * index - total) / index, 0)
    return terms.flip(1).cumsum(1).flip(1).float()
