"""Logs a complete run to TensorBoard, in ``<run>/tensorboard``: learning curves, scores, config, pictures."""

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from mer import runs
from mer.errors import MerError
from mer.learning_curves import learning_curves
from mer.scores import subset_scores
from mer.selection import select
from mer.spotting_summary import COUNTS, run_scores

PICTURES = ("confusion", "encoded")


def log_run(folder: Path) -> None:
    """Write the event file of a run; logging again replaces it.

    Curves are the mean, min and max over the folds, at their epoch; scores are ``<subset>/<score>``, at the
    last. ``tensorboard --logdir runs`` shows all runs together.

    Args:
        folder: a run folder, all folds finished.

    Raises:
        MerError: the run folder cannot be read, or tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # tensorboard is an extra
    except ImportError as error:
        raise MerError("logger=tensorboard: needs tensorboard: pip install -e '.[reports]'") from error
    plan = runs.read_plan(folder)
    scores = _scores(folder, plan)
    curves = learning_curves(folder)
    place = folder / "tensorboard"
    shutil.rmtree(place, ignore_errors=True)
    with SummaryWriter(str(place)) as writer:
        for epoch, row in curves.iterrows():
            for name, value in row.dropna().items():
                writer.add_scalar(str(name), float(value), int(str(epoch)))
        last = max([int(str(epoch)) for epoch in curves.index], default=0)
        for name, number in scores.items():
            writer.add_scalar(name, number, last)
        writer.add_text("config", f"```json\n{json.dumps(plan.config, indent=1, default=str)}\n```")
        for name in PICTURES:
            if (path := folder / f"{name}.png").exists():
                writer.add_image(name, np.asarray(Image.open(path).convert("RGB")), dataformats="HWC")


def _scores(folder: Path, plan: runs.Plan) -> dict[str, float]:
    found: dict[str, float] = {}
    if plan.clips:
        table = subset_scores(select(runs.read_predictions(folder), "last"), plan.classes)
        found |= {f"{subset}/{name}": row[name] for subset, row in table.iterrows() for name in table.columns}
    if plan.videos:
        table = run_scores(plan, *runs.read_spotting(folder)).drop(columns=COUNTS, errors="ignore")
        found |= {
            f"spotting/{subset}/{name}": value
            for subset, row in table.iterrows()
            for name, value in row.dropna().items()
        }
    return {name: float(value) for name, value in found.items()}
