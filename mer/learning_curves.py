"""The learning curves of a run: what its folds logged, by epoch."""

from pathlib import Path

import pandas as pd

from mer import runs


def learning_curves(folder: Path) -> pd.DataFrame:
    """Mean, min and max over the folds of each logged quantity, by epoch: columns ``train_loss/mean``..."""
    folds = runs.read_plan(folder).folds
    pooled = pd.concat([runs.read_metrics(folder, fold) for fold in folds], ignore_index=True)
    by_epoch = pooled.groupby("epoch")
    statistics = {"mean": by_epoch.mean(), "min": by_epoch.min(), "max": by_epoch.max()}
    return pd.concat([table.add_suffix(f"/{name}") for name, table in statistics.items()], axis=1)
