"""W&B: one offline run, read back from its file."""

import gc
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mer import runs
from mer.errors import MerError
from mer.plots import confusion_figure, save_figure
from mer.scores import subset_scores
from tests.run_folder import CLASSES, FOLDS, make_fold, make_plan, make_run

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


def test_curves_of_folds_that_log_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for fold in FOLDS:
        (runs.fold_folder(run, fold) / "metrics.csv").write_text("\n", encoding="utf-8")
    assert wandb_log.learning_curves(run).empty


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
