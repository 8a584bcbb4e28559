"""Columns of predictions hold what their names say."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mer.errors import MerError
from mer.prediction_types import check_probabilities, check_types
from tests.run_folder import FOLDS, make_predictions


def change(**columns: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.assign(**columns)


def test_predictions_of_a_run_are_right() -> None:
    check_types(make_predictions(FOLDS[0]))
    check_types(make_predictions(FOLDS[0]).astype({"label": "category", "seed": "int32"}))
    check_types(make_predictions(FOLDS[0]).iloc[:0])
    check_probabilities(make_predictions(FOLDS[0]))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change(clip=3), "row 0 of the predictions: clip .*3.* is no text"),
        (
            change(label=[1, "positive", "negative", "positive"]),
            "row 0 of the predictions: label 1 is no text",
        ),
        (change(label=["negative", None, "negative", "positive"]), "have an empty label"),
        (change(seed=0.0), "seed is float64, not whole numbers"),
        (change(epoch="3"), "epoch is .*, not whole numbers"),
        (change(epoch=[1, -1, 1, 1]), "row 1 of the predictions: epoch .*-1.* is below 0"),
        (change(p_negative="0.5"), "p_negative is .*, not numbers"),
        (change(p_negative=True), "p_negative is bool, not numbers"),
    ],
)
def test_a_column_of_another_type_is_named(
    edit: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(MerError, match=message):
        check_types(edit(make_predictions(FOLDS[0])))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 0.5, 0.5, np.nan], "row 3: its probabilities are not finite"),
        ([0.5, -0.5, 0.5, 0.5], "row 1: its probabilities are not all in 0..1"),
        ([0.5, 0.5, 0.9, 0.5], "row 2: its probabilities do not add up to 1"),
    ],
)
def test_what_no_network_gives_is_refused(values: list[float], message: str) -> None:
    table = make_predictions(FOLDS[0]).assign(p_negative=values, p_positive=0.5)
    with pytest.raises(MerError, match=message):
        check_probabilities(table)
