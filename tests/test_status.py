"""`mer status`: what stands in a runs folder, in seconds, without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from mer import runs, status
from tests.run_folder import FOLDS, make_fold, make_plan, make_run


def fields(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace("┃", "│").split("│")[1:-1]]


def test_counts_reasons_and_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, folds=FOLDS[:1])
    name = "laenet/base/synthetic/loso/seed-0"
    with runs.claim(run, FOLDS[1]) as folder:
        runs.fail(folder, "no images in [bold]/data[/bold]\nmore")
    with runs.claim(run, FOLDS[2]):
        status.main([str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert fields(lines[1]) == ["run", "done", "failed", "running", "missing"]
    assert fields(lines[3]) == [name, "1", "1", "1", ""]
    assert lines[-1] == f"{name} casme2/s2 failed: no images in [bold]/data[/bold]"

    status.main([str(tmp_path), "--missing"])
    assert capsys.readouterr().out.splitlines()[-1] == f"{name} smic/s1 is missing"


def test_reason_of_a_bug_is_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, folds=[])
    traceback = "Traceback (most recent call last):\n  File x\nValueError: bad\n"
    for fold, text in [(FOLDS[0], traceback), (FOLDS[1], " ")]:
        with runs.claim(run, fold) as folder:
            runs.fail(folder, text)
    status.main([str(tmp_path)])
    out = capsys.readouterr().out
    assert "casme2/s1 failed: ValueError: bad\n" in out
    assert "casme2/s2 failed: no reason was written\n" in out


def test_damaged_plan_does_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path)
    other = runs.RunKey("a", "b" * 100, "c", "d", 10).folder(tmp_path)
    runs.start(other, make_plan())
    (other / "plan.yaml").write_text("[", encoding="utf-8")
    status.main([str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert fields(lines[3]) == [f"a/{'b' * 100}/c/d/seed-10", "?", "?", "?", "?"]
    assert fields(lines[4]) == ["laenet/base/synthetic/loso/seed-0", "3", "", "", ""]
    assert lines[-1].startswith(f"{other / 'plan.yaml'}: damaged")


def test_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status.main([])
    assert capsys.readouterr().out == "runs: no runs here\n"


def test_as_a_command_it_imports_no_torch(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=FOLDS[:2])
    make_fold(run, FOLDS[2], make_plan())
    code = (
        "import sys; from mer import cli; sys.argv[1:] = ['status', sys.argv[1]]; cli.main(); "
        "print(sorted({'torch', 'hydra', 'pytorch_lightning', 'wandb', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[]"
    assert "seed-0" in done.stdout
