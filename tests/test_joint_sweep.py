"""``mer train -m engine=ensemble``: the runs of a sweep are prepared first, and share fits."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mer import runs, train
from mer.checkpoint import FILE
from mer.errors import MerError
from tests.trees import write_megc2019_uvos

FOLDER = "fold-holdout.all"
FOLDS = ["casme2/sub01", "samm/006", "smic/s01"]
Mer = Callable[..., None]


@pytest.fixture
def mer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mer:
    """``mer train`` on three folds of a tiny tree, one epoch, without dropout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    root = write_megc2019_uvos(tmp_path / "images", dict.fromkeys(("sub01", "006", "s01"), ("0", "1", "2")))

    def call(*overrides: str) -> None:
        given = ["experiment=laenet", "network.dropout=0", "data=megc2019_uvos", f"data.root={root}"]
        train.main([*overrides, *given, "workers=1", *([] if "epochs" in str(overrides) else ["epochs=1"])])

    return call


def run_folder(tag: str, seed: int = 0, runs_dir: str = "runs") -> Path:
    return Path(f"{runs_dir}/laenet/base.{tag}/megc2019_uvos/loso/seed-{seed}")


def devices(run: Path) -> set[str]:
    """How the folds of a run were trained."""
    return {runs.read_record(run, fold)["device"].split(", precision")[0] for fold in FOLDS}


def test_the_folds_of_all_seeds_share_a_fit(mer: Mer, capsys: pytest.CaptureFixture[str]) -> None:
    mer("-m", "seed=0,3", "tag=a", "engine=ensemble")
    shown = capsys.readouterr()
    assert "6 folds of 2 runs are trained together" in shown.err
    assert f"fold {FOLDS[0]} of {run_folder('a', 3)} done in" in shown.err
    assert shown.out.count("uf1") == 2
    for seed in (0, 3):
        run = run_folder("a", seed)
        mer(f"seed={seed}", "tag=a", "engine=ensemble", "runs_dir=alone")
        alone = run_folder("a", seed, "alone")
        pd.testing.assert_frame_equal(
            runs.read_predictions(run), runs.read_predictions(alone), rtol=0, atol=1e-4
        )
        assert runs.read_plan(run) == runs.read_plan(alone)
        assert devices(run) == {"cpu, 6 folds of 2 runs together"}
        assert devices(alone) == {"cpu, 3 folds together"}
        ours, theirs = (runs.read_record(each, FOLDS[1]) for each in (run, alone))
        assert (ours["seed"], ours["config"]["seed"], ours["fold"]) == (seed, seed, FOLDS[1])
        assert ours["config"] | {"runs_dir": "alone"} == theirs["config"]
        assert f"seed={seed}" in ours["overrides"]
        assert (run / "confusion.png").exists()
    written = (run_folder("a") / "plan.yaml").stat().st_mtime_ns
    mer("-m", "seed=0,3", "tag=a", "engine=ensemble")
    assert "3 of 3 folds are finished already" in capsys.readouterr().err
    assert (run_folder("a") / "plan.yaml").stat().st_mtime_ns == written


def test_runs_of_other_recipes_are_trained_on_their_own(mer: Mer) -> None:
    mer("-m", "optimizer.lr=1e-4,1e-3", "tag=${optimizer.lr}", "engine=ensemble")
    assert devices(run_folder("0.0001")) == devices(run_folder("0.001")) == {"cpu, 3 folds together"}


def test_each_fold_as_a_job_shares_a_fit_too(mer: Mer, capsys: pytest.CaptureFixture[str]) -> None:
    mer("-m", "fold=each", "tag=each", "engine=ensemble")
    assert devices(run_folder("each")) == {"cpu, 3 folds together"}
    assert capsys.readouterr().out.count("uf1") == 1, "the run is scored once"


def test_two_configs_never_meet_in_one_folder(mer: Mer) -> None:
    """The second is refused as if the first had been trained before it was seen."""
    with pytest.raises(MerError, match=r"\[batch_size=9 .*holds folds made with batch_size=8, now 9"):
        mer("-m", "batch_size=8,9", "tag=same", "seed=0", "engine=ensemble")
    assert runs.read_plan(run_folder("same")).config["batch_size"] == 8
    assert devices(run_folder("same")) == {"cpu, 3 folds together"}


def test_a_job_that_cannot_be_prepared_leaves_the_others(mer: Mer) -> None:
    with pytest.raises(MerError, match=r"^\[epochs=0 .*\] epochs=0: give a whole number, at least 1$"):
        mer("-m", "epochs=0,1", "tag=${epochs}", "engine=ensemble")
    assert devices(run_folder("1")) == {"cpu, 3 folds together"}


def test_a_run_may_start_from_one_of_the_same_sweep(mer: Mer) -> None:
    start = "runs/laenet/base.start/megc2019_uvos/holdout/seed-0"
    mer(
        *("-m", "protocol=holdout", "engine=ensemble", "save_checkpoint=true"),
        f"+both={{tag:start,init:null}},{{tag:next,init:{start}}}",
        *("tag=${both.tag}", "init=${both.init}"),
    )
    record = runs.read_record(Path(start.replace("start", "next")), "holdout/all")
    assert record["init_sha256"] == hashlib.sha256(Path(start, FOLDER, FILE).read_bytes()).hexdigest()
