"""``mer bench cost``: how the time and size of a LOSO grow with clips, image side, epochs and folds.

A sweep a quantity, each point one fold in this process with one thread, through the engine as ``mer train``
uses it. Each point is trained twice, with few and with more epochs: the difference is what epochs cost, the
rest is what a fold costs. Splits and finished folds are written and read at several numbers of subjects, one
after another. docs/cost.md is made from these figures.
"""

import itertools
import math
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mer import engine, runs
from mer.bench.drawn_runs import write_runs
from mer.bench.drawn_set import CLIPS, SUBJECTS, loso_job, write_images
from mer.data import splits
from mer.trainer import use_one_thread

CLIP_COUNTS = (110, 221, 442, 884)
EPOCHS = (1, 41)  # few: so that what else a fold costs is most of it; more
SIDES, SIDE_CLIPS, SIDE_EPOCHS = (28, 56, 112), 64, (1, 3)
SIDE_NETWORK = "affectivenet"  # it takes images of any side
FOLD_COUNTS = (68, 136, 272)  # finished folds read, and plans
SPLIT_COUNTS = (68, 136, 272)  # subjects that are split
REPETITIONS = 3


def measure() -> dict[str, Any]:
    """All figures; ``ratio`` is a clip-epoch's time at the most clips to that at the fewest: 1 is linear."""
    use_one_thread()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clips = [_train(folder / f"clips-{count}", count, 28, "ststnet", EPOCHS) for count in CLIP_COUNTS]
        sides = [
            _train(folder / f"side-{side}", SIDE_CLIPS, side, SIDE_NETWORK, SIDE_EPOCHS) for side in SIDES
        ]
        for point in sides:  # an epoch takes seconds, beside which the rest of a fold is not told
            del point["fold_s"]
        folds = [_read(folder / f"folds-{count}", count) for count in FOLD_COUNTS]
    subjects = [_split(count) for count in SPLIT_COUNTS]
    a_clip = [point["epoch_s"] / point["train_clips"] for point in clips]
    return {
        "ratio": round(a_clip[-1] / a_clip[0], 2),
        "cores": os.cpu_count(),
        "clips_a_subject": round(CLIPS / SUBJECTS, 2),
        "clips": clips,
        "sides": sides,
        "folds": folds,
        "subjects": subjects,
        "side_network": SIDE_NETWORK,
        # As powers of what the sweep varies, from its first to its last point.
        "powers": {
            "epoch_s by clips": power(clips, "train_clips", "epoch_s"),
            "epoch_s by side": power(sides, "side", "epoch_s"),
            "read_s by folds": power(folds, "folds", "read_s"),
            "split_s by subjects": power(subjects, "subjects", "split_s"),
            "split_mib by subjects": power(subjects, "subjects", "split_mib"),
        },
    }


def power(points: Sequence[dict[str, Any]], by: str, what: str) -> float:
    """p in ``what`` ~ ``by`` ** p, between the first point and the last."""
    first, last = points[0], points[-1]
    return round(math.log(last[what] / first[what]) / math.log(last[by] / first[by]), 2)


def _train(folder: Path, clips: int, side: int, network: str, epochs: tuple[int, int]) -> dict[str, Any]:
    """Seconds of an epoch and of the rest of a fold; two subjects, so that nearly all clips are trained."""
    write_images(folder / "images", clips=clips, subjects=SUBJECTS if clips >= 2 * SUBJECTS else 8, size=side)
    more = [f"experiment={network}", "encoding=none", "augment=none", "protocol.validation=0.0"]
    if network == SIDE_NETWORK:
        more.append(f"network.size={side}")
    seconds: list[list[float]] = [[], []]
    for repetition, (which, count) in itertools.product(range(REPETITIONS), enumerate(epochs)):
        run = folder / f"run-{repetition}-{count}"
        job, folds = loso_job(folder, run, *more, f"epochs={count}")
        outcome = next(iter(engine.train_folds(job, folds[:1], 1)))
        if outcome.error:
            raise RuntimeError(outcome.error)
        seconds[which].append(outcome.seconds)
    few, many = map(min, seconds)
    epoch_s = max(many - few, 1e-6) / (epochs[1] - epochs[0])
    point = {
        "train_clips": len(folds[0].train),
        "side": side,
        "epoch_s": round(epoch_s, 6),
        "fold_s": round(max(few - epochs[0] * epoch_s, 0.0), 4),
        "set_mib": round(sum(path.stat().st_size for path in job.encoded.iterdir()) / 2**20, 3),
    }
    print(", ".join(f"{key} {value}" for key, value in point.items()))
    return point


def _read(folder: Path, count: int) -> dict[str, Any]:
    """Finished folds: seconds to read all predictions, to read the plan once, bytes and files."""
    write_runs(folder, rows=1, seeds=1, folds=count, clips=round(count * CLIPS / SUBJECTS))
    run = runs.find(folder / "runs")[0]
    files = [path for path in run.rglob("*") if path.is_file()]
    point = {
        "folds": count,
        "read_s": round(_least(lambda: runs.read_predictions(run)), 4),
        "plan_s": round(_least(lambda: runs.read_plan(run)), 5),
        "files_a_fold": round((len(files) - 1) / count, 1),
        "kib_a_fold": round(sum(path.stat().st_size for path in files) / count / 1024, 2),
    }
    print(", ".join(f"{key} {value}" for key, value in point.items()))
    return point


def _split(count: int) -> dict[str, Any]:
    """Subjects split one out at a time, and guarded: seconds, and what the splits hold."""
    clips = round(count * CLIPS / SUBJECTS)
    table = pd.DataFrame(
        {
            "database": "drawn",
            "subject": [f"s{clip % count}" for clip in range(clips)],
            "clip": [f"c{clip}" for clip in range(clips)],
        }
    )

    def split() -> list[splits.Split]:
        made = splits.loso(table)
        splits.check(table, made)
        return made

    seconds = _least(split)
    tracemalloc.start()
    kept = split()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    point = {"subjects": len(kept), "split_s": round(seconds, 4), "split_mib": round(held / 2**20, 3)}
    print(", ".join(f"{key} {value}" for key, value in point.items()))
    return point


def _least(call: Callable[[], object]) -> float:
    """Seconds of the fastest of a few calls."""
    seconds = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
