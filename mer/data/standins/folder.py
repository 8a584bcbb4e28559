"""A stand-in of one's own clips: a table as a spreadsheet program writes it, frames, and two videos."""

import csv
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mer.data.standins.tree import draw, write_frames
from mer.errors import MerError

LABELS = ("negative", "positive", "surprise")
HEADER = ["Subject", "Clip", "Label", "Onset", "Apex", "Offset", "FPS", "Cropped", "Path", "Remarks"]


def write(root: Path, *, full: bool, size: int) -> None:
    """Write ``clips.csv`` in Latin-1, folders of frames, and two videos; ``full`` has more subjects."""
    subjects = ["s1", "s2", "s3", *([f"s{number}" for number in range(4, 13)] if full else []), "zoë"]
    rows: list[list[object]] = []
    for subject in subjects:
        for label in LABELS:
            # A name with a comma, which is quoted; the subject's name decides how the table is encoded.
            clip = f"{label}, 2nd try" if (subject, label) == ("s2", "surprise") else f"{label} 1"
            onset = 8 + len(rows) % 4  # the numbers reach two digits within a clip
            apex, offset = onset + 3, onset + 5
            frames = draw(f"folder/{subject}", clip, label, onset, apex, offset, size=size)
            path = f"frames/{subject}/{clip}"
            places: list[object] = [onset, apex, offset]
            if subject == "s3" and label != "surprise":
                path = f"videos/{subject}_{label}.avi"
                # The frames of a video are numbered from 1; one clip has no numbers at all.
                places = [1, 4, 6] if label == "positive" else [None, None, None]
                _write_video(root / path, frames)
            else:
                write_frames(root / path, "img{}.png", frames, onset)
            rows.append([subject, clip, label, *places, 60, "yes", path, ""])
    with (root / "clips.csv").open("w", encoding="latin-1", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])


def _write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames.shape[1:]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 60, (width, height), isColor=False)
    for image in frames:
        video.write(image)
    video.release()
    if not path.is_file():
        raise MerError(f"{path}: could not be written; is the disk full?")
