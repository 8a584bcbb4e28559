"""``mer bench loso``: a LOSO fold-epoch on 442 images, ours against a plain loop at its best thread count.

Reference and ours are interleaved and medians are taken. Ours is the whole engine (Lightning, metrics,
predictions and run folder written), all cores busy with one fold each; what starting the worker
processes costs, once a run, is reported apart, as importing torch is for the reference.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mer import engine
from mer.bench.drawn_set import CLASSES, draw_set
from mer.bench.plain_loop import train_epochs
from mer.data import splits
from mer.data.clips import targets
from mer.job import Job, Recipe
from mer.networks import LAENet, STSTNet
from mer.tasks import Classification

BATCH_SIZE = 256
REPETITIONS, EPOCHS, FOLDS_A_WORKER = 5, 40, 2
# In the same layout on both sides: convolutions padded by 2, as the release has it.
NETWORKS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "ststnet": (partial(STSTNet, padding="release"), (3, 5, 8)),
    "laenet": (partial(LAENet, padding="release"), (3, 5)),
}


def measure() -> dict[str, Any]:
    """Figures of each network; ``ratio`` is STSTNet's."""
    figures = {name: _measure(name) for name in NETWORKS}
    return {
        "ratio": figures["ststnet"]["ratio"],
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        **figures,
    }


def _measure(name: str) -> dict[str, Any]:
    network, widths = NETWORKS[name]
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clips, encoded = draw_set(folder)
        folds = splits.loso(clips)
        rows = list(folds[0].train)
        images = encoded.images[rows].contiguous()
        target = torch.tensor(targets(clips, CLASSES))[rows]
        reference = partial(train_epochs, images, target, widths, batch_size=BATCH_SIZE)
        threads = _best_threads(reference)
        plain, ours, start_up = [], [], []
        for repetition in range(REPETITIONS):
            torch.set_num_threads(threads)
            plain.append(reference(epochs=EPOCHS))
            job = Job(
                run=folder / f"run-{repetition}",
                clips=clips,
                classes=CLASSES,
                encoded=encoded.folder,
                recipe=Recipe(
                    network=network,
                    task=partial(Classification),
                    optimizer=partial(torch.optim.Adam, lr=5e-5, fused=True),
                    scheduler=None,
                    epochs=EPOCHS,
                    batch_size=BATCH_SIZE,
                    order="shuffled",
                    class_weights="none",
                    seed=repetition,
                ),
                record={},
            )
            start = time.perf_counter()
            outcomes = list(engine.train_folds(job, folds[: FOLDS_A_WORKER * workers], workers))
            wall = time.perf_counter() - start
            training = sum(outcome.seconds for outcome in outcomes) / workers
            ours.append(training / (len(outcomes) * EPOCHS))
            start_up.append(wall - training)
            print(f"{name} {repetition + 1}/{REPETITIONS}: plain {plain[-1]:.4f} s, ours {ours[-1]:.4f} s")
    reference_s, ours_s = statistics.median(plain), statistics.median(ours)
    return {
        "ratio": round(reference_s / ours_s, 2),
        "reference_s": round(reference_s, 4),
        "reference_threads": threads,
        "ours_s": round(ours_s, 4),
        "workers": workers,
        "start_up_s": round(statistics.median(start_up), 2),
        "spread_reference_s": [round(min(plain), 4), round(max(plain), 4)],
        "spread_ours_s": [round(min(ours), 4), round(max(ours), 4)],
    }


def _best_threads(reference: Any) -> int:
    """The thread count at which the plain loop is fastest."""
    seconds = {}
    for threads in range(1, (os.cpu_count() or 1) + 1):
        torch.set_num_threads(threads)
        reference(epochs=2)
        seconds[threads] = reference(epochs=8)
    return min(seconds, key=lambda threads: seconds[threads])
