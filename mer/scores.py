"""Predictions -> scores, pooled over the folds, for all clips and for each database. No torch."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer import metrics

ALL = "all"


def predicted_classes(predictions: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    """(N,) index of the most probable class; the first of equals."""
    probabilities: NDArray[np.float32] = predictions[[f"p_{name}" for name in classes]].to_numpy()
    best: NDArray[np.int64] = probabilities.argmax(axis=1)
    return best


def pooled_confusion(predictions: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    """(K, K) counts, rows true, columns predicted."""
    target = pd.Index(classes).get_indexer(pd.Index(predictions["label"]))
    return metrics.confusion_matrix(target, predicted_classes(predictions, classes), len(classes))


def subset_scores(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Rows ``all`` and, where there are several, each database; columns clips, accuracy, f1, uf1, uar."""
    subsets = {ALL: predictions}
    if predictions["database"].nunique() > 1:
        subsets |= {str(name): part for name, part in predictions.groupby("database")}
    return pd.DataFrame(
        {
            name: {"clips": len(part), **metrics.scores(pooled_confusion(part, classes))}
            for name, part in subsets.items()
        }
    ).T
