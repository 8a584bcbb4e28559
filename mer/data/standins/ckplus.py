"""A stand-in of CK+: images, emotions and landmarks, with the quirks of the release."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer.data.ckplus import LABELS, PUBLISHED_COUNTS
from mer.data.drawn_face import LOOKS
from mer.data.standins.tree import draw, spread, write_frames

SEQUENCES = 593
SUBJECTS = 123
NUMBERS = {label: number for number, label in LABELS.items()}
MIDDLE = {name: (low + high) / 2 for name, (low, high) in LOOKS.items()}  # the landmarks are of the mean face


def write(root: Path, *, full: bool, size: int) -> None:
    """Write the three folders; ``full`` has the published counts, with the unlabelled sequences."""
    counts = {label: count for label, count in PUBLISHED_COUNTS["ckplus"].items() if label != "subjects"}
    subjects = [f"S{5 + 5 * number:03d}" for number in range(SUBJECTS)]
    labelled, unlabelled = PUBLISHED_COUNTS["ckplus"]["subjects"], SEQUENCES - sum(counts.values())
    if not full:
        counts = dict.fromkeys(counts, 2)
        subjects, labelled, unlabelled = subjects[:5], 4, 5
    dealt = spread(counts | {"": unlabelled}, subjects, dict.fromkeys(subjects[labelled:], ""))
    taken = dict.fromkeys(subjects, 0)
    for number, (subject, label) in enumerate(dealt):
        taken[subject] += 1
        _write_sequence(root, subject, f"{taken[subject]:03d}", label, number, size)
    for folder in ("cohn-kanade-images", "cohn-kanade-images/S005", "cohn-kanade-images/S005/001", "Emotion"):
        (root / folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")


def _write_sequence(root: Path, subject: str, clip: str, label: str, number: int, size: int) -> None:
    last = 4 + number % 3 if label else 1
    # The release stops at the peak; the frame that is drawn after it is cut off.
    frames = draw(f"ckplus/{subject}", clip, label, 1, last, last + 1, size=size)[:last]
    # 640x480 or 640x490: sizes differ between sequences, not within one.
    below, sides = size // 2 + number % 2 * size // 32, (size - size // 2, size // 2)
    framed = np.pad(frames, ((0, 0), (0, below), sides), mode="edge")
    if number % 3 == 0:  # some sequences are in colour
        framed = np.stack([framed, framed, 255 - (255 - framed) // 2], axis=-1)
    place = Path(subject, clip)
    name = f"{subject}_{clip}_"
    write_frames(root / "cohn-kanade-images" / place, name + "{:08d}.png", framed, 1)
    if label or number % 2:  # an empty folder is no label, and neither is none
        (root / "Emotion" / place).mkdir(parents=True)
    if label:
        path = root / "Emotion" / place / f"{name}{last:08d}_emotion.txt"
        path.write_text(f"   {NUMBERS[label]:.7e}\n")
    (root / "Landmarks" / place).mkdir(parents=True)
    for frame in range(1, last + 1):
        path = root / "Landmarks" / place / f"{name}{frame:08d}_landmarks.txt"
        path.write_text(_landmark_lines(size, sides[0]))


@lru_cache
def _landmark_lines(size: int, left: int) -> str:
    pixels = (_landmarks() + 1) * size / 2 - 0.5 + (left, 0)
    return "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in pixels)


def _landmarks() -> NDArray[np.float64]:
    """The 68 points (68, 2) of the mean face, in coordinates of the drawing."""
    eye = MIDDLE["eye_width"], MIDDLE["eye_height"]
    almond = np.array([(-1, 0), (-0.4, -1), (0.4, -1), (1, 0), (0.4, 0.75), (-0.4, 0.75)]) * eye
    brow = np.column_stack([np.linspace(-1.2, 1.2, 5) * eye[0], np.full(5, -MIDDLE["brow_gap"])])
    sides = [(side * MIDDLE["eye_x"], MIDDLE["eye_y"]) for side in (-1, 1)]
    mouth, lips = (0, MIDDLE["mouth_y"]), (MIDDLE["mouth_width"], 1.2 * MIDDLE["lips"])
    bridge = np.column_stack([np.zeros(4), np.linspace(MIDDLE["eye_y"], MIDDLE["nose_y"] - 0.06, 4)])
    nostrils = np.column_stack([np.linspace(-1, 1, 5) * MIDDLE["nose_width"], np.full(5, MIDDLE["nose_y"])])
    return np.concatenate(
        [
            _arc(np.linspace(1, 0, 17)) * (MIDDLE["width"], 0.95),  # the jaw, by the chin
            *[side + brow for side in sides],
            bridge,
            nostrils,
            *[side + almond for side in sides],
            mouth + _arc(np.linspace(1, 3, 12, endpoint=False)) * lips,  # from the left corner over the top
            mouth + _arc(np.linspace(1, 3, 8, endpoint=False)) * lips * 0.5,
        ]
    )


def _arc(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of the unit circle, at multiples of pi; 0.5 is at the bottom of the picture."""
    return np.column_stack([np.cos(turns * np.pi), np.sin(turns * np.pi)])
