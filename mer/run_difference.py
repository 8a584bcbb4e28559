"""Two runs of one config, number by number: predictions, scored frames, training losses. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mer import runs
from mer.errors import MerError
from mer.scores import predicted_classes

FRAME = ["database", "subject", "video", "frame"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How the folds of a run differ from those of another.

    Attributes:
        decisions: predicted classes that were compared, one a row of predictions.parquet.
        changed: those that differ.
        probability: largest absolute difference of a probability, 0..1.
        frames: scored frames that were compared; 0 where a run does not spot.
        score: largest absolute difference of a frame's score.
        rows: what stands in one of them only or under another label, in words; empty where nothing does.
        files: name -> (folds in which the bytes are equal, folds that have it in both).
        epoch: the first epoch whose logged metrics differ, None where none does.
    """

    decisions: int
    changed: int
    probability: float
    frames: int
    score: float
    rows: str
    files: dict[str, tuple[int, int]]
    epoch: int | None

    @property
    def identical(self) -> bool:
        """Every number of the predictions and of the scored frames is the same; file formats may differ."""
        return not self.rows and self.changed == 0 and self.probability == 0 and self.score == 0

    def within(self, tolerance: float) -> bool:
        """No decision differs, and no probability or score by more than ``tolerance``."""
        return not self.rows and self.changed == 0 and max(self.probability, self.score) <= tolerance

    def verdict(self, tolerance: float) -> str:
        """In one line."""
        if self.identical:
            return "identical"
        if self.rows:
            return f"differs: {self.rows}"
        apart = [
            f"{what} differ by at most {largest:.1g}"
            for what, largest in (("probabilities", self.probability), ("scores of frames", self.score))
            if largest > 0
        ]
        if self.changed:
            apart.insert(0, f"{self.changed} of {self.decisions} decisions")
            return f"differs: {', '.join(apart)}"
        decided = ["same decisions"] if self.decisions else []
        limit = f"tolerance {tolerance:g}" if self.within(tolerance) else f"over the tolerance {tolerance:g}"
        start = "" if self.within(tolerance) else "differs: "
        return f"{start}{', '.join([*decided, *apart])} ({limit})"


def compare(then: Path, now: Path, folds: Sequence[str]) -> Difference:
    """Compare these folds of two run folders.

    Args:
        then: the first run.
        now: the other.
        folds: finished in both.

    Raises:
        MerError: a fold is not finished, or a file is damaged.
    """
    plans = [runs.read_plan(run) for run in (then, now)]
    rows, decisions, changed, probability = "", 0, 0, 0.0
    if plans[0].classes != plans[1].classes:
        rows = f"the classes were {', '.join(plans[0].classes)} and are {', '.join(plans[1].classes)}"
    elif plans[0].clips:
        old, new = (_of_folds(runs.read_predictions(run, partial=True), folds) for run in (then, now))
        key = [*runs.KEY, "fold", "epoch"]
        rows = _other_rows(old, new, key, "label")
        if not rows:
            columns = [f"p_{name}" for name in plans[0].classes]
            old, new = (table.sort_values(key, ignore_index=True) for table in (old, new))
            decided = [predicted_classes(table, plans[0].classes) for table in (old, new)]
            decisions, changed = len(old), int((decided[0] != decided[1]).sum())
            probability = _largest(old[columns], new[columns])
    frames, score = 0, 0.0
    if plans[0].videos and not rows:
        old, new = (_of_folds(runs.read_spotting(run, partial=True)[0], folds) for run in (then, now))
        rows = _other_rows(old, new, FRAME, "inside")
        if not rows:
            old, new = (table.sort_values(FRAME, ignore_index=True) for table in (old, new))
            frames, score = len(old), _largest(old[["score"]], new[["score"]])
    return Difference(
        decisions=decisions,
        changed=changed,
        probability=probability,
        frames=frames,
        score=score,
        rows=rows,
        files=_equal_files(then, now, folds),
        epoch=_first_other_epoch(then, now, folds),
    )


def _of_folds(table: pd.DataFrame, folds: Sequence[str]) -> pd.DataFrame:
    if missing := [fold for fold in folds if fold not in set(table["fold"])]:
        raise MerError(f"fold {missing[0]} is not finished")
    return table[table["fold"].isin(folds)]


def _other_rows(old: pd.DataFrame, new: pd.DataFrame, key: list[str], label: str) -> str:
    """What of two tables cannot be compared, in words."""
    both = old[[*key, label]].merge(new[[*key, label]], on=key, how="outer", indicator="where")
    counts = both["where"].value_counts()
    if counts["left_only"] or counts["right_only"]:
        row = both[both["where"] != "both"].iloc[0]
        return (
            f"other rows: {counts['left_only']} were there only then and {counts['right_only']} only now, "
            f"such as {'/'.join(str(row[name]) for name in key)}"
        )
    other = both[f"{label}_x"] != both[f"{label}_y"]
    if other.any():
        row = both[other].iloc[0]
        name = "/".join(str(row[column]) for column in key)
        return (
            f"{int(other.sum())} of {len(both)} rows have another {label}, such as {name}: "
            f"{row[f'{label}_x']} then, {row[f'{label}_y']} now"
        )
    return ""


def _largest(old: pd.DataFrame, new: pd.DataFrame) -> float:
    apart = np.abs(old.to_numpy(dtype=np.float64) - new.to_numpy(dtype=np.float64))
    return float(apart.max(initial=0.0))


def _equal_files(then: Path, now: Path, folds: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Of what both runs left in each fold's folder, how many have the same bytes."""
    names = ("predictions.parquet", "frames.parquet", "expressions.parquet", "metrics.csv")
    found = {}
    for name in names:
        pairs = [tuple(runs.fold_folder(run, fold) / name for run in (then, now)) for fold in folds]
        there = [pair for pair in pairs if all(path.is_file() for path in pair)]
        if there:
            equal = sum(old.read_bytes() == new.read_bytes() for old, new in there)
            found[name] = (equal, len(there))
    return found


def _first_other_epoch(then: Path, now: Path, folds: Sequence[str]) -> int | None:
    first: list[int] = []
    for fold in folds:
        old, new = (runs.read_metrics(run, fold).set_index("epoch") for run in (then, now))
        columns = old.columns.intersection(new.columns)
        epochs = old.index.intersection(new.index)
        left, right = (table.loc[epochs, columns].to_numpy(dtype=np.float64) for table in (old, new))
        apart = ~((left == right) | (np.isnan(left) & np.isnan(right))).all(axis=1)
        first += [int(epoch) for epoch in epochs[apart][:1]]
    return min(first, default=None)
