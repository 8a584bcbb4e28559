"""Predictions -> scores, pooled over the folds, for all clips and for each database. No torch."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer import metrics
from mer.errors import MerError
from mer.prediction_types import check_types

ALL = "all"


def predicted_classes(predictions: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    """(N,) index of the most probable class; the first of equals.

    Raises:
        MerError: a class without a column, or a column of no numbers.
    """
    if missing := [name for name in classes if f"p_{name}" not in predictions.columns]:
        raise MerError(f"the predictions have no column p_{missing[0]}")
    check_types(predictions, [f"p_{name}" for name in classes])
    probabilities: NDArray[np.float32] = predictions[[f"p_{name}" for name in classes]].to_numpy()
    best: NDArray[np.int64] = probabilities.argmax(axis=1)
    return best


def pooled_confusion(predictions: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    """(K, K) counts, rows true, columns predicted.

    Raises:
        MerError: a missing column, or a label that is no class.
    """
    if "label" not in predictions.columns:
        raise MerError("the predictions have no column label")
    check_types(predictions, ["label"])
    target = pd.Index(classes).get_indexer(pd.Index(predictions["label"]))
    if (target < 0).any():
        label = predictions["label"].iloc[int((target < 0).argmax())]
        raise MerError(f"the predictions hold the label {label!r}; the classes are {', '.join(classes)}")
    return metrics.confusion_matrix(target, predicted_classes(predictions, classes), len(classes))


def subset_scores(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Rows ``all`` and, where there are several, each database; columns clips, accuracy, f1, uf1, uar.

    Raises:
        MerError: no predictions, a missing column, or a label that is no class.
    """
    if "database" not in predictions.columns or predictions.empty:
        raise MerError("no predictions to score, or no column database")
    check_types(predictions, ["database"])
    subsets = {ALL: predictions}
    if predictions["database"].nunique() > 1:
        subsets |= {str(name): part for name, part in predictions.groupby("database")}
    return pd.DataFrame(
        {
            name: {"clips": len(part), **metrics.scores(pooled_confusion(part, classes))}
            for name, part in subsets.items()
        }
    ).T
