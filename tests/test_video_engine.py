"""Runs that score the frames of videos, as a user starts them, on tiny drawn videos."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mer import runs, train
from mer.data.drawn_clip import LABELS
from mer.data.frames import list_frames, read_clip
from mer.data.sequences import VideoLabels
from mer.data.splits import Split
from mer.data.synthetic_videos import read_clips, write_synthetic_videos
from mer.encodings import FrameSequence
from mer.errors import MerError
from mer.feature_difference import FeatureDifference
from mer.spotting_scores import scores
from mer.video_engine import class_weights, recognise, surroundings

Mer = Callable[..., Path]
TINY = (
    *("subjects=3", "clips_per_class=1", "still=1", "long=1", "size=32"),
    *("length=[34,36]", "long_length=[110,112]"),
)


@pytest.fixture
def mer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mer:
    """``mer train`` on tiny drawn videos; gives the run folder."""
    monkeypatch.chdir(tmp_path)

    def call(*overrides: str) -> Path:
        tiny = [f"data.clips.{option}" for option in TINY]
        train.main(["data=synthetic_videos", *tiny, "encoding.size=32", "workers=1", "tag=tiny", *overrides])
        (found,) = Path("runs").glob("*/*.tiny/*/*/seed-0")
        return found

    return call


SMALL = (
    *("experiment=timecontrast_small", "network.width=0.0625", "network.context_dilation=2"),
    *("epochs=2", "task.pretrain_epochs=1"),
)


def drawn_clips() -> tuple[pd.DataFrame, pd.DataFrame]:
    root = write_synthetic_videos(
        subjects=3,
        clips_per_class=1,
        still=1,
        long=1,
        size=32,
        length=(34, 36),
        long_length=(110, 112),
    )
    reading = read_clips(root)
    assert reading.still is not None
    return reading.clips, reading.still


def test_a_run_scores_every_frame_and_classifies_every_expression(
    mer: Mer, capsys: pytest.CaptureFixture[str]
) -> None:
    run = mer(*SMALL)
    clips, still = drawn_clips()
    plan = runs.read_plan(run)
    assert (plan.clips, plan.videos, len(plan.folds), plan.synthetic) == (len(clips), 15, 3, True)
    frames, expressions = runs.read_spotting(run)
    counts = frames.groupby(["subject", "video"]).size()
    assert len(counts) == 15
    assert counts.between(34, 112).all()
    assert frames["score"].between(0, 1).all()
    assert expressions[["subject", "clip"]].values.tolist() == clips[["subject", "clip"]].values.tolist()
    # Videos without an expression are scored too, and nothing is inside.
    nothing = frames.set_index(["subject", "video"]).loc[
        list(still[["subject", "clip"]].itertuples(index=False))
    ]
    assert len(nothing) > 0
    assert not nothing["inside"].any()
    # The true curve is 1 at each apex.
    numbered = frames.set_index(["subject", "video", "frame"])["intensity"]
    tops = numbered.loc[list(expressions[["subject", "video", "apex"]].itertuples(index=False, name=None))]
    assert (tops == 1).all()
    predictions = runs.read_predictions(run)
    assert sorted(predictions["clip"]) == sorted(clips["clip"])
    assert predictions[[f"p_{name}" for name in LABELS]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert np.isfinite(scores(frames, expressions)["auc"]["all"])
    assert "auc" in capsys.readouterr().out
    assert (run / "confusion.png").exists()


def test_the_same_run_gives_the_same_bytes(mer: Mer) -> None:
    def written(run: Path) -> list[bytes]:
        names = ("predictions.parquet", "frames.parquet", "expressions.parquet", "metrics.csv")
        return [(runs.fold_folder(run, "synthetic/s02") / name).read_bytes() for name in names]

    run = mer(*SMALL, "fold=synthetic/s02")
    one = written(run)
    run.rename("first")
    assert written(mer(*SMALL, "fold=#1")) == one


@pytest.mark.parametrize("feature", ["lbp", "hoof"])
def test_a_feature_difference_is_a_run_like_any_other(mer: Mer, feature: str) -> None:
    name = "experiment=lbp_difference" if feature == "lbp" else "variant=hoof_difference/consecutive"
    run = mer(name)
    plan = runs.read_plan(run)
    assert (plan.clips, plan.videos) == (0, 15)
    assert runs.read_predictions(run).empty
    frames, expressions = runs.read_spotting(run)
    assert len(frames.drop_duplicates(["subject", "video"])) == 15
    assert frames["score"].min() >= 0
    assert 0 < scores(frames, expressions)["auc"]["all"] < 1


def test_an_expression_without_a_class_is_spotted_and_not_classified(mer: Mer) -> None:
    mapped = "data.label_map={negative: negative, positive: positive, surprise: null}"
    run = mer(*SMALL, mapped, "data.classes=[negative,positive]", "fold=synthetic/s01")
    predictions = pd.read_parquet(runs.fold_folder(run, "synthetic/s01") / "predictions.parquet")
    assert set(predictions["label"]) == {"negative", "positive"}
    _, expressions = runs.read_spotting(run, partial=True)
    assert "surprise" in set(expressions["label"])


def test_shuffled_labels_change_classes_and_no_intensity(mer: Mer) -> None:
    run = mer(*SMALL, "data.control=shuffled_labels", "fold=synthetic/s01")
    clips, _ = drawn_clips()
    labels = clips.set_index(["subject", "clip"])["label"]
    predictions = pd.read_parquet(runs.fold_folder(run, "synthetic/s01") / "predictions.parquet")
    shuffled = predictions.set_index(["subject", "clip"])["label"]
    assert (shuffled != labels.loc[shuffled.index]).any()
    frames, expressions = runs.read_spotting(run, partial=True)
    assert (
        expressions["label"]
        == labels.loc[list(expressions[["subject", "clip"]].itertuples(index=False))].to_numpy()
    ).all()
    assert frames["inside"].sum() == (expressions["offset"] - expressions["onset"] + 1).sum()
    assert frames["intensity"].max() == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((*SMALL, "store=every_epoch"), "store=every_epoch: frames are scored after the last epoch only"),
        (("network=time_contrast", "encoding=frames_and_flow"), "give it task=spotting"),
        (("task=spotting", "encoding=frames_and_flow", "network=laenet"), "which LAENet does not"),
        ((*SMALL, "augment=pool"), "a pool of variants is for images"),
        (("experiment=timecontrast_small", "encoding=apex_flow"), "has no apex"),
        ((*SMALL, "epochs=1"), r"task.pretrain_epochs=1 of epochs=1: no epoch is left"),
        ((*SMALL, "order=balanced"), "order=balanced: stretches of videos are drawn at random"),
        ((*SMALL, "protocol.validation=0.3"), "protocol.validation: spotting validates on no videos"),
        ((*SMALL, "data.control=onset_only"), "data.control=onset_only leaves no video"),
        ((*SMALL, "augment=affine"), "use augment=affine_flow"),
        ((*SMALL, "task.focus=2"), r"task.focus=2: give a number from 0 to 1"),
        (("experiment=lbp_difference", "save_checkpoint=true"), "save_checkpoint: feature differences"),
    ],
)
def test_what_does_not_fit_is_named(mer: Mer, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(MerError, match=message):
        mer(*overrides)


def test_options_that_cannot_work_end_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MerError, match="no epoch is left"):
        train.main(["experiment=timecontrast_small", "data=synthetic_videos", "epochs=4"])
    assert not list(tmp_path.glob("**/*.png"))  # no video was drawn, let alone encoded


# --- annotation that leaves something open: the user's own clips, in the folders of the drawn videos ---


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``mer train data=folder`` on the drawn videos, under columns of the user's; gives the run folder."""
    monkeypatch.chdir(tmp_path)

    def call(*overrides: str, **columns: Any) -> Path:
        clips, _ = drawn_clips()
        table = clips.assign(path=clips["frames"], cropped="yes").drop(columns=["database", "frames"])
        table.assign(**columns).to_csv(tmp_path / "clips.csv", index=False)
        data = ("data=folder", f"data.root={tmp_path}", "data.clips.anywhere=true", "workers=1", "tag=own")
        train.main([*data, "encoding.size=32", "fold=#0", *overrides])
        (found,) = Path("runs").glob("*/*.own/*/*/seed-0")
        return found

    return call


Own = Callable[..., Path]


def test_without_any_apex_nothing_teaches_an_intensity(own: Own) -> None:
    with pytest.raises(MerError, match="no training video has an expression with an apex"):
        own(*SMALL, apex=None)


def test_apexes_are_spotted_on_request(own: Own) -> None:
    frames, expressions = runs.read_spotting(own(*SMALL, "apex=spot_missing", apex=None), partial=True)
    assert expressions["apex"].notna().all()
    assert frames["intensity"].max() == 1


def test_an_expression_without_an_apex_has_no_intensity_inside(
    own: Own, capsys: pytest.CaptureFixture[str]
) -> None:
    clips, _ = drawn_clips()
    apexes = clips["apex"].astype("Int64").mask(clips.index == 0)
    frames, expressions = runs.read_spotting(own(*SMALL, apex=apexes), partial=True)
    first = expressions[expressions["apex"].isna()]
    assert first["clip"].tolist() == [clips["clip"][0]]
    unknown = frames[frames["intensity"].isna()]
    assert unknown["frame"].tolist() == [*range(first["onset"].item(), first["offset"].item() + 1)]
    assert "1 used; `mer audit data=folder task=spotting" in capsys.readouterr().err


def test_a_rate_is_needed_for_durations_only(own: Own, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MerError, match="the fps of this video is not known"):
        own("experiment=lbp_difference", fps=None)
    own(*SMALL, "fold=all", fps=None)
    shown = capsys.readouterr().out
    assert "auc" in shown
    assert "interval_f1" not in shown


def test_clips_that_are_all_expression_are_refused(own: Own) -> None:
    with pytest.raises(MerError, match=r"no frame lies outside of an expression.*casme2_recordings"):
        own(*SMALL, onset=None, apex=None, offset=None)


# --- what a fold's numbers are made of ---


def test_an_expression_is_recognised_by_its_frames_weighted_by_intensity() -> None:
    probabilities = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    assert recognise(np.array([0.0, 1.0, 3.0]), probabilities).tolist() == [0.125, 0.875]
    assert recognise(np.zeros(3), probabilities).tolist() == pytest.approx([0.5, 0.5])


def test_the_frames_around_an_expression_end_halfway_to_its_neighbours() -> None:
    assert surroundings(np.array([5]), np.array([9])).tolist() == [[-np.inf, np.inf]]
    apart = surroundings(np.array([5, 20, 40]), np.array([10, 30, 50]))
    assert apart.tolist() == [[-np.inf, 15], [15, 35], [35, np.inf]]
    # One inside another: each keeps its own frames.
    nested = surroundings(np.array([10, 12, 50]), np.array([40, 20, 60]))
    assert nested.tolist() == [[-np.inf, 40], [12, 45], [45, np.inf]]


def test_class_weights_count_the_training_expressions() -> None:
    expressions = pd.DataFrame({"video": [0, 0, 1, 2, 2, 3]})
    labels = VideoLabels([], expressions, [0, 0, 1, 1, 1, 0])
    split = Split("one", train=(0, 1), validation=(), test=(2, 3))
    found = class_weights(labels, split, 3)
    assert found.tolist() == [0.75, 1.5, 0.0]


def test_a_video_is_scored_as_it_is_alone(mer: Mer) -> None:
    """What stands in frames.parquet is what the method says of the encoded frames."""
    run = mer("experiment=lbp_difference", "fold=synthetic/s02")
    frames, _ = runs.read_spotting(run, partial=True)
    number, folder = next(
        (number, str(row.frames))
        for number, row in enumerate(drawn_clips()[0].itertuples())
        if row.subject == "s02"
    )
    clip = str(drawn_clips()[0]["clip"][number])
    pixels = read_clip(Path(folder), list(list_frames(Path(folder))), grey=False)
    video = FrameSequence(size=32)(pixels[None], torch.tensor([len(pixels)]))[0]
    method = FeatureDifference(in_channels=3, num_classes=3, feature="lbp")
    own = frames[frames["video"] == clip.split("_")[0]]["score"].to_numpy()
    np.testing.assert_allclose(own, method.score(video, 30.0), rtol=1e-6)


def test_a_hold_out_tests_whole_subjects(mer: Mer) -> None:
    run = mer(*SMALL, "protocol=holdout", "protocol.test=0.3")
    assert len(runs.read_plan(run).folds) == 1
    frames, _ = runs.read_spotting(run)
    assert runs.read_plan(run).videos == len(frames.drop_duplicates(["subject", "video"])) == 5
