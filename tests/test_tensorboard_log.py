"""TensorBoard: event files, read back by TensorBoard's own reader."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mer import runs
from mer.errors import MerError
from mer.plots import confusion_figure, save_figure
from mer.scores import subset_scores
from mer.tensorboard_log import log_run
from tests.run_folder import CLASSES, FOLDS, make_run

events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read(run: Path) -> Any:
    found = events.EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    return found


def test_what_was_logged_is_read_back(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    save_figure(confusion_figure(np.eye(2, dtype=int), CLASSES, "title"), run / "confusion.png")
    log_run(run)
    logged = read(run)
    curve = logged.Scalars("train_loss/mean")
    assert [(point.step, point.value) for point in curve] == [(1, 2), (2, 1), (3, 0.5)]
    scores = subset_scores(runs.read_predictions(run), CLASSES)
    for subset, row in scores.iterrows():
        for name, value in row.items():
            (point,) = logged.Scalars(f"{subset}/{name}")
            assert point.step == 3
            assert point.value == pytest.approx(value)
    assert logged.Tags()["images"] == ["confusion"]
    (text,) = logged.Tensors("config/text_summary")
    assert b'"lr": 5e-05' in text.tensor_proto.string_val[0]


def test_logging_again_replaces(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    log_run(run)
    log_run(run)
    assert len(read(run).Scalars("train_loss/mean")) == 3
    assert len(list((run / "tensorboard").iterdir())) == 1


def test_an_unfinished_run_is_not_logged(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=FOLDS[:2])
    with pytest.raises(MerError, match="1 of 3 folds are missing"):
        log_run(run)
    assert not (run / "tensorboard").exists()
