"""Scores of a confusion matrix: accuracy, F1-score, UF1, UAR. Needs numpy only.

Every score is a function of one confusion matrix, counted over the pooled predictions of all folds.
The mean over folds of F1 is another number: in leave-one-subject-out, many subjects hold one class.

A class with no clip in the matrix (an empty row) has undefined recall and F1: it is left out of every
mean over classes, its precision too. Clips wrongly given to it still count, as misses of their true
class. A class that has clips and is never predicted counts 0. An empty matrix scores nan.

Equations are those of LAENet (section 3.2). Its eq 9, 10 and 14 are misprinted: M multiplies TP only,
and 14 divides by M twice. We read them as the means over classes that the printed numbers show.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "accuracy",
    "confusion_matrix",
    "f1_score",
    "macro_precision",
    "present_classes",
    "scores",
    "uar",
    "uf1",
]


def confusion_matrix(target: ArrayLike, predicted: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Count clips by true class (row) and predicted class (column).

    Args:
        target: true classes, (N,) integers in 0..num_classes-1; N may be 0.
        predicted: predicted classes, like ``target``.
        num_classes: number of classes K of the label map, whether they occur or not.

    Returns:
        (K, K) int64.

    Raises:
        ValueError: unequal lengths, not one-dimensional, not integers, or a class out of range.

    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 0], 3)
    array([[1, 1, 0],
           [0, 1, 0],
           [1, 0, 0]])
    """
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}: at least 1 is needed")
    rows = _classes("target", target, num_classes)
    columns = _classes("predicted", predicted, num_classes)
    if len(rows) != len(columns):
        raise ValueError(f"target has {len(rows)} clips, predicted has {len(columns)}")
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def present_classes(cm: ArrayLike) -> NDArray[np.bool_]:
    """Which classes have clips: the means over classes run over these.

    Args:
        cm: confusion matrix (K, K), rows true, columns predicted.

    Returns:
        (K,) bool.

    Raises:
        ValueError: ``cm`` is not square, or holds a negative number or nan.

    >>> present_classes([[2, 1, 0], [0, 0, 0], [1, 0, 4]])
    array([ True, False,  True])
    """
    present: NDArray[np.bool_] = _checked(cm).sum(axis=1) > 0
    return present


def accuracy(cm: ArrayLike) -> float:
    """Correct clips / all clips (LAENet eq 7).

    Args:
        cm: confusion matrix (K, K), rows true, columns predicted.

    Returns:
        0..1; nan for an empty matrix.

    Raises:
        ValueError: as `present_classes`.

    >>> accuracy([[3, 1], [0, 4]])
    0.875
    """
    matrix = _checked(cm)
    clips = matrix.sum()
    return float(matrix.trace() / clips) if clips > 0 else float("nan")


def macro_precision(cm: ArrayLike) -> float:
    """Mean over the present classes of TP / (TP + FP) (LAENet eq 10 with eq 12).

    A present class that is never predicted has precision 0; an absent one is left out, predicted or not.

    Args:
        cm: confusion matrix (K, K), rows true, columns predicted.

    Returns:
        0..1; nan for an empty matrix.

    Raises:
        ValueError: as `present_classes`.

    >>> macro_precision([[3, 1], [0, 4]])
    0.9
    """
    matrix = _checked(cm)
    present = present_classes(matrix)
    correct, predicted = matrix.diagonal()[present], matrix.sum(axis=0)[present]
    # A class never predicted has no correct clip either: 0 / 1 gives its 0 without a warning.
    return _mean(correct / np.where(predicted > 0, predicted, 1))


def uar(cm: ArrayLike) -> float:
    """Unweighted average recall: mean over the present classes of TP / (TP + FN) (LAENet eq 14 with eq 13).

    Also called balanced accuracy. It is the macro recall of LAENet eq 9.

    Args:
        cm: confusion matrix (K, K), rows true, columns predicted.

    Returns:
        0..1; nan for an empty matrix.

    Raises:
        ValueError: as `present_classes`.

    >>> uar([[3, 1], [0, 4]])
    0.875
    """
    matrix = _checked(cm)
    present = present_classes(matrix)
    return _mean(matrix.diagonal()[present] / matrix.sum(axis=1)[present])


def uf1(cm: ArrayLike) -> float:
    """Unweighted F1: mean over the present classes of 2TP / (2TP + FP + FN) (LAENet eq 11).

    Args:
        cm: confusion matrix (K, K), rows true, columns predicted.

    Returns:
        0..1; nan for an empty matrix.

    Raises:
        ValueError: as `present_classes`.

    >>> round(uf1([[3, 1], [0, 4]]), 4)  # (6/7 + 8/9) / 2
    0.873
    """
    matrix = _checked(cm)
    present = present_classes(matrix)
    true_and_predicted = matrix.sum(axis=1) + matrix.sum(axis=0)
    return _mean(2 * matrix.diagonal()[present] / true_and_predicted[present])


def f1_score(cm: ArrayLike) -> float:
    """Harmonic mean of the macro precision and the macro recall (LAENet eq 8-10). This is not UF1.

    UF1 takes the harmonic mean a class and then the mean; this takes the means first.

    Args:
        cm: confusion matrix (K, K), rows true, columns predicted.

    Returns:
        0..1; 0 where nothing is correct; nan for an empty matrix.

    Raises:
        ValueError: as `present_classes`.

    >>> round(f1_score([[3, 1], [0, 4]]), 4)  # 2 * .9 * .875 / (.9 + .875)
    0.8873
    """
    precision, recall = macro_precision(cm), uar(cm)
    if precision + recall == 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def scores(cm: ArrayLike) -> dict[str, float]:
    """The four scores of a table: ``accuracy``, ``f1`` (LAENet eq 8), ``uf1`` and ``uar``.

    Args:
        cm: confusion matrix (K, K), rows true, columns predicted.

    Returns:
        Score by name, each 0..1; all nan for an empty matrix.

    Raises:
        ValueError: as `present_classes`.

    >>> {name: round(score, 3) for name, score in scores([[3, 1], [0, 4]]).items()}
    {'accuracy': 0.875, 'f1': 0.887, 'uf1': 0.873, 'uar': 0.875}
    """
    return {"accuracy": accuracy(cm), "f1": f1_score(cm), "uf1": uf1(cm), "uar": uar(cm)}


def _classes(name: str, values: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """``values`` as (N,) int64, checked to lie in 0..num_classes-1."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}: one class a clip, shape (N,), is needed")
    if array.size == 0:  # an empty list arrives as float64
        return np.zeros(0, dtype=np.int64)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} has type {array.dtype}: integers are needed")
    outside = np.flatnonzero((array < 0) | (array >= num_classes))
    if outside.size:
        first = outside[0]
        raise ValueError(f"{name}[{first}] is {array[first]}: classes are 0..{num_classes - 1}")
    # Wide integers before the caller multiplies: uint8 classes would wrap.
    return array.astype(np.int64)


def _checked(cm: ArrayLike) -> NDArray[np.float64]:
    """``cm`` as a float64 square matrix without negative numbers or nan."""
    matrix = np.asarray(cm, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"the confusion matrix has shape {matrix.shape}: (K, K) is needed")
    if not np.all(np.isfinite(matrix) & (matrix >= 0)):
        raise ValueError(f"the confusion matrix holds a negative or non-finite number: {matrix.tolist()}")
    return matrix


def _mean(values: NDArray[np.float64]) -> float:
    """Mean, and nan (without numpy's warning) of nothing."""
    return float(values.mean()) if values.size else float("nan")
