"""Local binary patterns with 8 neighbours at radius 1, and their histograms (Ojala et al. 2002)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mer.errors import MerError

BINS = 256
CHUNK = 2**20  # pixels that are worked on at a time: bounds the memory, whatever the clip's length


def lbp_codes(frames: Tensor) -> Tensor:
    """The code of every pixel that has 8 neighbours: bit p is set where neighbour p is not darker than it.

    Neighbours stand on a circle of radius 1, from the right one on and counter-clockwise, as in
    scikit-image's ``local_binary_pattern(P=8, R=1, method="default")``. The diagonal ones lie between
    pixels and are interpolated bilinearly; the comparison is exact, in whole numbers.

    Args:
        frames: (T, 1, H, W) or (T, H, W) uint8, H and W at least 3.

    Returns:
        (T, H - 2, W - 2) uint8, on the device of ``frames``: the code of pixel (y, x) is at (y - 1, x - 1).

    Raises:
        MerError: another shape or type.
    """
    planes = frames[:, 0] if frames.ndim == 4 and frames.shape[1] == 1 else frames
    if planes.ndim != 3 or planes.dtype != torch.uint8 or min(planes.shape[1:]) < 3:
        raise MerError(
            f"LBP takes grey uint8 frames (frames, 1, height, width) of 3x3 pixels or more, "
            f"not {frames.dtype} {tuple(frames.shape)}"
        )
    total, height, width = planes.shape
    codes = planes.new_empty(total, height - 2, width - 2)
    for part in _parts(total, height * width):
        _write_codes(planes[part].to(torch.int16), codes[part])
    return codes


def lbp_histograms(codes: Tensor, boxes: Tensor) -> Tensor:
    """Histogram of the codes in each region of each frame, divided by their number.

    Args:
        codes: (T, H - 2, W - 2) uint8, from ``lbp_codes``.
        boxes: (R, 4) of whole numbers, (x, y, width, height) in pixels of the frames (H, W). The frame's
            outermost pixels have no code; a box may hold them, and whatever lies outside.

    Returns:
        (T, R, 256) float32, each of sum 1, on the device of ``codes``.

    Raises:
        MerError: another shape or type, or a box without any code.
    """
    if codes.ndim != 3 or codes.dtype != torch.uint8:
        raise MerError(
            f"codes of LBP are uint8 (frames, height, width), not {codes.dtype} {tuple(codes.shape)}"
        )
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.is_floating_point():
        raise MerError(
            f"regions are whole numbers (x, y, width, height) a row, not {boxes.dtype} {tuple(boxes.shape)}"
        )
    total, height, width = codes.shape
    histograms = torch.empty(total, len(boxes), BINS, device=codes.device)
    for region, (x, y, box_width, box_height) in enumerate(boxes.tolist()):
        # The first code is that of pixel (1, 1).
        top, bottom = max(y - 1, 0), min(y - 1 + box_height, height)
        left, right = max(x - 1, 0), min(x - 1 + box_width, width)
        if bottom <= top or right <= left:
            raise MerError(
                f"region {region} (x {x}, y {y}, {box_width}x{box_height}) holds no LBP code of a "
                f"{width + 2}x{height + 2} frame; give one inside the frame"
            )
        area = (bottom - top) * (right - left)
        for part in _parts(total, area):
            values = codes[part, top:bottom, left:right].flatten(1).long()
            # Each frame counts into bins of its own, so that one count serves all of them.
            values += BINS * torch.arange(len(values), device=codes.device)[:, None]
            counts = torch.bincount(values.flatten(), minlength=BINS * len(values))
            histograms[part, region] = counts.view(-1, BINS) / area
    return histograms


def _write_codes(planes: Tensor, codes: Tensor) -> None:
    """Codes of int16 planes (t, H, W) into uint8 codes (t, H - 2, W - 2)."""
    height, width = codes.shape[1:]
    centre = planes[:, 1:-1, 1:-1]

    def difference(down: int, right: int) -> Tensor:
        return planes[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width] - centre

    sides = [difference(0, 1), difference(-1, 0), difference(0, -1), difference(1, 0)]
    corners = [difference(-1, 1), difference(-1, -1), difference(1, -1), difference(1, 1)]
    codes.zero_()
    for k, (side, corner) in enumerate(zip(sides, corners, strict=True)):
        codes += (side >= 0).to(torch.uint8) << 2 * k
        # At f = cos 45 degrees along both axes the interpolated value, less the centre c, is
        # f (1 - f) (a - c + b - c) + f^2 (d - c): divided by f, it has this sign, with f as scikit-image
        # rounds it. In floating point, flat areas would get codes by rounding error.
        between = 29289 * (side + sides[(k + 1) % 4]).int() + 70711 * corner.int()
        codes += (between >= 0).to(torch.uint8) << 2 * k + 1


def _parts(frames: int, pixels: int) -> Iterator[slice]:
    """Slices of so many frames as have CHUNK pixels together, one frame at least."""
    step = max(1, CHUNK // pixels)
    return (slice(start, start + step) for start in range(0, frames, step))
