"""Spotting by feature difference: the LBP and HOOF rows of the time-contrasted network's table 1.

Moilanen, Zhao and Pietikainen 2014, "Spotting rapid facial movements from videos using appearance-based
feature difference analysis", for LBP; Li et al. 2017, "Towards reading hidden emotions", for HOOF as well.
Nothing is trained and no label is read. From the papers: 6x6 blocks; each frame against the mean of the
frames k before and k after it, by chi-square distance; the mean over the third of the blocks that differ
most; the contrast with the same number k frames before and after. Their threshold and peaks are left to
``mer.spotting_metrics``, which treats every method alike. The time-contrasted network's paper names LBP and
HOOF, but no settings and no method of spotting: that it is this one is our reading.
"""

import math
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer.descriptors.blocks import block_bounds
from mer.descriptors.hoof import Angles, hoof
from mer.descriptors.lbp import lbp_codes, lbp_histograms
from mer.encodings.apex_flow import grey, tvl1_flow
from mer.encodings.lbp_top import grey_bytes
from mer.errors import MerError

Feature = Literal["lbp", "hoof"]
Flow = Literal["first", "consecutive"]
CHUNK = 2**20  # numbers that are worked on at a time: bounds the memory, whatever the video's length


class FeatureDifference:
    """How much each frame of a video differs from those half an interval before and after it.

    It is built as a network is, and has nothing to fit. The score of frame i depends on frames i - 2k to
    i + 2k alone (with HOOF of consecutive frames one more, with HOOF from the first frame that one too).

    Args:
        in_channels: of the video: 1 (grey), 3 (R, G, B) or 5 (R, G, B, and the flow to the next frame).
        num_classes: of the label map; kept, and without influence.
        feature: ``lbp`` or ``hoof``.
        blocks: along each side of the frame; the papers' 6.
        interval_seconds: the longest micro-expression, see ``half_interval``; the half second is the usual
            definition's. Moilanen's 9 frames at 25 fps and 21 at 60 fps are 0.33.
        share: of the blocks, those that differ most, that count; the papers' third (12 of 36).
        contrast: give C (see ``contrasted``), not F (see ``feature_difference``).
        flow: of HOOF. ``first``: TV-L1 from the video's first frame to each, Li's; slow. ``consecutive``
            (ours): channels 3 and 4 as they are, the flow to the next frame. The frame that has no flow,
            the first or the last, takes its neighbour's score (ours). LBP reads none.
        bins, angles: of HOOF, see ``hoof``.

    Raises:
        MerError: an option is out of range, or ``consecutive`` without flow channels.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        feature: Feature,
        blocks: int = 6,
        interval_seconds: float = 0.5,
        share: float = 1 / 3,
        contrast: bool = True,
        flow: Flow = "first",
        bins: int = 8,
        angles: Angles = "primary",
    ) -> None:
        for name, value, choices in (
            ("feature", feature, Feature),
            ("flow", flow, Flow),
            ("angles", angles, Angles),
        ):
            if value not in get_args(choices):
                raise MerError(f"network.{name}={value!r}: choose one of {', '.join(get_args(choices))}")
        for name, number in (("blocks", blocks), ("bins", bins)):
            if number < 1:
                raise MerError(f"network.{name}={number}: give 1 or more")
        if not 0 < share <= 1:
            raise MerError(f"network.share={share}: give a number above 0, at most 1 (all blocks)")
        if not 0 < interval_seconds < math.inf:
            raise MerError(f"network.interval_seconds={interval_seconds}: give a positive number of seconds")
        if in_channels not in (1, 3, 5):
            raise MerError(
                f"feature difference reads 1 (grey), 3 (R, G, B) or 5 channels (R, G, B and flow), "
                f"not {in_channels}: choose an encoding of frame sequences"
            )
        if feature == "hoof" and flow == "consecutive" and in_channels != 5:
            raise MerError(
                f"network.flow=consecutive reads the flow in channels 3 and 4, and the videos have "
                f"{in_channels}: choose an encoding with flow, or network.flow=first"
            )
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.feature: Feature = feature
        self.blocks = blocks
        self.interval_seconds = interval_seconds
        self.share = share
        self.contrast = contrast
        self.flow: Flow = flow
        self.bins = bins
        self.angles: Angles = angles

    @torch.inference_mode()
    def score(self, video: Tensor, fps: float) -> NDArray[np.float32]:
        """The curve of a video, one number a frame, at least 0: the higher, the more of a brief movement.

        It is deterministic. A video without any movement is 0 throughout.

        Args:
            video: (T, in_channels, H, W), uint8 or float, frames 0..255; of 5 channels the last two are
                the flow (u, v) in pixels. R, G, B are turned into luma, for LBP rounded to whole numbers.
            fps: frames a second of the video.

        Returns:
            (T,) float32.

        Raises:
            MerError: another shape; fewer than two frames; values out of range; frames too small for the
                blocks; fps is unknown (NaN) or not positive.
        """
        self._check(video)
        k = half_interval(fps, self.interval_seconds)
        if self.feature == "lbp":
            features = lbp_features(grey_bytes(video[:, :3]), blocks=self.blocks)
        else:
            features = self._hoof(video)
        curve = feature_difference(features, k=k, share=self.share)
        if self.contrast:
            curve = contrasted(curve, k=k)
        if self.feature == "hoof":  # one frame has no flow: the first, or the last
            curve = torch.cat([curve[:1], curve] if self.flow == "first" else [curve, curve[-1:]])
        scores: NDArray[np.float32] = curve.cpu().numpy()
        return scores

    def _hoof(self, video: Tensor) -> Tensor:
        """(T - 1, R, bins): of the flow to each frame but the first."""
        pixels = video.shape[2] * video.shape[3]
        parts = torch.split(torch.arange(1, len(video)), max(1, CHUNK // pixels))
        flows = (self._flow(video, part) for part in parts)
        return torch.cat(
            [
                hoof(flow, bins=self.bins, blocks=self.blocks, angles=self.angles).flatten(1, 2)
                for flow in flows
            ]
        )

    def _flow(self, video: Tensor, part: Tensor) -> Tensor:
        """(n, 2, H, W) float: the flow to each frame of part, from the first one or from the one before."""
        if self.flow == "consecutive":
            return video[part - 1, 3:].float()
        frames = grey(video[part, :3])
        return tvl1_flow(grey(video[:1, :3]).expand_as(frames), frames)

    def _check(self, video: Tensor) -> None:
        if video.ndim != 4 or video.shape[1] != self.in_channels:
            raise MerError(
                f"feature difference of {self.in_channels} channels takes one video (frames, "
                f"{self.in_channels}, height, width), not {tuple(video.shape)}"
            )
        frames, _, height, width = video.shape
        if frames < 2:
            raise MerError(f"a video of {frames} frame has no movement to spot: leave it out")
        if min(height, width) < max(3, 2 * self.blocks):
            raise MerError(
                f"network.blocks={self.blocks} on frames of {width}x{height} pixels: a block needs 2 pixels "
                "a side, the frame 3; choose fewer blocks or a larger encoding.size"
            )
        low, high = torch.aminmax(video[:, :3])
        if not (low >= 0 and high <= 255):  # NaN fails too
            raise MerError(
                f"frames lie in 0..255, and the video's are {low:g}..{high:g}: encode it anew (mer encode)"
            )
        reads_flow = self.feature == "hoof" and self.flow == "consecutive"
        if reads_flow and not video[:, 3:].isfinite().all():
            raise MerError("the flow of the video is not finite: encode it anew (mer encode)")


def half_interval(fps: float, seconds: float) -> int:
    """k, so that 2k + 1 frames span ``seconds`` from the first to the last, rounded, at least 1.

    The papers give frames for each frame rate, k = (N - 1) / 2 of an odd N; the formula is ours.

    Raises:
        MerError: fps is unknown (NaN) or not a positive number.

    >>> half_interval(200, 0.5), half_interval(25, 1 / 3), half_interval(60, 1 / 3)
    (50, 4, 10)
    """
    if math.isnan(fps):
        raise MerError(
            "the frame rate of the video is unknown, and the interval of feature difference is in seconds: "
            "give fps in the clip table, or data.clips.fps="
        )
    if not 0 < fps < math.inf:
        raise MerError(f"fps={fps:g}: give a positive number of frames a second")
    return max(1, math.floor(fps * seconds / 2 + 0.5))


def lbp_features(frames: Tensor, *, blocks: int) -> Tensor:
    """Histograms of LBP codes in each block; all 256 codes at radius 1, which is ours (see ``lbp_codes``).

    Args:
        frames: (T, H, W) uint8, grey.
        blocks: along each side; the last of a row or column takes the remainder.

    Returns:
        (T, blocks * blocks, 256) float32, each of sum 1, blocks row by row from the top.
    """
    rows, columns = (block_bounds(size, blocks) for size in frames.shape[1:])
    boxes = [(left, top, right - left, bottom - top) for top, bottom in rows for left, right in columns]
    return lbp_histograms(lbp_codes(frames), torch.tensor(boxes))


def feature_difference(features: Tensor, *, k: int, share: float = 1 / 3) -> Tensor:
    """F: the distance of each frame from the mean of its tail and head frame, in the blocks of the largest.

    The tail frame lies k frames before, the head frame k after. Moilanen leaves the first and last k frames
    out; here the nearest other frame that is there stands in for one beyond an end (ours). Other: next to
    itself, the first frame would differ less than all that are noisy, and lift C over the next k.

    Args:
        features: (T, R, bins) float, a histogram for each block of each frame.
        k: frames, 1 or more.
        share: of the blocks that count, rounded, at least one of them.

    Returns:
        (T,) of the same type: the mean chi-square distance over those blocks, at least 0; each is at most 2
        where the histograms sum to 1. The reverse of the video has the reverse curve.
    """
    total, blocks, bins = features.shape
    frames = torch.arange(total, device=features.device)
    tails, heads = (frames - k).clamp(min=0), (frames + k).clamp(max=total - 1)
    tails[:1], heads[-1:] = min(1, total - 1), max(total - 2, 0)
    distances = torch.cat(
        [
            chi_square(features[part], (features[tails[part]] + features[heads[part]]) / 2)
            for part in torch.split(frames, max(1, CHUNK // (blocks * bins)))
        ]
    )
    most = max(1, round(share * blocks))
    return distances.topk(most, dim=1).values.mean(1)


def contrasted(differences: Tensor, *, k: int) -> Tensor:
    """C_i = F_i - (F_{i-k} + F_{i+k}) / 2, negative values to 0: what stands out from a slow change.

    Args:
        differences: F, (T,) float.
        k: frames, 1 or more; beyond an end, the nearest frame that is there (ours).

    Returns:
        (T,) of the same type, at least 0.
    """
    frames = torch.arange(len(differences), device=differences.device)
    tails, heads = (frames - k).clamp(min=0), (frames + k).clamp(max=len(frames) - 1)
    return (differences - (differences[tails] + differences[heads]) / 2).clamp(min=0)


def chi_square(first: Tensor, second: Tensor) -> Tensor:
    """Sum over the last axis of (p - q)^2 / (p + q), of histograms at least 0; bins empty in both are 0."""
    total = first + second
    return ((first - second).square() / torch.where(total > 0, total, 1)).sum(-1)
