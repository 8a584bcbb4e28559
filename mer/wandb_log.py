"""Logs a complete run to Weights & Biases: one W&B run a (variant, seed), not one a fold."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import wandb

from mer import runs
from mer.learning_curves import learning_curves
from mer.scores import predicted_classes, subset_scores
from mer.selection import select
from mer.spotting_metrics import roc_curve
from mer.spotting_summary import COUNTS, run_scores
from mer.wandb_session import wandb_run

PICTURES = ("confusion", "encoded")
ROC_POINTS = 1000  # of the logged curve: W&B draws no more than 10,000, and a long video has as many frames


class _Part(NamedTuple):
    """W&B objects, logged once, and numbers of the summary."""

    shown: dict[str, Any]
    summary: dict[str, int | float]


def log_run(folder: Path, logger: Mapping[str, Any]) -> None:
    """Log a complete run: config, learning curves, scores, pictures, and what its task leaves.

    Of classified clips these are the confusion matrix and the predictions; of scored videos the ROC curve of
    their frames, and in the summary ``spotting/<subset>/<score>``, without scores that are not defined.
    Offline it needs neither account nor network, and writes into ``<folder>/wandb``; ``wandb sync`` sends
    it later. Logging again replaces what was logged: the id is a function of the run.

    Args:
        folder: a run folder, all folds finished.
        logger: see :func:`mer.wandb_session.wandb_run`.

    Raises:
        MerError: the run folder cannot be read, or W&B failed; the run itself is finished and kept.
    """
    plan = runs.read_plan(folder)
    predictions = select(runs.read_predictions(folder), "last") if plan.clips else None
    spotting = None
    if plan.videos:
        frames, expressions = runs.read_spotting(folder)
        spotting = frames, run_scores(plan, frames, expressions).drop(columns=COUNTS, errors="ignore")
    curves = learning_curves(folder)
    names = folder.resolve().parts[-5:]
    with wandb_run(
        folder / "wandb",
        logger,
        failure=f"{folder}: the run is finished and kept, but W&B did not log it",
        id=_sweep_id() or run_id(folder, plan),
        name="/".join(names),
        group="/".join(names[:2]),
        job_type="run",
        tags=(names[0], *names[2:4]),
        config=_config(folder, plan, names),
    ) as run:
        _log_curves(run, curves)
        parts = [_pictures(folder)]
        if predictions is not None:
            parts.append(_classified(plan, predictions))
        if spotting is not None:
            parts.append(_spotted(*spotting))
        if shown := {name: value for part in parts for name, value in part.shown.items()}:
            run.log(shown)
        run.summary.update({key: value for part in parts for key, value in part.summary.items()})


def run_id(folder: Path, plan: runs.Plan) -> str:
    """The id of the W&B run: 16 hex digits of the run's key and the plan's config."""
    text = json.dumps([folder.resolve().parts[-5:], plan.config], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _log_curves(run: wandb.Run, curves: pd.DataFrame) -> None:
    run.define_metric("epoch")
    for name in sorted({column.rpartition("/")[0] for column in curves.columns}):
        run.define_metric(f"{name}/*", step_metric="epoch")
    for epoch, row in curves.iterrows():
        values = {str(name): float(value) for name, value in row.dropna().items()}
        run.log({"epoch": int(str(epoch)), **values}, step=int(str(epoch)))


def _pictures(folder: Path) -> _Part:
    paths = {name: folder / f"{name}.png" for name in PICTURES}
    return _Part({name: wandb.Image(str(path)) for name, path in paths.items() if path.exists()}, {})


def _classified(plan: runs.Plan, predictions: pd.DataFrame) -> _Part:
    """Of clips, or of the expressions of videos: what was predicted, and the scores."""
    best = predicted_classes(predictions, plan.classes)
    shown = predictions.assign(predicted=[plan.classes[k] for k in best])
    objects = {
        "confusion_matrix": wandb.plot.confusion_matrix(
            y_true=[plan.classes.index(label) for label in predictions["label"]],
            preds=best.tolist(),
            class_names=plan.classes,
            title="all expressions" if plan.videos else "all clips",
        ),
        "predictions": wandb.Table(columns=list(shown.columns), data=shown.astype(object).to_numpy()),
    }
    summary = {
        f"{subset}/{score}": int(value) if score == "clips" else float(value)
        for subset, row in subset_scores(predictions, plan.classes).iterrows()
        for score, value in row.items()
    }
    return _Part(objects, summary)


def _spotted(frames: pd.DataFrame, counted: pd.DataFrame) -> _Part:
    """Of videos: the ROC curve of all frames, and the scores that are defined."""
    summary = {
        f"spotting/{subset}/{score}": float(value)
        for subset, row in counted.iterrows()
        for score, value in row.dropna().items()
    }
    alarms, hits, _ = roc_curve(frames["inside"], frames["score"])
    if np.isnan([alarms[-1], hits[-1]]).any():  # frames of one kind
        return _Part({}, summary)
    points = np.unique(np.linspace(0, len(hits) - 1, ROC_POINTS).astype(np.int64))
    x, y = "false positive rate", "true positive rate"
    table = wandb.Table(columns=[x, y], data=np.stack([alarms, hits], axis=1)[points])
    curve = wandb.plot.line(table, x, y, title="ROC curve of all frames")
    return _Part({"roc": curve}, summary)


def _config(folder: Path, plan: runs.Plan, names: tuple[str, ...]) -> dict[str, Any]:
    """The deciding config, nested, and what else W&B can group and filter runs by."""
    records = runs.read_records(folder, plan.folds).values()
    commits = {
        f"{record.get('commit', 'unknown')}{'+changes' if record.get('dirty') else ''}" for record in records
    }
    return {
        **plan.config,
        "experiment": names[0],
        "variant": names[1],
        "seed": int(names[4].removeprefix("seed-")),
        "classes": plan.classes,
        "folds": plan.folds,
        "clips": plan.clips,
        **({"videos": plan.videos} if plan.videos else {}),
        "content": plan.content,
        "commit": ", ".join(sorted(commits)),
    }


def _sweep_id() -> str | None:
    """The id that an agent of a W&B sweep gave to what it started; it waits for a run of that id."""
    return os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None
