"""Logs a complete run to Weights & Biases: one W&B run a (variant, seed), not one a fold."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import filelock
import numpy as np
import pandas as pd
import wandb

from mer import runs
from mer.errors import MerError
from mer.scores import predicted_classes, subset_scores
from mer.selection import select
from mer.spotting_metrics import roc_curve
from mer.spotting_summary import COUNTS, run_scores

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
        logger: ``mode`` (offline or online; WANDB_MODE in the environment wins), ``project``, ``entity``,
            ``tags``.

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
    mode = cast(
        Literal["online", "offline", "disabled"],
        os.environ.get("WANDB_MODE") or logger.get("mode") or "offline",
    )
    if mode == "offline":  # else a thread of W&B's sends its own metrics after a minute (0.31)
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        (folder / "wandb").mkdir(exist_ok=True)
        # Two jobs that finish the last two folds of a run both log it.
        with filelock.FileLock(folder / "wandb" / "lock"):
            run = wandb.init(
                project=logger.get("project") or "mer",
                entity=logger.get("entity"),
                mode=mode,
                id=run_id(folder, plan),
                resume="allow" if mode == "online" else None,  # offline, older versions warn of it
                force=mode == "online",  # without a key it would log nothing and say nothing
                reinit="create_new",
                name="/".join(names),
                group="/".join(names[:2]),
                job_type="run",
                # W&B refuses tags of over 64 characters.
                tags=[str(tag)[:64] for tag in (names[0], *names[2:4], *(logger.get("tags") or ()))],
                dir=folder,
                config=_config(folder, plan, names),
                settings=_settings(),
            )
            with run:
                _log_curves(run, curves)
                parts = [_pictures(folder)]
                if predictions is not None:
                    parts.append(_classified(plan, predictions))
                if spotting is not None:
                    parts.append(_spotted(*spotting))
                if shown := {name: value for part in parts for name, value in part.shown.items()}:
                    run.log(shown)
                run.summary.update({key: value for part in parts for key, value in part.summary.items()})
            if wandb.run is None:
                wandb.teardown()  # finish() may return before the last records are on disk (0.31)
            if mode == "offline":
                _remove_older(folder / "wandb", Path(run.settings.sync_dir), run.id)
    except Exception as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise MerError(f"{folder}: the run is finished and kept, but W&B did not log it: {why}") from error


def run_id(folder: Path, plan: runs.Plan) -> str:
    """The id of the W&B run: 16 hex digits of the run's key and the plan's config."""
    text = json.dumps([folder.resolve().parts[-5:], plan.config], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def learning_curves(folder: Path) -> pd.DataFrame:
    """Mean, min and max over the folds of each logged quantity, by epoch: columns ``train_loss/mean``..."""
    folds = runs.read_plan(folder).folds
    pooled = pd.concat([runs.read_metrics(folder, fold) for fold in folds], ignore_index=True)
    by_epoch = pooled.groupby("epoch")
    statistics = {"mean": by_epoch.mean(), "min": by_epoch.min(), "max": by_epoch.max()}
    return pd.concat([table.add_suffix(f"/{name}") for name, table in statistics.items()], axis=1)


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
    records = [runs.read_record(folder, fold) for fold in plan.folds]
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


def _settings() -> wandb.Settings:
    """Say nothing, and watch neither the console, the code nor the machine: run.yaml records those."""
    return wandb.Settings(
        silent=True,
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


def _remove_older(folder: Path, kept: Path, run_id: str) -> None:
    for older in folder.glob(f"offline-run-*-{run_id}*"):
        if older.resolve() != kept.resolve():
            shutil.rmtree(older)
