"""A stand-in of CASME: one sheet, sections A and B and the cropped frames, every quirk of the release."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer.data.casme import NO_OFFSET, PUBLISHED_COUNTS
from mer.data.standins.tree import draw, spread, write_frames, write_sheet

HEADER = ["Emotion", "Subject", "", "Filename", "OnsetF", "ApexF1", "ApexF2", "OffsetF", "", "AU"]
SECTION_A = [f"{number:02d}" for number in range(1, 8)]
SECTION_B = [f"{number:02d}" for number in range(8, 20)]
NEUTRAL = 1  # frames before each onset


def write(root: Path, *, full: bool, size: int) -> None:
    """Write the sheet and both layouts; ``full`` has the published counts."""
    counts = {label: count for label, count in PUBLISHED_COUNTS["casme"].items() if label != "subjects"}
    numbers = [*SECTION_A, *SECTION_B]
    if not full:
        counts = dict.fromkeys(counts, 3) | {"sadness": 1, "fear": 1, "contempt": 1}
        numbers = ["01", "02", "08", "19"]
    rng = np.random.default_rng(1)
    cells: list[list[object]] = []
    for place, (subject, label) in enumerate(spread(counts, numbers)):
        clip = f"EP{1 + place % 18:02d}_{place}"
        # Numbers of two and three digits, so that an order by text is wrong in section A.
        onset, apex, offset = np.cumsum([96 + place % 5, *rng.integers(2, 4, 2)]).tolist()
        frames = draw(f"casme/{subject}", clip, label, onset, apex, offset, size=size)
        frames = np.concatenate([frames[:1].repeat(NEUTRAL, axis=0), frames])
        _write_clip(root, subject, clip, frames, onset - NEUTRAL)
        second = apex + 1 if place % 4 == 0 else None
        end = NO_OFFSET if place % 9 == 1 else offset
        units = [4, "4+7", "L12"][place % 3]
        cells.append([label, int(subject), None, clip, onset, apex, second, end, None, units])
    write_sheet(root / "casme.xlsx", cells, header=HEADER, sheet="Sheet1")


def _write_clip(root: Path, subject: str, clip: str, frames: NDArray[np.uint8], first: int) -> None:
    section, number = ("Section A", "{}") if subject in SECTION_A else ("Section B", "{:03d}")
    name = f"sub{subject}/{clip}"
    whole = np.pad(frames, ((0, 0), (4, 4), (9, 9)))
    write_frames(root / section / name, f"{clip}-{number}.jpg", whole, first)
    write_frames(root / "Cropped" / name, f"reg_{clip}-{number}.jpg", frames, first)
