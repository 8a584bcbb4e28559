"""The frames of a video with the motion to the next one: the input of the time-contrasted network."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mer.encodings.apex_flow import TVL1, Backend, BackendChoice, backend_in_effect, grey, tvl1_flow
from mer.encodings.frame_sequence import frame_sequence
from mer.encodings.weighted_sum import check_clips
from mer.errors import MerError

CHANNELS = 5  # red, green, blue, u, v


class FramesAndFlow(nn.Module):
    """``frames_and_flow`` with its options: every frame of a video, and the TV-L1 flow to the one after it.

    The paper feeds 64x64 frames and the flow between them (its section 2.1, "Temporal Network"); how it
    computed the flow is not printed. Here it is that of the small frames, in their pixels.

    Args:
        size: side of the square frames.
        scales, warps, outer_iterations, median: of TV-L1, see ``TVL1``. From one frame to the next little
            moves: fewer warps and iterations than from onset to apex bring the same flow sooner.
        backend: see ``ApexFlow``.

    Shape:
        clips (B, T, C, H, W) with C 1 or 3 (R, G, B), lengths (B,) -> (B, T, 5, size, size) float16.
    """

    reads: ClassVar[Literal["clip", "onset_apex"]] = "clip"
    gives: ClassVar[Literal["image", "sequence"]] = "sequence"
    masks_eyes: ClassVar[bool] = False

    def __init__(
        self,
        *,
        size: int = 64,
        scales: int = TVL1.scales,
        warps: int = TVL1.warps,
        outer_iterations: int = TVL1.outer_iterations,
        median: int = TVL1.median,
        backend: BackendChoice = "opencv",
    ) -> None:
        super().__init__()
        if size < 1:
            raise MerError(f"encoding.size={size}: give a positive side in pixels")
        self.size = size
        self.backend = backend_in_effect(backend)
        self.params = TVL1(scales=scales, warps=warps, outer_iterations=outer_iterations, median=median)

    def forward(self, clips: Tensor, lengths: Tensor) -> Tensor:
        """Sequences of clips (B, T, C, H, W) padded at the end to T frames; lengths (B,) int64."""
        return frames_and_flow(clips, lengths, size=self.size, params=self.params, backend=self.backend)


def frames_and_flow(
    clips: Tensor,
    lengths: Tensor,
    *,
    size: int = 64,
    params: TVL1 | None = None,
    backend: Backend = "opencv",
) -> Tensor:
    """Each frame as a small square (``frame_sequence``), with the flow from it to the next one.

    Args:
        clips: (B, T, C, H, W), uint8 or float, 0..255, C 1 or 3, padded at the end to T frames.
        lengths: (B,) int64, the frames of each clip, 1..T.
        size: side of the square frames.
        params: of TV-L1; None is OpenCV's defaults.
        backend: see ``ApexFlow``.

    Returns:
        (B, T, 5, size, size) float16, which holds the whole numbers 0..255 exactly: channels 0..2 are R, G,
        B (grey frames three times), 0..255; 3 and 4 the flow (u, v) in pixels of the small frames, 0 at a
        clip's last frame. All is 0 after the end of a clip, and padding has no influence.

    Raises:
        MerError: a shape or a length is out of range; C is neither 1 nor 3.
    """
    check_clips(clips, lengths)
    frames = frame_sequence(clips, lengths, size=size)
    shape = (*frames.shape[:2], CHANNELS, size, size)
    sequences = torch.zeros(shape, dtype=torch.float16, device=frames.device)
    sequences[:, :, :3] = frames
    numbers = torch.arange(frames.shape[1], device=frames.device)
    clip, frame = (numbers < lengths.to(frames.device)[:, None] - 1).nonzero(as_tuple=True)
    if len(clip):
        first, second = grey(frames[clip, frame]), grey(frames[clip, frame + 1])
        sequences[clip, frame, 3:] = tvl1_flow(first, second, params=params, backend=backend).half()
    return sequences
