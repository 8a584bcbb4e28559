"""A face as a crop of its clip's frames, and the geometry that makes one.

One crop a clip keeps the head's own motion and adds none: a crop found anew in each frame jitters.

The eyes are polygons of six points in the order of the 68-point scheme: the corner on the left of the
picture, two points above, the other corner, two points below. An eye that is known by a box only is the
box's outline, with the corners in the middle of its sides, so that the mean of the points is its centre.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer.errors import MerError
from mer.opencv import import_opencv

Found = Literal["whole frame", "landmarks", "haar", "not found"]
EyesFrom = Literal["landmarks", "haar", "typical"]
Points = NDArray[np.float64]
UNTURNED: Points = np.eye(2, 3)


@dataclass(frozen=True)
class Face:
    """Where the face of a clip is: one crop for all its frames.

    Attributes:
        method: how the crop was found; with "whole frame" and "not found" it is the frame itself.
        matrix: row-major 2x3: frame pixel (x, y, 1) -> crop pixel; 0 is the centre of the first pixel.
        size: width and height of the crop.
        eyes: two polygons, the right eye (points 37-42, on the left of the picture) and the left one
            (43-48), each of six points (x, y) in the crop's pixels.
        eyes_from: "typical" is where the eyes usually are in a face's box.
    """

    method: Found
    matrix: tuple[float, float, float, float, float, float]
    size: tuple[int, int]
    eyes: tuple[tuple[tuple[float, float], ...], ...]
    eyes_from: EyesFrom


def cut(image: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
    """The crop of a frame: (C, H, W) uint8 -> (C, h, w) uint8.

    Where the crop reaches over the frame, it repeats the frame's edge. A crop that is not turned holds the
    frame's own pixels (a view of them, if it lies inside); else they are interpolated linearly.
    """
    a, b, shift_x, c, d, shift_y = face.matrix
    width, height = face.size
    if (a, b, c, d) == (1, 0, 0, 1) and shift_x % 1 == shift_y % 1 == 0:
        left, top = -int(shift_x), -int(shift_y)
        if 0 <= left <= image.shape[2] - width and 0 <= top <= image.shape[1] - height:
            return image[:, top : top + height, left : left + width]
        rows = np.arange(top, top + height).clip(0, image.shape[1] - 1)
        columns = np.arange(left, left + width).clip(0, image.shape[2] - 1)
        return image[:, rows[:, None], columns]
    cv2 = import_opencv()
    turned = cv2.warpAffine(
        np.ascontiguousarray(image.transpose(1, 2, 0)),
        np.array(face.matrix).reshape(2, 3),
        face.size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.ascontiguousarray(turned.reshape(height, width, -1).transpose(2, 0, 1))


def eye_polygons(faces: Sequence[Face]) -> Tensor:
    """The eyes of N faces: (N, 2, 6, 2) float32, (x, y) in each crop's pixels."""
    return torch.tensor([face.eyes for face in faces], dtype=torch.float32).reshape(-1, 2, 6, 2)


def make_face(
    method: Found, matrix: Points, size: tuple[int, int], eyes: Points, eyes_from: EyesFrom
) -> Face:
    """A face from its eyes (2, 6, 2) in the frame's pixels, which ``matrix`` (2, 3) takes to the crop's."""
    polygons = transform(matrix, eyes).tolist()
    right, left = (tuple((x, y) for x, y in polygon) for polygon in polygons)
    a, b, shift_x, c, d, shift_y = matrix.ravel().tolist()
    return Face(method, (a, b, shift_x, c, d, shift_y), size, (right, left), eyes_from)


def transform(matrix: Points, points: Points) -> Points:
    """Points (..., 2) under a matrix (2, 3)."""
    moved: Points = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def shift(matrix: Points, left: int, top: int) -> Points:
    """The matrix (2, 3) followed by a crop whose first pixel is (left, top)."""
    shifted: Points = matrix - np.array([[0, 0, left], [0, 0, top]])
    return shifted


def level(eyes: Points) -> Points:
    """The matrix (2, 3) that turns the picture about the point between the eyes, so that they are level."""
    right, left = eyes.mean(1)
    along, down = (left - right) / np.hypot(*(left - right))
    turn = np.array([[along, down], [-down, along]])
    middle = (left + right) / 2
    return np.column_stack([turn, middle - turn @ middle])


def around(
    points: Points, turn: Points, margins: tuple[int, int, int, int]
) -> tuple[Points, tuple[int, int]]:
    """The matrix and the size of the crop that holds the pixels of all points and the margins beside.

    Args:
        points: (N, 2) in the frame's pixels.
        turn: (2, 3), applied to them first.
        margins: top, bottom, left, right, in pixels.
    """
    turned = transform(turn, points)
    above, below, before, after = margins
    left, top = np.floor(turned.min(0)).astype(int) - np.array([before, above])
    right, bottom = np.ceil(turned.max(0)).astype(int) + np.array([after, below])
    return shift(turn, int(left), int(top)), (int(right - left) + 1, int(bottom - top) + 1)


def outline(x: float, y: float, width: float, height: float) -> Points:
    """Six points on the edge of a box: (6, 2), the centres of its outermost pixels."""
    right, bottom = x + width - 1, y + height - 1
    return np.array(
        [(x, (y + bottom) / 2), (x, y), (right, y), (right, (y + bottom) / 2), (right, bottom), (x, bottom)]
    )


def check_points(points: Points, width: int, height: int) -> None:
    """Whether landmarks can be of a frame of this size: of a face that it cuts, some lie beside it.

    Raises:
        MerError: a point is further away than the frame is large: the crop would hold no face, or fill the
            memory.
    """
    size = np.array([width, height])
    if (points < -size).any() or (points > 2 * size).any():
        worst = points[np.abs(points - size / 2).max(1).argmax()]
        raise MerError(
            f"a landmark lies at {worst[0]:.4g}, {worst[1]:.4g}, far outside the frame of {width}x{height}; "
            "the landmarks are of other frames, or of another size of them"
        )


def check_eyes(eyes: Points, width: int, height: int) -> None:
    """Whether landmarks of eyes can be of a frame of this size.

    Raises:
        MerError: they lie outside it, or the right eye is not to the left of the left one.
    """
    right, left = eyes.mean(1)
    low, high = eyes.min((0, 1)), eyes.max((0, 1))
    if (low < -1).any() or high[0] > width or high[1] > height:
        raise MerError(
            f"the eyes lie at x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to {high[1]:.0f}, outside the "
            f"frame of {width}x{height}; the landmarks are of other frames, or of another size of them"
        )
    if left[0] <= right[0]:
        raise MerError(
            "points 37-42 lie to the right of 43-48; the landmarks are not in the order of the 68-point "
            "scheme, or of a mirrored frame"
        )
