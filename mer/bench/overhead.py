"""``mer bench overhead``: how much of a LOSO run is not training, against the bare loop of the same folds.

The whole is ``mer train fold=all`` as a user types it: starting Python, Hydra, reading the data, starting
the workers, Lightning, logging, writing every fold, scores and pictures. The bare loop trains the same folds
with the same network, optimizer, batch size and number of processes, one thread each; its clock runs when
its processes are ready, and it writes nothing. They are interleaved. A run of more epochs and folds has less
overhead: the whole of two lengths tells apart what an epoch costs, what a fold costs once, and what a run
costs once, and so what is left at the composite's folds and the paper's epochs. What a fold costs once holds
its share of starting the workers, which a run of finished folds does not start: too much for more folds.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer.bench.drawn_set import SUBJECTS, loso_job, overrides, write_images
from mer.data.clips import targets
from mer.data.encoded import open_set
from mer.data.splits import Split
from mer.job import Job, Recipe
from mer.trainer import use_one_thread

SIZE = {"clips": 497, "subjects": 8}  # a fold trains on 435 clips, as of the composite's 442
SHORT, LONG, REPETITIONS = 40, 240, 3  # epochs
PAPER_EPOCHS = 800  # of STSTNet's release, and of conf/experiment/ststnet.yaml
WORKERS = 0  # 0 is one a core
READY_S = 300  # a process that cannot start must not keep the others waiting
EXPERIMENT = "experiment=ststnet"


def measure() -> dict[str, Any]:
    """Seconds of both; ``ratio`` is the bare loop's to the whole's, of a LOSO over the composite for the
    paper's epochs: 1 is no overhead, .85 is 15 %. ``measured`` is the run that it is told from.
    """
    workers = WORKERS or os.cpu_count() or 1
    bare: list[float] = []
    short: list[float] = []
    long: list[float] = []
    again: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_images(folder / "images", **SIZE)
        job, folds = loso_job(folder, folder / "unused", EXPERIMENT, f"epochs={LONG}")
        for repetition in range(REPETITIONS):
            bare.append(train_bare(job, folds, workers))
            line = [EXPERIMENT, f"workers={workers}", "tag=bench"]
            for epochs, seconds in (
                (SHORT, short),
                (LONG, long),
                (LONG, again),
            ):  # the last finds all finished
                more = [f"epochs={epochs}", f"runs_dir={folder / f'runs-{epochs}-{repetition}'}"]
                seconds.append(run_train(overrides(folder, *line, *more), folder))
            print(f"{repetition + 1}/{REPETITIONS}: bare {bare[-1]:.2f} s, whole {long[-1]:.2f} s")
    bare_s, short_s, long_s, once_s = map(statistics.median, (bare, short, long, again))
    # Of all folds; noise must not make an epoch cheaper than the bare loop's, nor what a fold costs negative.
    epoch_s = max((long_s - short_s) / (LONG - SHORT), bare_s / LONG)
    fold_s = max(0.0, short_s - once_s - epoch_s * SHORT) / len(folds)
    composite = SUBJECTS / len(folds) * PAPER_EPOCHS
    loso_s = once_s + fold_s * SUBJECTS + epoch_s * composite
    overhead = 1 - bare_s / LONG * composite / loso_s
    return {
        "ratio": round(1 - overhead, 3),
        "overhead": round(overhead, 3),
        "folds": SUBJECTS,
        "epochs": PAPER_EPOCHS,
        "whole_s": round(loso_s, 1),
        "measured": {
            "folds": len(folds),
            "epochs": LONG,
            "workers": workers,
            "bare_s": round(bare_s, 2),
            "whole_s": round(long_s, 2),
            "overhead": round(1 - bare_s / long_s, 3),
            "once_a_run_s": round(once_s, 2),
            "once_a_fold_s": round(fold_s, 3),
        },
    }


def run_train(line: list[str], folder: Path) -> float:
    """Seconds of ``mer train`` in a process of its own."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "from mer.cli import main; main()", "train", *line],
        check=True,
        capture_output=True,
        cwd=folder,
        env=os.environ | {"MER_CACHE": str(folder / "cache")},
    )
    return time.perf_counter() - start


def train_bare(job: Job, folds: list[Split], workers: int) -> float:
    """Seconds to train the folds in as many processes, from the moment when all of them are ready."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers + 1)
    with ProcessPoolExecutor(workers, context, _start, (job, ready)) as pool:
        waiting = [pool.submit(_nothing) for _ in range(workers)]  # each starts a process
        ready.wait(READY_S)
        start = time.perf_counter()
        waiting += [pool.submit(_train, split) for split in folds]
        for future in waiting:
            future.result()
        return time.perf_counter() - start


_worker: tuple[Recipe, Tensor, Tensor] | None = None


def _start(job: Job, ready: Barrier) -> None:
    global _worker
    use_one_thread()
    encoded = open_set(job.encoded, verify=False)
    assert encoded is not None
    _worker = job.recipe, encoded.images, torch.tensor(targets(job.clips, job.classes))
    ready.wait(READY_S)


def _nothing() -> None:
    pass


def _train(split: Split) -> None:
    assert _worker is not None
    recipe, images, target = _worker
    network = recipe.network(in_channels=images.shape[1], num_classes=int(target.max()) + 1)
    assert isinstance(network, nn.Module)
    network.to(memory_format=torch.channels_last)
    optimizer = recipe.optimizer(network.parameters())
    pixels, rows = images.permute(0, 2, 3, 1), torch.tensor(split.train)
    for _ in range(recipe.epochs):
        for index in torch.split(rows[torch.randperm(len(rows))], recipe.batch_size):
            optimizer.zero_grad()
            logits = network(pixels[index].permute(0, 3, 1, 2))
            torch.autograd.backward(F.cross_entropy(logits, target[index]))
            optimizer.step()
    with torch.inference_mode():
        network.eval()(pixels[list(split.test)].permute(0, 3, 1, 2)).softmax(1)
