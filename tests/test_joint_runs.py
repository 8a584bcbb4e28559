"""Folds of several runs in one fit: each as alone, in its own run folder; chunks on several devices."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mer import engine, runs
from mer.data import splits
from mer.ensemble_chunk import Options
from mer.ensemble_engine import train_runs
from mer.job import Job, Outcome, RunFold
from mer.networks import LAENet
from tests.test_ensemble_engine import Alone, assert_same, make_job, read

Made = tuple[Job, list[splits.Split]]


def make_runs(folder: Path, *, names: Sequence[str] = ("seed-0", "seed-1"), **changes: Any) -> list[Made]:
    """Runs of three folds, a seed each."""
    job, folds = make_job(folder, "run", **changes)
    return [
        (replace(job, run=folder / name, recipe=replace(job.recipe, seed=seed)), folds[1:])
        for seed, name in enumerate(names)
    ]


def train(made: Sequence[Made], **options: Any) -> list[tuple[Path, Outcome]]:
    folds = [RunFold(job, split) for job, part in made for split in part]
    return list(train_runs(folds, 1, options=Options(**{"devices": ("cpu",)} | options)))


def test_each_fold_of_each_run_is_trained_as_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run has another seed, the other also another order, another start and shuffled labels."""
    one, two = make_runs(tmp_path, names=("a/one", "b/two"))
    job = two[0]
    labels = job.clips["label"].sample(frac=1, random_state=0).to_list()
    two = (
        replace(job, clips=job.clips.assign(label=labels), recipe=replace(job.recipe, order="balanced")),
        two[1],
    )
    ended = train([one, two])
    assert [outcome.error for _, outcome in ended] == [""] * 6
    assert {run for run, _ in ended} == {one[0].run, two[0].run}
    assert "6 folds of 2 runs are trained together" in capsys.readouterr().err
    for job, folds in (one, two):
        alone = replace(job, run=tmp_path / "alone" / job.run.name)
        list(engine.train_folds(alone, folds, 1))
        assert_same(job.run, alone.run, folds, 1e-4)
        assert set(read(job.run, folds[0].fold)[0]["seed"]) == {job.recipe.seed}
        assert runs.read_record(job.run, folds[0].fold)["device"].startswith(
            "cpu, 6 folds of 2 runs together"
        )


def test_a_failing_member_and_finished_ones_leave_the_others(tmp_path: Path) -> None:
    one, two = make_runs(tmp_path, epochs=1)
    train([(one[0], one[1][:1])])
    record = runs.fold_folder(one[0].run, one[1][0].fold) / "run.yaml"
    written = record.stat().st_mtime_ns
    first, second, third = two[1]
    leak = splits.Split(second.fold, second.train, (), (*second.test, second.train[0]))
    ended = {
        (run, outcome.fold): outcome.error for run, outcome in train([one, (two[0], [first, leak, third])])
    }
    assert len(ended) == 6
    assert [key for key, error in ended.items() if error] == [(two[0].run, leak.fold)]
    assert record.stat().st_mtime_ns == written
    assert runs.state(two[0].run, leak.fold) == "failed"


def test_chunks_hold_folds_of_all_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_runs(tmp_path, epochs=1)
    ended = train(made, memory=1)
    assert [outcome.error for _, outcome in ended] == [""] * 6
    assert "6 folds in chunks of at most 1: a fold takes" in capsys.readouterr().err


def test_what_cannot_be_trained_together_is_said_once_for_all_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = train(make_runs(tmp_path, epochs=1, network=Alone))
    assert [outcome.error for _, outcome in ended] == [""] * 6
    assert capsys.readouterr().err.count("side by side in processes, not together") == 1


class Stopping(LAENet):
    """Ctrl-C after so many steps, 0 for never; counts them."""

    steps = 0
    most = 0

    def forward(self, images: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            Stopping.steps += 1
            if Stopping.most and Stopping.steps > Stopping.most:
                raise KeyboardInterrupt
        return super().forward(images)


@pytest.mark.parametrize("kept", [[0, 1], [1]])
def test_a_stopped_chunk_of_two_runs_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: list[int]
) -> None:
    """Both go on to the bytes of an undisturbed fit, dropout included; so does one alone, without dropout."""
    dropout = 0.5 if kept == [0, 1] else 0.0
    changes: dict[str, Any] = {"network": partial(Stopping, dropout=dropout), "epochs": 6}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    whole = make_runs(tmp_path, names=("whole/seed-0", "whole/seed-1"), **changes)
    monkeypatch.setattr(Stopping, "steps", 0)
    train(whole)
    steps = Stopping.steps
    stopped = make_runs(tmp_path, names=("stopped/seed-0", "stopped/seed-1"), **changes)
    monkeypatch.setattr(Stopping, "steps", 0)
    monkeypatch.setattr(Stopping, "most", steps - 4)  # in the fifth epoch
    with pytest.raises(KeyboardInterrupt):
        train(stopped, checkpoint_every=1)
    [path] = tmp_path.glob("stopped/*/chunk-*.pt")
    assert path.parent == stopped[0][0].run
    assert torch.load(path, weights_only=True)["epochs_done"] == 4
    monkeypatch.setattr(Stopping, "steps", 0)
    monkeypatch.setattr(Stopping, "most", 0)
    ended = train([stopped[k] for k in kept])
    assert [outcome.error for _, outcome in ended] == [""] * 3 * len(kept)
    assert Stopping.steps < steps - 6, "it began anew"
    torch.set_num_threads(threads)
    for k in kept:
        assert_same(stopped[k][0].run, whole[k][0].run, whole[k][1], 0.0 if kept == [0, 1] else 1e-4)
    assert path.exists() == (kept == [1]), "the other run still needs it"


class Noting(LAENet):
    """Leaves a file named by each process that trains it."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            Path(os.environ["MER_TEST_NOTES"], str(os.getpid())).touch()
        return super().forward(images)


def test_each_device_trains_chunks_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices are two processes; here both are the CPU. On a busy machine the first that is ready may
    train both chunks before the second has started: then it is tried again."""
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv("MER_TEST_NOTES", str(notes))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ["PYTHONPATH"]])
    )
    changes: dict[str, Any] = {"network": partial(Noting, dropout=0.0), "epochs": 2}
    mine = {str(os.getpid())}  # which has tried a step, to measure it
    for attempt in range(4):
        made = make_runs(tmp_path, names=(f"two-{attempt}/seed-0", f"two-{attempt}/seed-1"), **changes)
        before = {path.name for path in notes.iterdir()}
        ended = train(made, devices=("cpu", "cpu"), checkpoint_every=1)
        assert [outcome.error for _, outcome in ended] == [""] * 6
        processes = {path.name for path in notes.iterdir()} - mine - before
        if len(processes) == 2:
            break
    assert len(processes) == 2
    alone = make_runs(tmp_path, names=("one/seed-0", "one/seed-1"), **changes)
    train(alone)
    for (job, folds), (expected, _) in zip(made, alone, strict=True):
        assert_same(job.run, expected.run, folds, 1e-4)
        assert runs.read_record(job.run, folds[0].fold)["device"].startswith("cpu, 3 folds")
    assert not list(tmp_path.glob("two-*/*/chunk-*.pt"))
