"""The active image: the differences of a clip's frames, accumulated (OrigiNet eq 1-3)."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mer.encodings.apex_flow import grey as luma
from mer.encodings.scaling import Scale, check_choice, check_size, resized, scaled
from mer.encodings.weighted_sum import check_clips, weighted_sum

Reading = Literal["authors", "literal", "cumulative"]


class ActiveImage(nn.Module):
    """``active_image`` with its options: the input of OrigiNet.

    OrigiNet's release is ``size=128, scale="clip", grey=True``. It differs from ours in that it resizes
    each frame without smoothing and rounds it to whole greys before the sum, then writes a JPEG file.

    Args:
        size: side of the square output (128 in OrigiNet); None keeps the frames' size.
        scale: ``minmax`` stretches each clip's image to 0..255, jointly over channels; ``clip`` clamps the
            raw sums to 0..255, as in OrigiNet's release, which on long clips saturates most pixels;
            ``none`` leaves them.
        reading: which weights, see ``active_image_weights``.
        grey: sum grey frames, as the release does. The image is that one channel three times, as OpenCV
            reads the release's grey files: OrigiNet's input is 128x128x3.

    Shape:
        clips (B, T, C, H, W), lengths (B,) -> images (B, C, size, size), or (B, C, H, W) without size. With
        ``grey``, C is 1 or 3 (R, G, B) in the clips and 3 in the images.
    """

    reads: ClassVar[Literal["clip", "onset_apex"]] = "clip"
    gives: ClassVar[Literal["image", "sequence"]] = "image"
    masks_eyes: ClassVar[bool] = False

    def __init__(
        self,
        *,
        size: int | None = None,
        scale: Scale = "minmax",
        reading: Reading = "authors",
        grey: bool = False,
    ) -> None:
        super().__init__()
        check_size(size)
        check_choice("scale", scale, Scale)
        check_choice("reading", reading, Reading)
        self.size = size
        self.scale: Scale = scale
        self.reading: Reading = reading
        self.grey = grey

    def forward(self, clips: Tensor, lengths: Tensor) -> Tensor:
        """Images of clips (B, T, C, H, W) padded at the end to T frames; lengths (B,) int64."""
        return active_image(
            clips, lengths, size=self.size, scale=self.scale, reading=self.reading, grey=self.grey
        )


def active_image(
    clips: Tensor,
    lengths: Tensor,
    *,
    size: int | None = None,
    scale: Scale = "minmax",
    reading: Reading = "authors",
    grey: bool = False,
) -> Tensor:
    """Weighted sum of each clip's frames (OrigiNet eq 1-3), resized, then scaled.

    Args:
        clips: (B, T, C, H, W), uint8 or float, 0..255, padded at the end to T frames.
        lengths: (B,) int64, the frames of each clip, 1..T.
        size, scale, reading, grey: see ``ActiveImage``. A constant image becomes 0 under ``minmax``.

    Returns:
        (B, C', H', W') float32; a still clip gives 0. Deterministic; padding has no influence.

    Raises:
        MerError: an option, a shape or a length is out of range.
    """
    check_size(size)
    check_choice("scale", scale, Scale)
    check_clips(clips, lengths)
    weights = active_image_weights(lengths, clips.shape[1], reading=reading)
    sums = weighted_sum(clips, weights, torch.zeros(len(lengths)))
    if grey:  # as linear as the sum, and cheaper after it
        sums = luma(sums).expand(-1, 3, -1, -1)
    return scaled(resized(sums, size), scale)


def active_image_weights(lengths: Tensor, frames: int, *, reading: Reading = "authors") -> Tensor:
    """Weight of frame t in a clip of T frames V_1..V_T; they sum to 0.

    ``authors``: max(0, t - 2) - max(0, T - t - 1). OrigiNet's code adds up V_j - V_k over all pairs with
    k <= j - 2. Reversing time negates it; T = 1 and T = 2 have no such pair and give 0.

    ``literal``: eq 1-3 as printed. F_t is the difference to the frame before, so the sum of F_{t-1} + F_t
    over t = 2..T telescopes to V_T + V_{T-1} - 2 V_1.

    ``cumulative``: the set of eq 3 read as all differences up to t, so F_t = V_t - V_1: the last frame
    weighs 1, the first -(2T - 3), those between 2.

    In the last two T = 2 gives V_2 - V_1, and T = 1 gives 0: the sum of eq 1 is empty.

    Args:
        lengths: (B,) int64, T of each clip, 1..frames.
        frames: number of columns; those after T are 0.
        reading: ``authors``, ``literal`` or ``cumulative``.

    Returns:
        (B, frames) float32, whole numbers, on the device of ``lengths``.

    Raises:
        MerError: an unknown reading.
    """
    check_choice("reading", reading, Reading)
    total = lengths[:, None]
    index = torch.arange(1, frames + 1, device=lengths.device)
    first, last = (index == 1).long(), (index == total).long()
    if reading == "authors":
        weights = (index - 2).clamp(min=0) - (total - index - 1).clamp(min=0)
    elif reading == "literal":
        weights = last + (index == total - 1).long() - 2 * first
    else:
        weights = 2 - last - (2 * total - 1) * first
    return torch.where((index <= total) & (total > 1), weights, 0).float()
