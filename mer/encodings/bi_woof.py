"""Bi-WOOF of a clip as an image of one pixel: the second of the classical rows (LAENet table 4, method 2)."""

from typing import ClassVar, Literal

from torch import Tensor, nn

from mer.descriptors.bi_woof import Reading, bi_woof
from mer.encodings.apex_flow import TVL1, check_pairs, grey, optical_strain, tvl1_flow
from mer.encodings.scaling import check_choice
from mer.errors import MerError

Solver = Literal["opencv", "ipol"]


class BiWOOF(nn.Module):
    """``bi_woof`` of the TV-L1 flow from onset to apex, for ``mer.estimators.SVM``.

    Args:
        bins: directions over the full circle.
        blocks: along each side of the frame.
        reading: ``released`` or ``described``, see ``bi_woof``.
        tvl1: parameters of the flow: ``opencv`` (its defaults) or ``ipol`` (IPOL's tvl1flow), see ``TVL1``.

    Shape:
        clips (B, 2, C, H, W) with C 1 or 3 (R, G, B), lengths (B,) all 2 -> features
        (B, blocks * blocks * bins, 1, 1).
    """

    reads: ClassVar[Literal["clip", "onset_apex"]] = "onset_apex"
    gives: ClassVar[Literal["image", "sequence"]] = "image"
    masks_eyes: ClassVar[bool] = False

    def __init__(
        self, *, bins: int = 8, blocks: int = 5, reading: Reading = "released", tvl1: Solver = "opencv"
    ) -> None:
        super().__init__()
        for name, value in (("bins", bins), ("blocks", blocks)):
            if value < 1:
                raise MerError(f"encoding.{name}={value}: give 1 or more")
        check_choice("reading", reading, Reading)
        check_choice("tvl1", tvl1, Solver)
        self.bins = bins
        self.blocks = blocks
        self.reading: Reading = reading
        self.params = TVL1.ipol() if tvl1 == "ipol" else TVL1()

    def forward(self, clips: Tensor, lengths: Tensor) -> Tensor:
        """Features of clips (B, 2, C, H, W), 0..255: onset and apex frame.

        Raises:
            MerError: a clip that does not have exactly two frames, C is neither 1 nor 3, or frames that
                are too small for the blocks.
        """
        check_pairs(clips, lengths)
        flow = tvl1_flow(grey(clips[:, 0]), grey(clips[:, 1]), params=self.params)
        features = bi_woof(
            flow, optical_strain(flow), bins=self.bins, blocks=self.blocks, reading=self.reading
        )
        return features[..., None, None]
