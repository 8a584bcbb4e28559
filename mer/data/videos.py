"""Videos that are scored from their first frame to their last, and the expressions in them: for spotting."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.data.clips import BESIDE_FRAMES, FRAME_NUMBERS, KEY, validate
from mer.data.findings import Finding, Outcome
from mer.data.frames import is_video, list_frames
from mer.data.video import count_frames
from mer.errors import MerError

NONE, SEVERAL = "none", "several"  # the label of a video that has not one expression
EXPRESSION = [*KEY, "label", *FRAME_NUMBERS]

Row = dict[str, Any]


class Videos(NamedTuple):
    """The videos of a clip table.

    Attributes:
        table: a validated clip table with a row a video, to be split and encoded as any other. ``clip`` is
            the clip's own name where one clip lies in the video, else the name of its folder or file. The
            label is that of its only expression, or ``several``, or ``none``: no class. There is no onset,
            apex or offset, so that all frames are read.
        expressions: a row an expression: video (int64, the row in ``table``), database, subject, clip, label,
            onset, apex, offset (Int64; only an apex may be missing). Sorted by video, then onset.
        findings: what is not as it should be, and what was done.
    """

    table: pd.DataFrame
    expressions: pd.DataFrame
    findings: list[Finding]


def find_videos(clips: pd.DataFrame, still: pd.DataFrame | None = None) -> Videos:
    """Group clips by the folder or video file that they lie in.

    An onset or offset that is missing is the first or last frame; one before or after the frames that are
    there is cut. An apex that a cut takes away is missing.

    Args:
        clips: a validated clip table with frames. A folder each gives one video a clip.
        still: videos that are known to hold no expression: database, subject, clip, fps, frames and, where
            known, cropped and landmarks.

    Raises:
        MerError: clips that are encoded images; a folder of two subjects, of unequal clips, or of a clip and
            of ``still``; frames that cannot be listed; no video of two frames or more.
    """
    source = "the clip table" if still is None else "the clip table and the still videos"
    if "frames" not in clips.columns:
        raise MerError("spotting reads frames from folders or videos, but these clips are encoded images")
    rows: list[Row] = [*_rows(clips, still=False), *([] if still is None else _rows(still, still=True))]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["frames"], []).append(row)
    findings: list[Finding] = []
    videos: list[Row] = []
    expressions: list[Row] = []
    for path, group in groups.items():
        _check_one_video(path, group)
        numbers = _frames_of(Path(path))
        if len(numbers) < 2:
            names = ", ".join(row["clip"] for row in group)
            problem = f"1 frame in this video ({names}), which shows no change"
            _note(findings, group[0], problem, "left out", "give the frames around it too")
            continue
        found = [] if group[0]["still"] else _expressions(group, numbers, findings)
        expressions += found
        label = found[0]["label"] if len(found) == 1 else SEVERAL if found else NONE
        videos.append(group[0] | {"alone": len(group) == 1, "label": label, "landmarks": _landmarks(group)})
    if not videos:
        raise MerError(f"{source}: no video has two frames or more; the first: {findings[0]}")
    columns = ["frames", *(name for name in BESIDE_FRAMES if any(name in row for row in rows))]
    table = pd.DataFrame(_named(videos), dtype=object)[[*KEY, "label", "fps", *columns]]
    if "cropped" in columns:  # as everywhere, frames of which nothing is said show the face alone
        table["cropped"] = [cropped is None or bool(cropped) for cropped in table["cropped"]]
    table = validate(table.assign(onset=None, apex=None, offset=None), source)
    place = {path: number for number, path in enumerate(table["frames"])}
    listed = pd.DataFrame(expressions, columns=["frames", *EXPRESSION])
    listed.insert(0, "video", listed.pop("frames").map(place).astype("int64"))
    listed = listed.astype(dict.fromkeys(FRAME_NUMBERS, "Int64"))
    order = ["video", "onset", "offset", "clip"]
    return Videos(table, listed.sort_values(order, ignore_index=True), findings)


def video_frames(videos: Videos) -> list[NDArray[np.int64]]:
    """The frame numbers (T,) of each video: all of its folder or file, as it is encoded.

    Raises:
        MerError: frames that cannot be listed.
    """
    return [_frames_of(Path(path)) for path in videos.table["frames"]]


def _frames_of(path: Path) -> NDArray[np.int64]:
    if is_video(path):
        return np.arange(1, count_frames(path) + 1, dtype=np.int64)
    return np.array(list(list_frames(path)), np.int64)


def _rows(table: pd.DataFrame, *, still: bool) -> Iterator[Row]:
    """The rows of a table, what is missing as None."""
    if lacking := [name for name in (*KEY, "fps", "frames") if name not in table.columns]:
        raise MerError(f"the table of still videos lacks the column(s) {', '.join(lacking)}")
    cells = table.astype(object).where(table.notna(), None)
    for row in cells.to_dict("records"):
        yield {str(name): cell for name, cell in row.items()} | {"frames": str(row["frames"]), "still": still}


def _check_one_video(path: str, group: list[Row]) -> None:
    """Raise MerError where the rows of one folder cannot be of one video."""
    if any(row["still"] for row in group) and len(group) > 1:
        raise MerError(
            f"{path}: {_name(group[0])} lies in this folder, which is known to hold no expression; "
            "correct one of them"
        )
    for name in ("database", "subject", "fps", "cropped"):
        values = list(dict.fromkeys(row.get(name) for row in group))
        if len(values) > 1:
            one, other = (next(row for row in group if row.get(name) == value) for value in values[:2])
            raise MerError(
                f"{path}: {_name(one)} and {_name(other)} lie in this folder and differ in {name} "
                f"({values[0]}, {values[1]}); correct the row that is wrong"
            )


def _expressions(group: list[Row], numbers: NDArray[np.int64], findings: list[Finding]) -> list[Row]:
    """The expressions of one video with the frames that they have there."""
    first, last = int(numbers[0]), int(numbers[-1])
    found: list[Row] = []
    for row in group:
        onset = first if row["onset"] is None else int(row["onset"])
        offset = last if row["offset"] is None else int(row["offset"])
        apex = row["apex"]
        there = f"{onset} to {offset}, but the frames that are there are {first} to {last}"
        if not ((numbers >= onset) & (numbers <= offset)).any():
            _note(findings, row, f"{there}, none of them in it", "left out", "correct the row or add frames")
            continue
        cut = max(onset, first), min(offset, last)
        if cut != (onset, offset):
            lost = apex is not None and not cut[0] <= apex <= cut[1]
            apex = None if lost else apex
            action = f"cut to {cut[0]} to {cut[1]}{', without its apex' * lost}"
            _note(findings, row, there, "corrected", action)
        if apex is None and cut[0] < cut[1]:
            problem = "no apex, so its intensity is undefined"
            _note(findings, row, problem, "used", "left out of the intensity loss only", known=True)
        found.append(row | {"onset": cut[0], "apex": apex, "offset": cut[1]})
    found.sort(key=lambda row: (row["onset"], row["offset"]))
    _note_overlaps(found, findings)
    return found


def _note_overlaps(expressions: list[Row], findings: list[Finding]) -> None:
    """Expressions, by onset, that begin before an earlier one has ended."""
    for number, row in enumerate(expressions):
        for other in expressions[:number]:
            if other["offset"] >= row["onset"]:
                parts = f"{row['onset']} to {row['offset']} and {other['onset']} to {other['offset']}"
                problem = f"overlaps {_name(other)}: {parts}"
                _note(findings, row, problem, "used", "both; the intensity is the higher of the two")


def _landmarks(group: list[Row]) -> str | None:
    """The first file of points that there is: one frame's will do for the place of a face."""
    return next((row["landmarks"] for row in group if row.get("landmarks") is not None), None)


def _named(videos: list[Row]) -> list[Row]:
    """The videos, each named by its only clip or its folder; a name that is taken gets a number."""
    taken: set[tuple[str, ...]] = set()
    for row in sorted(videos, key=lambda row: not row["alone"]):
        path = Path(row["frames"])
        folder = path.stem if is_video(path) else path.name
        wanted = row["clip"] if row["alone"] else folder
        row["clip"], number = wanted, 1
        while (key := (row["database"], row["subject"], row["clip"])) in taken:
            number += 1
            row["clip"] = f"{wanted}-{number}"
        taken.add(key)
    return videos


def _name(row: Row) -> str:
    return "/".join(row[name] for name in KEY)


def _note(
    findings: list[Finding], row: Row, problem: str, outcome: Outcome, action: str, *, known: bool = False
) -> None:
    findings.append(
        Finding(
            place=row["frames"],
            clip=_name(row),
            problem=problem,
            outcome=outcome,
            action=action,
            known=known,
        )
    )
