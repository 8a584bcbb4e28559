"""What a run shows at its end."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread

from mer import report, runs
from mer.data.encoded import EncodedSet
from mer.errors import MerError
from mer.job import Outcome
from mer.scores import subset_scores
from tests.run_folder import CLASSES, FOLDS, make_run


def conclude(run: Path, channels: int, logger: Any) -> None:
    clips = runs.read_predictions(run)[["database", "subject", "clip", "label"]]
    images = torch.full((len(clips), channels, 28, 28), 128.0).contiguous(memory_format=torch.channels_last)
    report.conclude(run, clips, EncodedSet(images, "content", run), logger)


def test_conclude_draws_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path)
    conclude(run, 3, {"name": "csv"})
    assert imread(run / "confusion.png").shape[:2] == (140 + 90 * 2, 260 + 110 * 2)
    sheet = np.rint(imread(run / "encoded.png")[..., :3] * 255)
    # The grey of the twelve images, each 168 pixels wide.
    assert (sheet == 128).all(axis=-1).sum() >= 12 * 168 * 168
    out = capsys.readouterr().out
    expected = subset_scores(runs.read_predictions(run), CLASSES)
    for subset, row in expected.iterrows():
        (line,) = [line for line in out.splitlines() if line.strip("│ ").startswith(str(subset))]
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        shown = [f"{row[name]:.4f}" for name in ("accuracy", "f1", "uf1", "uar")]
        assert cells == [subset, str(int(row["clips"])), *shown]


def test_drawn_faces_are_said_whatever_the_data_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conclude(make_run(tmp_path, synthetic=True), 3, None)
    assert "SYNTHETIC DATA: " in capsys.readouterr().out.replace("\n", " ")
    conclude(make_run(tmp_path / "other"), 3, None)
    assert "SYNTHETIC" not in capsys.readouterr().out


def test_two_channels_have_no_sheet(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    conclude(run, 2, None)
    assert (run / "confusion.png").exists()
    assert not (run / "encoded.png").exists()


def test_unfinished_run_has_no_scores(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=FOLDS[:2])
    clips = pd.DataFrame({"subject": ["s1"], "label": ["negative"]})
    with pytest.raises(MerError, match="1 of 3 folds are missing"):
        report.conclude(run, clips, EncodedSet(torch.zeros(1, 1, 28, 28), "content", run), None)
    assert not (run / "confusion.png").exists()


def test_scores_are_shown_though_wandb_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path)
    asked = []

    def fail(folder: Path, logger: object) -> None:
        asked.append((folder, logger))
        raise MerError("W&B did not log it")

    monkeypatch.setattr("mer.wandb_log.log_run", fail)
    with pytest.raises(MerError, match="did not log"):
        conclude(run, 1, {"name": "wandb"})
    assert asked == [(run, {"name": "wandb"})]
    assert "uf1" in capsys.readouterr().out


def test_brackets_in_a_path_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    scores = pd.DataFrame({"clips": [3.0], "uf1": [float("nan")]}, index=["all"])
    report.show_scores(scores, "/data/[red]/run")
    out = capsys.readouterr().out
    assert "/data/[red]/run" in out
    assert "nan" in out


def test_progress_collects_and_tells(capsys: pytest.CaptureFixture[str]) -> None:
    run, other = Path("/data/[red]/run"), Path("/data/other")
    ended = [(run, Outcome("a/1", 1.0)), (run, Outcome("a/2", 0.0, "no [bold]images"))]
    assert report.show_progress(iter(ended), {run: (5, 2)}) == ended
    shown = capsys.readouterr().err
    assert "/data/[red]/run: 3 of 5 folds are finished already" in shown
    assert "fold a/2 failed: no [bold]images" in shown
    report.show_progress(iter(ended), {run: (5, 2), other: (1, 0)})
    assert "fold a/1 of /data/[red]/run done in 1.0 s (5/6)" in capsys.readouterr().err
