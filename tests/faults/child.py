"""`mer` as a user starts it, in a process group of its own, on six drawn subjects that train in seconds."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from mer import runs

EXPERIMENT = """# @package _global_
defaults:
  - override /data: synthetic
  - override /encoding: apex_flow
  - override /network: laenet
  - _self_

epochs: {epochs}
batch_size: 32
data:
  clips: {{subjects: 6, clips_per_class: 2, size: 64}}
"""
TABLE = """title: Runs that were killed
data: synthetic
protocol: loso
seeds: [0]
columns:
  uf1: {header: UF1, subset: all, metric: uf1}
rows:
  - label: LAENet
    variant: killed/base
"""
TRAIN = ("train", "experiment=killed", "data=synthetic", "device=cpu")
FOLDS = [f"synthetic/s{number:02d}" for number in range(1, 7)]
GOES_ON = "what is finished is kept, and the same command goes on from there"


def write_experiment(folder: Path, *, epochs: int = 30) -> Path:
    """The folder to start in, with the experiment ``killed`` and a table of it."""
    (folder / "conf" / "experiment").mkdir(parents=True)
    (folder / "conf" / "variant" / "killed").mkdir(parents=True)
    (folder / "conf" / "experiment" / "killed.yaml").write_text(EXPERIMENT.format(epochs=epochs))
    (folder / "table.yaml").write_text(TABLE)
    return folder


def run_of(folder: Path) -> Path:
    """The run folder of the experiment."""
    return runs.RunKey("killed", "base", "synthetic", "loso", 0).folder(folder / "runs")


def start(
    folder: Path, *arguments: str, surroundings: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """Start `mer`; its cache is ``<folder>/cache``, its errors go to ``<folder>/errors.txt``."""
    with (folder / "errors.txt").open("w") as errors, (folder / "output.txt").open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "mer.cli", *arguments],
            cwd=folder,
            stdout=output,
            stderr=errors,
            text=True,
            start_new_session=True,
            env={
                **os.environ,
                "MER_CACHE": str(folder / "cache"),
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "WANDB_MODE": "offline",
                **(surroundings or {}),
            },
        )


def finish(folder: Path, *arguments: str) -> None:
    """Run `mer` to its end, which must be a good one."""
    code = start(folder, *arguments).wait()
    assert code == 0, (folder / "errors.txt").read_text()


def error_lines(folder: Path) -> list[str]:
    """What the last child said on its standard error."""
    return (folder / "errors.txt").read_text().strip().splitlines()


def members(group: int) -> list[int]:
    """The live processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def open_locks(group: int) -> set[Path]:
    """The locks of folds and of encoded sets that the processes of a group hold."""
    found = set()
    for pid in members(group):
        with contextlib.suppress(OSError):  # it has just ended
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    path = handle.readlink()
                    if path.name.endswith("lock") and path.parent.name.startswith(("fold-", "encoded")):
                        found.add(path)
    return found


def end_group(child: "subprocess.Popen[str]", *, leader_only: bool = False) -> None:
    """SIGKILL to the group, or to its leader alone; returns when no process of it is left."""
    if leader_only:
        child.kill()
    else:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    wait_for(lambda: not members(child.pid), 600)  # what a killed table has started goes on to its end


def wait_for(reached: Callable[[], object], seconds: float = 110) -> None:
    """Wait until something is so; fail after a while."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
