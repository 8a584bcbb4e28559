"""What a fold that spots leaves beside its predictions: a score for each frame, and the true expressions.

frames.parquet has one row a frame of the tested videos: database, subject, video, frame (its number),
fps (missing where unknown), inside (whether an expression's [onset, offset] holds it), intensity (the
true one, 0..1, missing where it is not defined), score (the predicted one), fold, seed, epoch.
expressions.parquet has one row an expression of these videos: database, subject, video, clip, label, onset,
apex, offset. Both are written before run.yaml, as the predictions are.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mer.errors import MerError
from mer.runs._fold import fold_folder, read_parquet, unreadable, write_parquet
from mer.runs._plan import Plan, read_plan
from mer.runs._predictions import check_record, finished_folds

VIDEO = ["database", "subject", "video"]
FRAMES = [*VIDEO, "frame", "fps", "inside", "intensity", "score", "fold", "seed", "epoch"]
EXPRESSIONS = [*VIDEO, "clip", "label", "onset", "apex", "offset"]


def write_spotting(folder: Path, frames: pd.DataFrame, expressions: pd.DataFrame) -> None:
    """Write frames.parquet and expressions.parquet of a fold, each atomically.

    Raises:
        MerError: a score is not finite: the training diverged. Nothing is written then.
    """
    if not np.isfinite(frames["score"].to_numpy(dtype=np.float64)).all():
        raise MerError(f"{folder}: scores are not finite: the training diverged; lower optimizer.lr")
    write_parquet(folder / "frames.parquet", frames[FRAMES])
    write_parquet(folder / "expressions.parquet", expressions[EXPRESSIONS])


def read_spotting(
    run: Path, *, partial: bool = False, records: Mapping[str, dict[str, Any]] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Frames and expressions of all folds of a run, pooled, in the order of the plan's folds.

    Args:
        run: a run folder.
        partial: take the folds that are there.
        records: the run.yaml of its folds, by fold, where they were read already.

    Raises:
        MerError: a run that does not spot; folds that are missing (unless ``partial``), damaged or made
            under another config; a frame that is scored twice, a video that is missing.
    """
    plan = read_plan(run)
    if plan.videos == 0:
        raise MerError(f"{run}: this run classifies clips and scores no frames; take one of task=spotting")
    done = finished_folds(run, plan, partial=partial)
    parts = [_read_fold(run, fold, plan, (records or {}).get(fold)) for fold in done]
    frames = pd.concat([part[0] for part in parts], ignore_index=True)
    expressions = pd.concat([part[1] for part in parts], ignore_index=True)
    if (twice := frames.duplicated([*VIDEO, "frame"])).any():
        row = frames[twice].iloc[0]
        name = "/".join(str(row[key]) for key in VIDEO)
        raise MerError(
            f"{run}: frame {row['frame']} of video {name} is scored twice; "
            "remove the folds that score it and run again"
        )
    found = len(frames[VIDEO].drop_duplicates())
    if not partial and found != plan.videos:
        raise MerError(f"{run}: {found} scored videos of {plan.videos}; remove the folder and run again")
    return frames, expressions


def _read_fold(
    run: Path, fold: str, plan: Plan, record: dict[str, Any] | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder, record = fold_folder(run, fold), check_record(run, fold, plan, record)
    tables = []
    for name, columns in (("frames.parquet", FRAMES), ("expressions.parquet", EXPRESSIONS)):
        table = read_parquet(folder / name, record)
        if list(table.columns) != columns:
            raise MerError(f"{folder / name}: has the columns {list(table.columns)}, not {columns}")
        tables.append(table)
    frames, expressions = tables
    if not np.isfinite(frames["score"].to_numpy(dtype=np.float64)).all():
        raise unreadable(folder / "frames.parquet", ValueError("scores are not finite"))
    return frames, expressions
