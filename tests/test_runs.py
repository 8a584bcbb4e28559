"""The run folder: what is written, what is refused, what a damaged one says."""

import multiprocessing
import os
import shutil
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pandas as pd
import pytest
import yaml

from mer import runs
from mer.errors import MerError
from mer.runs import RunKey
from tests.run_folder import (
    CLIPS_A_FOLD,
    FOLDS,
    make_fold,
    make_metrics,
    make_plan,
    make_predictions,
    make_record,
    make_run,
)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the path ---


def test_path_of_a_key() -> None:
    key = RunKey("laenet", "no_positive", "megc2019_uvos", "loso", 3)
    assert key.folder(Path("runs")) == Path("runs/laenet/no_positive/megc2019_uvos/loso/seed-3")
    tagged = RunKey("laenet", "no_positive", "megc2019_uvos", "loso", 3, tag="lr-1e-4")
    assert tagged.folder(Path("r")) == Path("r/laenet/no_positive.lr-1e-4/megc2019_uvos/loso/seed-3")


def test_find_sees_a_config_in_a_folder(tmp_path: Path) -> None:
    run = RunKey("custom", "base", "mine/faces", "loso", 0).folder(tmp_path)
    runs.start(run, make_plan())
    assert runs.find(tmp_path) == [run]
    assert runs.find(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("field", "name"), [("tag", "lr=1"), ("tag", "../up"), ("tag", "a/b"), ("data", "a=b"), ("variant", "..")]
)
def test_names_that_a_path_cannot_hold(field: str, name: str) -> None:
    fields: dict[str, Any] = {"experiment": "e", "variant": "v", "data": "d", "protocol": "p", "seed": 0}
    with pytest.raises(MerError, match=field):
        RunKey(**fields | {field: name}).folder(Path("runs"))


def test_fold_folder() -> None:
    assert runs.fold_folder(Path("run"), "casme2/sub07") == Path("run/fold-casme2.sub07")


# --- the plan ---


def test_plan_is_read_back(tmp_path: Path) -> None:
    plan = make_plan(config={"lr": 5e-05, "none": None, "deep": {"list": [1, "no", 1.5]}, "empty": {}})
    runs.start(tmp_path / "run", plan)
    assert runs.read_plan(tmp_path / "run") == plan
    runs.start(tmp_path / "run", plan)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config": {"epochs": 4, "optimizer": {"lr": 5e-5}, "scheduler": None}}, "epochs=3, now 4"),
        (
            {"config": {"epochs": 3, "optimizer": {"lr": 1e-3}, "scheduler": None}},
            "optimizer.lr=5e-05, now 0.001",
        ),
        ({"config": {"epochs": 3, "optimizer": {"lr": 5e-5}}}, "scheduler=None, now absent"),
        (
            {"config": {"epochs": 3, "optimizer": {"lr": 5e-5}, "scheduler": {"gamma": 0.5}}},
            "scheduler.gamma=absent, now 0.5",
        ),
        ({"content": "badc0de0" * 8}, "content c0ffee00, now badc0de0"),
        ({"classes": ["a", "b"]}, "other classes"),
        ({"folds": FOLDS[:2], "clips": 8}, "other folds and clips"),
    ],
)
def test_another_plan_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    run = make_run(tmp_path, folds=FOLDS[:1])
    before = tree(tmp_path)
    with pytest.raises(MerError, match=said.replace(".", r"\.")) as caught:
        runs.start(run, make_plan(**changes))
    assert "tag=<name>" in str(caught.value)
    assert tree(tmp_path) == before


def test_unfinished_folder_serves_another_plan(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=[])
    with runs.claim(run, FOLDS[0]) as folder:
        runs.fail(folder, "no images")
    other = make_plan(config={"epochs": 9})
    runs.start(run, other)
    assert runs.read_plan(run) == other
    # The failure was of the other config.
    assert runs.state(run, FOLDS[0]) == "missing"


def test_folder_in_which_another_config_trains_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=[])
    with runs.claim(run, FOLDS[0]):
        before = tree(tmp_path)
        with pytest.raises(MerError, match="another process trains here with epochs=3, now 9"):
            runs.start(run, make_plan(config={"epochs": 9}))
        assert tree(tmp_path) == before


def test_folds_that_share_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="same folder"):
        runs.start(tmp_path / "run", make_plan(folds=["a/b.c", "a.b/c"]))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["", "[", "config: {}\n", "a: 1\n", "\xff", "- 1\n"])
def test_damaged_plan(tmp_path: Path, text: str) -> None:
    run = make_run(tmp_path, folds=[])
    (run / "plan.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(MerError, match=r"plan\.yaml: damaged"):
        runs.read_plan(run)


def test_plan_with_a_field_of_another_type(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=[])
    (run / "plan.yaml").write_text(yaml.safe_dump(vars(make_plan()) | {"folds": None}), encoding="utf-8")
    with pytest.raises(MerError, match="damaged"):
        runs.read_plan(run)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="no run here"):
        runs.read_plan(tmp_path)


# --- states and the lock ---


def test_states(tmp_path: Path) -> None:
    run, fold = make_run(tmp_path, folds=[]), FOLDS[0]
    assert runs.state(run, fold) == "missing"
    with runs.claim(run, fold) as folder:
        assert runs.state(run, fold) == "running"
        runs.fail(folder, "no images\n")
    assert runs.state(run, fold) == "failed"
    assert (folder / "failed.txt").read_text(encoding="utf-8") == "no images\n"
    make_fold(run, fold, make_plan())
    assert runs.state(run, fold) == "done"
    assert sorted(path.name for path in folder.iterdir()) == [
        "lock", "metrics.csv", "predictions.parquet", "run.yaml",
    ]  # fmt: skip


def test_a_new_attempt_forgets_the_last_failure(tmp_path: Path) -> None:
    run, fold = make_run(tmp_path, folds=[]), FOLDS[0]
    with runs.claim(run, fold) as folder:
        runs.fail(folder, "no images")
    with runs.claim(run, fold):
        pass  # killed here
    assert runs.state(run, fold) == "missing"


def test_looking_does_not_stop_a_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`state` holds the lock while it looks; a fold that starts then must wait, not fail."""
    run, fold = make_run(tmp_path, folds=[]), FOLDS[0]
    with runs.claim(run, fold):
        pass
    looking = filelock.FileLock(runs.fold_folder(run, fold) / "lock")
    looking.acquire()
    waits = []

    def release(seconds: float) -> None:
        waits.append(seconds)
        looking.release()

    monkeypatch.setattr("time.sleep", release)
    with runs.claim(run, fold):
        assert waits


def test_a_timeout_inside_a_claim_is_not_the_claims(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=[])
    with pytest.raises(filelock.Timeout), runs.claim(run, FOLDS[0]):
        raise filelock.Timeout("cache.lock")


def hold(run: Path, fold: str, pipe: Connection) -> None:
    with runs.claim(run, fold):
        pipe.send("held")
        pipe.recv()


def test_second_process_is_refused_and_a_killed_one_leaves_the_fold(tmp_path: Path) -> None:
    run, fold = make_run(tmp_path, folds=[]), FOLDS[0]
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=hold, args=(run, fold, there), daemon=True)
    child.start()
    try:
        assert here.poll(60)
        assert runs.state(run, fold) == "running"
        with pytest.raises(MerError, match="another process is training this fold"), runs.claim(run, fold):
            pytest.fail("claimed twice")
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join(60)
        assert runs.state(run, fold) == "missing"
        with runs.claim(run, fold):
            pass
    finally:
        child.kill()
        child.join()
        child.close()
        here.close()
        there.close()


# --- writing ---


def test_finish_that_fails_leaves_no_half_file(tmp_path: Path) -> None:
    run, fold = make_run(tmp_path, folds=[]), FOLDS[0]
    predictions = make_predictions(fold)
    predictions["clip"] = [1, "two", b"three", None]  # no one type
    with runs.claim(run, fold) as folder:
        with pytest.raises(Exception, match=r"Expected|Could not convert"):
            runs.finish(folder, predictions, make_metrics(fold), {})
        assert [path.name for path in folder.iterdir()] == ["lock"]


def test_kill_before_run_yaml_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, fold = make_run(tmp_path, folds=[]), FOLDS[0]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mer.runs._fold.write_sealed", killed)
        with pytest.raises(KeyboardInterrupt):
            make_fold(run, fold, make_plan())
    assert (runs.fold_folder(run, fold) / "predictions.parquet").exists()
    assert runs.state(run, fold) == "missing"
    with pytest.raises(MerError, match="no fold is finished"):
        runs.read_predictions(run, partial=True)


def test_diverged_training_is_a_failure(tmp_path: Path) -> None:
    run, fold = make_run(tmp_path, folds=[]), FOLDS[0]
    predictions = make_predictions(fold)
    predictions.loc[1, "p_positive"] = np.nan
    with pytest.raises(MerError, match="diverged"):
        make_fold(run, fold, make_plan(), predictions)
    assert runs.state(run, fold) == "missing"


# --- reading ---


def test_predictions_are_pooled_in_the_plans_order(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=FOLDS[::-1])
    pooled = runs.read_predictions(run)
    expected = pd.concat([make_predictions(fold) for fold in FOLDS], ignore_index=True)
    pd.testing.assert_frame_equal(pooled, expected)


def test_folds_whose_types_differ_are_pooled_all_the_same(tmp_path: Path) -> None:
    """pyarrow puts no int32 below an int64; another version of pandas may have written one."""
    run = make_run(tmp_path, FOLDS[:2])
    other = make_predictions(FOLDS[2]).astype({"epoch": "int32", "p_positive": "float64"})
    make_fold(run, FOLDS[2], make_plan(), other)
    expected = pd.concat([*map(make_predictions, FOLDS[:2]), other], ignore_index=True)
    pd.testing.assert_frame_equal(runs.read_predictions(run), expected)
    make_fold(run, FOLDS[2], make_plan(), other.assign(epoch=-1))
    with pytest.raises(
        MerError, match=r"fold-smic\.s1/predictions\.parquet: damaged \(row 0 .*epoch .*-1.* is below 0"
    ):
        runs.read_predictions(run)


def test_missing_folds_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=FOLDS[:1])
    with pytest.raises(MerError, match=r"2 of 3 folds are missing \(casme2/s2, smic/s1\)"):
        runs.read_predictions(run)
    assert set(runs.read_predictions(run, partial=True)["fold"]) == {FOLDS[0]}


def test_truncated_predictions(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = runs.fold_folder(run, FOLDS[1]) / "predictions.parquet"
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(MerError, match=r"casme2\.s2/predictions\.parquet: damaged.*remove"):
            runs.read_predictions(run)


def test_flipped_bits_never_change_a_number(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=FOLDS[:1])
    path = runs.fold_folder(run, FOLDS[0]) / "predictions.parquet"
    whole = path.read_bytes()
    expected = runs.read_predictions(run, partial=True)
    draw = np.random.default_rng(0)
    noticed = 0
    for place in range(0, len(whole), 31):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draw.integers(8)
        path.write_bytes(flipped)
        try:
            pooled = runs.read_predictions(run, partial=True)
        except MerError:
            noticed += 1
        else:
            assert pooled.to_numpy().tolist() == expected.to_numpy().tolist(), place
    assert noticed > 50


def test_other_label_map(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=FOLDS[:2])
    make_fold(run, FOLDS[2], make_plan(), make_predictions(FOLDS[2], ["negative", "surprise"]))
    with pytest.raises(MerError, match="p_surprise"):
        runs.read_predictions(run)


def broken(predictions: pd.DataFrame, what: str) -> pd.DataFrame:
    match what:
        case "fold":
            predictions["fold"] = FOLDS[0]
        case "label":
            predictions["label"] = "surprise"
        case "same clip":
            predictions["clip"] = "clip0"
        case "another fold's clip":
            predictions[["database", "subject"]] = FOLDS[0].split("/")
            predictions["epoch"] = 2  # as one selected on its validation rows
        case "seed":
            predictions["seed"] = 1
        case "clips":
            predictions = predictions.iloc[1:]
    return predictions


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("fold", "holds fold casme2/s1, not smic/s1"),
        ("label", "labels surprise"),
        ("same clip", r"smic\.s1: tests clip smic/s1/clip0 twice"),
        ("another fold's clip", "clip casme2/s1/clip0 is tested in two folds"),
        ("seed", "seeds 0, 1"),
        ("clips", "11 tested clips of 12"),
    ],
)
def test_folds_that_do_not_fit_together(tmp_path: Path, what: str, said: str) -> None:
    run = make_run(tmp_path, folds=FOLDS[:2])
    make_fold(run, FOLDS[2], make_plan(), broken(make_predictions(FOLDS[2]), what))
    with pytest.raises(MerError, match=said):
        runs.read_predictions(run)


def test_a_copy_under_another_seed_is_no_run_of_it(tmp_path: Path) -> None:
    """It would be counted as a second seed, and the spread over seeds be too small."""
    run = make_run(tmp_path)
    copy = Path(shutil.copytree(run, run.with_name("seed-1")))
    with pytest.raises(MerError, match=r"seed-1: holds folds of seed-0; it was copied"):
        runs.read_predictions(copy)
    assert len(runs.read_predictions(run)) == CLIPS_A_FOLD * len(FOLDS)


def test_fold_of_a_run_of_one_fold_is_counted_too(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    plan = make_plan(folds=FOLDS[:1], clips=CLIPS_A_FOLD + 1)
    runs.start(folder, plan)
    make_fold(folder, FOLDS[0], plan)
    with pytest.raises(MerError, match="4 tested clips of 5"):
        runs.read_predictions(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"config": {"epochs": 9, "optimizer": {"lr": 5e-5}, "scheduler": None}},
            "epochs=9, plan.yaml says 3",
        ),
        ({"config": {"epochs": 3, "optimizer": {"lr": 5e-5}, "scheduler": {"gamma": 1}}}, "scheduler=absent"),
        ({"content": "badc0de0" * 8}, "content badc0de0"),
    ],
)
def test_fold_of_another_config_is_found(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """Two jobs of a sweep with one tag can both start in an empty folder."""
    run = make_run(tmp_path, folds=FOLDS[:2])
    with runs.claim(run, FOLDS[2]) as folder:
        record = make_record(make_plan(), **changes)
        runs.finish(folder, make_predictions(FOLDS[2]), make_metrics(FOLDS[2]), record)
    with pytest.raises(MerError, match=said):
        runs.read_predictions(run)


def test_record_with_the_seed_and_neutral_keys_fits(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=FOLDS[:2])
    plan = make_plan()
    with runs.claim(run, FOLDS[2]) as folder:
        record = make_record(plan, config=plan.config | {"seed": 0, "workers": 2})
        runs.finish(folder, make_predictions(FOLDS[2]), make_metrics(FOLDS[2]), record)
    assert len(runs.read_predictions(run)) == plan.clips


def test_records(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=FOLDS[:1])
    record = runs.read_record(run, FOLDS[0])
    assert set(record.pop("files")) == {"predictions.parquet", "metrics.csv"}
    assert record == make_record(make_plan())
    with pytest.raises(MerError, match="smic/s1 is not finished"):
        runs.read_record(run, "smic/s1")
    path = runs.fold_folder(run, FOLDS[0]) / "run.yaml"
    for text in ("[", "", "- 1\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(MerError, match=r"run\.yaml: damaged"):
            runs.read_record(run, FOLDS[0])


def test_metrics(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=FOLDS[:1])
    pd.testing.assert_frame_equal(runs.read_metrics(run, FOLDS[0]), make_metrics(FOLDS[0]))
    path = runs.fold_folder(run, FOLDS[0]) / "metrics.csv"
    path.with_name("run.yaml").write_text("commit: abc\n", encoding="utf-8")  # older than the files' hashes
    path.write_text("\n", encoding="utf-8")  # of a network that logs nothing
    assert runs.read_metrics(run, FOLDS[0]).empty
    path.write_text("loss\n1\n", encoding="utf-8")
    with pytest.raises(MerError, match="no column epoch"):
        runs.read_metrics(run, FOLDS[0])
    path.unlink()
    with pytest.raises(MerError, match="damaged"):
        runs.read_metrics(run, FOLDS[0])
