"""Writes small run folders for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mer import runs
from mer.runs._fold import OWN_FILES, file_hash
from mer.runs._seal import read_sealed, write_sealed

CLASSES = ["negative", "positive"]
FOLDS = ["casme2/s1", "casme2/s2", "smic/s1"]
CLIPS_A_FOLD = 4


def make_plan(**changes: Any) -> runs.Plan:
    fields: dict[str, Any] = {
        "config": {"epochs": 3, "optimizer": {"lr": 5e-5}, "scheduler": None},
        "classes": CLASSES,
        "folds": FOLDS,
        "clips": CLIPS_A_FOLD * len(FOLDS),
        "content": "c0ffee00" * 8,
    }
    return runs.Plan(**fields | changes)


def make_predictions(fold: str, classes: list[str] = CLASSES) -> pd.DataFrame:
    database, subject = fold.split("/")
    draw = np.random.default_rng(FOLDS.index(fold))
    probabilities = draw.dirichlet([1] * len(classes), CLIPS_A_FOLD).astype(np.float32)
    predictions = pd.DataFrame(
        {
            "database": database,
            "subject": subject,
            "clip": [f"clip{k}" for k in range(CLIPS_A_FOLD)],
            "fold": fold,
            "seed": 0,
            "epoch": 3,
            "label": [classes[k % len(classes)] for k in range(CLIPS_A_FOLD)],
        }
    )
    for k, name in enumerate(classes):
        predictions[f"p_{name}"] = probabilities[:, k]
    return predictions


def make_metrics(fold: str) -> pd.DataFrame:
    loss = 1.0 + FOLDS.index(fold)
    return pd.DataFrame({"epoch": [1, 2, 3], "train_loss": [loss, loss / 2, loss / 4]})


def make_record(plan: runs.Plan, **changes: Any) -> dict[str, Any]:
    return {"commit": "abc", "dirty": False, "content": plan.content, "config": plan.config} | changes


def make_fold(run: Path, fold: str, plan: runs.Plan, predictions: pd.DataFrame | None = None) -> None:
    with runs.claim(run, fold) as folder:
        chosen = make_predictions(fold) if predictions is None else predictions
        runs.finish(folder, chosen, make_metrics(fold), make_record(plan))


def make_run(runs_dir: Path, folds: list[str] = FOLDS, **changes: Any) -> Path:
    """A run folder whose plan has FOLDS, with these of them finished."""
    run = runs.RunKey("laenet", "base", "synthetic", "loso", 0).folder(runs_dir)
    plan = make_plan(**changes)
    runs.start(run, plan)
    for fold in folds:
        make_fold(run, fold, plan)
    return run


def seal_again(folder: Path) -> None:
    """Let the run.yaml of a fold name the files as they are now: a test has changed one."""
    record = read_sealed(folder / "run.yaml")
    names = sorted(path.name for path in folder.iterdir() if path.name not in OWN_FILES)
    write_sealed(folder / "run.yaml", {**record, "files": {name: file_hash(folder / name) for name in names}})
