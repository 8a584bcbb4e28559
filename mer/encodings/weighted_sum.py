"""A clip as the weighted sum of its frames: one matrix product, whatever the weights.

The dynamic image, the affective-motion image and the active image differ in their weights alone.
"""

import torch
from torch import Tensor

from mer.errors import MerError

# Pixels turned into floats at a time, 4 MiB. Larger blocks leave the caches; smaller ones make the threads
# wait for each other more often, which costs far more beside a busy neighbour.
BLOCK = 1 << 20


def weighted_sum(clips: Tensor, weights: Tensor, totals: Tensor) -> Tensor:
    """The sum over t of weight t times frame t: w (B, 1, T) x V (B, T, C*H*W).

    Frames are measured from the first one, which is added ``totals`` times. So a still clip gives exactly
    ``totals`` times its frame: rounding left over from sums of some 10^4 would be stretched to 0..255.

    Args:
        clips: (B, T, C, H, W), uint8 or float, 0..255. Memory holds no float copy of them: they are done in
            blocks of columns of ``BLOCK`` values.
        weights: (B, T) float, 0 where a clip is padded.
        totals: (B,) float, what each row of the weights sums to, without its rounding.

    Returns:
        (B, C, H, W) float32, on the device of ``clips``.
    """
    rows = weights.to(clips.device, torch.float32)[:, None]
    times = totals.to(clips.device, torch.float32)[:, None, None]
    columns = max(1, BLOCK // max(1, rows.numel()))
    sums = []
    for block in torch.split(clips.flatten(2), columns, dim=2):
        first = block[:, :1].float()
        # As floats before the difference is taken: bytes would wrap around.
        motion = block.to(torch.float32, copy=True).sub_(first)
        sums.append(torch.bmm(rows, motion) + times * first)
    return torch.cat(sums, dim=2).view(clips.shape[0], *clips.shape[2:])


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
