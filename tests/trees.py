"""Writers of tiny fake databases, each in the real one's layout."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

# Two subjects a database; 8 clips of each class.
SUBJECTS = ("006", "007", "s01", "s02", "sub01", "sub02")
LABELS = ("0", "0", "1", "2")


def write_megc2019_uvos(
    root: Path, subjects: Mapping[str, tuple[str, ...]] | None = None, *, size: int = 28
) -> Path:
    """Write the release of STSTNet's authors: ``<root>/<subject>/u_test/<label>/<subject>_<clip> .png``.

    Args:
        root: made where it is missing.
        subjects: subject -> label folder of each of its clips. Clips are named ``EP01_01``, ``EP01_02``...
        size: side of the images, in pixels.
    """
    subjects = subjects or dict.fromkeys(SUBJECTS, LABELS)
    pixels = np.random.default_rng(0)
    images = {
        (subject, label, f"{subject}_EP01_{number:02d} .png"): pixels.integers(
            0, 256, (size, size, 3), np.uint8
        )
        for subject, labels in subjects.items()
        for number, label in enumerate(labels, start=1)
    }
    for subject in subjects:
        for (owner, label, name), image in images.items():
            part = "u_test" if owner == subject else "u_train"
            write_png(root / subject / part / label / name, image)
    return root


def write_frames(
    folder: Path, numbers: range, *, size: tuple[int, int] = (32, 40), seed: int = 0, name: str = "img{}.png"
) -> Path:
    """Write frames of random colour, height x width ``size``, into a folder."""
    pixels = np.random.default_rng(seed)
    for number in numbers:
        write_png(folder / name.format(number), pixels.integers(0, 256, (*size, 3), np.uint8))
    return folder


def write_png(path: Path, bgr: np.typing.NDArray[np.uint8]) -> Path:
    """Write one image, with the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, content = cv2.imencode(".png", bgr)
    assert ok
    path.write_bytes(content.tobytes())
    return path
