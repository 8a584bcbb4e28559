"""Finished runs of random predictions, and the table that shows them: rendering without training."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mer import runs

ROWS, SEEDS, FOLDS, CLIPS = 3, 3, 68, 442
CLASSES = ["negative", "positive", "surprise"]
DATABASES = ["casme2", "samm", "smic"]
METRICS = ["accuracy", "f1", "uf1", "uar"]
RECORD = {
    "commit": "0" * 40,
    "dirty": False,
    "mer": "0",
    "versions": {"torch": "0"},
    "date": "2026-01-01",
    "seconds": 1.0,
}
DATA = "faces"  # no data of the project's: nothing is looked for


def write_runs(
    folder: Path, *, rows: int = ROWS, seeds: int = SEEDS, folds: int = FOLDS, clips: int = CLIPS
) -> Path:
    """Write ``folder/runs`` and a table of scores over them; returns the table's file.

    Each fold tests its share of the clips at one epoch, as a run leaves them.
    """
    random = np.random.default_rng(0)
    names = [f"{DATABASES[number % len(DATABASES)]}/s{number:05d}" for number in range(folds)]
    # As much as a real run's config holds, to be read as often as it is.
    config: dict[str, Any] = {
        "epochs": 800,
        "batch_size": 256,
        "data": {"name": DATA, "classes": CLASSES},
        **{f"group_{group}": {f"key_{key}": key / 10 for key in range(8)} for group in range(5)},
    }
    plan = runs.Plan(config, CLASSES, names, clips, content="c0ffee00" * 8)
    for row in range(rows):
        for seed in range(seeds):
            run = runs.RunKey("bench", f"row{row}", DATA, "loso", seed).folder(folder / "runs")
            runs.start(run, plan)
            for number, name in enumerate(names):
                tested = range(number, clips, folds)
                with runs.claim(run, name) as place:
                    runs.finish(
                        place, _predictions(random, name, seed, tested), pd.DataFrame({"epoch": [800]}),
                        RECORD | {"content": plan.content, "config": config},
                    )  # fmt: skip
    subsets = ["all", *DATABASES[: min(folds, len(DATABASES))]]
    table = {
        "title": "Random predictions",
        "data": DATA,
        "protocol": "loso",
        "seeds": list(range(seeds)),
        "columns": {
            f"{subset}_{metric}": {"subset": subset, "metric": metric, "header": f"{subset} {metric}"}
            for subset in subsets
            for metric in METRICS
        },
        "rows": [{"label": f"Row {row}", "variant": f"bench/row{row}"} for row in range(rows)],
    }
    path = folder / "experiments" / "bench" / "table.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(table, sort_keys=False), encoding="utf-8")
    return path


def _predictions(random: np.random.Generator, fold: str, seed: int, tested: range) -> pd.DataFrame:
    database, subject = fold.split("/")
    chances = random.dirichlet(np.ones(len(CLASSES)), len(tested)).astype(np.float32)
    identity = {
        "database": database,
        "subject": subject,
        "clip": [f"clip{number}" for number in tested],
        "fold": fold,
        "seed": seed,
        "epoch": 800,
        "label": [CLASSES[position % len(CLASSES)] for position in range(len(tested))],
    }
    return pd.DataFrame(identity | {f"p_{name}": chances[:, k] for k, name in enumerate(CLASSES)})
