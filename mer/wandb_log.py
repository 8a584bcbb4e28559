"""Logs a complete run to Weights & Biases: one W&B run a (variant, seed), not one a fold."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import filelock
import pandas as pd
import wandb

from mer import runs
from mer.errors import MerError
from mer.scores import predicted_classes, subset_scores
from mer.selection import select

PICTURES = ("confusion", "encoded")


def log_run(folder: Path, logger: Mapping[str, Any]) -> None:
    """Log a complete run: config, learning curves, scores, confusion matrix, predictions, pictures.

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
    predictions = select(runs.read_predictions(folder), "last")
    curves = learning_curves(folder)
    names = folder.resolve().parts[-5:]
    mode = cast(
        Literal["online", "offline", "disabled"],
        os.environ.get("WANDB_MODE") or logger.get("mode") or "offline",
    )
    try:
        (folder / "wandb").mkdir(exist_ok=True)
        # Two jobs that finish the last two folds of a run both log it.
        with filelock.FileLock(folder / "wandb" / "lock"):
            run = wandb.init(
                project=logger.get("project") or "mer",
                entity=logger.get("entity"),
                mode=mode,
                id=run_id(folder, plan),
                resume="allow",
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
                _log(run, folder, plan, predictions, curves)
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


def _log(
    run: wandb.Run, folder: Path, plan: runs.Plan, predictions: pd.DataFrame, curves: pd.DataFrame
) -> None:
    run.define_metric("epoch")
    for name in sorted({column.rpartition("/")[0] for column in curves.columns}):
        run.define_metric(f"{name}/*", step_metric="epoch")
    for epoch, row in curves.iterrows():
        values = {str(name): float(value) for name, value in row.dropna().items()}
        run.log({"epoch": int(str(epoch)), **values}, step=int(str(epoch)))

    best = predicted_classes(predictions, plan.classes)
    shown = predictions.assign(predicted=[plan.classes[k] for k in best])
    last: dict[str, Any] = {
        "confusion_matrix": wandb.plot.confusion_matrix(
            y_true=[plan.classes.index(label) for label in predictions["label"]],
            preds=best.tolist(),
            class_names=plan.classes,
            title="all clips",
        ),
        "predictions": wandb.Table(columns=list(shown.columns), data=shown.astype(object).to_numpy()),
    }
    for name in PICTURES:
        if (path := folder / f"{name}.png").exists():
            last[name] = wandb.Image(str(path))
    run.log(last)

    scores = subset_scores(predictions, plan.classes)
    run.summary.update(
        {
            f"{subset}/{score}": int(value) if score == "clips" else float(value)
            for subset, row in scores.iterrows()
            for score, value in row.items()
        }
    )


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
