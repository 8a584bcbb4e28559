"""W&B: offline runs, read back from their files."""

import gc
import json
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mer import runs
from mer.errors import MerError
from mer.learning_curves import learning_curves
from mer.plots import confusion_figure, save_figure
from mer.scores import subset_scores
from tests.run_folder import (
    CLASSES,
    FOLDS,
    make_fold,
    make_metrics,
    make_plan,
    make_predictions,
    make_record,
    make_run,
    seal_again,
)
from tests.spotting_run import Pairs, join, make_video

wandb_log = pytest.importorskip("mer.wandb_log")
from tests.wandb_reader import Logged, read_offline_run  # noqa: E402

LOGGER = {"name": "wandb", "mode": "offline", "project": "mer-test", "entity": None}


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No account, no key, and wandb's caches in the test's folder."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    yield
    with warnings.catch_warnings():
        # wandb leaves its TemporaryDirectory objects to the garbage collector (0.31).
        warnings.filterwarnings("ignore", "Implicitly cleaning up", ResourceWarning)
        gc.collect()


NETWORK = "mer.networks.TimeContrastNet"
DIFFERENCE = "mer.feature_difference.FeatureDifference"
FRAMES = 200  # of each video


def make_scored_run(
    tmp_path: Path,
    target: str = NETWORK,
    *,
    true: Pairs = ((51, 90),),
    still: bool = True,
    classified: bool = True,
    fps: float = 100,
    height: float = 0.9,
) -> Path:
    """A run that spots: in each fold a video that is spotted as it is true, and where there are still videos
    one more, of which the first has a false alarm of 40 frames."""
    plan = make_plan(
        config={"epochs": 3, "network": {"_target_": target}},
        clips=make_plan().clips * classified,
        videos=(1 + still) * len(FOLDS),
    )
    run = runs.RunKey("spot", "base", "synthetic", "loso", 0).folder(tmp_path)
    runs.start(run, plan)
    for fold in FOLDS:
        videos = [make_video(f"{fold}/v1", true, [(51, 90)], length=FRAMES, fps=fps)]
        alarm: Pairs = [(21, 60)] if fold == FOLDS[0] else []
        videos += [make_video(f"{fold}/v2", [], alarm, length=FRAMES, fps=fps)] * still
        frames, expressions = join(*videos)
        frames["score"] = frames["score"].to_numpy() * np.float32(height / 0.9)
        predictions = make_predictions(fold) if classified else make_predictions(fold).iloc[:0]
        metrics = make_metrics(fold) if classified else pd.DataFrame()
        with runs.claim(run, fold) as folder:
            runs.write_spotting(folder, frames.assign(fold=fold, seed=0, epoch=3), expressions)
            runs.finish(folder, predictions, metrics, make_record(plan))
    return run


def log_and_read(run: Path) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """Log a run; its summary, its config, and the folder of its tables and pictures."""
    wandb_log.log_run(run, LOGGER)
    (folder,) = logged_runs(run)
    logged = read_offline_run(folder)
    return logged.summary, logged.config, folder / "files" / "media"


def spotting_of(summary: dict[str, Any]) -> dict[str, float]:
    return {
        key.removeprefix("spotting/"): value for key, value in summary.items() if key.startswith("spotting/")
    }


def logged_runs(run: Path) -> list[Path]:
    return sorted((run / "wandb").glob("offline-run-*"))


def check_logged(logged: Logged, run: Path) -> None:
    assert logged.name == "laenet/base/synthetic/loso/seed-0"
    assert (logged.group, logged.job_type, logged.project) == ("laenet/base", "run", "mer-test")
    assert set(logged.tags) == {"laenet", "synthetic", "loso"}

    plan = make_plan()
    config = {key: value for key, value in logged.config.items() if not key.startswith("_wandb")}
    assert config == {
        **plan.config, "experiment": "laenet", "variant": "base", "seed": 0, "classes": plan.classes,
        "folds": plan.folds, "clips": plan.clips, "content": plan.content, "commit": "abc",
    }  # fmt: skip

    curves = [row for row in logged.history if "epoch" in row]
    assert [row["epoch"] for row in curves] == [1, 2, 3]
    assert [row["_step"] for row in curves] == [1, 2, 3]
    assert [row["train_loss/mean"] for row in curves] == [2, 1, 0.5]
    assert [row["train_loss/min"] for row in curves] == [1, 0.5, 0.25]
    assert [row["train_loss/max"] for row in curves] == [3, 1.5, 0.75]

    scores = subset_scores(runs.read_predictions(run), CLASSES)
    assert list(scores.index) == ["all", "casme2", "smic"]
    for subset, row in scores.iterrows():
        for score, value in row.items():
            assert logged.summary[f"{subset}/{score}"] == pytest.approx(value)


def test_offline_run_is_read_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path)
    save_figure(confusion_figure(np.eye(2, dtype=int), CLASSES, "title"), run / "confusion.png")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    wandb_log.log_run(run, LOGGER)
    assert capfd.readouterr() == ("", "")
    # W&B's own metrics are not sent, as such a thread would, a minute later.
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("Otel")]
    assert {path: path.read_bytes() for path in before} == before
    (folder,) = logged_runs(run)
    logged = read_offline_run(folder)
    assert logged.id == wandb_log.run_id(run, make_plan())
    check_logged(logged, run)

    pooled = runs.read_predictions(run)
    media = folder / "files" / "media"
    (table,) = media.glob("table/predictions_*.table.json")
    shown = json.loads(table.read_text(encoding="utf-8"))
    assert shown["columns"] == [*pooled.columns, "predicted"]
    assert [row[:7] for row in shown["data"]] == pooled.iloc[:, :7].to_numpy().tolist()
    best = pooled[["p_negative", "p_positive"]].to_numpy().argmax(axis=1)
    assert [row[-1] for row in shown["data"]] == [CLASSES[k] for k in best]
    (table,) = media.glob("table/confusion_matrix_table_*.table.json")
    cells = json.loads(table.read_text(encoding="utf-8"))["data"]
    assert sum(count for _, _, count in cells) == len(pooled)
    right = sum(count for true, predicted, count in cells if true == predicted)
    assert right / len(pooled) == logged.summary["all/accuracy"]
    (image,) = media.glob("images/*.png")
    assert image.read_bytes() == (run / "confusion.png").read_bytes()

    # Again: the same run, not one more.
    wandb_log.log_run(run, LOGGER)
    (again,) = logged_runs(run)
    assert again != folder
    relogged = read_offline_run(again)
    assert relogged.id == logged.id
    check_logged(relogged, run)


def test_id_is_the_runs(tmp_path: Path) -> None:
    plan = make_plan()
    run = runs.RunKey("laenet", "base", "synthetic", "loso", 0).folder(tmp_path / "here")
    same = runs.RunKey("laenet", "base", "synthetic", "loso", 0).folder(tmp_path / "there")
    other = runs.RunKey("laenet", "base", "synthetic", "loso", 1).folder(tmp_path / "here")
    assert wandb_log.run_id(run, plan) == wandb_log.run_id(same, plan)
    assert wandb_log.run_id(run, plan) != wandb_log.run_id(other, plan)
    assert wandb_log.run_id(run, plan) != wandb_log.run_id(run, make_plan(config={"epochs": 9}))


def test_a_sweep_s_agent_finds_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    monkeypatch.setenv("WANDB_SWEEP_ID", "abcd1234")
    monkeypatch.setenv("WANDB_RUN_ID", "agents01")
    wandb_log.log_run(run, LOGGER)
    (folder,) = logged_runs(run)
    assert read_offline_run(folder).id == "agents01"


def test_curves_of_folds_that_log_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for fold in FOLDS:
        (runs.fold_folder(run, fold) / "metrics.csv").write_text("\n", encoding="utf-8")
        seal_again(runs.fold_folder(run, fold))
    assert learning_curves(run).empty


def test_unfinished_run_is_not_logged(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=FOLDS[:2])
    with pytest.raises(MerError, match="1 of 3 folds are missing"):
        wandb_log.log_run(run, LOGGER)
    assert not (run / "wandb").exists()


def test_environment_wins_and_an_error_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, folds=FOLDS[:2])
    make_fold(run, FOLDS[2], make_plan())
    given: dict[str, Any] = {}

    def init(**arguments: object) -> None:
        given.update(arguments)
        raise wandb_log.wandb.errors.CommError("no such host\nsecond line")

    monkeypatch.setattr(wandb_log.wandb, "init", init)
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(MerError) as caught:
        wandb_log.log_run(run, LOGGER | {"mode": "online", "tags": ["x" * 80]})
    assert str(caught.value) == f"{run}: the run is finished and kept, but W&B did not log it: no such host"
    assert given["mode"] == "offline"
    assert given["tags"][-1] == "x" * 64
    monkeypatch.delenv("WANDB_MODE")
    with pytest.raises(MerError):
        wandb_log.log_run(run, LOGGER | {"mode": "online"})
    assert (given["mode"], given["force"]) == ("online", True)
    assert len(runs.read_predictions(run)) == make_plan().clips


# --- runs that score videos ---

# All: 3 of 3 expressions hit by 4 intervals; 1 alarm in 3 x 200 frames at 100 a second, which is .1 minutes.
# The AUC counts pairs: inside frames score above the frames outside, which are 0, but those of the alarm
# have the same scores as the expressions: half of their pairs.
OUTSIDE = FRAMES - 40 + FRAMES  # a fold
EXPECTED = {
    "all/interval_precision": 3 / 4,
    "all/interval_recall": 1,
    "all/interval_f1": 2 * 3 / (2 * 3 + 1),
    "all/false_alarms": 10,
    "all/auc": 1 - 40 / 2 / (3 * OUTSIDE),
    "casme2/interval_precision": 2 / 3,
    "casme2/interval_recall": 1,
    "casme2/interval_f1": 2 * 2 / (2 * 2 + 1),
    "casme2/false_alarms": 15,
    "casme2/auc": 1 - 40 / 2 / (2 * OUTSIDE),
    "smic/interval_precision": 1,
    "smic/interval_recall": 1,
    "smic/interval_f1": 1,
    "smic/false_alarms": 0,
    "smic/auc": 1,
}


def test_a_run_that_spots_and_classifies_logs_both(tmp_path: Path) -> None:
    run = make_scored_run(tmp_path)
    summary, config, media = log_and_read(run)
    assert spotting_of(summary) == pytest.approx(EXPECTED)
    assert (config["clips"], config["videos"]) == (12, 6)
    for subset, row in subset_scores(runs.read_predictions(run), CLASSES).iterrows():
        assert {score: summary[f"{subset}/{score}"] for score in row.index} == pytest.approx(row.to_dict())
    names = {path.name.rsplit("_", 2)[0] for path in media.glob("table/*.json")}
    assert names == {"predictions", "confusion_matrix_table", "roc_table"}
    (table,) = media.glob("table/roc_table_*.table.json")
    points = json.loads(table.read_text(encoding="utf-8"))["data"]
    assert (points[0], points[-1]) == ([0, 0], [1, 1])
    alarms, hits = np.array(points).T
    area = (np.diff(alarms) * (hits[1:] + hits[:-1]) / 2).sum()
    assert area == pytest.approx(EXPECTED["all/auc"])


def test_a_run_that_only_spots_logs_nothing_of_classes(tmp_path: Path) -> None:
    """Of a feature difference a tenth of the height changes nothing: its threshold is the video's own."""
    summary, config, media = log_and_read(
        make_scored_run(tmp_path, DIFFERENCE, classified=False, height=0.09)
    )
    assert spotting_of(summary) == pytest.approx(EXPECTED)
    assert {key.partition("/")[0] for key in summary if not key.startswith("_")} == {"spotting", "roc_table"}
    assert (config["clips"], config["videos"]) == (0, 6)
    assert [path.name.rsplit("_", 2)[0] for path in media.glob("table/*.json")] == ["roc_table"]


def test_a_networks_threshold_is_absolute(tmp_path: Path) -> None:
    summary, _, _ = log_and_read(make_scored_run(tmp_path, height=0.09))
    found = spotting_of(summary)
    assert found["all/auc"] == pytest.approx(EXPECTED["all/auc"])
    assert {found[f"all/{name}"] for name in ("interval_recall", "interval_f1", "false_alarms")} == {0}


def test_scores_that_are_not_defined_are_left_out(tmp_path: Path) -> None:
    summary, _, _ = log_and_read(make_scored_run(tmp_path / "none_still", still=False))
    assert {key.partition("/")[2] for key in spotting_of(summary)} == {
        *("auc", "interval_f1", "interval_precision", "interval_recall")
    }
    everywhere = make_scored_run(tmp_path / "everywhere", true=[(1, FRAMES)], still=False)
    summary, _, media = log_and_read(everywhere)
    assert "all/interval_recall" in spotting_of(summary)
    assert not [key for key in spotting_of(summary) if key.endswith(("/auc", "/false_alarms"))]
    assert not list(media.glob("table/roc_table_*"))


def test_without_a_rate_only_frames_are_scored(tmp_path: Path) -> None:
    summary, _, media = log_and_read(make_scored_run(tmp_path, DIFFERENCE, classified=False, fps=np.nan))
    areas = {key: value for key, value in EXPECTED.items() if key.endswith("/auc")}
    assert spotting_of(summary) == pytest.approx(areas)
    assert len(list(media.glob("table/roc_table_*"))) == 1


def test_a_long_roc_curve_is_thinned_between_its_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_log, "ROC_POINTS", 5)
    summary, _, media = log_and_read(make_scored_run(tmp_path))
    assert spotting_of(summary) == pytest.approx(EXPECTED)  # of all frames
    (table,) = media.glob("table/roc_table_*.table.json")
    points = json.loads(table.read_text(encoding="utf-8"))["data"]
    assert len(points) == 5
    assert (points[0], points[-1]) == ([0, 0], [1, 1])
