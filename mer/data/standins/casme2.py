"""A stand-in of CASME II: the sheet of 2014, raw and cropped frames, every quirk of the release."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer.data.casme2 import PUBLISHED_COUNTS
from mer.data.standins.tree import draw, spread, write_frames, write_sheet

HEADER = [
    *["Subject", "Filename", "", "OnsetFrame", "ApexFrame", "OffsetFrame", "", "Action Units"],
    *["Estimated Emotion", "", ""],
]
# The clips with quirks: (subject, clip) -> label, onset, apex, offset as the release has them.
QUIRKS: dict[tuple[str, str], tuple[str, int, int | str, int]] = {
    ("04", "EP12_01f"): ("disgust", 101, "/", 108),
    ("05", "EP09_05f"): ("disgust", 69, 69, 123),  # by LAENet's table 3, which counts 61 of the 63
    ("05", "EP16_04f"): ("happiness", 91, 99, 99),
    ("12", "EP09_06"): ("surprise", 95, 103, 103),
    ("16", "EP01_08"): ("disgust", 96, 100, 105),
}


def write(root: Path, *, full: bool, size: int) -> None:
    """Write the sheet and both layouts; ``full`` has the published counts."""
    counts = {label: count for label, count in PUBLISHED_COUNTS["casme2"].items() if label != "subjects"}
    numbers = [f"{number:02d}" for number in range(1, 27)]
    only = {"10": "others", "18": "others"}  # why MEGC 2019 has 24 subjects
    if not full:
        counts = dict.fromkeys(counts, 3) | {"sadness": 1, "fear": 1}
        numbers, only = ["04", "05", "12", "16"], {}
    for label, *_ in QUIRKS.values():
        counts[label] -= 1
    rng = np.random.default_rng(2)
    rows: list[tuple[str, str, str, int, int | str, int]] = [(*key, *row) for key, row in QUIRKS.items()]
    for number, (subject, label) in enumerate(spread(counts, numbers, only)):
        # Numbers of two and three digits, so that an order by text is wrong.
        places = np.cumsum([90 + number % 10, *rng.integers(2, 6, 2)]).tolist()
        rows.append((subject, f"EP{2 + number % 18:02d}_{number:02d}f", label, *places))
    cells: list[list[object]] = []
    for subject, clip, label, onset, apex, offset in sorted(rows):
        units = [4, "4+7", "?"][len(cells) % 3]  # integers, text and question marks, as released
        cells.append([subject, clip, None, onset, apex, offset, None, units, label, None, None])
        middle = apex if isinstance(apex, int) else (onset + offset) // 2
        frames = draw(f"casme2/{subject}", clip, label, onset, middle, offset, size=size)
        _write_clip(root, f"sub{subject}/{clip}", frames, onset)
    write_sheet(root / "CASME2-coding-20140508.xlsx", cells, header=HEADER, sheet="Sheet1")


def _write_clip(root: Path, name: str, frames: NDArray[np.uint8], onset: int) -> None:
    write_frames(
        root / "CASME2_RAW_selected" / name, "img{}.jpg", np.pad(frames, ((0, 0), (4, 4), (9, 9))), onset
    )
    write_frames(root / "Cropped" / name, "reg_img{}.jpg", frames, onset)
    if name == "sub16/EP01_08":  # the cropped release lacks frames of this clip
        for number in (onset + 3, onset + 4):
            (root / "Cropped" / name / f"reg_img{number}.jpg").unlink()
