"""SMIC-HS: 164 micro-expressions of 16 subjects at 100 fps, without apex (Li et al. 2013).

Layout: ``SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01/reg_image000123.bmp``, and ``SMIC_all_raw`` with
``image000123.bmp``: the label is a folder, ``non_micro`` stands beside ``micro``. The long videos are
``HS_long/SMIC_HS_E/s20/s20_ne_01/image17581039.jpg`` and ``SMIC-HS-E_annotation.xlsx``.

A clip without sheet is all the frames of its folder, so frames that are missing at its ends go unnoticed.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from mer.data.database import DatabaseData
from mer.data.findings import Finding, Outcome, Reading, place_of
from mer.data.layout import find_frames, find_sheet, subfolders
from mer.data.settle import settle
from mer.data.sheet import read_sheet
from mer.errors import MerError

FPS = 100
LABELS = ("negative", "positive", "surprise")
NON_MICRO = "non_micro"
SHEETS = ("SMIC?HS?E_annotation*.xlsx", "SMIC?HS?E_annotation*.xls", "SMIC?HS?E_annotation*.csv")
COLUMNS = {
    "subject": ["Subject"],
    "clip": ["Filename"],
    "onset": ["OnsetF"],
    "offset": ["OffsetF"],
    "onset2?": ["Onset2F"],
    "offset2?": ["Offset2F"],
    "onset3?": ["Onset3F"],
    "offset3?": ["Offset3F"],
    "label": ["Emotion"],
}
LAYOUTS = {
    "cropped": ["SMIC_all_cropped"],
    "original": ["SMIC_all_raw"],
    "long": ["SMIC_HS_E", "SMIC-HS-E", "HS_long"],
}
AROUND_SUBJECTS = ("HS", "SMIC_all_cropped", "SMIC_all_raw", "SMIC_HS_E", "SMIC-HS-E")
# Without a row in the release's sheet, though the clips are part of MEGC 2019.
NOT_IN_SHEET = (("s01", "s01_ne_02"), ("s02", "s02_sur_05"))
PUBLISHED_COUNTS = {"smic": {"negative": 70, "positive": 51, "surprise": 43, "subjects": 16}}

Kind = Literal["micro", "non_micro", "all"]


def read_clips(
    root: Path,
    *,
    frames: str = "auto",
    kind: Kind = "micro",
    sheet: str | None = None,
    further: bool = False,
) -> Reading:
    """The clip table of SMIC-HS. Subjects and clips are named as in MEGC 2019: ``s01``, ``s01_ne_01``.

    Args:
        root: the folder that holds the frames, at most two levels deep.
        frames: ``cropped``, ``original``, ``long``, or ``auto``: the first of them that is there, and
            original frames for a cropped clip that has none.
        kind: ``micro``, the micro-expressions; ``non_micro``, clips without any, which have this label;
            or ``all``, both. The long videos have micro-expressions only.
        sheet: the annotation file of the long videos below the root, where there are several.
        further: of the long videos, also the second and third micro-expression, for spotting. The release
            gives them no name: here ``s03_ne_01_2`` and ``_3``, with the label of the first.

    Raises:
        MerError: the frames or, of the long videos, the sheet are missing; or no clip of this kind.
    """
    if kind not in get_args(Kind):
        raise MerError(f"data.clips.kind={kind!r}: choose {', '.join(get_args(Kind))}")
    layout, folder = find_frames(root, LAYOUTS, frames)
    folder = _folder_of_subjects(folder)
    if layout == "long":
        if kind != "micro":
            raise MerError(
                f"data.clips.kind={kind}: the long videos in {folder} name micro-expressions only; "
                "give frames=cropped or frames=original"
            )
        return _read_long(folder, find_sheet(root, SHEETS, given=sheet), further=further)
    if sheet is not None or further:
        option = f"sheet={sheet}" if sheet is not None else "further=true"
        raise MerError(f"data.clips.{option}: a sheet is read with data.clips.frames=long only")
    rows, findings = _list_clips(folder, kind)
    if frames == "auto" and layout == "cropped":
        rows["spare"] = _originals(root, rows, kind)
    reading = settle(
        rows.assign(onset=None, apex=None, offset=None, cropped=layout == "cropped"),
        source=folder,
        database="smic",
        fps=FPS,
        findings=findings,
    )
    return reading if kind != NON_MICRO else reading._replace(published={})


def _originals(root: Path, rows: pd.DataFrame, kind: Kind) -> list[str | None]:
    """Where the original frames of cropped clips lie: the cropped release has an empty folder."""
    try:
        folder = _folder_of_subjects(find_frames(root, LAYOUTS, "original")[1])
    except MerError:
        return [None] * len(rows)  # most users have the cropped release only
    there, _ = _list_clips(folder, kind)
    paths = dict(zip(zip(there["subject"], there["clip"], strict=True), there["frames"], strict=True))
    return [paths.get(key) for key in zip(rows["subject"], rows["clip"], strict=True)]


def subject_name(text: str | None) -> str:
    """``s01`` of ``s1``, ``s01`` or ``1``. Empty for nothing."""
    digits = (text or "").lower().removeprefix("s")
    return f"s{int(digits):02d}" if digits.isdecimal() and len(digits) < 10 else digits


def clip_name(text: str | None) -> str:
    """``s01_ne_01`` of ``s1_ne_01``: the subject in it is written as in :func:`subject_name`."""
    subject, _, rest = (text or "").partition("_")
    return f"{subject_name(subject)}_{rest}" if _is_subject(subject) and rest else text or ""


def _is_subject(name: str) -> bool:
    return re.fullmatch("[sS][0-9]{1,2}", name) is not None


def _folder_of_subjects(folder: Path) -> Path:
    """The folder with s1, s2...: releases put ``HS`` around it, beside ``NIR`` and ``VIS``."""
    around = [name.casefold() for name in AROUND_SUBJECTS]
    found: Path | None = folder
    while found is not None:
        inner = subfolders(found)
        if any(_is_subject(child.name) for child in inner):
            return found
        found = next((child for child in inner if child.name.casefold() in around), None)
    raise MerError(f"{folder}: no folder HS with the subjects s1, s2, ... in it; unpack the release there")


def _list_clips(folder: Path, kind: Kind) -> tuple[pd.DataFrame, list[Finding]]:
    """Every folder of a clip, with its label; and the folders that are none."""
    rows: list[dict[str, str]] = []
    findings: list[Finding] = []
    for person in subfolders(folder):
        if not _is_subject(person.name):
            findings.append(_left_out(person, "not a subject's folder (s1, s2, ...)"))
            continue
        subject = subject_name(person.name)
        for label, path in _labelled(person, kind, findings):
            clip = clip_name(path.name)
            owner = clip.partition("_")[0]
            # One person's clip under another's name would be trained on and tested.
            if _is_subject(owner) and owner != subject:
                findings.append(
                    _left_out(path, f"a clip of {owner} in the folder of {subject}", f"{subject}/{clip}")
                )
            else:
                rows.append({"subject": subject, "clip": clip, "label": label, "frames": str(path)})
    if not any(kind == "micro" or row["label"] == NON_MICRO for row in rows):
        where = "micro/<negative, positive, surprise>" if kind == "micro" else NON_MICRO
        raise MerError(f"{folder}: no clip in <subject>/{where}; unpack the release there")
    return pd.DataFrame(rows), findings


def _labelled(person: Path, kind: Kind, findings: list[Finding]) -> list[tuple[str, Path]]:
    """(label, folder) of one subject's clips of a kind."""
    found: list[tuple[str, Path]] = []
    for part in subfolders(person):
        if part.name == NON_MICRO:
            found += [(NON_MICRO, clip) for clip in subfolders(part) if kind != "micro"]
        elif part.name == "micro":
            for emotion in subfolders(part):
                if emotion.name not in LABELS:
                    findings.append(_left_out(emotion, f"not a label's folder ({', '.join(LABELS)})"))
                elif kind != NON_MICRO:
                    found += [(emotion.name, clip) for clip in subfolders(emotion)]
        else:
            findings.append(_left_out(part, f"neither micro nor {NON_MICRO}"))
    return found


def _left_out(folder: Path, problem: str, clip: str = "") -> Finding:
    name = f"smic/{clip}" if clip else ""
    return Finding(
        place=str(folder), clip=name, problem=problem, outcome="left out", action="move it away, or rename it"
    )


def _read_long(folder: Path, sheet: Path, *, further: bool) -> Reading:
    """The micro-expressions that the sheet places in the long videos."""
    rows = read_sheet(sheet, COLUMNS)
    rows["subject"] = [subject_name(subject) for subject in rows["subject"]]
    rows["clip"] = [clip_name(clip) for clip in rows["clip"]]
    rows["label"] = rows["label"].str.lower()
    keys = list(zip(rows["subject"], rows["clip"], strict=True))
    # s03/s3_ne_01: the names on the disk are not those of the table.
    paths = {(subject_name(path.parent.name), clip_name(path.name)): path for path in subfolders(folder, 2)}
    rows["frames"] = [str(paths.get(key, folder / key[0] / key[1])) for key in keys]
    lacking = [key for key in NOT_IN_SHEET if key not in keys]
    findings = [
        Finding(
            place=str(paths.get(key, sheet)),
            clip=f"smic/{key[0]}/{key[1]}",
            problem=f"no row in {sheet.name}",
            outcome="left out",
            action="data.clips.frames=cropped or original has it",
            known=True,
        )
        for key in lacking
    ]
    others, told = _further(rows, sheet, wanted=further)
    reading = settle(
        pd.concat([rows, others]).assign(apex=None, cropped=False),
        source=sheet,
        database="smic",
        fps=FPS,
        folders=[path for key, path in paths.items() if key not in lacking],
        findings=[*findings, *told],
    )
    return reading._replace(published={}) if further else reading


def _further(rows: pd.DataFrame, sheet: Path, *, wanted: bool) -> tuple[pd.DataFrame, list[Finding]]:
    """The second and third micro-expressions of a video, which no clip name stands for.

    Their rows, none unless ``wanted``, and what is told of them.
    """
    found: list[dict[Hashable, Any]] = []
    findings: list[Finding] = []
    for row in rows.to_dict("records"):
        for n in (2, 3):
            onset, offset = row[f"onset{n}"], row[f"offset{n}"]
            if onset is None and offset is None:
                continue
            outcome: Outcome = "used"
            action, known = "the first one alone: the release gives the others no name", True
            if wanted and (onset is None or offset is None):
                # Without both, the clip would be the rest of its long video.
                outcome, action, known = "left out", "correct the row", False
            elif wanted:
                action = f"as the clip {row['clip']}_{n}"
                found.append(row | {"clip": f"{row['clip']}_{n}", "onset": onset, "offset": offset})
            findings.append(
                Finding(
                    place=place_of(sheet, row["row"]),
                    clip=f"smic/{row['subject']}/{row['clip']}",
                    problem=f"another micro-expression in this video, {onset or '?'} to {offset or '?'}",
                    outcome=outcome,
                    action=action,
                    known=known,
                )
            )
    return pd.DataFrame(found, columns=rows.columns), findings


class SMICDataModule(DatabaseData):
    """One fold of SMIC-HS; see ``DatabaseData``."""

    database = "smic"
    read_clips = staticmethod(read_clips)
