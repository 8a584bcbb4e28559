"""One grey frame of a clip, as it is: the control that shows that identity alone gives no class."""

from typing import ClassVar, Literal, get_args

from torch import Tensor, nn

from mer.encodings.apex_flow import check_pairs, grey
from mer.errors import MerError

Frame = Literal["onset", "apex"]


class StillFrame(nn.Module):
    """``still_frame`` of the onset or of the apex: no motion, only who it is and how the face looks then.

    Args:
        size: side of the square output.
        frame: ``onset``, where nothing has moved yet: a network that does better than chance across
            subjects sees an artefact. ``apex`` adds the expression's shape, without its motion.

    Shape:
        clips (B, 2, C, H, W) with C 1 or 3 (R, G, B), lengths (B,) all 2 -> images (B, 1, size, size).
    """

    reads: ClassVar[Literal["clip", "onset_apex"]] = "onset_apex"
    gives: ClassVar[Literal["image", "sequence"]] = "image"
    masks_eyes: ClassVar[bool] = False

    def __init__(self, *, size: int = 28, frame: Frame = "onset") -> None:
        super().__init__()
        if size < 1:
            raise MerError(f"encoding.size={size}: give a positive side in pixels")
        if frame not in get_args(Frame):
            raise MerError(f"encoding.frame={frame!r}: choose one of {', '.join(get_args(Frame))}")
        self.size = size
        self.frame: Frame = frame

    def forward(self, clips: Tensor, lengths: Tensor) -> Tensor:
        """Images (B, 1, size, size) float32, 0..255, of clips (B, 2, C, H, W): onset and apex frame.

        Raises:
            MerError: a clip that does not have exactly two frames, or C is neither 1 nor 3.
        """
        check_pairs(clips, lengths)
        return still_frame(clips[:, get_args(Frame).index(self.frame)], size=self.size)


def still_frame(frames: Tensor, *, size: int = 28) -> Tensor:
    """Frames as small grey images, their greys unchanged.

    Args:
        frames: (B, C, H, W), uint8 or float, 0..255, C 1 (grey) or 3 (R, G, B, turned grey).
        size: side of the square output: bilinear, smoothed first where it shrinks.

    Returns:
        (B, 1, size, size) float32, 0..255, on the device of ``frames``.
    """
    from kornia.geometry.transform import resize  # as in scaling.py

    resized: Tensor = resize(grey(frames).float(), (size, size), antialias=True)
    # The weights of the smoothing sum to 1 only up to rounding.
    return resized.clamp(0, 255)
