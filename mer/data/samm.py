"""SAMM: 159 micro-expressions of 29 subjects at 200 fps, in grey (Davison et al. 2018).

Layout: ``SAMM_Micro_FACS_Codes_v2.xlsx`` and ``SAMM/006/006_1_2/006_05562.jpg``.
"""

from pathlib import Path

from mer.data.database import DatabaseData
from mer.data.findings import Reading
from mer.data.layout import find_frames, find_sheet, subfolders
from mer.data.settle import settle
from mer.data.sheet import read_sheet

FPS = 200
SHEETS = ("SAMM*Micro_FACS_Codes*.xlsx", "SAMM*Micro_FACS_Codes*.xls", "SAMM*Micro_FACS_Codes*.csv")
SHEET = "MICRO_ONLY"
COLUMNS = {
    "subject": ["Subject"],
    "clip": ["Filename"],
    "onset": ["Onset Frame"],
    "apex": ["Apex Frame"],
    "offset": ["Offset Frame"],
    "label": ["Estimated Emotion"],
}
# The release has no cropped faces; a folder of one's own may stand beside it.
LAYOUTS = {"cropped": ["SAMM_CROP", "SAMM_Cropped"], "original": ["SAMM"]}
PUBLISHED_COUNTS = {
    "samm": {
        "anger": 57,
        "other": 26,
        "happiness": 26,
        "surprise": 15,
        "contempt": 12,
        "disgust": 9,
        "fear": 8,
        "sadness": 6,
        "subjects": 29,
    }
}


def read_clips(root: Path, *, frames: str = "auto", sheet: str | None = None) -> Reading:
    """The clip table of SAMM.

    Args:
        root: the folder that holds the sheet and the frames, at most two levels deep.
        frames: ``original``; ``cropped``, for faces of one's own in ``SAMM_CROP``; or ``auto``: cropped
            where it is there.
        sheet: the annotation file below the root, where there are several.

    Raises:
        MerError: the sheet or the frames are missing, or the sheet is of an unknown version.
    """
    path = find_sheet(root, SHEETS, given=sheet)
    # The root itself may be called samm.
    layout, folder = find_frames(root, LAYOUTS, frames, holding="[0-9][0-9][0-9]")
    rows = read_sheet(path, COLUMNS, sheet=SHEET)
    rows["subject"] = [subject_name(subject) for subject in rows["subject"]]
    rows["label"] = rows["label"].str.lower()
    rows["frames"] = [f"{folder}/{s}/{c}" for s, c in zip(rows["subject"], rows["clip"], strict=True)]
    rows["cropped"] = layout == "cropped"
    return settle(rows, source=path, database="samm", fps=FPS, folders=subfolders(folder, 2))


def subject_name(cell: str | None) -> str:
    """``006`` of ``006`` or ``6``: a spreadsheet may hold an integer. Empty for an empty cell."""
    text = cell or ""
    return f"{int(text):03d}" if text.isdecimal() and len(text) < 10 else text


class SAMMDataModule(DatabaseData):
    """One fold of SAMM; see ``DatabaseData``."""

    database = "samm"
    read_clips = staticmethod(read_clips)
