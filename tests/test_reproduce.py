"""`mer reproduce`: a run folder alone is enough to run it again, and whatever differs is told."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mer import reproduce, runs, train
from mer.checkpoint import FILE
from mer.errors import MerError
from mer.record import recorded_config
from tests import trust
from tests.run_folder import make_run
from tests.test_train import FOLDS
from tests.trees import write_megc2019_uvos, write_png

Out = pytest.CaptureFixture[str]
OWN = "epochs: 2\nbatch_size: 8\ndefaults: [{override /data: megc2019_uvos}, {override /network: laenet}]\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with ``images`` and one finished run of an experiment of the user's own."""
    place = tmp_path_factory.mktemp("then")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MER_CACHE", str(place / "cache"))
        patch.chdir(place)
        write_megc2019_uvos(place / "images")
        (place / "conf/experiment").mkdir(parents=True)
        (place / "conf/experiment/mine.yaml").write_text(f"# @package _global_\n{OWN}")
        train.main(["experiment=mine", f"data.root={place / 'images'}", "workers=1", "tag=own"])
    return place


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run folder, and nothing else, in another working directory."""
    monkeypatch.chdir(tmp_path)
    there = "mine/base.own/megc2019_uvos/loso/seed-0"
    return Path(shutil.copytree(trained / "runs" / there, tmp_path / "kept" / there))


def again(*arguments: object) -> int:
    try:
        reproduce.main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_run_folder_alone_is_enough(run: Path, capsys: Out) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert again(run) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "identical"
    assert "24 of 24" in out
    assert out.count("6 of 6") == 2, "the bytes of predictions.parquet and of metrics.csv"
    # The experiment's file was the user's own, and is not here.
    assert "note: the configs of today do not compose its command line (experiment=mine: " in out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert not Path("runs").exists(), "nothing is left"
    amount = sum(
        (runs.fold_folder(run, fold) / name).stat().st_size
        for fold in FOLDS
        for name in ("predictions.parquet", "metrics.csv")
    )
    trust.record("determinism", "a run from its own record", "equal", amount=amount)


def test_one_fold_is_run_alone_and_kept(run: Path, capsys: Out) -> None:
    assert again(run, "--fold", "samm/006", "--fold", "#3", "--into", "checks") == 0
    now = Path("checks/mine/base.own/megc2019_uvos/loso/seed-0")
    assert [fold for fold in FOLDS if runs.state(now, fold) == "done"] == ["samm/006", "samm/007"]
    assert "8 of 8" in capsys.readouterr().out
    assert again(run, "--fold", "samm/006", "--into", "checks") == 0
    assert "note: 1 of 1 folds were finished in checks/mine/base.own" in capsys.readouterr().out


def test_a_prediction_that_was_edited_is_told(run: Path, capsys: Out) -> None:
    predictions = runs.read_predictions(run)
    edited = predictions[predictions["fold"] == FOLDS[0]].reset_index(drop=True)
    names = ["p_negative", "p_positive", "p_surprise"]
    best = int(edited[names].to_numpy()[0].argmax())
    edited.loc[0, names] = [1.0 if k == (best + 1) % 3 else 0.0 for k in range(3)]
    path = runs.fold_folder(run, FOLDS[0])
    record = runs.read_record(run, FOLDS[0])
    runs.finish(path, edited, runs.read_metrics(run, FOLDS[0]), record)
    assert again(run) == 1
    out = capsys.readouterr().out
    assert out.splitlines()[-1].startswith("differs: 1 of 24 decisions, probabilities differ by at most ")
    assert "5 of 6" in out
    trust.record("determinism", "an edited prediction", "refused", "mer/run_difference.py:compare")


def test_a_default_that_was_edited_since_is_told_and_not_used(run: Path, capsys: Out) -> None:
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text(f"# @package _global_\n{OWN}order: release\n")
    assert again(run, "--fold", FOLDS[0]) == 0
    out = capsys.readouterr().out
    assert (
        "note: order=shuffled in the record, release by the configs of today; the record's is used\n" in out
    )
    assert out.splitlines()[-1] == "identical"


def test_a_key_that_came_later_is_told(run: Path, capsys: Out) -> None:
    def edit(record: dict[str, Any]) -> None:
        del record["config"]["class_weights"], record["config"]["workers"]

    edit_record(run, FOLDS[0], edit)
    # As an older version would have written it: plan.yaml too.
    plan = runs.read_plan(run)
    del plan.config["class_weights"]
    (run / "plan.yaml").write_text(yaml.safe_dump(vars(plan), sort_keys=False), encoding="utf-8")
    assert again(run, "--fold", FOLDS[0]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "does not have this key" in line]
    assert notes == ["note: class_weights=none by the configs of today; the record does not have this key"], (
        "workers change no result"
    )


def test_data_lie_where_this_machine_says(
    run: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Out
) -> None:
    moved = shutil.copytree(trained / "images", tmp_path / "elsewhere")
    edit_record(run, FOLDS[0], lambda record: record["config"]["data"].update(root="/nowhere/images"))
    with pytest.raises(MerError, match=r"pass data\.root=.*MER_ROOT_MEGC2019_UVOS"):
        again(run, "--fold", FOLDS[0])
    assert again(run, "--fold", FOLDS[0], f"data.root={moved}", "workers=1") == 0
    monkeypatch.setenv("MER_ROOT_MEGC2019_UVOS", str(moved))
    assert again(run, "--fold", FOLDS[0]) == 0
    # Other pixels: other content, and other predictions.
    image = next((moved / "sub01/u_test").rglob("*.png"))
    write_png(image, np.random.default_rng(9).integers(0, 256, (28, 28, 3), np.uint8))
    capsys.readouterr()
    assert again(run, "--fold", FOLDS[0]) == 1
    out = capsys.readouterr().out
    content = runs.read_plan(run).content[:8]
    assert f"encoded data {content} then, " in out
    assert out.splitlines()[-1].startswith("differs: ")


def test_code_and_versions_that_differ_are_told_before_the_run(run: Path, capsys: Out) -> None:
    def edit(record: dict[str, Any]) -> None:
        record["versions"]["torch"] = "1.0.0"
        record |= {"commit": "a" * 40, "dirty": True, "diff": "b" * 64, "cpu": "6502"}
        record["build"]["cpu_capability"] = "NONE"

    edit_record(run, FOLDS[0], edit)
    assert again(run, "--fold", FOLDS[0]) == 0
    out = capsys.readouterr().out
    notes = out[: out.index("compared")]
    assert "note: the record's code was changed from commit aaaaaaaaaaaa, which alone does not" in notes
    assert "`git checkout aaaaaaaaaaaa` brings that code back" in notes
    assert "note: torch 1.0.0 then, " in notes
    assert "note: cpu 6502 then, " in notes
    assert "cpu_capability NONE then, " in out


def test_weights_that_a_run_started_from_are_in_its_record(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ["data=megc2019_uvos", f"data.root={trained / 'images'}", "epochs=1", "fold='#0'"]
    train.main([*common, "save_checkpoint=true", "tag=source"])
    source = Path("runs/custom/base.source/megc2019_uvos/loso/seed-0")
    train.main([*common, f"init={source}", "tag=started"])
    started = Path("runs/custom/base.started/megc2019_uvos/loso/seed-0")
    weights = runs.fold_folder(source, FOLDS[0]) / FILE
    written = runs.read_record(started, FOLDS[0])["init_sha256"]
    assert written == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert again(started) == 0
    train.main([*common, "save_checkpoint=true", "seed=1", "tag=source"])
    capsys.readouterr()
    assert again(started, f"init={source.with_name('seed-1')}") == 1
    assert f"init_sha256 {written} then, " in capsys.readouterr().out


def test_a_run_that_spots_is_compared_by_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.chdir(tmp_path)
    videos = ("subjects=2", "clips_per_class=1", "still=0", "long=0", "size=32", "length=[34,36]")
    tiny = [f"+data.clips.{option}" if "=[" in option else f"data.clips.{option}" for option in videos]
    train.main(["experiment=lbp_difference", *tiny, "workers=1", "tag=tiny", "data=synthetic_videos"])
    (found,) = Path("runs").glob("*/*.tiny/*/*/seed-0")
    capsys.readouterr()
    assert again(found) == 0
    out = capsys.readouterr().out
    assert f"scores of {len(runs.read_spotting(found)[0])} frames" in out
    assert "bytes of frames.parquet" in out


def hostile(**changes: Any) -> dict[str, Any]:
    """A record of somebody else, with parts of its config replaced."""
    config: dict[str, Any] = {
        "data": {"name": "d", "clips": {"_target_": "mer.data.synthetic.write_and_read"}},
        "protocol": {"_target_": "mer.data.splits.loso"},
        "network": {"_target_": "mer.networks.LAENet"},
    }
    return {"config": config | changes, "overrides": []}


READER = "mer.data.synthetic.write_and_read"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"_target_": "os.system"}}, r"x/run\.yaml: network\._target_=os\.system"),
        ({"network": {"_target_": "theirs.Net"}}, r"network\._target_=theirs\.Net: .*trusted"),
        ({"augment": {"deep": [{"_target_": "builtins.eval"}]}}, r"_target_=builtins\.eval"),
        (
            {"data": {"clips": {"_target_": "mer.atomic.write_text", "path": "/tmp/x", "text": ""}}},
            r"data\.clips\._target_=mer\.atomic\.write_text: no reader of conf/data/\*\.yaml; pass --trust",
        ),
        ({"data": {"clips": {"_target_": READER, "root": "/tmp/x"}}}, r"may not say where drawn data are"),
        ({"data": {"clips": None}}, r"holds no config of a data"),
        ({"protocol": {"_target_": "torch.load"}}, r"protocol\._target_=torch\.load: no protocol of conf"),
        ({"seed": "${oc.env:HOME}"}, r"x/run\.yaml: seed='\$\{oc\.env:HOME\}'"),
    ],
)
def test_a_record_may_not_name_what_it_likes(changes: dict[str, Any], message: str) -> None:
    refusal = trust.attempt(
        "input", "hostile record", lambda: recorded_config(hostile(**changes), "x/run.yaml")
    )
    assert isinstance(refusal, MerError)
    with pytest.raises(MerError, match=message):
        raise refusal


def test_a_package_of_ones_own_is_trusted_by_name() -> None:
    record = hostile(
        network={"_target_": "theirs.Net"}, data={"clips": {"_target_": "theirs.data.read"}, "root": None}
    )
    cfg, _ = recorded_config(record, "x", trusted=["mer.", "torch.", "theirs"])
    assert cfg.network._target_ == "theirs.Net"


def test_where_a_record_would_write_and_log_is_ours_to_say() -> None:
    record = hostile(logger={"name": "wandb", "mode": "online"}, runs_dir="/tmp/elsewhere", device="cuda")
    record["overrides"] = ["hydra.sweep.dir=/tmp/elsewhere", "+hydra.job.chdir=true", "logger=wandb"]
    cfg, notes = recorded_config(record, "x")
    assert (cfg.logger, cfg.device, cfg.engine) == (None, "auto", "processes")
    assert not any("elsewhere" in note for note in notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["epochs=1"], r"epochs=1: a repetition takes its config from the record; .*data\.root"),
        (["data.clips._target_=os.system"], r"only what is this machine's can be given"),
        (["data.root"], r"only what is this machine's can be given"),
        (["--fold", "smic/s99"], r"--fold smic/s99: not a finished fold of .*; there are casme2/sub01, "),
        (["--into", "kept"], r"--into kept: there lies the run itself; name another folder"),
    ],
)
def test_what_cannot_be_asked_is_one_line(run: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(MerError, match=message) as raised:
        again(run, *arguments)
    assert "\n" not in str(raised.value)


def test_nothing_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"no run here"):
        again(tmp_path)
    with pytest.raises(MerError, match=r"no fold is finished, so there is nothing to compare with"):
        again(make_run(tmp_path, folds=[]))


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; from mer import cli; sys.argv[1:] = ['reproduce', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'pytorch_lightning', 'wandb', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--tolerance" in done.stdout


def edit_record(run: Path, fold: str, edit: Any) -> None:
    """Rewrite the run.yaml of a fold, as one who means it would: without its seal."""
    record = runs.read_record(run, fold)
    edit(record)
    path = runs.fold_folder(run, fold) / "run.yaml"
    path.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")
