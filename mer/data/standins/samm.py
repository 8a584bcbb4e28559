"""A stand-in of SAMM: its sheet with the preamble, frames padded in several ways, and all quirks."""

from pathlib import Path

import numpy as np

from mer.data.samm import PUBLISHED_COUNTS, SHEET
from mer.data.standins.tree import draw, spread, write_frames, write_sheet

HEADER = [
    *["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration"],
    *["Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"],
]
# (subject, clip) -> label, onset, apex, offset, and the offset in the sheet.
QUIRKS = {
    ("013", "013_1_9"): ("Anger", 5786, 5789, 5793, 5739),  # digits exchanged
    ("028", "028_4_1"): ("Contempt", 120, 131, 126, 126),  # the apex after the offset
    ("032", "032_3_1"): ("Anger", 1030, 1021, 1035, 1035),  # the apex before the onset
}
UNITS = (4, "(R6 or R12)+R15", "10A/B", "L14 + 24")  # integers and text
PATTERNS = ("{subject}_{{:05d}}.jpg", "{subject}_{{:04d}}.jpg", "{subject}_1_{{}}.jpg")


def write(root: Path, *, full: bool, size: int) -> None:
    """Write the sheet and the frames; ``full`` has the published counts."""
    counts = {label: count for label, count in PUBLISHED_COUNTS["samm"].items() if label != "subjects"}
    numbers = [6, 7, *range(9, 27), 28, *range(30, 38)]
    only = {"025": "other"}  # why MEGC 2019 has 28 subjects
    if not full:
        counts = dict.fromkeys(counts, 2) | {"anger": 3, "other": 3}
        numbers = [6, 13, 25, 28, 32]
    for label, *_ in QUIRKS.values():
        counts[label.lower()] -= 1
    rng = np.random.default_rng(6)
    rows = [(*key, *row) for key, row in QUIRKS.items()]
    dealt = spread(counts, [f"{number:03d}" for number in numbers], only)
    for number, (subject, label) in enumerate(dealt):
        # Numbers of two and three digits, so that an order by text is wrong.
        onset, apex, offset = np.cumsum([95 + number % 5, *rng.integers(2, 4, 2)]).tolist()
        clip = f"{subject}_{1 + number % 7}_{10 + number}"
        rows.append((subject, clip, label.capitalize(), onset, apex, offset, offset))
    cells: list[list[object]] = []
    for place, (subject, clip, label, onset, apex, offset, written) in enumerate(sorted(rows)):
        middle = apex if onset <= apex <= offset else (onset + offset) // 2
        frames = draw(f"samm/{subject}", clip, label, onset, middle, offset, size=size)
        # Cameras that are wider than high, with the face in the middle.
        pattern = PATTERNS[place % len(PATTERNS)].format(subject=subject)
        write_frames(
            root / "SAMM" / subject / clip, pattern, np.pad(frames, ((0, 0), (4, 4), (16, 16))), onset
        )
        code = int(subject) if place % 2 else subject  # an integer here and there
        units = UNITS[place % len(UNITS)]
        span = [onset, apex, written, written - onset + 1]
        cells.append([code, clip, place % 7 + 1, *span, "Micro - 1/2", units, label, 1 + place % 7, None])
    write_sheet(root / "SAMM_Micro_FACS_Codes_v2.xlsx", cells, header=HEADER, sheet=SHEET, above=13)
