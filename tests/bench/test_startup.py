"""What the verbs import that have no business with torch, and `mer bench startup` as small as it gets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mer.bench import drawn_runs, startup
from tests.conftest import REPOSITORY

HEAVY = {"torch", "pytorch_lightning", "torchmetrics", "hydra", "kornia", "cv2", "wandb"}
CODE = (
    "import sys; from mer.cli import main; sys.argv = ['mer', *sys.argv[1:]]\n"
    "try: main()\n"
    "except SystemExit as ended: assert not ended.code, ended.code\n"
    f"heavy = {HEAVY!r} & set(sys.modules)\n"
    "assert not heavy, heavy"
)
TABLES = sorted(REPOSITORY.glob("experiments/*/*.yaml"))
LIGHT_KINDS = {"scores", "confusion"}  # the others count clips or look into networks


def run(*line: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *line], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == 0, f"mer {' '.join(line)}: {done.stderr}"
    return done.stdout


def test_verbs_at_work_do_without_torch(tmp_path: Path) -> None:
    """The help of all verbs is tested in tests/test_cli.py; here they do something."""
    table = drawn_runs.write_runs(tmp_path, rows=1, seeds=1, folds=3, clips=12)
    assert "bench/row0/faces/loso/seed-0" in run("status", "runs", cwd=tmp_path)
    assert "| Row 0" in run("table", str(table), "runs_dir=runs", cwd=tmp_path)
    assert "consistent" in run("check-print", "--counts", "250,109,83", "accuracy=.7692", cwd=tmp_path)
    assert "usage" in run("standin", "--help", cwd=tmp_path)


def test_tables_of_scores_and_confusion_matrices_do_without_torch(tmp_path: Path) -> None:
    """All that are shipped, in one process: from what is stored beside them."""
    light = [
        str(path)
        for path in TABLES
        if path.stem.startswith(("table", "figure"))
        and yaml.safe_load(path.read_text()).get("kind", "scores") in LIGHT_KINDS
    ]
    assert len(light) > 5
    code = (
        "import sys; from mer import table\n"
        "for path in sys.argv[1:]: table.main([path, '--partial'])\n"
        f"heavy = {HEAVY!r} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *light], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_figures_are_of_whole_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a busy machine mean nothing; that torch takes longer than doing nothing holds on any."""
    monkeypatch.setattr(startup, "SIZE", {"rows": 1, "seeds": 1, "folds": 3})
    monkeypatch.setattr(startup, "REPETITIONS", 1)
    calls: list[list[str]] = []
    real = startup.run_python

    def call(line: list[str]) -> None:
        calls.append(line)
        if "--help" not in line or "train" not in line:  # the slowest, which the light ones tell nothing of
            real(line)

    monkeypatch.setattr(startup, "run_python", call)
    result = json.loads(json.dumps(startup.measure()))
    light = [result[f"{name}_s"] for name in startup.LIGHT]
    assert result["ratio"] == pytest.approx(result["torch_and_lightning_s"] / max(light), rel=0.02)
    assert result["torch_and_lightning_s"] > result["python_s"]
    assert [line[1:2] for line in calls] == [[], [], ["--help"], ["status"], ["table"], ["train"]]
    assert Path(calls[4][2]).name == "table.yaml"
