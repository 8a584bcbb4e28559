"""LBP-TOP of a clip as an image of one pixel: the first of the classical rows (LAENet table 4, method 1)."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mer.descriptors.lbp_top import lbp_top
from mer.encodings.apex_flow import grey
from mer.encodings.frame_sequence import frame_sequence
from mer.encodings.scaling import check_size
from mer.encodings.weighted_sum import BLOCK, check_clips
from mer.errors import MerError


class LBPTOP(nn.Module):
    """``lbp_top`` of each clip, for ``mer.estimators.SVM``.

    Args:
        blocks: along each side of the frame.
        radius: along x and y, in pixels.
        radius_t: along time, in frames; a clip needs 2 radius_t + 1 of them.
        uniform: 59 bins a histogram, else 256.
        size: side in pixels of the squares that frames are resized to first; None keeps them, so that
            the radius means another part of the face where faces differ in size.

    Shape:
        clips (B, T, C, H, W), lengths (B,) -> features (B, blocks * blocks * 3 * bins, 1, 1), 0..1.
    """

    reads: ClassVar[Literal["clip", "onset_apex"]] = "clip"
    gives: ClassVar[Literal["image", "sequence"]] = "image"
    masks_eyes: ClassVar[bool] = False

    def __init__(
        self,
        *,
        blocks: int = 5,
        radius: int = 1,
        radius_t: int = 4,
        uniform: bool = True,
        size: int | None = None,
    ) -> None:
        super().__init__()
        check_size(size)
        for name, value in (("blocks", blocks), ("radius", radius), ("radius_t", radius_t)):
            if value < 1:
                raise MerError(f"encoding.{name}={value}: give 1 or more")
        self.blocks = blocks
        self.radius = radius
        self.radius_t = radius_t
        self.uniform = uniform
        self.size = size

    def forward(self, clips: Tensor, lengths: Tensor) -> Tensor:
        """Features of clips (B, T, C, H, W), 0..255, padded at the end to T frames; lengths (B,) int64.

        Raises:
            MerError: a shape or a length is out of range, C is neither 1 nor 3, or a clip is too short or
                its frames too small; see ``lbp_top``.
        """
        check_clips(clips, lengths)
        if self.size is not None:
            clips = frame_sequence(clips, lengths, size=self.size, grey=True)
        features = [
            self._histograms(clip[:length], place)
            for place, (clip, length) in enumerate(zip(clips, lengths.tolist(), strict=True))
        ]
        return torch.stack(features)[..., None, None]

    def _histograms(self, clip: Tensor, place: int) -> Tensor:
        try:
            histograms = lbp_top(
                grey_bytes(clip),
                radius=self.radius,
                radius_t=self.radius_t,
                blocks=self.blocks,
                uniform=self.uniform,
            )
        except MerError as error:
            raise MerError(f"clip {place} of the batch: {error}") from error
        return histograms.flatten()


def grey_bytes(clip: Tensor) -> Tensor:
    """Frames (T, 1 or 3, H, W), 0..255, as grey (T, H, W) uint8, rounded. A float copy is made of some at a
    time.
    """
    frames = max(1, BLOCK // clip[0].numel())
    parts = [
        part if part.dtype == torch.uint8 else part.round().clamp(0, 255).to(torch.uint8)
        for part in map(grey, torch.split(clip, frames))
    ]
    return torch.cat(parts)[:, 0]
