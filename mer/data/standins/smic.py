"""A stand-in of SMIC-HS: cropped and raw clips, long videos with their sheet, every quirk of the release."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer.data.smic import NOT_IN_SHEET, subject_name
from mer.data.standins.tree import draw, write_frames, write_sheet

HEADER = [
    *["Subject", "Filename", "", "OnsetF", "OffsetF", "Onset2F", "Offset2F", "Onset3F", "Offset3F"],
    *["", "FirstF", "LastF", "Emotion"],
]
CODES = {"ne": "negative", "po": "positive", "sur": "surprise"}
# Clips of each subject in MEGC 2019: negative, positive, surprise; numbered from 01.
FULL = {
    **{1: (3, 2, 1), 2: (0, 1, 5), 3: (22, 11, 6), 4: (10, 4, 5), 5: (1, 0, 1), 6: (2, 0, 2)},
    **{8: (9, 4, 0), 9: (0, 1, 3), 11: (3, 3, 1), 12: (0, 8, 1), 13: (0, 10, 0), 14: (3, 2, 5)},
    **{15: (1, 1, 2), 18: (2, 0, 5), 19: (0, 1, 1), 20: (14, 3, 5)},
}
SMALL = [
    *["s1_ne_01", "s1_ne_02", "s1_po_01", "s1_sur_01", "s2_po_01", "s2_sur_05", "s3_ne_16", "s3_po_08"],
    *["s3_sur_01", "s3_sur_05", "s18_ne_01", "s18_sur_03", "s20_ne_01", "s20_po_01"],
]
# Which frames the cropped release lacks, counted from the first; all of s18_sur_03.
GAPS = {
    **{"s3_po_08": (2, 3), "s3_sur_01": (1,), "s3_sur_05": (-1,), "s3_ne_16": (3,)},
    "s18_sur_03": tuple(range(9)),
}
LONG = 17_581_000  # the long videos count from another number


def write(root: Path, *, full: bool, size: int) -> None:
    """Write all three layouts; ``full`` has the published counts, and the clips of MEGC 2019."""
    names = SMALL
    if full:
        names = [
            f"s{subject}_{code}_{number:02d}"
            for subject, counts in FULL.items()
            for code, count in zip(CODES, counts, strict=True)
            for number in range(1, count + 1)
        ]
    rng = np.random.default_rng(3)
    cells: list[list[object]] = []
    for name in names:
        subject, code, _ = name.split("_")
        label = CODES[code]
        onset, apex, offset = np.cumsum([96 + len(cells) % 4, *rng.integers(2, 4, 2)]).tolist()
        frames = draw(f"smic/{subject}", name, label, onset, apex, offset, size=size)
        _write_clip(root, f"{subject}/micro/{label}/{name}", frames, onset)
        key = (subject_name(subject), f"{subject_name(subject)}_{name.partition('_')[2]}")
        if key in NOT_IN_SHEET:
            continue
        onset, offset = LONG + onset, LONG + offset
        around = np.pad(frames, ((2, 6), (4, 4), (9, 9)), mode="edge")  # before the onset, after the offset
        write_frames(root / "HS_long/SMIC_HS_E" / key[0] / name, "image{}.jpg", around, onset - 2)
        # Two micro-expressions in one video, here and there.
        further = [offset + 2, offset + 5] if len(cells) % 40 == 3 else [None, None]
        row = [int(subject[1:]), name, None, onset, offset, *further, None, None, None]
        cells.append([*row, onset - 2, offset + 6, label])
    for subject in dict.fromkeys(name.partition("_")[0] for name in names):
        frames = draw(f"smic/{subject}", "non_micro", "none", 1, 3, 5, size=size)
        _write_clip(root, f"{subject}/non_micro/{subject}_n1", frames, 1)
    write_sheet(root / "HS_long/SMIC-HS-E_annotation.xlsx", cells, header=HEADER, sheet="HS")


def _write_clip(root: Path, place: str, frames: NDArray[np.uint8], onset: int) -> None:
    around = np.pad(frames, ((0, 0), (4, 4), (9, 9)))
    write_frames(root / "SMIC_all_raw/HS" / place, "image{:06d}.bmp", around, onset)
    folder = root / "SMIC_all_cropped/HS" / place
    write_frames(folder, "reg_image{:06d}.bmp", frames, onset)
    for number in GAPS.get(folder.name, ()):
        (folder / f"reg_image{onset + number % len(frames):06d}.bmp").unlink(missing_ok=True)
