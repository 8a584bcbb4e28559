"""The frames of a clip as they are, small: the input of networks that read sequences."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mer.encodings.apex_flow import grey as luma
from mer.encodings.weighted_sum import check_clips
from mer.errors import MerError

BLOCK = 1 << 20  # pixels turned into floats at a time, 4 MiB or one frame: more would leave the caches


class FrameSequence(nn.Module):
    """``frame_sequence`` with its options: each frame of a clip, none left out and none made up.

    Args:
        size: side of the square frames (64 in the time-contrasted network).
        grey: one channel in place of three.

    Shape:
        clips (B, T, C, H, W), lengths (B,) -> frames (B, T, C', size, size) uint8.
    """

    reads: ClassVar[Literal["clip", "onset_apex"]] = "clip"
    gives: ClassVar[Literal["image", "sequence"]] = "sequence"
    masks_eyes: ClassVar[bool] = False

    def __init__(self, *, size: int = 64, grey: bool = False) -> None:
        super().__init__()
        if size < 1:
            raise MerError(f"encoding.size={size}: give a positive side in pixels")
        self.size = size
        self.grey = grey

    def forward(self, clips: Tensor, lengths: Tensor) -> Tensor:
        """Frames of clips (B, T, C, H, W) padded at the end to T frames; lengths (B,) int64."""
        return frame_sequence(clips, lengths, size=self.size, grey=self.grey)


def frame_sequence(clips: Tensor, lengths: Tensor, *, size: int = 64, grey: bool = False) -> Tensor:
    """Each frame as a small square: bilinear, smoothed first where it shrinks, rounded.

    Args:
        clips: (B, T, C, H, W), uint8 or float, 0..255, padded at the end to T frames.
        lengths: (B,) int64, the frames of each clip, 1..T.
        size: side of the square frames; the aspect ratio is not kept.
        grey: turn R, G, B into luma; C is 1 or 3.

    Returns:
        (B, T, C', size, size) uint8, 0..255, on the device of ``clips``; 0 after the end of a clip. C' is 1
        with ``grey``, else C. Deterministic; padding has no influence.

    Raises:
        MerError: a shape or a length is out of range; with ``grey``, C is neither 1 nor 3.
    """
    check_clips(clips, lengths)
    channels, height, width = clips.shape[2:]
    frames = torch.zeros(
        *clips.shape[:2], 1 if grey else channels, size, size, dtype=torch.uint8, device=clips.device
    )
    there = torch.arange(clips.shape[1], device=clips.device) < lengths.to(clips.device)[:, None]
    for rows in torch.split(there.nonzero(), max(1, BLOCK // (channels * height * width))):
        clip, frame = rows.unbind(1)
        small = interpolate(
            clips[clip, frame].float(), (size, size), mode="bilinear", antialias=True, align_corners=False
        )
        small = luma(small) if grey else small  # as linear as the resize, and cheaper after it
        frames[clip, frame] = small.round().clamp(0, 255).to(torch.uint8)
    return frames
