"""The clip table: one row a clip, the same columns for every database."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mer.errors import MerError

KEY = ["database", "subject", "clip"]
COLUMNS = [*KEY, "label", "onset", "apex", "offset", "fps"]
FRAME_NUMBERS = ["onset", "apex", "offset"]


def validate(clips: pd.DataFrame, source: Path | str) -> pd.DataFrame:
    """Check a clip table and return it sorted by (database, subject, clip), with the contract's types.

    Args:
        clips: columns database, subject, clip, label (text), onset, apex, offset (frame numbers, may
            be missing), fps (may be missing), and exactly one of ``frames`` (folder of frames) and
            ``image`` (path of an image that is already encoded).
        source: the file or folder that the table was read from, for the messages.

    Raises:
        MerError: naming ``source``, the clip and what to do.
    """
    if clips.empty:
        raise MerError(f"{source}: no clip found; check that the root is the database's own folder")
    pictures = [column for column in ("frames", "image") if column in clips.columns]
    if missing := [column for column in COLUMNS if column not in clips.columns]:
        raise MerError(f"{source}: the clip table lacks the column(s) {', '.join(missing)}")
    if len(pictures) != 1:
        raise MerError(f"{source}: a clip table has exactly one of the columns frames and image, not {pictures}")
    clips = clips[[*COLUMNS, *pictures]].copy()
    for column in [*KEY, "label", *pictures]:
        empty = clips[column].isna() | (clips[column].astype(str).str.strip() == "")
        if empty.any():
            raise MerError(f"{source}: {_name(clips[empty].iloc[0])} has no {column}; fill it in or remove the row")
        clips[column] = clips[column].astype(str)
    for column in FRAME_NUMBERS:
        try:
            clips[column] = pd.to_numeric(clips[column]).astype("Int64")
        except (TypeError, ValueError) as error:
            raise MerError(f"{source}: the column {column} holds something that is no frame number ({error})") from error
    clips["fps"] = pd.to_numeric(clips["fps"]).astype("Float64")
    twice = clips.duplicated(KEY, keep=False)
    if twice.any():
        raise MerError(f"{source}: {_name(clips[twice].iloc[0])} has {int(twice.sum())} rows; a clip has one")
    disordered = ((clips["onset"] > clips["apex"]) | (clips["apex"] > clips["offset"])).fillna(False)
    if disordered.any():
        row = clips[disordered].iloc[0]
        raise MerError(
            f"{source}: {_name(row)} has onset {row['onset']}, apex {row['apex']}, offset {row['offset']}; "
            "they must not decrease: correct the row"
        )
    return clips.sort_values(KEY, kind="stable", ignore_index=True)


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
        MerError: a label outside the map, or a class outside ``classes``.
    """
    if strange := sorted({str(target) for target in label_map.values() if target is not None} - set(classes)):
        raise MerError(f"data.label_map names the class {strange[0]!r}, which is not in data.classes {list(classes)}")
    unknown = clips[~clips["label"].isin(list(label_map))]
    if not unknown.empty:
        row = unknown.iloc[0]
        raise MerError(
            f"{source}: {_name(row)} has the label {row['label']!r}, which is not in the label map "
            f"({', '.join(label_map)}): add it to data.label_map, with null to leave such clips out"
        )
    mapped = clips.assign(label=clips["label"].map(label_map))
    return mapped[mapped["label"].notna()].reset_index(drop=True)


def targets(clips: pd.DataFrame, classes: Sequence[str]) -> list[int]:
    """Class index of each clip of a mapped table."""
    index = {name: k for k, name in enumerate(classes)}
    return [index[label] for label in clips["label"]]


def class_counts(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips a (database, label), with the number of subjects: what a published count is compared with."""
    counts = clips.groupby(["database", "label"]).size().unstack(fill_value=0)
    counts["subjects"] = clips.groupby("database")["subject"].nunique()
    return counts


def _name(row: pd.Series) -> str:
    return f"clip {row['database']}/{row['subject']}/{row['clip']}"
