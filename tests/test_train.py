"""``mer train`` as a user runs it: overrides in, run folders out."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mer import runs, train
from mer.errors import MerError
from tests.trees import write_megc2019_uvos

FOLDS = ["casme2/sub01", "casme2/sub02", "samm/006", "samm/007", "smic/s01", "smic/s02"]
Mer = Callable[..., None]


@pytest.fixture
def mer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mer:
    """``mer train`` on a tiny tree of flow images, two epochs, one worker."""
    monkeypatch.chdir(tmp_path)
    root = write_megc2019_uvos(tmp_path / "images")

    def call(*overrides: str) -> None:
        train.main([*overrides, "data=megc2019_uvos", f"data.root={root}", "epochs=2", "workers=1"])

    return call


def run_folder(experiment: str = "custom", variant: str = "base", seed: int = 0) -> Path:
    folders = [
        path for path in Path("runs", experiment).glob(f"{variant}.*/*/*/seed-{seed}") if path.is_dir()
    ]
    assert len(folders) == 1
    return folders[0]


def test_a_run_ends_in_its_folder(mer: Mer, capsys: pytest.CaptureFixture[str]) -> None:
    mer("experiment=laenet")
    run = run_folder("laenet")
    assert runs.read_plan(run).folds == FOLDS
    predictions = runs.read_predictions(run)
    assert len(predictions) == 24
    assert predictions[["p_negative", "p_positive", "p_surprise"]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert (run / "confusion.png").stat().st_size > 1000
    assert (run / "encoded.png").stat().st_size > 1000
    record = runs.read_record(run, FOLDS[0])
    assert record["config"]["epochs"] == 2
    assert {"torch", "numpy"} <= set(record["versions"])
    assert "uf1" in capsys.readouterr().out
    assert not list(Path().rglob(".hydra")), "Hydra writes no folder"


def test_finished_folds_are_skipped(mer: Mer, capsys: pytest.CaptureFixture[str]) -> None:
    mer("experiment=laenet", "fold=samm/006")
    run = run_folder("laenet")
    assert [fold for fold in FOLDS if runs.state(run, fold) == "done"] == ["samm/006"]
    written = (runs.fold_folder(run, "samm/006") / "run.yaml").stat().st_mtime_ns
    mer("experiment=laenet")
    assert "1 of 6 folds are finished already" in capsys.readouterr().err
    assert (runs.fold_folder(run, "samm/006") / "run.yaml").stat().st_mtime_ns == written
    assert len(runs.read_predictions(run)) == 24


def test_each_fold_as_a_job_gives_the_same_bytes(mer: Mer) -> None:
    mer("experiment=laenet", "tag=all")
    mer("-m", "experiment=laenet", "tag=each", "fold=each")
    for fold in FOLDS:
        each, whole = (
            runs.fold_folder(Path(f"runs/laenet/base.{tag}/megc2019_uvos/loso/seed-0"), fold)
            for tag in ("each", "all")
        )
        assert (each / "predictions.parquet").read_bytes() == (whole / "predictions.parquet").read_bytes()


def test_a_sweep_makes_a_run_each(mer: Mer) -> None:
    mer("-m", "variant=ststnet/release_order", "seed=0,1", "fold='#0'")
    assert runs.state(run_folder("ststnet", "release_order", 0), FOLDS[0]) == "done"
    assert runs.state(run_folder("ststnet", "release_order", 1), FOLDS[0]) == "done"


def test_a_sweep_goes_on_after_a_failure_and_lists_it(mer: Mer) -> None:
    with pytest.raises(MerError, match=r"fold='#9'.*\] fold=#9: there are 6 folds, #0 to #5"):
        mer("-m", "experiment=laenet", "fold='#9','#1'")
    assert runs.state(run_folder("laenet"), FOLDS[1]) == "done"


def test_another_config_is_refused_and_nothing_is_written(mer: Mer) -> None:
    mer("experiment=laenet", "tag=mine", "fold='#0'")
    run = Path("runs/laenet/base.mine/megc2019_uvos/loso/seed-0")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(MerError, match=r"holds folds made with batch_size=256, now 8; pass tag="):
        mer("experiment=laenet", "tag=mine", "batch_size=8")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_holdout_is_one_fold(mer: Mer) -> None:
    mer("experiment=laenet", "protocol=holdout")
    plan = next(Path("runs/laenet").glob("base.*/megc2019_uvos/holdout/seed-0/plan.yaml"))
    assert yaml.safe_load(plan.read_text())["folds"] == ["holdout/all"]


def test_losses_weights_and_orders_run(mer: Mer) -> None:
    mer("experiment=laenet", "task.loss=focal", "class_weights=balanced", "order=balanced", "fold='#0'")
    assert runs.state(run_folder("laenet"), FOLDS[0]) == "done"


def test_a_users_own_conf_is_found(mer: Mer, tmp_path: Path) -> None:
    (tmp_path / "conf/network").mkdir(parents=True)
    (tmp_path / "conf/network/mine.yaml").write_text("_target_: mer.networks.LAENet\npadding: release\n")
    mer("network=mine", "fold='#0'")
    assert runs.read_record(run_folder(), FOLDS[0])["config"]["network"]["padding"] == "release"


def test_roots_yaml_is_read(mer: Mer, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/roots.yaml").write_text(f"megc2019_uvos: {tmp_path / 'images'}\n")
    train.main(["data=megc2019_uvos", "epochs=1", "workers=1", "fold='#0'"])
    assert runs.state(run_folder(), FOLDS[0]) == "done"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["fold=smic/s99"], r"fold=smic/s99: no such fold; there are casme2/sub01, .*smic/s02"),
        (["fold=#6"], r"fold=#6: there are 6 folds, #0 to #5"),
        (
            ["variant=laenet/nothing"],
            r"variant=laenet/nothing: no such config; there are laenet/alexnet, [laenet/_a-z0-9, ]*$",
        ),
        (
            ["experiment=nothing"],
            r"experiment=nothing: no such config; there are .*demo, .*laenet, .*ststnet",
        ),
        (["epoch=3"], r"unknown config key 'epoch'"),
        (["optimizer.lrate=3"], r"unknown config key 'optimizer.lrate'"),
        (["+optimizer.lrate=3"], r"optimizer.*unexpected keyword argument 'lrate'"),
        (["+protocol.share=3"], r"protocol: .*unexpected keyword argument 'share'"),
        (["encoding=apex_flow"], r"encoding=ApexFlow.*use encoding=none"),
        (["task.loss=hinge"], r"task.loss='hinge'"),
        (["class_weights=some"], r"class_weights='some'"),
        (["order=sorted"], r"order='sorted'"),
        (["batch_size=0"], r"batch_size=0: give a whole number, at least 1"),
        (["data.root=/data/CAS(ME)^2"], r"quote a value"),
        (["network._target_=os.system"], r"network._target_=os.system: a part of Python"),
        (["data.label_map.surprise=joy"], r"names the class 'joy', which is not in data.classes"),
        (["~data.label_map.surprise"], r"label 'surprise', which is not in the label map.*data.label_map"),
        (["data.control=onset_only"], r"onset_only needs clips with frames"),
        (["protocol=holdout", "protocol.test=0.01"], r"leaves none to train or none to test"),
    ],
)
def test_bad_input_is_one_line(mer: Mer, overrides: list[str], message: str) -> None:
    with pytest.raises(MerError, match=message) as raised:
        mer(*overrides)
    assert "\n" not in str(raised.value)


def test_no_root_says_where_to_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MerError, match=r"pass data\.root=.*MER_ROOT_MEGC2019_UVOS.*conf/roots\.yaml"):
        train.main(["data=megc2019_uvos"])
    with pytest.raises(MerError, match=r"/nowhere: no such folder \(data\.root\)"):
        train.main(["data=megc2019_uvos", "data.root=/nowhere"])


def test_a_png_cut_short_is_named(mer: Mer, tmp_path: Path) -> None:
    image = next((tmp_path / "images").rglob("u_test/*/*.png"))
    image.write_bytes(image.read_bytes()[:-20])
    with pytest.raises(MerError, match=image.name.strip().split(" ")[0]):
        mer("experiment=laenet")


def uf1(variant: str) -> float:
    from mer.metrics import uf1 as score
    from mer.scores import pooled_confusion

    run = next(Path("runs/demo").glob(f"{variant}.*/synthetic/loso/seed-0"))
    predictions: pd.DataFrame = runs.read_predictions(run)
    return score(pooled_confusion(predictions, runs.read_plan(run).classes))


@pytest.mark.timeout(300)
def test_the_demo_learns_and_its_controls_stay_at_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From frames, the default synthetic database. Chance is 1/3; 96 clips: its deviation is about .05."""
    monkeypatch.chdir(tmp_path)
    for overrides in (
        ["experiment=demo"],
        ["variant=demo/shuffled_labels"],
        ["variant=demo/onset_only"],
    ):
        train.main([*overrides, "tag=test", "epochs=80", "workers=2"])
    assert uf1("base") >= 0.70
    assert uf1("shuffled_labels") <= 0.48
    assert uf1("onset_only") <= 0.48


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_in_one_line_and_keeps_what_is_finished(tmp_path: Path, workers: int) -> None:
    root = write_megc2019_uvos(tmp_path / "images")
    command = [sys.executable, "-m", "mer.train", "data=megc2019_uvos", f"data.root={root}"]
    with subprocess.Popen(
        [*command, "epochs=300", f"workers={workers}", "tag=stopped"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        finished: list[Path] = []
        end = time.monotonic() + 300
        while not finished and time.monotonic() < end:
            finished = list(tmp_path.glob("runs/custom/base.stopped/*/*/*/fold-*/run.yaml"))
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGINT)
        errors = child.communicate(timeout=200)[1].strip().splitlines()
    assert finished
    assert child.returncode == 130
    assert errors[-1] == "mer: interrupted; what is finished is kept, and the same command goes on from there"
    assert not any("Traceback" in line for line in errors), errors
    run = finished[0].parents[1]
    assert all(runs.state(run, fold) in ("done", "missing") for fold in FOLDS)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=0.5", r"seed=0\.5: a whole number is needed"),
        ("seed=1e3", r"seed=1000\.0: a whole number is needed"),
        ("seed=true", r"seed=True: a whole number is needed"),
        ("seed=-1", r"seed=-1: give a whole number, at least 0"),
        (f"seed={2**63}", rf"seed={2**63}: give a whole number, at most {2**63 - 1}"),
        ("workers=0", r"workers=0: give auto, or a whole number, at least 1"),
        ("workers=-2", r"workers=-2: give auto"),
        ("workers=two", r"workers='two': give auto"),
    ],
)
def test_numbers_that_are_none_are_refused_before_anything_is_written(
    override: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MerError, match=message):
        train.main([override])
    assert not Path("runs").exists()
