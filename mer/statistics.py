"""How sure a score is, and whether two rows differ: intervals and tests on predictions. No torch, no SciPy.

Both speak of the trained networks and of which subjects happened to be filmed. How much another training
would differ is the spread over seeds, which neither covers.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mer.errors import MerError
from mer.prediction_types import check_types
from mer.runs import KEY
from mer.scores import predicted_classes

METRICS = ("accuracy", "f1", "uf1", "uar")
SUBJECT = ["database", "subject"]  # a subject's name alone may occur in two databases


def bootstrap_interval(
    predictions: pd.DataFrame | Sequence[pd.DataFrame],
    classes: Sequence[str],
    metric: str,
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    within_database: bool = True,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a pooled score, over subjects (Efron 1979).

    The clips of a subject resemble each other, so subjects are drawn, not clips: with replacement, as many
    as there are, each with all its clips. The score is that of the confusion matrix of all that is drawn.
    A class that no drawn subject shows is left out of the mean over classes, as in `mer.metrics`.

    Args:
        predictions: one row a clip: database, subject, clip, label, p_<class>...; or several such tables of
            the same clips, those of several seeds: in each draw of subjects the score is the mean of theirs.
        classes: the label map's classes.
        metric: ``accuracy``, ``f1``, ``uf1`` or ``uar``.
        draws: number of bootstrap samples.
        level: share of the samples' scores inside the interval, between 0 and 1; half of the rest lies on
            either side. No correction for bias.
        seed: of the draws.
        within_database: draw the subjects of each database among themselves, so that a composite keeps its
            make-up; a database with one subject then adds no width. Otherwise from all subjects alike.

    Returns:
        (low, high), each 0..1. With one subject both are its score.

    Raises:
        MerError: a clip twice in a table (several epochs or seeds), tables of other clips, an unknown label,
            a missing column, or an option out of range.
    """
    if draws < 1:
        raise MerError(f"draws={draws}: at least 1 is needed")
    if not 0 < level < 1:
        raise MerError(f"level={level}: between 0 and 1, 0.95 for instance")
    tables = [predictions] if isinstance(predictions, pd.DataFrame) else list(predictions)
    _check_same_clips(tables)
    counted = [grouped_confusions(table, classes, SUBJECT) for table in tables]
    subjects = counted[0][0]
    matrices = np.stack([matrix for _, matrix in counted], axis=1)  # (subjects, tables, K, K)
    database = subjects.get_level_values("database").to_numpy()
    strata = np.unique(database, return_inverse=True)[1] if within_database else np.zeros(len(subjects), int)
    random = np.random.default_rng(seed)
    times = np.empty((draws, len(subjects)))  # floats: integers are multiplied without BLAS
    for stratum in range(strata.max() + 1):
        members = np.flatnonzero(strata == stratum)
        times[:, members] = random.multinomial(
            len(members), np.full(len(members), 1 / len(members)), size=draws
        )
    pooled = times @ matrices.reshape(len(subjects), -1).astype(np.float64)
    scores = score_matrices(pooled.reshape(draws, *matrices.shape[1:]), metric).mean(axis=1)
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mcnemar(first: pd.DataFrame, second: pd.DataFrame) -> tuple[int, int, float]:
    """Exact McNemar test: do two rows get the same clips right? (McNemar 1947, with the binomial's tails.)

    Only the b + c clips on which they disagree count. Were the rows equally good, b would be binomial with
    probability 1/2. The test takes clips as independent; those of a subject are not, so p is too small
    rather than too large.

    Args:
        first: predictions of one row, one line a clip: database, subject, clip, label, p_<class>...
        second: those of the other row, of the same clips and classes in any order.

    Returns:
        (b, c, p): clips that only the first gets right, clips that only the second does, and the two-sided
        p-value, 0..1; 1 where they never disagree.

    Raises:
        MerError: a clip twice, other clips, other labels or other classes, or a missing column.
    """
    classes = class_names(first)
    if set(class_names(second)) != set(classes):
        raise MerError(f"the rows to compare have other classes: {classes} and {class_names(second)}")
    both = _side_by_side(_right(first, classes), _right(second, classes))
    right, other_right = both["right_1"].to_numpy(dtype=bool), both["right_2"].to_numpy(dtype=bool)
    b, c = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    return b, c, _two_sided(b, c)


def score_matrices(matrices: ArrayLike, metric: str) -> NDArray[np.float64]:
    """The score of many confusion matrices at once, each as `mer.metrics` scores it.

    Args:
        matrices: (..., K, K) counts, rows true, columns predicted.
        metric: ``accuracy``, ``f1``, ``uf1`` or ``uar``.

    Returns:
        (...), each 0..1; nan for an empty matrix.

    Raises:
        MerError: an unknown metric.
    """
    counts = np.asarray(matrices, dtype=np.float64)
    correct = counts.diagonal(axis1=-2, axis2=-1)
    true, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    match metric:
        case "accuracy":
            return _quotient(correct.sum(axis=-1), true.sum(axis=-1))
        case "uar":
            return _mean_of_present(correct, true, true)
        case "uf1":
            return _mean_of_present(2 * correct, true + predicted, true)
        case "f1":
            recall = _mean_of_present(correct, true, true)
            precision = _mean_of_present(correct, predicted, true)
            total = precision + recall
            return np.where(total == 0, 0.0, _quotient(2 * precision * recall, total))
    raise MerError(f"metric={metric!r}: choose {', '.join(METRICS)}")


def grouped_confusions(
    predictions: pd.DataFrame, classes: Sequence[str], by: Sequence[str]
) -> tuple[pd.Index, NDArray[np.int64]]:
    """One confusion matrix for each group of rows, all in one count.

    Args:
        predictions: with the columns ``by``, label and p_<class>...
        classes: the label map's classes, K.
        by: columns whose values make a group.

    Returns:
        The groups, sorted, and (groups, K, K) counts, rows true, columns predicted.

    Raises:
        MerError: no rows, an unknown label, or a missing column.
    """
    check_columns(predictions, [*by, "label", *(f"p_{name}" for name in classes)])
    if predictions.empty:
        raise MerError("no predictions to score")
    target = pd.Index(classes).get_indexer(pd.Index(predictions["label"]))
    if (target < 0).any():
        label = predictions["label"].iloc[int((target < 0).argmax())]
        raise MerError(f"the predictions hold the label {label!r}; the classes are {', '.join(classes)}")
    groups = predictions.groupby(list(by), dropna=False)
    index = groups.size().index
    size = len(classes)
    cells = (groups.ngroup().to_numpy() * size + target) * size + predicted_classes(predictions, classes)
    counts = np.bincount(cells, minlength=len(index) * size**2)
    return index, counts.reshape(len(index), size, size).astype(np.int64)


def class_names(predictions: pd.DataFrame) -> list[str]:
    """The classes that the columns p_<class> name, in their order.

    Raises:
        MerError: there are none.
    """
    names = [str(name).removeprefix("p_") for name in predictions.columns if str(name).startswith("p_")]
    if not names:
        raise MerError(f"no column p_<class> among {list(predictions.columns)}: these are no predictions")
    return names


def clip_name(row: "pd.Series[str]") -> str:
    """A row's database/subject/clip."""
    return "/".join(str(row[name]) for name in KEY)


def check_columns(predictions: pd.DataFrame, wanted: Sequence[str]) -> None:
    """Refuse predictions without these columns.

    Raises:
        MerError: naming those that are missing, or one that holds something else than its name says.
    """
    if missing := [name for name in wanted if name not in predictions.columns]:
        raise MerError(f"the predictions have no column {', '.join(missing)}")
    check_types(predictions, wanted)


def check_one_row_a_clip(predictions: pd.DataFrame) -> None:
    """Refuse predictions in which a clip stands twice.

    Raises:
        MerError: naming the clip, or a missing column.
    """
    check_columns(predictions, KEY)
    if (twice := predictions.duplicated(KEY)).any():
        clip = clip_name(predictions[twice].iloc[0])
        raise MerError(f"clip {clip} stands twice: take one seed, and one epoch a fold (mer.selection)")


def _check_same_clips(tables: Sequence[pd.DataFrame]) -> None:
    """Raise MerError unless there are tables, and each has one row of each clip that the first has."""
    if not tables:
        raise MerError("no predictions to score")
    for table in tables:
        check_one_row_a_clip(table)
    for other in tables[1:]:
        _side_by_side(tables[0][[*KEY, "label"]], other[[*KEY, "label"]])


def _side_by_side(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Each clip once, with the columns of both; MerError where one has other clips or labels."""
    both = first.merge(second, on=KEY, how="outer", suffixes=("_1", "_2"), indicator="where")
    if len(alone := both[both["where"] != "both"]):
        row = alone.iloc[0]
        which = "first" if row["where"] == "left_only" else "second"
        raise MerError(
            f"the rows to compare have other clips: {clip_name(row)} is only in the {which} "
            f"({len(alone)} such); compare runs on the same data"
        )
    if len(other := both[both["label_1"] != both["label_2"]]):
        row = other.iloc[0]
        raise MerError(
            f"the rows to compare have other labels: {clip_name(row)} is {row['label_1']} in the first and "
            f"{row['label_2']} in the second ({len(other)} such); compare runs on the same data"
        )
    return both


def _two_sided(b: int, c: int) -> float:
    """Twice the smaller tail of a binomial of b + c with probability 1/2, at most 1."""
    # Whole numbers, exact in Python; so is the rounding of their quotient.
    ways = tail = 1
    for k in range(min(b, c)):
        ways = ways * (b + c - k) // (k + 1)  # to choose k + 1 of b + c
        tail += ways
    return min(1.0, 2 * tail / (1 << (b + c)))


def _right(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Columns database, subject, clip, label, right."""
    check_columns(predictions, ["label"])
    check_one_row_a_clip(predictions)
    guess = np.asarray(classes, dtype=object)[predicted_classes(predictions, classes)]
    return predictions[[*KEY, "label"]].assign(right=predictions["label"].to_numpy(dtype=object) == guess)


def _mean_of_present(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64], true: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean over the classes that have clips, (..., K) -> (...); a class over 0 counts 0."""
    present = true > 0
    each = numerator / np.where(denominator > 0, denominator, 1)
    return _quotient(np.where(present, each, 0).sum(axis=-1), present.sum(axis=-1))


def _quotient(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """nan where the denominator is 0, without numpy's warning."""
    quotient: NDArray[np.float64] = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient
