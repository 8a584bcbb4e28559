"""Ctrl-C, a cluster's SIGTERM, a worker that the kernel kills: one line, an exit code, no process left."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mer import runs
from tests import trust
from tests.faults.child import (
    FOLDS,
    GOES_ON,
    TRAIN,
    end_group,
    error_lines,
    finish,
    members,
    run_of,
    start,
    wait_for,
    write_experiment,
)
from tests.faults.kills import check_readable

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]
ENOUGH = 200  # seconds, on a machine that others keep busy
ENDS = {signal.SIGINT: ("interrupted", 130), signal.SIGTERM: ("terminated", 143)}
TWO_WORKERS = (*TRAIN, "workers=2")
ENSEMBLE = (*TRAIN, "engine=ensemble", "checkpoint_every=1")


def encoding(folder: Path) -> bool:
    return any((folder / "cache" / "encoded").glob(".*[0-9a-f]/images.npy"))


def workers_starting(folder: Path) -> bool:
    return (run_of(folder) / "plan.yaml").exists()


def a_fold_is_done(folder: Path) -> bool:
    return any(run_of(folder).glob("fold-*/run.yaml"))


def a_checkpoint(folder: Path) -> bool:
    return any(run_of(folder).glob("chunk-*.pt"))


def until(folder: Path, child: "subprocess.Popen[str]", reached: Callable[[Path], bool]) -> None:
    wait_for(lambda: child.poll() is not None or reached(folder), 300)
    assert child.poll() is None, "it ended too soon: " + "; ".join(error_lines(folder))


@pytest.mark.parametrize(
    ("number", "arguments", "moment"),
    [
        (signal.SIGINT, TWO_WORKERS, encoding),
        (signal.SIGINT, TWO_WORKERS, workers_starting),
        (signal.SIGINT, ("table", "table.yaml", "workers=1", "device=cpu"), a_fold_is_done),
        (signal.SIGTERM, TWO_WORKERS, a_fold_is_done),
        (signal.SIGTERM, (*TRAIN, "workers=1"), a_fold_is_done),
        (signal.SIGTERM, ENSEMBLE, a_checkpoint),
    ],
)
def test_a_signal_to_the_group_ends_in_one_line(
    tmp_path: Path, number: signal.Signals, arguments: tuple[str, ...], moment: Callable[[Path], bool]
) -> None:
    folder = write_experiment(tmp_path, epochs=60)
    child = start(folder, *arguments)
    until(folder, child, moment)
    os.killpg(child.pid, number)
    child.wait(ENOUGH)
    how, code = ENDS[number]
    said = error_lines(folder)
    assert child.returncode == code, said
    assert said[-1] == f"mer: {how}; {GOES_ON}"
    assert not any("Traceback" in line or "Error" in line for line in said), said
    wait_for(lambda: not members(child.pid), ENOUGH)
    kept = {path: path.stat().st_mtime_ns for path in run_of(folder).glob("fold-*/run.yaml")}
    assert all(runs.state(run_of(folder), fold) in ("done", "missing") for fold in FOLDS)
    if moment is a_checkpoint:
        assert a_checkpoint(folder)
    if moment is a_fold_is_done:
        assert kept
        finish(folder, *arguments)
        assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
        assert len(runs.read_predictions(run_of(folder))) == 36
    trust.record("faults", f"{number.name} ({moment.__name__.replace('_', ' ')})", f"exit code {code}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_killed_alone_costs_its_fold(tmp_path: Path, number: signal.Signals) -> None:
    """As the kernel kills the largest process when memory runs out."""
    folder = write_experiment(tmp_path, epochs=200)
    child = start(folder, *TWO_WORKERS)
    until(folder, child, a_fold_is_done)
    # The parent, its resource tracker and two workers, which hold locks of folds.
    held = {pid for pid in members(child.pid) if pid != child.pid and holds_a_fold(pid)}
    assert held
    os.kill(held.pop(), number)
    child.wait(ENOUGH)
    said = error_lines(folder)
    assert child.returncode == 1
    assert said[-1].startswith("mer: a worker process was killed, perhaps for want of memory")
    assert "workers=1" in said[-1]
    wait_for(lambda: not members(child.pid), ENOUGH)
    assert "failed" not in {runs.state(run_of(folder), fold) for fold in FOLDS}
    kind = "kill -9" if number == signal.SIGKILL else number.name
    trust.record("faults", f"{kind} of a worker", "exit code 1")


def holds_a_fold(pid: int) -> bool:
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if handle.readlink().name == "lock":
                return True
        except OSError:
            continue
    return False


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    folder = write_experiment(tmp_path, epochs=200)
    child = start(folder, *TWO_WORKERS)
    until(folder, child, lambda place: any(run_of(place).glob("fold-*/lock")))
    end_group(child, leader_only=True)  # fails where a process is left
    check_readable(run_of(folder), folder / "cache")  # nothing is half, and no fold is running
    trust.record("faults", "kill -9 of the parent alone", "survived")
