"""Writes runs, an encoded set and a table for the tests of the dashboard."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from mer import runs
from mer.scores import subset_scores
from tests.run_folder import FOLDS, make_metrics, make_plan, make_predictions, make_record

CLASSES = ["negative", "positive", "surprise"]
NAMED = {
    "mer": "0.1.0",
    "versions": {"torch": "2.9.0"},
    "date": "2026-01-02",
    "seconds": 1.5,
    "device": "cpu",
}


def run_of(
    runs_dir: Path,
    experiment: str,
    *,
    variant: str = "base",
    data: str = "megc2019_uvos",
    seed: int = 0,
    folds: list[str] = FOLDS,
    content: str = "c0ffee00" * 8,
    epochs: int = 1,
    synthetic: bool = False,
    subject: str = "",
) -> Path:
    """A run of three classes over FOLDS, these of them finished; every experiment and seed draws its own.

    ``subject`` is the first fold's, instead of s1.
    """
    key = runs.RunKey(experiment, variant, data, "loso", seed)
    run = key.folder(runs_dir)
    network = {"_target_": "mer.networks.LAENet", "padding": "same", "dropout": 0.5}
    config = {"epochs": 3, "network": network, "encoding": None}
    plan = make_plan(classes=CLASSES, config=config, content=content, synthetic=synthetic)
    runs.start(run, plan)
    for fold in folds:
        table = predictions(fold, experiment, seed)
        if subject and fold == FOLDS[0]:
            table["subject"] = subject
        table["clip"] = fold.replace("/", "-") + "-" + table["clip"]
        every = pd.concat([table.assign(epoch=3 - back) for back in range(epochs)], ignore_index=True)
        with runs.claim(run, fold) as folder:
            record = make_record(plan, commit="0123456789abcdef", **NAMED)
            runs.finish(folder, every.sort_values("epoch", kind="stable"), make_metrics(fold), record)
    return run


def predictions(fold: str, experiment: str, seed: int) -> pd.DataFrame:
    table = make_predictions(fold, CLASSES).assign(seed=seed)
    first = int.from_bytes(hashlib.sha256(f"{fold} {experiment} {seed}".encode()).digest()[:4], "big")
    drawn = np.random.default_rng(first).dirichlet([1] * len(CLASSES), len(table)).astype(np.float32)
    table[[f"p_{name}" for name in CLASSES]] = drawn
    return table


def encoded_set(cache: Path, clips: int = 12) -> str:
    """An encoded set whose image k has the red value 10 k; gives its content."""
    images = np.zeros((clips, 8, 8, 3), np.float32)
    images[..., 0] = 10 * np.arange(clips)[:, None, None]
    folder = cache / "encoded" / "0123456789abcdef0123"
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", images)
    content = hashlib.sha256(images.tobytes()).hexdigest()
    about = {"format": 2, "clips": clips, "sha256": content}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    return content


def score(predictions: pd.DataFrame, subset: str, metric: str) -> float:
    """As `mer.scores` has it."""
    return float(subset_scores(predictions, CLASSES).to_dict("index")[subset][metric])


TABLE = """\
title: "Ours beside <b>printed</b>"
paper: {name: LAENet, table: 4, caption: A table}
data: megc2019_uvos
protocol: loso
seeds: [0]
columns:
  uf1: {header: UF1, subset: all, metric: uf1}
rows:
  - label: LAENet
    variant: laenet/base
    notes: [why]
    paper: {uf1: 0.5000}
  - label: Another
    not_run: no reason
    paper: {uf1: 0.7}
footnotes:
  why: Because.
"""
OTHER = """\
title: Another paper
paper: {name: LEARNet, table: 8, caption: A table}
data: megc2019_uvos
protocol: loso
seeds: [0]
columns:
  acc: {header: Acc, subset: all, metric: accuracy}
  uf1: {header: UF1, subset: all, metric: uf1}
rows:
  - {label: LEARNet, not_run: no reason, paper: {acc: 81.25%, uf1: 0.6}}
  - {label: Older, quote: true, not_run: no reason, paper: {acc: 50%, uf1: "-"}}
"""
COMPLEXITY = """\
kind: complexity
title: Sizes
paper: {name: LAENet, table: 1, caption: Networks}
columns: [parameters]
rows:
  - {label: LAENet, variant: laenet/base, classes: 3, paper: {parameters: {table: 0.000843, text: 0.001}}}
"""


def experiments(folder: Path) -> Path:
    """Two papers: a table of scores each, and one of complexity without its .md."""
    (folder / "laenet").mkdir(parents=True)
    (folder / "laenet" / "table4.yaml").write_text(TABLE, encoding="utf-8")
    (folder / "laenet" / "table1.yaml").write_text(COMPLEXITY, encoding="utf-8")
    (folder / "learnet").mkdir()
    (folder / "learnet" / "table8.yaml").write_text(OTHER, encoding="utf-8")
    return folder
