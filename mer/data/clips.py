"""The clip table: one row a clip, the same columns for every database."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from mer.errors import MerError

KEY = ["database", "subject", "clip"]
COLUMNS = [*KEY, "label", "onset", "apex", "offset", "fps"]
FRAME_NUMBERS = ["onset", "apex", "offset"]
LARGEST = 10**15  # frame numbers are smaller
BESIDE_FRAMES = ["cropped", "landmarks"]


def validate(clips: pd.DataFrame, source: Path | str) -> pd.DataFrame:
    """Check a clip table and return it sorted by (database, subject, clip), with the contract's types.

    Args:
        clips: columns database, subject, clip, label (text), onset, apex, offset (frame numbers, may
            be missing), fps (may be missing), and exactly one of ``frames`` (folder of frames, or video)
            and ``image`` (path of an image that is already encoded). Beside frames, two more may stand:
            ``cropped`` (whether they show the face alone and are used as they are; True where there is no
            such column) and ``landmarks`` (file with the 68 points of the onset frame, may be missing).
        source: the file or folder that the table was read from, for the messages.

    Blanks around a name or label are removed: ``"s1 "`` is the subject ``"s1"``, not another one. Two
    subjects whose names a person reads as one (`spelling`) are an error: apart, one would be trained on and
    the other tested.

    Raises:
        MerError: naming ``source``, the clip and what to do.
    """
    if clips.empty:
        raise MerError(f"{source}: no clip found; check that the root is the database's own folder")
    pictures = [column for column in ("frames", "image") if column in clips.columns]
    if missing := [column for column in COLUMNS if column not in clips.columns]:
        raise MerError(f"{source}: the clip table lacks the column(s) {', '.join(missing)}")
    if len(pictures) != 1:
        raise MerError(
            f"{source}: a clip table has exactly one of the columns frames and image, not {pictures}"
        )
    beside = [column for column in BESIDE_FRAMES if column in clips.columns and "frames" in pictures]
    clips = clips[[*COLUMNS, *pictures, *beside]].copy()
    for column in [*KEY, "label", *pictures]:
        empty = clips[column].isna() | (clips[column].astype(str).str.strip() == "")
        if empty.any():
            raise MerError(
                f"{source}: {_name(clips[empty].iloc[0])} has no {column}; fill it in or remove the row"
            )
        clips[column] = clips[column].astype(str)
        if column not in pictures:
            clips[column] = clips[column].str.strip()
    subjects = dict.fromkeys(clips["database"] + "/" + clips["subject"])
    if alike := spelt_alike(subjects):
        raise MerError(
            f"{source}: the subjects {alike[0]!a} and {alike[1]!a} are spelt alike; if they are one person, "
            "write one name, and if they are two, rename one"
        )
    for column in FRAME_NUMBERS:
        clips[column] = _numbers(clips, column, "Int64", source)
    clips["fps"] = _numbers(clips, "fps", "Float64", source)
    twice = clips.duplicated(KEY, keep=False)
    if twice.any():
        row = clips[twice].iloc[0]
        rows = int((clips[KEY] == row[KEY]).all(axis=1).sum())
        raise MerError(f"{source}: {_name(row)} has {rows} rows; a clip has one")
    onset, apex, offset = (clips[column] for column in FRAME_NUMBERS)
    # The third comparison is for clips without an apex.
    disordered = ((onset > apex) | (apex > offset) | (onset > offset)).fillna(False)
    if disordered.any():
        row = clips[disordered].iloc[0]
        raise MerError(
            f"{source}: {_name(row)} has onset {row['onset']}, apex {row['apex']}, offset {row['offset']}; "
            "they must not decrease: correct the row"
        )
    return clips.sort_values(KEY, kind="stable", ignore_index=True)


def spelling(name: str) -> str:
    """A name as a person reads it: without case, blanks, invisible characters and the width of letters.

    >>> spelling("S 1") == spelling("s1\\u200b") == spelling("\\uff53\\uff11")
    True
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(letter for letter in text if not letter.isspace() and unicodedata.category(letter) != "Cf")


def spelt_alike(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two names, of different ones, that have one :func:`spelling`."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(spelling(name), name)) != name:
            return other, name
    return None


def map_labels(
    clips: pd.DataFrame, label_map: Mapping[str, str | None], classes: Sequence[str], source: Path | str
) -> pd.DataFrame:
    """The clips with each label replaced by its class; labels that are mapped to null are left out.

    Args:
        clips: a validated clip table.
        label_map: label -> class, or None to leave its clips out. Every label must stand in it: a
            label is never dropped because nobody thought of it.
        classes: the classes in the order of their index.
        source: as in :func:`validate`.

    Raises:
        MerError: a label outside the map, a class outside ``classes``, or no clip left.
    """
    label_map = {str(label): target for label, target in label_map.items()}  # YAML reads 1 as a number
    if strange := sorted({str(target) for target in label_map.values() if target is not None} - set(classes)):
        raise MerError(
            f"data.label_map names the class {strange[0]!r}, which is not in data.classes {list(classes)}"
        )
    unknown = clips[~clips["label"].isin(list(label_map))]
    if not unknown.empty:
        row = unknown.iloc[0]
        raise MerError(
            f"{source}: {_name(row)} has the label {row['label']!r}, which is not in the label map "
            f"({', '.join(label_map)}): add it to data.label_map, with null to leave such clips out"
        )
    mapped = clips.assign(label=clips["label"].map(label_map))
    mapped = mapped[mapped["label"].notna()].reset_index(drop=True)
    if mapped.empty:
        raise MerError(f"{source}: data.label_map leaves out all {len(clips)} clips; map a label to a class")
    return mapped


def targets(clips: pd.DataFrame, classes: Sequence[str]) -> list[int]:
    """Class index of each clip of a mapped table."""
    index = {name: k for k, name in enumerate(classes)}
    return [index[label] for label in clips["label"]]


def class_counts(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips a (database, label), with the number of subjects: what a published count is compared with."""
    counts = clips.groupby(["database", "label"]).size().unstack(fill_value=0)
    counts["subjects"] = clips.groupby("database")["subject"].nunique()
    return counts


def count_mismatch(clips: pd.DataFrame, published: Mapping[str, Mapping[str, int]]) -> str:
    """How a table's counts differ from the published ones, in one line; empty where they agree."""
    counts = class_counts(clips)
    different = [
        f"{database} {column} {found}, published {expected}"
        for database, columns in published.items()
        for column, expected in columns.items()
        if (found := int(counts.get(column, pd.Series(dtype=int)).get(database, 0))) != expected
    ]
    return ", ".join(different)


def _numbers(
    clips: pd.DataFrame, column: str, dtype: Literal["Int64", "Float64"], source: Path | str
) -> pd.Series:
    given = clips[column].notna()
    values = clips[column].astype(object).where(given, None)
    try:
        numbers = pd.to_numeric(values, errors="coerce").astype("Float64")
    except (TypeError, ValueError, OverflowError):  # a complex number, a list
        numbers = pd.Series(pd.NA, clips.index, "Float64")
    usable = numbers.notna() & (numbers.abs() < float("inf"))
    if dtype == "Int64":
        # Frames are not counted below 0, and what is larger than 2^53 would be another number.
        usable &= (numbers % 1 == 0) & (numbers >= 0) & (numbers < LARGEST)
    else:
        usable &= numbers > 0
    wrong = given & ~usable.fillna(False)
    if wrong.any():
        row = clips[wrong].iloc[0]
        kind = "frame number" if dtype == "Int64" else "number"
        raise MerError(
            f"{source}: {_name(row)} has the {column} '{row[column]}', which is no {kind}; "
            "correct it or leave it empty"
        )
    return numbers.astype(dtype)


def _name(row: pd.Series) -> str:
    return f"clip {row['database']}/{row['subject']}/{row['clip']}"
