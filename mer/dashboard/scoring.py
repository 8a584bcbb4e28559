"""Scores, confusion matrices, subjects and wrong clips of a run, from its predictions. No torch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.runs import KEY
from mer.scores import ALL, pooled_confusion, predicted_classes, subset_scores
from mer.statistics import bootstrap_interval

SHOWN = ("accuracy", "uf1", "uar")  # with intervals


@dataclass(frozen=True)
class Subset:
    """The scores of all clips, or of one database.

    Attributes:
        name: ``all`` or the database's.
        clips, subjects: how many.
        scores: accuracy, f1, uf1, uar, as `mer.scores.subset_scores` gives them.
        intervals: score -> (low, high), of `mer.statistics.bootstrap_interval`.
        matrix: (K, K) counts, rows true, columns predicted.
    """

    name: str
    clips: int
    subjects: int
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    matrix: list[list[int]]


def subsets(predictions: pd.DataFrame, classes: Sequence[str]) -> list[Subset]:
    """``all`` and, where there are several, each database.

    Args:
        predictions: one row a clip.
        classes: the label map's classes.
    """
    found = []
    for name, row in subset_scores(predictions, classes).iterrows():
        part = predictions if name == ALL else predictions[predictions["database"] == name]
        found.append(
            Subset(
                name=str(name),
                clips=len(part),
                subjects=len(part[["database", "subject"]].drop_duplicates()),
                scores={metric: float(row[metric]) for metric in ("accuracy", "f1", "uf1", "uar")},
                intervals={metric: bootstrap_interval(part, classes, metric) for metric in SHOWN},
                matrix=pooled_confusion(part, classes).tolist(),
            )
        )
    return found


def right(predictions: pd.DataFrame, classes: Sequence[str]) -> tuple[str, str]:
    """Which clips are right, and whose clips these are.

    Returns:
        A digit a clip, ``1`` where it is right, in the order of (database, subject, clip); and a hash of
        these names and their labels. McNemar's test is for runs that have the same hash.
    """
    ordered = predictions.sort_values(KEY, kind="stable")
    names = ordered[[*KEY, "label"]].astype(str).to_csv(index=False)
    return (
        "".join("1" if each else "0" for each in _hits(ordered, classes)),
        hashlib.sha256(names.encode()).hexdigest()[:16],
    )


def subjects(predictions: pd.DataFrame, classes: Sequence[str]) -> list[dict[str, Any]]:
    """A row a subject: database, subject, clips, right, accuracy, and ``held``, right and all by class."""
    table = predictions.assign(right=_hits(predictions, classes))
    rows = []
    for (database, subject), part in table.groupby(["database", "subject"]):
        clips = part["label"].value_counts()
        hits = part.loc[part["right"], "label"].value_counts()
        held = [
            {"label": name, "right": int(hits.get(name, 0)), "clips": int(clips[name])}
            for name in classes
            if name in clips.index
        ]
        correct = int(part["right"].sum())
        rows.append(
            {
                "database": str(database),
                "subject": str(subject),
                "clips": len(part),
                "right": correct,
                "accuracy": correct / len(part),
                "held": held,
            }
        )
    return rows


def wrong_clips(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """The clips that are wrong, the most confident first.

    Returns:
        Columns database, subject, clip, label, predicted, probability (of the predicted class) and own (of
        the true one).
    """
    chosen = predicted_classes(predictions, classes)
    probabilities = predictions[[f"p_{name}" for name in classes]].to_numpy(dtype=np.float64)
    target = pd.Index(classes).get_indexer(pd.Index(predictions["label"]))
    rows = np.arange(len(predictions))
    table = predictions[[*KEY, "label"]].assign(
        predicted=np.asarray(classes, dtype=object)[chosen],
        probability=probabilities[rows, chosen],
        own=probabilities[rows, target],
    )
    wrong: pd.DataFrame = table[chosen != target]
    return wrong.sort_values(
        ["probability", *KEY], ascending=[False, True, True, True], kind="stable", ignore_index=True
    )


def _hits(predictions: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.bool_]:
    target = pd.Index(classes).get_indexer(pd.Index(predictions["label"]))
    hits: NDArray[np.bool_] = predicted_classes(predictions, classes) == target
    return hits
