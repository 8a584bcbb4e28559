"""The predictions of a run, pooled over its folds and checked against its plan."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow

from mer.errors import MerError
from mer.prediction_types import check_probabilities, check_types
from mer.runs._fold import fold_folder, read_arrow, read_record, state, unreadable
from mer.runs._plan import Plan, flat, read_plan

KEY = ["database", "subject", "clip"]


def read_predictions(
    run: Path, *, partial: bool = False, records: Mapping[str, dict[str, Any]] | None = None
) -> pd.DataFrame:
    """The predictions of all folds of a run, pooled, in the order of the plan's folds.

    Args:
        run: a run folder.
        partial: take the folds that are there.
        records: the run.yaml of its folds, by fold, where they were read already.

    Returns:
        Columns database, subject, clip, fold, seed, epoch, label, p_<class>...

    Raises:
        MerError: folds are missing (unless ``partial``), damaged, made under another config or from
            other data than plan.yaml says, or a clip stands in two of them.
    """
    plan = read_plan(run)
    done = finished_folds(run, plan, partial=partial)
    tables = [_read_fold(run, fold, plan, (records or {}).get(fold)) for fold in done]
    pooled = _pool(tables, done, plan)
    if pooled is None:  # fold by fold, which tells the file
        each = [_check_fold(table, run, fold, plan) for fold, table in zip(done, tables, strict=True)]
        pooled = pd.concat(each, ignore_index=True)
    if (twice := pooled.duplicated([*KEY, "fold", "epoch"])).any():
        row = pooled[twice].iloc[0]
        raise MerError(f"{fold_folder(run, row['fold'])}: tests clip {clip_name(row)} twice")
    tested = pooled[[*KEY, "fold"]].drop_duplicates()
    if (twice := tested.duplicated(KEY)).any():
        raise MerError(f"{run}: clip {clip_name(tested[twice].iloc[0])} is tested in two folds")
    if pooled["seed"].nunique() > 1:
        raise MerError(f"{run}: holds folds of the seeds {some(sorted(map(str, set(pooled['seed']))))}")
    found = {f"seed-{seed}" for seed in pooled["seed"].unique()}  # none, of a run that only spots
    if run.name.startswith("seed-") and found - {run.name}:
        raise MerError(
            f"{run}: holds folds of {min(found)}; it was copied: rename it back, and run this seed"
        )
    if not partial and len(tested) != plan.clips:
        raise MerError(f"{run}: {len(tested)} tested clips of {plan.clips}; remove the folder and run again")
    return pooled


def finished_folds(run: Path, plan: Plan, *, partial: bool = False) -> list[str]:
    """The plan's folds that are done, in its order.

    Raises:
        MerError: none is, or, unless ``partial``, one is missing.
    """
    done = [fold for fold in plan.folds if state(run, fold) == "done"]
    if len(done) < len(plan.folds) and not partial:
        missing = [fold for fold in plan.folds if fold not in set(done)]
        raise MerError(
            f"{run}: {len(missing)} of {len(plan.folds)} folds are missing ({some(missing)}); "
            "run them, or pass --partial"
        )
    if not done:
        raise MerError(f"{run}: no fold is finished yet")
    return done


def _read_fold(run: Path, fold: str, plan: Plan, record: dict[str, Any] | None) -> pyarrow.Table:
    path = fold_folder(run, fold) / "predictions.parquet"
    predictions = read_arrow(path, check_record(run, fold, plan, record))
    expected = [*KEY, "fold", "seed", "epoch", "label", *(f"p_{name}" for name in plan.classes)]
    if predictions.column_names != expected:
        raise MerError(
            f"{path}: has the columns {predictions.column_names}, not those of this label map {expected}"
        )
    return predictions


def _pool(tables: Sequence[pyarrow.Table], folds: Sequence[str], plan: Plan) -> pd.DataFrame | None:
    """All folds as one table, checked at once, which takes a fraction of the time; None where one is odd."""
    try:
        pooled = _checked(tables)
    except Exception:  # of one file; or types that differ between files, which need be no fault
        return None
    expected = np.repeat(folds, [len(table) for table in tables])
    sound = bool((pooled["fold"] == expected).all()) and set(pooled["label"].unique()) <= set(plan.classes)
    return pooled if sound else None


def _checked(tables: Sequence[pyarrow.Table]) -> pd.DataFrame:
    """Put together, with columns that hold what their names say; raises almost anything where they do not."""
    predictions: pd.DataFrame = pyarrow.concat_tables(tables).to_pandas()
    check_types(predictions)
    check_probabilities(predictions)
    return predictions


def _check_fold(table: pyarrow.Table, run: Path, fold: str, plan: Plan) -> pd.DataFrame:
    path = fold_folder(run, fold) / "predictions.parquet"
    try:
        predictions = _checked([table])
    except Exception as error:  # a flipped byte makes pyarrow and pandas raise almost anything
        raise unreadable(path, error) from error
    if set(predictions["fold"]) - {fold}:
        raise MerError(f"{path}: holds fold {some(sorted(map(str, set(predictions['fold']))))}, not {fold}")
    if other := set(predictions["label"]) - set(plan.classes):
        raise MerError(f"{path}: has the labels {some(sorted(map(str, other)))}, not of this label map")
    return predictions


def check_record(run: Path, fold: str, plan: Plan, record: dict[str, Any] | None = None) -> dict[str, Any]:
    """The record of a fold, read unless it is given; raises MerError unless it was made under the plan.

    A sweep can start two configs in one folder at once: each fold's record says which trained it.
    """
    record = read_record(run, fold) if record is None else record
    old, new = flat(record.get("config") or plan.config), flat(plan.config)
    for key in sorted(new):  # the record's config holds the seed and neutral keys too
        if old.get(key, ...) != new[key]:
            raise MerError(
                f"{run}: fold {fold} was made with {key}={old.get(key, 'absent')}, "
                f"plan.yaml says {new[key]}; remove the fold's folder and run again"
            )
    if (content := record.get("content", plan.content)) != plan.content:
        raise MerError(
            f"{run}: fold {fold} was made from other data (content {str(content)[:8]}, plan.yaml says "
            f"{plan.content[:8]}); remove the fold's folder and run again"
        )
    return record


def clip_name(row: "pd.Series[Any]") -> str:
    return "/".join(str(row[name]) for name in KEY)


def some(names: Sequence[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
