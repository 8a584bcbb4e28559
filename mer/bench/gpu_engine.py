"""The engine that trains folds together, measured on a GPU: its speed, and whether it trains the same."""

import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mer import engine, metrics, runs
from mer.bench import gpu_loops
from mer.bench.gpu_loops import CLASSES, Figures
from mer.data import splits
from mer.data.encoded import FORMAT
from mer.ensemble_chunk import Options
from mer.ensemble_engine import train_folds, train_runs
from mer.job import Job, Outcome, Recipe, RunFold
from mer.networks import STSTNet
from mer.scores import pooled_confusion
from mer.tasks import Classification

AGREEMENT_FOLDS, AGREEMENT_EPOCHS, TOLERANCE = 4, 20, 1e-2
SEEDS, SCORE_EPOCHS, SCORE_SHADE = (0, 1, 2), 100, 0.97  # a shade that is not told at sight
SLOW_S = 150  # a LOSO that takes longer is not measured again with graphs: all has to end in ten minutes


def ensemble_engine(device: torch.device) -> Figures:
    """68 folds x 800 epochs of STSTNet, all files written, against one fold after another before and after.

    Wanted: ``loso_s`` under 60 and ``ratio`` at least 10.
    """
    clips, encoded = gpu_loops.draw_set(device)
    loop = partial(gpu_loops.bare, gpu_loops.NETWORKS["ststnet"], gpu_loops.fold_data(clips, encoded), device)
    loop(epochs=2)  # kernels are loaded
    epochs = gpu_loops.ENGINE_EPOCHS
    with _job(epochs=epochs) as (job, folds):
        loop_s = [loop(epochs=gpu_loops.LOOP_EPOCHS)[0]]
        ours, peak = _timed(job, folds, Options(devices=(str(device),)), device)
        loop_s.append(loop(epochs=gpu_loops.LOOP_EPOCHS)[0])
        sequential = statistics.mean(loop_s) / gpu_loops.LOOP_EPOCHS * len(folds) * epochs
        figures: Figures = {
            "folds": len(folds),
            "epochs": epochs,
            "loso_s": round(ours, 2),
            "bare_loso_s": round(sequential, 1),
            "ratio": round(sequential / ours, 2),
            "peak_gib": round(peak / 2**30, 2),
        }
        if device.type == "cuda" and ours < SLOW_S:
            graphs = Options(devices=(str(device),), cuda_graphs=True)
            figures["graphs_loso_s"] = round(_timed(_named(job, "graphs"), folds, graphs, device)[0], 2)
    return figures


def engine_agreement(device: torch.device) -> Figures:
    """Largest difference of a probability between folds together on the device and each alone on the CPU.

    Dropout is off, as its masks are others.
    """
    with _job(epochs=AGREEMENT_EPOCHS, dropout=0.0) as (job, folds):
        some = folds[:AGREEMENT_FOLDS]
        _check(train_folds(job, some, 1, options=Options(devices=(str(device),))))
        alone = _named(job, "alone")
        _check(engine.train_folds(alone, some, min(len(some), os.cpu_count() or 1)))
        ours, theirs = (_probabilities(each.run, some) for each in (job, alone))
    difference = float(np.abs(ours - theirs).max())
    if not difference < TOLERANCE:
        raise RuntimeError(f"a probability differs by {difference} after {AGREEMENT_EPOCHS} epochs")
    return {
        "folds": len(some),
        "steps": AGREEMENT_EPOCHS * -(-len(some[0].train) // gpu_loops.BATCH_SIZE),
        "largest_difference": float(f"{difference:.2g}"),
    }


def engine_scores(device: torch.device) -> Figures:
    """UF1 of a few seeds, with dropout: all in one fit on the device, and each fold alone on the CPU."""
    with _job(epochs=SCORE_EPOCHS, shade=SCORE_SHADE) as (job, folds):
        start = time.perf_counter()
        jobs = [_named(job, f"together-{seed}", seed=seed) for seed in SEEDS]
        members = [RunFold(each, fold) for each in jobs for fold in folds]
        _check(outcome for _, outcome in train_runs(members, 1, options=Options(devices=(str(device),))))
        together_s = time.perf_counter() - start
        alone = [_named(job, f"alone-{seed}", seed=seed) for seed in SEEDS]
        for each in alone:
            _check(engine.train_folds(each, folds, os.cpu_count() or 1))
        scores = [[_uf1(each.run, folds) for each in some] for some in (jobs, alone)]
    return {
        "epochs": SCORE_EPOCHS,
        "seeds": len(SEEDS),
        "ensemble_uf1": scores[0],
        "processes_uf1": scores[1],
        "ensemble_s": round(together_s, 1),
        "processes_s": round(time.perf_counter() - start - together_s, 1),
    }


@contextmanager
def _job(
    *, epochs: int, dropout: float = 0.5, shade: float = 0.7
) -> Iterator[tuple[Job, list[splits.Split]]]:
    """A LOSO of STSTNet on the drawn set, in a folder that is removed afterwards."""
    clips, encoded = gpu_loops.draw_set(torch.device("cpu"), shade=shade)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images = np.ascontiguousarray(encoded.images.permute(0, 2, 3, 1).numpy())
        np.save(folder / "images.npy", images)
        about = {"format": FORMAT, "clips": len(clips), "sha256": hashlib.sha256(images.data).hexdigest()}
        (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
        recipe = Recipe(
            network=partial(STSTNet, padding="release", dropout=dropout),
            task=partial(Classification),
            optimizer=partial(torch.optim.Adam, lr=1e-3, fused=True),
            scheduler=None,
            epochs=epochs,
            batch_size=gpu_loops.BATCH_SIZE,
            order="shuffled",
            class_weights="none",
            seed=0,
        )
        yield Job(folder / "run", clips, CLASSES, folder, recipe, {}), splits.loso(clips)


def _named(job: Job, name: str, **recipe: Any) -> Job:
    """The same folds in another run folder."""
    return replace(job, run=job.run.with_name(name), recipe=replace(job.recipe, **recipe))


def _timed(
    job: Job, folds: Sequence[splits.Split], options: Options, device: torch.device
) -> tuple[float, int]:
    """Seconds that the engine takes, and the most memory that the device held."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    start = gpu_loops.now(device)
    _check(train_folds(job, folds, 1, options=options))
    seconds = gpu_loops.now(device) - start
    return seconds, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def _check(outcomes: Iterator[Outcome]) -> None:
    """Let the folds be trained; raise the first error."""
    for outcome in outcomes:
        if outcome.error:
            raise RuntimeError(f"fold {outcome.fold}: {outcome.error}")


def _predictions(run: Path, folds: Sequence[splits.Split]) -> pd.DataFrame:
    files = (runs.fold_folder(run, fold.fold) / "predictions.parquet" for fold in folds)
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)


def _probabilities(run: Path, folds: Sequence[splits.Split]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = _predictions(run, folds)[[f"p_{name}" for name in CLASSES]].to_numpy()
    return found


def _uf1(run: Path, folds: Sequence[splits.Split]) -> float:
    return round(metrics.uf1(pooled_confusion(_predictions(run, folds), CLASSES)), 4)
