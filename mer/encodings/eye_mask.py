"""Which pixels of a frame lie in the eyes, from the landmarks around them (LAENet 2.2.4)."""

import torch
from torch import Tensor

from mer.errors import MerError


def inside_eyes(eyes: Tensor, height: int, width: int) -> Tensor:
    """The pixels inside either eye: their centre lies in its polygon (even-odd rule, convex or not).

    Pixel (column x, row y) has its centre at (x, y), as landmarks are counted. A centre on the left or
    upper edge counts as inside, on the right or lower edge not: a box of w x h pixels covers w x h.

    Args:
        eyes: (B, 2, 6, 2) float, x and y of the six landmarks around each eye (37-42 and 43-48, counted
            from 1, of the 68-point scheme) in pixels of the frame. A box is its four corners, two of them
            repeated.
        height, width: of the frame.

    Returns:
        (B, 1, height, width) bool, on the device of ``eyes``.

    Raises:
        MerError: another shape; a coordinate that is not finite; an eye that lies outside the frame.
    """
    if eyes.ndim != 4 or eyes.shape[1:] != (2, 6, 2):
        raise MerError(f"eyes have shape {tuple(eyes.shape)}: give (batch, 2 eyes, 6 points, x and y)")
    corner = torch.tensor([width, height], device=eyes.device)
    outside = ~eyes.isfinite().all((2, 3)) | (eyes.amin(2) >= corner).any(2) | (eyes.amax(2) <= 0).any(2)
    if outside.any():
        clip, eye = outside.nonzero()[0].tolist()
        raise MerError(
            f"clip {clip} of the batch: eye {eye + 1} is at {eyes[clip, eye].tolist()}, outside its frame of "
            f"{width}x{height} pixels; give its points in pixels of the cropped frame"
        )
    x = torch.arange(width, device=eyes.device)
    y = torch.arange(height, device=eyes.device)
    inside = torch.zeros(*eyes.shape[:2], height, width, dtype=torch.bool, device=eyes.device)
    for start, end in zip(eyes.unbind(2), eyes.roll(-1, 2).unbind(2), strict=True):
        # Where this edge crosses each row (B, 2, H); level edges, points repeated among them, cross none.
        (x_0, y_0), (x_1, y_1) = start[..., None].unbind(2), end[..., None].unbind(2)
        crosses = (y_0 <= y) != (y_1 <= y)
        at = x_0 + (y - y_0) * (x_1 - x_0) / torch.where(crosses, y_1 - y_0, 1)
        inside ^= crosses[..., None] & (at[..., None] <= x)
    return inside.any(1, keepdim=True)
