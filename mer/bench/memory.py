"""``mer bench memory``: the most memory that a LOSO run takes, and how much it grows from fold to fold.

Growth: a process of its own trains one fold after another and reads its resident memory after each; what
the first folds take, buffers that are kept, is not growth. Peak: a run with a fold a core, in which the
proportional memory of the parent and its workers is added up, so that shared pages count once.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from mer.errors import MerError

FOLDS, WARM_UP, EPOCHS = 240, 80, 4  # more folds than a LOSO here has: a leak would be seen
SHOWN = (1, 10, 40, 80, 120, 160, 200, 240)  # after so many folds the resident memory is reported
WORKER_FOLDS, WORKER_EPOCHS = 8, 40  # of the peak
WORKERS = 0  # 0 is one a core
INTERVAL = 0.05  # seconds between two looks at the processes


def measure() -> dict[str, Any]:
    """MiB; ``ratio`` is the memory after the last folds to that after the warm-up: 1 is no growth."""
    if not Path("/proc/self/smaps_rollup").exists():
        raise MerError("mer bench memory reads /proc, which this machine lacks: run it on Linux")
    from mer.bench.drawn_set import write_images  # torch, which this process does without until here

    with tempfile.TemporaryDirectory() as scratch:
        write_images(Path(scratch) / "images", subjects=FOLDS)
        given = {"folder": scratch, "folds": FOLDS, "epochs": EPOCHS, "workers": 1}
        alone = _in_child(given)[0]
        given |= {"folds": WORKER_FOLDS, "epochs": WORKER_EPOCHS, "workers": WORKERS or None}
        together, peak = _in_child(given)
    resident = alone["resident"]
    # Medians of a few folds: the kernel counts pages in batches.
    span = max(1, (len(resident) - WARM_UP) // 4)
    first = statistics.median(resident[WARM_UP : WARM_UP + span])
    last = statistics.median(resident[-span:])
    folds = len(resident) - WARM_UP - span
    result = {
        "ratio": round(last / first, 4),
        "growth_kib_a_fold": round((last - first) / folds * 1024, 2) if folds > 0 else None,
        "folds": len(resident),
        "resident_mib": {
            str(folds): round(resident[folds - 1], 1) for folds in SHOWN if folds <= len(resident)
        },
        "one_process_peak_mib": round(alone["peak"], 1),
        "after_imports_mib": round(alone["imported"], 1),
        "workers": together["workers"],
        "peak_mib": round(peak, 1),
    }
    print(", ".join(f"{key} {value}" for key, value in result.items()))
    return result


def _in_child(given: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """What :func:`train` says of itself, and the most that it and its workers took at one moment."""
    code = f"from mer.bench.memory import train; train({json.dumps(given)!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        ended, peaks = threading.Event(), [0.0]
        watcher = threading.Thread(target=_watch, args=(child.pid, ended, peaks))
        watcher.start()
        try:
            printed, _ = child.communicate()
        finally:
            ended.set()
            watcher.join()
    if child.returncode:
        raise MerError(f"mer bench memory: the run that was to be measured ended with {child.returncode}")
    said: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return said, max(peaks)


def _watch(pid: int, ended: threading.Event, peaks: list[float]) -> None:
    while not ended.wait(INTERVAL):
        peaks.append(sum(map(proportional, family(pid))))


def family(pid: int) -> list[int]:
    """A process and all that it started, directly or not."""
    members = [pid]
    for member in members:
        try:
            text = "".join(path.read_text() for path in Path(f"/proc/{member}/task").glob("*/children"))
        except OSError:  # it has ended
            continue
        members += map(int, text.split())
    return members


def proportional(pid: int) -> float:
    """MiB of a process, each page divided by how many processes share it; 0 where it has ended."""
    return _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def _field(path: Path, name: str) -> float:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)


def train(text: str) -> None:
    """Train folds in this process, and print a line of JSON: its memory in MiB after each.

    Args:
        text: JSON with folder, folds, epochs, and workers (null is one a core).
    """
    given = json.loads(text)
    status, folder = Path("/proc/self/status"), Path(given["folder"])

    from mer import engine  # all that a run imports is its memory, not the watching process's
    from mer.bench.drawn_set import loso_job

    workers = given["workers"] or os.cpu_count() or 1
    imported = _field(status, "VmRSS:")
    run = folder / f"run-{workers}-{given['folds']}"
    job, folds = loso_job(folder, run, "experiment=ststnet", f"epochs={given['epochs']}")
    resident = []
    for outcome in engine.train_folds(job, folds[: given["folds"]], workers):
        if outcome.error:
            raise RuntimeError(outcome.error)
        resident.append(_field(status, "VmRSS:"))
    said = {"resident": resident, "peak": _field(status, "VmHWM:"), "imported": imported, "workers": workers}
    print(json.dumps(said))
