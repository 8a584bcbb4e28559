"""``mer bench loso``: a LOSO fold-epoch, ours against a plain loop at its best thread count.

STSTNet and LAENet on 442 images of 28 px, the larger networks on fewer images of the side that they were made
for. Reference and ours are interleaved and medians are taken. Ours is the whole engine (Lightning, metrics,
predictions and run folder written), all cores busy with one fold each, the median fold: the first of each
worker loads kernels, as the first repetition of the reference does. What that and starting the worker
processes cost, once a run, is reported apart, as importing torch is for the reference.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mer import engine
from mer.bench.drawn_set import CLASSES, CLIPS, SUBJECTS, draw_set
from mer.bench.plain_loop import ThreeStreams, train_epochs
from mer.data import splits
from mer.data.clips import targets
from mer.job import Job, Recipe
from mer.networks import AffectiveNet, LAENet, LEARNet, OrigiNet, STSTNet
from mer.tasks import Classification

REPETITIONS, FOLDS_A_WORKER = 5, 3  # of three folds a worker the first ones do not move the median


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, and what it is compared with on which images."""

    network: Callable[..., nn.Module]
    reference: Callable[[], nn.Module]
    side: int = 28
    clips: int = CLIPS
    subjects: int = SUBJECTS
    batch_size: int = 256
    epochs: int = 40


def _large(network: Callable[..., nn.Module], side: int) -> Case:
    """The same module on both sides: what is left is the engine, and the folds side by side."""
    reference = partial(network, in_channels=3, num_classes=len(CLASSES))
    return Case(
        network=network, reference=reference, side=side, clips=72, subjects=8, batch_size=32, epochs=2
    )


# On both sides STSTNet and LAENet in the layout that their experiments train.
CASES: dict[str, Case] = {
    "ststnet": Case(
        network=partial(STSTNet, padding="release"), reference=partial(ThreeStreams, release=True)
    ),
    "laenet": Case(network=LAENet, reference=partial(ThreeStreams, (3, 5))),
    "affectivenet": _large(AffectiveNet, 112),
    "originet": _large(OrigiNet, 128),
    "learnet": _large(LEARNet, 112),
}


def measure() -> dict[str, Any]:
    """Figures of each network; ``ratio`` is STSTNet's."""
    figures = {name: _measure(name, case) for name, case in CASES.items()}
    return {
        "ratio": figures["ststnet"]["ratio"],
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        **figures,
    }


def _measure(name: str, case: Case) -> dict[str, Any]:
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clips, encoded = draw_set(folder, clips=case.clips, subjects=case.subjects, size=case.side)
        folds = splits.loso(clips)
        rows = list(folds[0].train)
        images = encoded.images[rows].contiguous()
        target = torch.tensor(targets(clips, CLASSES))[rows]
        reference = partial(train_epochs, images, target, case.reference, batch_size=case.batch_size)
        plain: dict[int, list[float]] = {threads: [] for threads in _thread_counts(workers)}
        ours, start_up = [], []
        for repetition in range(REPETITIONS):
            for threads, seconds in plain.items():
                torch.set_num_threads(threads)
                seconds.append(reference(epochs=case.epochs))
            job = Job(
                run=folder / f"run-{repetition}",
                clips=clips,
                classes=CLASSES,
                encoded=encoded.folder,
                recipe=Recipe(
                    network=case.network,
                    task=partial(Classification),
                    optimizer=partial(torch.optim.Adam, lr=5e-5, fused=True),
                    scheduler=None,
                    epochs=case.epochs,
                    batch_size=case.batch_size,
                    order="shuffled",
                    class_weights="none",
                    seed=repetition,
                ),
                record={},
            )
            start = time.perf_counter()
            outcomes = list(engine.train_folds(job, folds[: FOLDS_A_WORKER * workers], workers))
            wall = time.perf_counter() - start
            a_fold = statistics.median(outcome.seconds for outcome in outcomes)
            ours.append(a_fold / (workers * case.epochs))
            start_up.append(wall - a_fold * FOLDS_A_WORKER)
            last = min(seconds[-1] for seconds in plain.values())
            print(f"{name} {repetition + 1}/{REPETITIONS}: plain {last:.4f} s, ours {ours[-1]:.4f} s")
    medians = {threads: statistics.median(seconds) for threads, seconds in plain.items()}
    best = min(medians, key=lambda threads: medians[threads])
    reference_s, ours_s = medians[best], statistics.median(ours)
    return {
        "ratio": round(reference_s / ours_s, 2),
        "images": f"{len(rows)} of {case.side} px, batches of {case.batch_size}",
        "reference_s": round(reference_s, 6),
        "reference_threads": best,
        "reference_s_by_threads": {str(threads): round(median, 6) for threads, median in medians.items()},
        "ours_s": round(ours_s, 6),
        "workers": workers,
        "start_up_s": round(statistics.median(start_up), 2),
        "spread_reference_s": [round(min(plain[best]), 4), round(max(plain[best]), 4)],
        "spread_ours_s": [round(min(ours), 4), round(max(ours), 4)],
    }


def _thread_counts(cores: int) -> list[int]:
    """1, 2, 4... and all cores: the plain loop runs at each of them, and its best one is the reference."""
    return sorted({*(2**k for k in range(cores.bit_length())), cores})
