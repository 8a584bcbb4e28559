"""Confusion counts of every epoch of a run: what `mer.selection.leak` needs of its predictions, in a few kB.

All epochs' predictions of 442 clips over 800 epochs take 5 MB; these counts give the same scores in 20 kB. No
torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer import runs, selection
from mer.errors import MerError
from mer.runs import RunKey
from mer.scores import ALL
from mer.statistics import grouped_confusions, score_matrices
from mer.table_results import Record, make_record, read_stored, write_stored

RULES = (selection.LAST, selection.BEST_ON_TEST_PER_FOLD, selection.BEST_ON_TEST_EPOCH)
EVERY_EPOCH = "every epoch"  # in place of a rule, in the record
_PART = ["fold", "database"]  # a fold of a hold-out tests several databases


@dataclass(frozen=True)
class EpochCounts:
    """The confusion matrices of a run, of every part (a fold's clips of one database) and epoch.

    Attributes:
        where: they were read from.
        record: what made them.
        parts: columns fold and database, one row a part, P of them.
        epochs: (E,) rising.
        matrices: (P, E, K, K) clips, rows true, columns predicted.
    """

    where: Path
    record: Record
    parts: pd.DataFrame
    epochs: NDArray[np.int64]
    matrices: NDArray[np.int64]

    def score(self, rule: str, metric: str, subset: str = ALL) -> float:
        """The score of a run under a rule, 0..1: that of `mer.selection.select` and `mer.scores`.

        The rule looks at all clips, also where the score is of one database.

        Args:
            rule: of RULES.
            metric: ``accuracy``, ``f1``, ``uf1`` or ``uar``.
            subset: ``all``, or a database.

        Raises:
            MerError: an unknown metric, or no clip of the database.
        """
        shown = np.ones(len(self.parts), dtype=bool)
        if subset != ALL:
            shown = (self.parts["database"] == subset).to_numpy()
        if not shown.any():
            raise MerError(f"{self.where}: no database {subset}; it holds {', '.join(self.databases)}")
        chosen = self.matrices[np.arange(len(self.parts)), self._epochs(rule)]
        return float(score_matrices(chosen[shown].sum(axis=0), metric))

    @property
    def databases(self) -> list[str]:
        """Whose clips it tested."""
        return sorted(set(self.parts["database"]))

    @property
    def clips(self) -> dict[tuple[str, str], int]:
        """Clips of each database and class."""
        each = self.matrices[:, 0].sum(axis=2)
        return {
            (database, name): int(each[(self.parts["database"] == database).to_numpy(), column].sum())
            for database in self.databases
            for column, name in enumerate(self.record.classes)
        }

    def _epochs(self, rule: str) -> NDArray[np.int64]:
        """(P,) positions of the epochs that count; of equally good ones the earliest, as argmax takes it."""
        parts, epochs = self.matrices.shape[:2]
        if rule == selection.LAST:
            return np.full(parts, epochs - 1)
        if rule == selection.BEST_ON_TEST_EPOCH:
            # Rounded as `mer.selection` rounds.
            best = score_matrices(self.matrices.sum(axis=0), "uf1").round(12).argmax()
            return np.full(parts, best)
        fold = pd.factorize(self.parts["fold"])[0]
        correct = np.zeros((fold.max() + 1, epochs), dtype=np.int64)
        np.add.at(correct, fold, np.trace(self.matrices, axis1=2, axis2=3))
        each: NDArray[np.int64] = correct.argmax(axis=1)[fold]
        return each


def count_run(key: RunKey, runs_dir: Path) -> EpochCounts | None:
    """The counts of a finished run; None where there is none, folds are missing, or one epoch was kept.

    Raises:
        MerError: the run folder is damaged, or its folds do not fit together.
    """
    folder = key.folder(runs_dir)
    plan = runs.finished_plan(folder)
    if plan is None:
        return None
    records = runs.read_records(folder, plan.folds)
    predictions = runs.read_predictions(folder, records=records)
    last = int(predictions["epoch"].max())
    if last > 1 and predictions["epoch"].nunique() == 1:
        return None  # trained with store=last
    groups, matrices = grouped_confusions(predictions, plan.classes, [*_PART, "epoch"])
    counted = groups.to_frame(index=False)
    record = make_record(key, folder, plan, list(records.values()), epochs=last, select=EVERY_EPOCH)
    return _arranged(folder, record, counted, matrices)


def write_counts(path: Path, counts: EpochCounts) -> None:
    """Store counts as Parquet, and their record as YAML beside it, which is written last."""
    names = _columns(counts.record.classes)
    parts, epochs = counts.matrices.shape[:2]
    table = counts.parts.loc[counts.parts.index.repeat(epochs)].reset_index(drop=True)
    table["epoch"] = np.tile(counts.epochs, parts).astype(np.uint16)
    cells = counts.matrices.reshape(parts * epochs, -1)
    table[names] = cells.astype(np.min_scalar_type(int(cells.max())))
    write_stored(path, table, counts.record)


def read_counts(path: Path, key: RunKey) -> EpochCounts | None:
    """Stored counts; None where there are none.

    Raises:
        MerError: the files are damaged, or are those of another run.
    """
    remedy = "restore both files, or remove both and have them made again from the run"
    stored = read_stored(path, key, remedy)
    if stored is None:
        return None
    table, record = stored
    side = len(record.classes)
    try:
        cells = table[_columns(record.classes)].to_numpy(dtype=np.int64).reshape(-1, side, side)
    except (KeyError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise MerError(f"{path}: damaged ({type(error).__name__}: {text}); {remedy}") from error
    return _arranged(path, record, table, cells)


def check_together(counts: Sequence[EpochCounts]) -> None:
    """Refuse counts that cannot stand in one table.

    Raises:
        MerError: other classes, or another number of clips of a class and database.
    """
    for other in counts[1:]:
        first = counts[0]
        if other.record.classes != first.record.classes or other.clips != first.clips:
            raise MerError(
                f"{first.where} ({first.record.name}) and {other.where} ({other.record.name}) do not fit in "
                "one table: other classes or clips"
            )


def _arranged(where: Path, record: Record, counted: pd.DataFrame, matrices: NDArray[np.int64]) -> EpochCounts:
    """The counts by part and epoch.

    Args:
        counted: columns fold, database and epoch, one row a matrix.
        matrices: (N, K, K).
    """
    epochs = np.unique(counted["epoch"].to_numpy(dtype=np.int64))
    order = counted.reset_index(drop=True).sort_values([*_PART, "epoch"]).index.to_numpy()
    counted = counted.iloc[order]
    parts = counted[_PART].drop_duplicates(ignore_index=True).astype(str)
    whole = len(order) == len(parts) * len(epochs) and not counted.duplicated([*_PART, "epoch"]).any()
    arranged = matrices[order].reshape(len(parts), -1, *matrices.shape[1:])
    # The clips of a part are the same at every epoch.
    true = arranged.sum(axis=3)
    if not whole or (true != true[:, :1]).any():
        raise MerError(f"{where}: a clip lacks an epoch that others have; remove its fold and run again")
    return EpochCounts(where, record, parts, epochs, arranged)


def _columns(classes: Sequence[str]) -> list[str]:
    return [f"{true} as {predicted}" for true in classes for predicted in classes]
