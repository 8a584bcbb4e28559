"""A full disk, a disk or a folder that is read only: one line that names the place; afterwards it goes on."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from mer import runs, status, table, wandb_log
from mer.data.encoded import encode
from mer.data.megc2019_uvos import read_clips
from mer.ensemble_chunk import Options
from mer.ensemble_engine import train_folds
from mer.errors import MerError, run_verb
from tests import test_engine, test_ensemble_engine, trust
from tests.faults.disks import another_user, fill, read_only, small_disk
from tests.run_folder import FOLDS, make_fold, make_metrics, make_plan, make_predictions, make_run
from tests.test_table import write_run, write_table
from tests.trees import write_megc2019_uvos

FULL = "No space left on device"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as place:
        yield place


def refused(kind: str, call: object) -> str:
    """The line with which something that meets a disk ends."""
    got = trust.attempt("faults", kind, call)  # type: ignore[arg-type]
    assert isinstance(got, MerError), f"{kind}: nothing was said"
    return str(got)


# --- full ---


def test_encoding(tmp_path: Path, disk: Path) -> None:
    clips = read_clips(write_megc2019_uvos(tmp_path / "images"))
    filling = fill(disk, leave=60_000)  # the 24 images take 226 KB
    said = refused("full disk while encoding", lambda: encode(clips, cache=disk, progress=False))
    assert FULL in said
    assert "MER_CACHE" in said
    assert not [path for path in (disk / "encoded").iterdir() if path.suffix != ".lock"]
    filling.unlink()
    assert len(encode(clips, cache=disk, progress=False).images) == 24


def test_predictions(disk: Path) -> None:
    run = make_run(disk, folds=FOLDS[:1])
    filling = fill(disk)
    said = refused("full disk while predictions are written", lambda: make_fold(run, FOLDS[1], make_plan()))
    assert FULL in said
    assert str(runs.fold_folder(run, FOLDS[1])) in said
    assert [runs.state(run, fold) for fold in FOLDS] == ["done", "missing", "missing"]
    assert not list(run.rglob(".*"))
    filling.unlink()
    make_fold(run, FOLDS[1], make_plan())
    assert len(runs.read_predictions(run, partial=True)) == 8


def test_each_file_of_a_fold(disk: Path) -> None:
    """The disk fills up between two files of a fold, or in the middle of one."""
    run = make_run(disk, folds=[])
    sizes = set()
    for leave in range(4096, 10 * 4096, 4096):
        filling = fill(disk, leave=leave)
        folder = runs.fold_folder(run, FOLDS[0])
        got = trust.attempt(
            "faults",
            "full disk between the files of a fold",
            lambda: make_fold(run, FOLDS[0], make_plan()),
        )
        if got is not None:
            assert FULL in str(got)
            assert runs.state(run, FOLDS[0]) == "missing"
            sizes.add(len(list(folder.glob("*[!k]"))))
        filling.unlink()
        shutil.rmtree(folder)
    assert len(sizes) > 1  # it failed at several of the files


@pytest.mark.parametrize("together", [False, True])
def test_training(tmp_path: Path, disk: Path, together: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Each fold says that it cannot be written; a checkpoint that cannot be is no reason to stop."""
    if together:
        job, folds = test_ensemble_engine.make_job(tmp_path, "../disk/run", epochs=2, save_checkpoint=False)
    else:
        job, folds = test_engine.make_job(tmp_path, "../disk/run", epochs=1)
    object.__setattr__(job, "run", disk / "run")
    (disk / "run").mkdir()
    filling = fill(disk)

    def train() -> list[str]:
        if together:
            options = Options(devices=("cpu",), checkpoint_every=1)
            return [outcome.error for outcome in train_folds(job, folds, 1, options=options)]
        return [outcome.error for outcome in test_engine.train(job, folds)]

    errors = train()
    assert len(errors) == len(folds)
    assert all(FULL in error and "\n" not in error for error in errors), errors
    assert ("no checkpoint was written" in capsys.readouterr().err) == together
    filling.unlink()
    assert train() == [""] * len(folds)
    trust.record(
        "faults", f"full disk while {'folds train together' if together else 'a fold trains'}", "refused"
    )


def test_tabling(disk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(disk), write_run(disk, "narrow")
    path = write_table(disk)
    monkeypatch.chdir(disk)
    filling = fill(disk)
    with pytest.raises(SystemExit) as ended:
        run_verb(table.main, [str(path), "runs_dir=runs"])
    said = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 1
    assert FULL in said[-1]
    assert "Traceback" not in "".join(said)
    trust.record("faults", "full disk while tabling", "refused")
    filling.unlink()
    table.main([str(path), "runs_dir=runs"])
    assert path.with_suffix(".md").read_text() == capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are Linux's")
def test_logging_to_wandb(disk: Path) -> None:
    run = make_run(disk)
    expected = runs.read_predictions(run)
    filling = fill(disk)
    said = refused("full disk while logging to W&B", lambda: wandb_log.log_run(run, {"mode": "offline"}))
    assert "the run is finished and kept, but W&B did not log it" in said
    filling.unlink()
    pd.testing.assert_frame_equal(runs.read_predictions(run), expected)
    wandb_log.log_run(run, {"mode": "offline"})  # in the same process: the failed try does not hold the id
    assert list((run / "wandb").glob("offline-run-*/*.wandb"))


# --- read only ---


def test_a_read_only_disk_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "runs", folds=FOLDS[:2])
    with runs.claim(run, FOLDS[2]):
        pass  # killed here: there is a lock
    with read_only(tmp_path / "runs"):
        assert len(runs.read_predictions(run, partial=True)) == 8
        assert runs.state(run, FOLDS[2]) == "missing"
        status.main([str(tmp_path / "runs")])
        assert "laenet/base" in capsys.readouterr().out
        said = refused("read-only disk, to train", lambda: make_fold(run, FOLDS[2], make_plan()))
        assert "Read-only file system" in said
        assert "runs_dir" in said
        other = runs.RunKey("laenet", "other", "synthetic", "loso", 0).folder(tmp_path / "runs")
        assert "Read-only" in refused("read-only disk, a new run", lambda: runs.start(other, make_plan()))
    make_fold(run, FOLDS[2], make_plan())


def test_a_run_of_another_user_can_be_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_run(folder, folds=FOLDS[:2])
        with runs.claim(run, FOLDS[2]) as place:
            runs.finish(place, make_predictions(FOLDS[2]), make_metrics(FOLDS[2]), {})
            (place / "run.yaml").unlink()
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
            path.chmod(path.stat().st_mode & ~0o222)
        with another_user():
            assert len(runs.read_predictions(run, partial=True)) == 8
            assert runs.state(run, FOLDS[2]) == "missing"
            said = refused(
                "another user's run folder, to train", lambda: make_fold(run, FOLDS[2], make_plan())
            )
        assert "ermission" in said
        for path in [folder, *folder.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
        # A file that may not be read is not damaged: nobody is told to remove it.
        secret = runs.fold_folder(run, FOLDS[0]) / "predictions.parquet"
        secret.chmod(0)
        with another_user():
            said = refused("predictions of another user", lambda: runs.read_predictions(run, partial=True))
        assert said == f"{secret}: may not be read (permission denied)"
