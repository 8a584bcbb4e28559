"""Learning curves of all folds as bands, thinned to what a screen shows."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

POINTS = 300
QUANTILES = {"min": 0.0, "low": 0.1, "median": 0.5, "high": 0.9, "max": 1.0}


def bands(metrics: pd.DataFrame) -> list[dict[str, Any]]:
    """What was logged, by epoch, over the folds.

    Args:
        metrics: columns fold, epoch and what was logged; a missing value is left out.

    Returns:
        For each logged column that holds a number: name, folds, epoch, and min, low (10 %), median, high
        (90 %) and max over the folds, lists of equal length.
    """
    found = []
    for name in metrics.columns.drop(["fold", "epoch"]):
        values = pd.to_numeric(metrics[name], errors="coerce")
        there = metrics.assign(value=values.where(np.isfinite(values))).dropna(subset="value")
        if there.empty:
            continue
        table = there.groupby("epoch")["value"].quantile(np.array(list(QUANTILES.values()))).unstack()
        table = table.iloc[_kept(len(table))]
        lines = {key: _plain(table[quantile]) for key, quantile in QUANTILES.items()}
        folds = int(there["fold"].nunique())
        found.append({"name": str(name), "folds": folds, "epoch": table.index.tolist(), **lines})
    return found


def score_lines(by_epoch: pd.DataFrame) -> dict[str, Any]:
    """Pooled scores by epoch: epoch and a list for each column."""
    table = by_epoch.iloc[_kept(len(by_epoch))]
    return {"epoch": table.index.tolist(), **{str(name): _plain(table[name]) for name in table.columns}}


def thin(values: ArrayLike, points: int = POINTS) -> list[float]:
    """At most so many of the values, evenly, the first and the last among them."""
    array = np.asarray(values)
    return _plain(array[_kept(len(array), points)])


def _kept(count: int, points: int = POINTS) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, points)).round().astype(np.int64))


def _plain(values: Any) -> list[float]:
    """Numbers with five digits: a curve needs no more, and a page stays small."""
    return [float(f"{value:.5g}") for value in values]
