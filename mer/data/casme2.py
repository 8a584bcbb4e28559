"""CASME II: 255 micro-expressions of 26 subjects at 200 fps (Yan et al. 2014).

Layout: ``CASME2-coding-*.xlsx``, and ``Cropped/sub01/EP02_01f/reg_img46.jpg`` or
``CASME2_RAW_selected/sub01/EP02_01f/img46.jpg``.
"""

from pathlib import Path

from mer.data.database import DatabaseData
from mer.data.findings import Reading
from mer.data.layout import find_frames, find_sheet, subfolders
from mer.data.settle import settle
from mer.data.sheet import read_sheet

FPS = 200
SHEETS = ("CASME2-coding*.xlsx", "CASME2*.xls", "CASME2*.csv")
COLUMNS = {
    "subject": ["Subject"],
    "clip": ["Filename"],
    "onset": ["OnsetFrame"],
    "apex": ["ApexFrame", "ApexFrame1"],
    "offset": ["OffsetFrame"],
    "label": ["Estimated Emotion"],
}
RECORDINGS = ["CASME2-RAW", "CASME2_RAW"]
LAYOUTS = {
    "cropped": ["Cropped"],
    "original": ["CASME2_RAW_selected", *RECORDINGS],
    "recordings": RECORDINGS,  # what came before and after, too: spotting needs it
}
# The release of 2014; the sheets of 2019 have one clip more, sub24/EP02_07.
PUBLISHED_COUNTS = {
    "casme2": {
        "others": 99,
        "disgust": 63,
        "happiness": 32,
        "repression": 27,
        "surprise": 25,
        "sadness": 7,
        "fear": 2,
        "subjects": 26,
    }
}


def read_clips(root: Path, *, frames: str = "auto", sheet: str | None = None) -> Reading:
    """The clip table of CASME II.

    Args:
        root: the folder that holds the sheet and the frames, at most two levels deep.
        frames: ``cropped``, ``original``, ``recordings`` (CASME2-RAW, whole: for spotting), or ``auto``:
            cropped where it is there.
        sheet: the annotation file below the root, where there are several.

    Raises:
        MerError: the sheet or the frames are missing, or the sheet is of an unknown version.
    """
    path = find_sheet(root, SHEETS, given=sheet)
    layout, folder = find_frames(root, LAYOUTS, frames)
    rows = read_sheet(path, COLUMNS)
    rows["subject"] = [subject_name(subject) for subject in rows["subject"]]
    rows["label"] = rows["label"].str.lower()
    rows["frames"] = [f"{folder}/{s}/{c}" for s, c in zip(rows["subject"], rows["clip"], strict=True)]
    rows["cropped"] = layout == "cropped"
    return settle(rows, source=path, database="casme2", fps=FPS, folders=subfolders(folder, 2))


def subject_name(cell: str | None) -> str:
    """``sub01`` of ``01``, ``1`` or ``sub01``: sheets differ. Empty for an empty cell."""
    digits = (cell or "").lower().removeprefix("sub")
    return f"sub{int(digits):02d}" if digits.isdecimal() and len(digits) < 10 else digits


class CASME2DataModule(DatabaseData):
    """One fold of CASME II; see ``DatabaseData``."""

    database = "casme2"
    read_clips = staticmethod(read_clips)
