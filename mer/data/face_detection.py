"""A face and its eyes in one grey frame, by the Haar cascades that OpenCV's wheels carry (Viola and Jones).

``frontalface_alt2`` was chosen by trying: on skimage's astronaut, turned by up to 25 degrees, scaled,
darkened and with noise (198 pictures), it took something else for the face in 7 and ``frontalface_default``
in 13; they found it in 102 and 114. A clip whose face is missed is tried again on other frames and then
reported; a wrong face would go unnoticed.
"""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer.opencv import import_opencv

Box = tuple[int, int, int, int]  # x and y of the first pixel, width, height

FACE = "haarcascade_frontalface_alt2"
EYES = ("haarcascade_eye", "haarcascade_eye_tree_eyeglasses")  # the second where the first misses an eye
SHORT_SIDE = (160, 480)  # px; a frame is searched at a size in between: the detector's window has 20 px
FACE_WIDTH = 240  # px; a face is searched for eyes at this width
# Medians of what the two functions below find in the 100 small faces of skimage.data.lfw_subset(), made
# symmetric: x, y, width and height of the right and the left eye, in parts of the face's box.
TYPICAL = ((0.20, 0.27, 0.24, 0.24), (0.56, 0.27, 0.24, 0.24))
STEEPEST = 0.35  # slope of the line through the eyes; the face detector finds nothing beyond 20 degrees

_loaded = threading.local()


def find_face(grey: NDArray[np.uint8]) -> Box | None:
    """The largest face of a frame (H, W); None if none is at least 1/8 of the frame's short side wide."""
    height, width = grey.shape
    scale = float(np.clip(min(height, width), *SHORT_SIDE)) / min(height, width)
    searched = _resize(grey, scale)
    least = max(20, min(searched.shape) // 8)
    found = _cascade(FACE).detectMultiScale(searched, 1.1, 5, minSize=(least, least))
    if len(found) == 0:
        return None
    # By size, then by place: OpenCV's threads give the boxes in any order.
    _, x, y, side = max((int(side), int(x), int(y), int(side)) for x, y, side, _ in found)
    left, top = round(x / scale), round(y / scale)
    return left, top, min(round(side / scale), width - left), min(round(side / scale), height - top)


def find_eyes(grey: NDArray[np.uint8], face: Box) -> tuple[Box, Box] | None:
    """The eyes of a face: the better box on the left of the picture (the right eye), and on its right.

    Args:
        grey: the frame, (H, W).
        face: box of the face; the eyes' centres are in its upper half.

    Returns:
        None if one side has no eye, or the two do not lie on a line that a head could have.
    """
    x, y, width, height = face
    scale = FACE_WIDTH / width
    # An eye whose centre is in the upper half may end below it.
    searched = _resize(grey[y : y + max(1, round(0.65 * height)), x : x + width], scale)
    best: dict[int, tuple[float, Box]] = {}
    for name in EYES:
        sides: dict[int, list[tuple[float, Box]]] = {0: [], 1: []}
        for weight, (left, top, w, h) in _weighed(name, searched):
            if top + h / 2 > 0.5 * height * scale or left < FACE_WIDTH / 2 < left + w:
                continue
            box = (x + round(left / scale), y + round(top / scale), round(w / scale), round(h / scale))
            sides[int(left >= FACE_WIDTH / 2)].append((weight, box))
        best = {side: max(boxes) for side, boxes in sides.items() if boxes} | best
        if len(best) == 2:
            break
    if len(best) < 2:
        return None
    right, left_eye = best[0][1], best[1][1]
    (right_x, right_y), (left_x, left_y) = _centre(right), _centre(left_eye)
    if abs(left_y - right_y) > STEEPEST * (left_x - right_x):
        return None
    return right, left_eye


def typical_eyes(face: Box) -> list[tuple[float, float, float, float]]:
    """Boxes where the right and the left eye usually are in the box of a face."""
    x, y, width, height = face
    return [(x + a * width, y + b * height, c * width, d * height) for a, b, c, d in TYPICAL]


def _weighed(name: str, image: NDArray[np.uint8]) -> list[tuple[float, Box]]:
    least, most = FACE_WIDTH // 8, FACE_WIDTH * 2 // 5
    boxes, _, weights = _cascade(name).detectMultiScale3(
        image, 1.05, 3, minSize=(least, least), maxSize=(most, most), outputRejectLevels=True
    )
    return [
        (float(weight), (int(x), int(y), int(w), int(h)))
        for weight, (x, y, w, h) in zip(weights, boxes, strict=True)
    ]


def _centre(box: Box) -> tuple[float, float]:
    x, y, width, height = box
    return x + width / 2, y + height / 2


def _resize(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    cv2 = import_opencv()
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    resized: NDArray[np.uint8] = cv2.resize(
        image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    return resized


def _cascade(name: str) -> Any:
    """This thread's own cascade: OpenCV does not let two threads share one."""
    cv2 = import_opencv()
    cascades: dict[str, Any] = vars(_loaded)
    if name not in cascades:
        cascades[name] = cv2.CascadeClassifier(f"{cv2.data.haarcascades}{name}.xml")
    return cascades[name]
