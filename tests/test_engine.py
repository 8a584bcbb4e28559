"""Folds side by side: the same bytes however they are trained, and nothing lost when they are killed."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

from mer import runs, selection
from mer.data import splits
from mer.data.encoded import encode
from mer.data.megc2019_uvos import read_clips
from mer.engine import train_folds
from mer.job import Job, Outcome, Recipe
from mer.networks import LAENet
from mer.tasks import Classification
from tests.trees import write_megc2019_uvos

CLASSES = ["negative", "positive", "surprise"]


def make_job(folder: Path, run: str, **changes: object) -> tuple[Job, list[splits.Split]]:
    clips = read_clips(write_megc2019_uvos(folder / "images"))
    recipe = {
        "network": LAENet,
        "task": Classification,
        "optimizer": partial(torch.optim.Adam, lr=1e-3, fused=True),
        "scheduler": None,
        "epochs": 3,
        "batch_size": 8,
        "order": "shuffled",
        "class_weights": "none",
        "seed": 0,
    }
    encoded = encode(clips, cache=folder / "cache", progress=False)
    job = Job(folder / run, clips, CLASSES, encoded.folder, Recipe(**recipe | changes), {})  # type: ignore[arg-type]
    return job, splits.loso(clips)


def train(job: Job, folds: list[splits.Split], workers: int = 1) -> list[Outcome]:
    return list(train_folds(job, folds, workers))


def files(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.name in ("predictions.parquet", "metrics.csv")
    }


def test_the_number_of_workers_and_the_order_of_folds_change_no_byte(tmp_path: Path) -> None:
    job, folds = make_job(tmp_path, "one")
    assert [outcome.error for outcome in train(job, folds)] == [""] * 6
    two, _ = make_job(tmp_path, "two")
    train(two, folds[::-1], workers=2)
    alone, _ = make_job(tmp_path, "alone")
    train(alone, folds[3:4])
    assert len(files(job.run)) == 12
    assert files(two.run) == files(job.run)
    assert files(alone.run).items() <= files(job.run).items()


@pytest.mark.parametrize("changes", [{}, {"split": "validation"}])
def test_storing_every_epoch_changes_nothing_but_what_is_stored(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    job, folds = make_job(tmp_path, "last")
    every, _ = make_job(tmp_path, "every", store="every_epoch")
    if changes:
        folds = splits.loso(job.clips, validation=0.4)
    train(job, folds[:1])
    train(every, folds[:1])
    last, all_epochs = (
        pd.read_parquet(runs.fold_folder(run, folds[0].fold) / "predictions.parquet")
        for run in (job.run, every.run)
    )
    assert all_epochs["epoch"].unique().tolist() == [1, 2, 3]
    assert len(all_epochs) == 3 * len(last)
    pd.testing.assert_frame_equal(selection.select(all_epochs, "last"), last, check_exact=True)
    probabilities = [all_epochs.loc[all_epochs["epoch"] == k, "p_negative"].tolist() for k in (1, 2, 3)]
    assert probabilities[0] != probabilities[1] != probabilities[2]
    metrics = {name: content for name, content in files(job.run).items() if name.endswith("csv")}
    assert metrics.items() <= files(every.run).items()


def test_folds_start_from_saved_weights(tmp_path: Path) -> None:
    first, folds = make_job(tmp_path, "first", save_checkpoint=True)
    train(first, folds[:1])
    start = partial(torch.optim.SGD, lr=0.0)
    job, _ = make_job(tmp_path, "second", init=first.run, optimizer=start, epochs=1, network=_still_laenet)
    [outcome] = train(job, folds[:1])
    assert outcome.error == ""
    # A learning rate of 0 leaves the weights; batch statistics are part of them.
    before, after = (
        pd.read_parquet(runs.fold_folder(run, folds[0].fold) / "predictions.parquet")
        for run in (first.run, job.run)
    )
    columns = ["p_negative", "p_positive", "p_surprise"]
    assert (before[columns].to_numpy() == after[columns].to_numpy()).all()
    # Of another fold's weights, the test subject was trained on.
    (runs.fold_folder(first.run, folds[0].fold)).rename(first.run / "fold-other")
    [leak] = train(make_job(tmp_path, "third", init=first.run)[0], folds[1:2])
    assert f"was trained on subject {folds[1].fold}, which this fold tests" in leak.error


def _still_laenet(*, in_channels: int, num_classes: int) -> torch.nn.Module:
    """LAENet whose batch norm does not move."""
    network = LAENet(in_channels=in_channels, num_classes=num_classes)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
    return network


@pytest.mark.parametrize("changes", [{"seed": 1}, {"epochs": 4}, {"order": "release"}, {"order": "balanced"}])
def test_what_decides_a_result_changes_it(tmp_path: Path, changes: dict[str, object]) -> None:
    job, folds = make_job(tmp_path, "one")
    other, _ = make_job(tmp_path, "other", **changes)
    train(job, folds[:1])
    train(other, folds[:1])
    assert files(job.run) != files(other.run)


def test_a_metric_row_is_written_for_each_epoch(tmp_path: Path) -> None:
    job, folds = make_job(tmp_path, "one")
    train(job, folds[:1])
    metrics = (runs.fold_folder(job.run, folds[0].fold) / "metrics.csv").read_text().splitlines()
    assert metrics[0] == "epoch,train_loss"
    assert [line.split(",")[0] for line in metrics[1:]] == ["1", "2", "3"]


def test_validation_subjects_are_logged(tmp_path: Path) -> None:
    job, _ = make_job(tmp_path, "one")
    folds = splits.loso(job.clips, validation=0.4)
    assert train(job, folds[:1])[0].error == ""
    header = (runs.fold_folder(job.run, folds[0].fold) / "metrics.csv").read_text().splitlines()[0]
    assert set(header.split(",")) == {"epoch", "train_loss", "val_loss", "val_accuracy"}


def test_a_fold_that_fails_leaves_the_reason_and_the_others(tmp_path: Path) -> None:
    job, folds = make_job(tmp_path, "one")
    leak = splits.Split(folds[0].fold, folds[0].train, (), (*folds[0].test, folds[0].train[0]))
    outcomes = train(job, [leak, folds[1]])
    assert "leak in fold" in outcomes[0].error
    assert outcomes[1].error == ""
    assert "leak in fold" in (runs.fold_folder(job.run, folds[0].fold) / "failed.txt").read_text()
    assert runs.state(job.run, folds[0].fold) == "failed"


def test_a_bug_in_a_fold_leaves_its_traceback(tmp_path: Path) -> None:
    job, folds = make_job(tmp_path, "one", network=partial(torch.nn.Linear, 1, 1))
    assert "unexpected keyword" in train(job, folds[:1])[0].error
    assert "Traceback" in (runs.fold_folder(job.run, folds[0].fold) / "failed.txt").read_text()


SCRIPT = """
import sys
from pathlib import Path
from tests.test_engine import make_job, train

if __name__ == "__main__":
    job, folds = make_job(Path(sys.argv[1]), "killed", epochs=40)
    train(job, folds, workers=2)
"""


def test_a_killed_run_goes_on_and_gives_the_same_files(tmp_path: Path) -> None:
    """kill -9 of the parent: its workers end too, and each redoes at most the fold that it was at."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    surroundings = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ["PYTHONPATH"]]),
    }
    whole, folds = make_job(tmp_path, "whole", epochs=40)
    killed, _ = make_job(tmp_path, "killed", epochs=40)
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env=surroundings, stderr=subprocess.DEVNULL
    ) as parent:
        await_state(lambda: any(runs.state(killed.run, fold.fold) == "done" for fold in folds))
        parent.send_signal(signal.SIGKILL)
    await_state(lambda: all(runs.state(killed.run, fold.fold) != "running" for fold in folds))
    finished = {
        fold.fold: (runs.fold_folder(killed.run, fold.fold) / "run.yaml").stat().st_mtime_ns
        for fold in folds
        if runs.state(killed.run, fold.fold) == "done"
    }
    assert len(finished) > 0
    train(killed, folds)
    train(whole, folds)
    assert files(killed.run) == files(whole.run)
    for fold, written in finished.items():
        assert (runs.fold_folder(killed.run, fold) / "run.yaml").stat().st_mtime_ns == written


def await_state(reached: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_a_worker_imports_no_more_than_it_needs() -> None:
    """Its start is paid for by every run, and a machine that only trains may lack these."""
    code = (
        "import sys, mer.engine, mer.networks\n"
        "extra = {'hydra', 'kornia', 'wandb', 'cv2'} & set(sys.modules)\n"
        "assert not extra, extra"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
