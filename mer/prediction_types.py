"""Whether the columns of predictions hold what their names say. Needs pandas only."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from mer.errors import MerError

TEXTS = ("database", "subject", "clip", "fold", "label")
COUNTS = ("seed", "epoch")
_TOLERANCE = 1e-3  # of float32, and of half precision


def check_types(predictions: pd.DataFrame, names: Iterable[str] | None = None) -> None:
    """Refuse columns of another type: pandas compares and counts them otherwise, or raises anything.

    Args:
        predictions: with columns of ``mer.runs.read_predictions``; others are not looked at.
        names: columns to look at; None: all.

    Raises:
        MerError: an empty cell, a name that is no text, a seed or epoch that is no whole number from 0, or a
            probability that is no number; naming the column and the first row, from 0.
    """
    for name in predictions.columns if names is None else names:
        column = predictions[name]
        if isinstance(column, pd.DataFrame):
            raise MerError(f"the predictions have two columns {name}")
        if name in (*TEXTS, *COUNTS) and column.hasnans:
            raise MerError(f"the predictions have an empty {name}")
        if name in TEXTS and not _are_texts(column):
            wrong = [not isinstance(value, str) for value in column]
            raise _misfit(column, wrong, "no text")
        if name in COUNTS and len(column):
            if not pd.api.types.is_integer_dtype(column.dtype):
                raise MerError(f"the predictions' {name} is {column.dtype}, not whole numbers")
            if column.min() < 0:
                raise _misfit(column, column < 0, "below 0")
        if str(name).startswith("p_") and len(column):
            number = pd.api.types.is_numeric_dtype(column.dtype) and column.dtype.kind in "fiu"
            if not number:
                raise MerError(f"the predictions' {name} is {column.dtype}, not numbers")


def check_probabilities(predictions: pd.DataFrame) -> None:
    """Refuse rows whose probabilities no network of ours gives, after :func:`check_types`.

    Raises:
        MerError: one that is no finite number in 0..1, or a row that does not add up to 1.
    """
    names = [name for name in predictions.columns if str(name).startswith("p_")]
    values = predictions[names].to_numpy(dtype=np.float64)
    for wrong, what in (
        (~np.isfinite(values).all(axis=1), "are not finite: the training diverged"),
        (((values < -_TOLERANCE) | (values > 1 + _TOLERANCE)).any(axis=1), "are not all in 0..1"),
        (np.abs(values.sum(axis=1) - 1) > len(names) * _TOLERANCE, "do not add up to 1"),
    ):
        if len(values) and wrong.any():
            raise MerError(f"row {int(wrong.argmax())}: its probabilities {what}")


def _are_texts(column: "pd.Series[str]") -> bool:
    kind = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    return pd.api.types.infer_dtype(kind, skipna=False) in ("string", "empty")


def _misfit(column: "pd.Series[str]", wrong: Iterable[bool], what: str) -> MerError:
    row = int(np.asarray(wrong).argmax())
    return MerError(f"row {row} of the predictions: {column.name} {column.iloc[row]!r} is {what}")
