"""From the rows of an annotation to a clip table: each row is used, corrected or left out, and told why."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from mer.data.clips import COLUMNS, FRAME_NUMBERS, validate
from mer.data.findings import Finding, Outcome, Reading, place_of
from mer.data.frame_files import inspect
from mer.data.sheet import read_sheet
from mer.errors import MerError

Row = dict[str, Any]
MISSING_APEX = "the apex is missing, it can be spotted"


@dataclass
class _Settling:
    """The findings of one database while its rows are gone through."""

    source: Path
    database: str
    findings: list[Finding]
    named_folders: bool
    accepted: dict[tuple[str, str], str] = field(default_factory=dict)  # clips known to lack frames: why

    def note(self, row: Row, problem: str, outcome: Outcome, action: str, *, known: bool = False) -> None:
        self.findings.append(
            Finding(
                place=place_of(self.source, row.get("row")),
                clip=f"{self.database}/{row['subject']}/{row['clip']}",
                problem=problem,
                outcome=outcome,
                action=action,
                known=known,
            )
        )

    def note_frames(self, row: Row, problem: str, outcome: Outcome, action: str) -> None:
        """A finding about files, which the project may have accepted in ``corrections.csv``."""
        reason = self.accepted.get((row["subject"], row["clip"]))
        text = f"{action} (corrections.csv: {reason})" if reason else action
        self.note(row, problem, outcome, text, known=reason is not None)


def settle(
    rows: pd.DataFrame,
    *,
    source: Path,
    database: str,
    fps: float,
    folders: Iterable[Path] = (),
    findings: Sequence[Finding] = (),
    named_folders: bool = True,
) -> Reading:
    """The clip table of raw rows, and what was done about each that is not as it should be.

    In this order: the project's corrections (``corrections.csv``), rows that come twice, frame numbers
    that are none, folders and files of frames, the order of onset, apex and offset. An apex that cannot be
    used becomes missing: it can be spotted.

    Args:
        rows: subject, clip, label, onset, apex, offset as text, number or None; ``frames``, the path where
            the clip's frames should lie; ``cropped``, whether they show the face alone; optionally ``row``,
            the row of the sheet, ``landmarks``, a file of 68 points, and ``spare``, where the original
            frames of a cropped clip lie: they are used where none of the cropped ones can be.
        source: the annotation file, or the folder that stands for one.
        database: its name in the clip table.
        fps: frames a second.
        folders: all clip folders that there are, to find those that no row names.
        findings: what the reader itself has noticed.
        named_folders: subjects and clips are names of folders, as in the releases: one such as ``../s02``
            leads to another's frames, and is left out. False where the rows have paths of their own.

    Raises:
        MerError: no clip is left.
    """
    settling = _Settling(source, database, list(findings), named_folders)
    table = rows.astype(object).where(rows.notna(), None)
    records: list[Row] = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    named = {str(row["frames"]) for row in records}
    _correct(records, settling)
    records = _without_repeats(records, settling)
    kept = [settled for row in records if (settled := _settle_row(row, settling)) is not None]
    settling.findings += [
        Finding(
            place=str(folder),
            clip="",
            problem=f"a folder that no row of {source.name} names",
            outcome="left out",
            action="add its row, if it should be used",
        )
        for folder in folders
        if str(folder) not in named
    ]
    if not kept:
        reasons = [finding for finding in settling.findings if finding.outcome == "left out"]
        first = f"; the first reason: {reasons[0]}" if reasons else ""
        raise MerError(f"{source}: none of {len(rows)} clips can be used{first}")
    columns = [*COLUMNS, "frames", *(name for name in ("cropped", "landmarks") if name in rows.columns)]
    clips = pd.DataFrame(kept).assign(database=database, fps=fps)[columns]
    return Reading(validate(clips, source), settling.findings)


def corrections(database: str) -> list[dict[str, str]]:
    """The project's corrections of one database: subject, clip, column, was, becomes, reason.

    ``was`` is what the release says, ``*`` for whatever it says; ``becomes`` may be empty (missing). The
    column ``frames`` changes nothing: it accepts that frames of this clip are missing in the release.
    """
    names = ("database", "subject", "clip", "column", "was", "becomes", "reason")
    table = read_sheet(Path(str(files("mer.data") / "corrections.csv")), {name: [name] for name in names})
    fixes = table[table["database"] == database]
    return [{name: row[name] or "" for name in names} for row in fixes.to_dict("records")]


def _correct(rows: list[Row], settling: _Settling) -> None:
    for fix in corrections(settling.database):
        key = (fix["subject"], fix["clip"])
        if fix["column"] == "frames":
            settling.accepted[key] = fix["reason"]
            continue
        for row in rows:
            was = _text(row[fix["column"]])
            if (row["subject"], row["clip"]) != key or fix["was"] not in ("*", was):
                continue  # a later sheet may have put it right itself
            row[fix["column"]] = fix["becomes"] or None
            change = (
                f"'{was}' becomes '{fix['becomes']}'" if fix["becomes"] else f"'{was}' is taken as missing"
            )
            action = f"corrections.csv: {fix['reason']}"
            settling.note(row, f"{fix['column']} {change}", "corrected", action, known=True)


def _without_repeats(rows: list[Row], settling: _Settling) -> list[Row]:
    """A clip has one row: repeated ones are used once, contradicting ones not at all."""

    def key(row: Row) -> tuple[str, str]:
        return str(row["subject"]), str(row["clip"])

    kept: list[Row] = []
    for _, same in groupby(sorted(rows, key=key), key):
        group = list(same)
        contents = {tuple(_text(row[name]) for name in ("label", *FRAME_NUMBERS)) for row in group}
        if len(contents) > 1:
            for row in group:
                settling.note(row, f"{len(group)} rows that differ", "left out", "keep the right one")
            continue
        kept.append(group[0])
        for row in group[1:]:
            settling.note(row, "the same row again", "corrected", "used once")
    return kept


def _settle_row(row: Row, settling: _Settling) -> Row | None:
    """One row with its frames looked at; None where the clip is left out."""
    for name in ("subject", "clip", "label"):
        if not _text(row[name]):
            settling.note(row, f"no {name}", "left out", "fill it in")
            return None
        if problem := _unfit(str(row[name]), folder=settling.named_folders and name != "label"):
            settling.note(row, f"the {name} {row[name]!r} {problem}", "left out", "rename it")
            return None
    onset, apex, offset = (_number(row, column, settling) for column in FRAME_NUMBERS)
    if onset is not None and offset is not None and onset > offset:
        settling.note(row, f"onset {onset} after offset {offset}", "left out", "correct the row")
        return None
    found = inspect(Path(row["frames"]), onset, offset)
    if found.problem and row.get("spare"):
        spare = inspect(Path(row["spare"]), onset, offset)
        if not spare.problem:
            settling.note_frames(
                row, f"{row['frames']}: {found.problem}", "corrected", f"uses {row['spare']}"
            )
            found, row = spare, row | {"frames": row["spare"], "cropped": False}
    if found.problem:
        settling.note_frames(row, f"{row['frames']}: {found.problem}", "left out", found.remedy)
        return None
    first, last = found.numbers[0], found.numbers[-1]
    for column, number, nearest in (("onset", onset, first), ("offset", offset, last)):
        if number not in (None, nearest):
            settling.note_frames(row, f"no frame for the {column} {number}", "corrected", f"now {nearest}")
    if missing := last - first + 1 - len(found.numbers):
        gap = next(one for one, other in pairwise(found.numbers) if other > one + 1)
        problem = f"{missing} frame(s) missing between onset and offset, such as {gap + 1}"
        settling.note_frames(row, problem, "used", "without them")
    if apex is not None and not first <= apex <= last:
        problem = f"apex {apex} outside the clip, {first} to {last}"
        settling.note(row, problem, "corrected", MISSING_APEX)
        apex = None
    elif apex is not None and apex not in found.numbers:
        nearest = _nearest(found.numbers, apex)
        settling.note_frames(row, f"no frame for the apex {apex}", "corrected", f"now {nearest}")
        apex = nearest
    return row | {"onset": first, "apex": apex, "offset": last}


def _unfit(name: str, *, folder: bool) -> str:
    """Why a name cannot be used; empty where it can. ``folder``: it is that of a folder, too."""
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
        return "holds a line break or another control character, or is not UTF-8"
    if folder and (name in (".", "..") or set(name) & set("/\\")):
        return "leads to another folder"
    return ""


def _number(row: Row, column: str, settling: _Settling) -> int | None:
    """A frame number; what is none is told and becomes missing."""
    text = _text(row[column])
    if re.fullmatch(r"[0-9]{1,15}(\.0*)?", text):
        return int(float(text))
    if text:
        action = {
            "onset": "from the first frame on",
            "apex": MISSING_APEX,
            "offset": "up to the last frame",
        }
        settling.note(row, f"{column} '{text}' is no frame number", "used", action[column])
    return None


def _nearest(numbers: list[int], wanted: int) -> int:
    return min(numbers, key=lambda number: (abs(number - wanted), number))


def _text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()
