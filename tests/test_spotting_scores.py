"""Scores of spotting from frames and expressions: counted by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mer.errors import MerError
from mer.spotting_metrics import frame_auc, spot
from mer.spotting_scores import SpotOptions, scores, spotted
from tests.spotting_run import join, make_video

Tables = tuple[pd.DataFrame, pd.DataFrame]
PLAIN = SpotOptions(smoothing=0)


@pytest.fixture
def tables() -> Tables:
    """Database a: a hit, a miss and a false alarm. Database b: a hit, and a still video with two alarms."""
    return join(
        make_video("a/s1/hit", [(51, 90)], [(51, 90)]),
        make_video("a/s1/late", [(51, 90)], [(121, 160)]),
        make_video("b/s1/hit", [(51, 90), (131, 150)], [(54, 93)]),
        make_video("b/s2/still", [], [(31, 60), (101, 140)], length=600),
    )


def test_counts_are_pooled_over_videos(tables: Tables) -> None:
    found = scores(*tables, PLAIN)
    assert found.index.tolist() == ["all", "a", "b"]
    assert found["videos"].tolist() == [4, 2, 2]
    assert found["frames"].tolist() == [1200, 400, 800]
    assert found["inside"].tolist() == [40 + 40 + 60, 80, 60]
    assert found["expressions"].tolist() == [4, 2, 2]
    assert found["found"].tolist() == [5, 2, 3]
    assert found["hits"].tolist() == [2, 1, 1]
    np.testing.assert_allclose(found["interval_precision"], [2 / 5, 1 / 2, 1 / 3], atol=1e-12)
    np.testing.assert_allclose(found["interval_recall"], [2 / 4, 1 / 2, 1 / 2], atol=1e-12)
    np.testing.assert_allclose(found["interval_f1"], [4 / 9, 1 / 2, 2 / 5], atol=1e-12)
    # Two in the 6 seconds of the one still video, which database a has none of.
    np.testing.assert_allclose(found["false_alarms"], [20, np.nan, 20], atol=1e-12)
    np.testing.assert_allclose(found["still_seconds"], [6, 0, 6], atol=1e-12)
    np.testing.assert_allclose(found["seconds"], [12, 4, 8], atol=1e-12)


def test_auc_is_over_the_pooled_frames(tables: Tables) -> None:
    frames, expressions = tables
    found = scores(frames, expressions)
    for name, part in (("all", frames), *frames.groupby("database")):
        assert found["auc"][str(name)] == frame_auc(part["inside"].to_numpy(), part["score"].to_numpy())
    means = frames.groupby(["database", "subject", "video"])[["inside", "score"]]
    each = [frame_auc(part["inside"].to_numpy(), part["score"].to_numpy()) for _, part in means]
    assert np.isnan(each).sum() == 1  # the still video has no curve of its own
    assert found.loc["all", "auc"] != pytest.approx(np.nanmean(each))


def test_the_order_of_rows_says_nothing(tables: Tables) -> None:
    frames, expressions = tables
    shuffled = frames.sample(frac=1, random_state=0), expressions.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(scores(*shuffled), scores(*tables))
    pd.testing.assert_frame_equal(spotted(shuffled[0]), spotted(frames))


def test_seconds_are_frames_by_the_rate() -> None:
    slow = make_video("a/s1/v", [(51, 90)], [(51, 90)], fps=25)  # 1.6 s
    quick = make_video("a/s1/v", [(51, 90)], [(51, 90)], fps=200)
    assert scores(*slow, PLAIN).loc["all", "found"] == 0
    assert scores(*quick, PLAIN).loc["all", "hits"] == 1
    assert scores(*slow, SpotOptions(smoothing=0, greatest=2)).loc["all", "hits"] == 1
    in_frames = SpotOptions(smoothing=5, least=3, greatest=40, unit="frames")
    assert scores(*slow, in_frames).loc["all", "hits"] == 1
    options = SpotOptions(smoothing=0.05)
    video = quick[0]
    expected = spot(
        video["score"].to_numpy(float), video["frame"].to_numpy(), smoothing=10, least=8, greatest=100
    )
    assert spotted(video, options)[["onset", "offset"]].to_numpy().tolist() == expected.tolist()


def test_a_video_without_a_rate() -> None:
    video = make_video("a/s1/v", [(51, 90)], [(51, 90)], fps=np.nan)
    with pytest.raises(MerError, match="video a/s1/v: its fps is not known"):
        scores(*video)
    found = scores(*video, SpotOptions(smoothing=5, least=3, greatest=40, unit="frames")).loc["all"]
    assert found["hits"] == 1
    assert np.isnan(found[["seconds"]].to_numpy(float)).all()
    still = make_video("a/s1/v", [], [(51, 90)], fps=np.nan)
    assert np.isnan(scores(*still, SpotOptions(unit="frames", greatest=90))["false_alarms"]["all"])


def test_videos_without_an_expression_alone() -> None:
    found = scores(*make_video("a/s1/v", [], []), PLAIN).loc["all"]
    assert (found["false_alarms"], found["found"]) == (0, 0)
    assert np.isnan([found["auc"], found["interval_f1"], found["interval_recall"]]).all()


def test_expressions_that_overlap_are_one_inside_and_two_to_find() -> None:
    found = scores(*make_video("a/s1/v", [(51, 90), (61, 100)], [(51, 90)]), PLAIN).loc["all"]
    assert (found["inside"], found["expressions"], found["hits"]) == (50, 2, 1)


def test_spotted_names_its_videos(tables: Tables) -> None:
    found = spotted(tables[0], PLAIN)
    assert found["video"].tolist() == ["hit", "late", "hit", "still", "still"]
    assert list(found.columns) == ["database", "subject", "video", "onset", "offset"]
    nothing = spotted(make_video("a/s1/v", [], [])[0])
    assert list(nothing.columns) == list(found.columns)
    assert nothing.empty


def test_the_rule_in_words() -> None:
    assert "(moving mean of 0.1 s) at or above 0.5, down to" in SpotOptions().words()
    assert "mean + 0.5 (max - mean)" in SpotOptions(relative=True).words()
    assert "of 3 to 40 frames" in SpotOptions(least=3, greatest=40, unit="frames").words()


def change(column: str, value: Any, row: int = 3) -> Any:
    def edit(table: pd.DataFrame) -> pd.DataFrame:
        table = table.copy()
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
        return table

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda frames: frames.drop(columns=["fps", "score"]), "frames lacks the column.* fps, score"),
        (lambda frames: frames[:0], "scored frames: there are none"),
        (
            change("score", np.nan),
            r"frame 4 of video a/s1/hit has no score \(1 such\); the training diverged",
        ),
        (change("score", np.inf), "frame 4 of video a/s1/hit: the score is inf"),
        (change("frame", 3), "frame 3 of video a/s1/hit stands twice; give one seed and one epoch"),
        (change("fps", 30.0), "video a/s1/hit: its frames have no single fps"),
        (change("fps", None), "video a/s1/hit: its frames have no single fps"),
        (lambda frames: frames.assign(fps=0.0), "no single fps above 0"),
        (change("subject", None), "has no subject"),
        (change("inside", True), "frame 4 of video a/s1/hit: marked as inside an expression"),
        (
            lambda frames: frames[~frames["frame"].between(51, 90)],
            "expression 51 to 90 of video a/s1/hit: the video has no frame in it; its frames are 1 to 200",
        ),
        (
            lambda frames: frames[frames["video"] != "late"],
            "the expression 51 to 90 of video a/s1/late: no frame of this video is scored",
        ),
    ],
)
def test_frames_that_do_not_fit(tables: Tables, edit: Any, message: str) -> None:
    frames, expressions = tables
    with pytest.raises(MerError, match=message):
        scores(edit(frames), expressions)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: rows.drop(columns="onset"), "expressions lacks the column.* onset"),
        (lambda rows: rows[1:], "frame 51 of video a/s1/hit: marked as inside"),
        (change("offset", pd.NA, 1), "one of video a/s1/late has no offset"),
        (change("offset", 40, 1), "the expression 51 to 40 of video a/s1/late: the offset is before"),
    ],
)
def test_expressions_that_do_not_fit(tables: Tables, edit: Any, message: str) -> None:
    frames, expressions = tables
    with pytest.raises(MerError, match=message):
        scores(frames, edit(expressions))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": "high"}, "numbers are needed"),
        ({"threshold": np.nan}, "spot.threshold=nan"),
        ({"relative": 1}, "spot.relative=1"),
        ({"unit": "ms"}, "spot.unit=ms: choose seconds or frames"),
        ({"least": 2}, "spot.least=2, greatest=0.5"),
        ({"smoothing": -1}, "spot.smoothing=-1"),
        ({"reach": 1}, "spot.reach=1"),
        ({"least_iou": 0}, "spot.least_iou=0"),
    ],
)
def test_options_out_of_range(options: Any, message: str) -> None:
    with pytest.raises(MerError, match=message):
        SpotOptions(**options)
