"""The predictions of a run, pooled over its folds and checked against its plan."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mer.errors import MerError
from mer.prediction_types import check_probabilities, check_types
from mer.runs._fold import fold_folder, read_parquet, read_record, state, unreadable
from mer.runs._plan import Plan, flat, read_plan

KEY = ["database", "subject", "clip"]


def read_predictions(run: Path, *, partial: bool = False) -> pd.DataFrame:
    """The predictions of all folds of a run, pooled, in the order of the plan's folds.

    Args:
        run: a run folder.
        partial: take the folds that are there.

    Returns:
        Columns database, subject, clip, fold, seed, epoch, label, p_<class>...

    Raises:
        MerError: folds are missing (unless ``partial``), damaged, made under another config or from
            other data than plan.yaml says, or a clip stands in two of them.
    """
    plan = read_plan(run)
    done = finished_folds(run, plan, partial=partial)
    pooled = pd.concat([_read_fold(run, fold, plan) for fold in done], ignore_index=True)
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


def _read_fold(run: Path, fold: str, plan: Plan) -> pd.DataFrame:
    path = fold_folder(run, fold) / "predictions.parquet"
    predictions = read_parquet(path, check_record(run, fold, plan))
    expected = [*KEY, "fold", "seed", "epoch", "label", *(f"p_{name}" for name in plan.classes)]
    if list(predictions.columns) != expected:
        raise MerError(
            f"{path}: has the columns {list(predictions.columns)}, not those of this label map {expected}"
        )
    try:
        check_types(predictions)
        check_probabilities(predictions)
    except MerError as error:
        raise unreadable(path, error) from error
    if set(predictions["fold"]) - {fold}:
        raise MerError(f"{path}: holds fold {some(sorted(map(str, set(predictions['fold']))))}, not {fold}")
    if other := set(predictions["label"]) - set(plan.classes):
        raise MerError(f"{path}: has the labels {some(sorted(map(str, other)))}, not of this label map")
    return predictions


def check_record(run: Path, fold: str, plan: Plan) -> dict[str, Any]:
    """The record of a fold; raises MerError unless it was made under the plan.

    A sweep can start two configs in one folder at once: each fold's record says which trained it.
    """
    record = read_record(run, fold)
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
