"""What a run shows: a progress bar, its scores, and the pictures in its folder."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mer import runs
from mer.data.encoded import EncodedSet
from mer.job import Outcome
from mer.plots import confusion_figure, image_sheet, save_figure
from mer.scores import pooled_confusion, subset_scores
from mer.selection import select
from mer.spotting_summary import run_scores
from mer.table_formats import SYNTHETIC_TITLE

SHEET_CLIPS = 24
COUNTS = ("clips", "videos", "expressions")


def show_progress(
    ended: Iterable[tuple[Path, Outcome]], asked: Mapping[Path, tuple[int, int]]
) -> list[tuple[Path, Outcome]]:
    """Consume how folds end: a bar with the time left in a terminal, else a line a fold.

    Args:
        ended: run folder and outcome of each.
        asked: run folder -> its folds that were asked for, and how many of these are not finished yet.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    for folder, (chosen, pending) in asked.items():
        if chosen > pending:
            console.print(f"{folder}: {chosen - pending} of {chosen} folds are finished already")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    total = sum(chosen for chosen, _ in asked.values())
    done = total - sum(pending for _, pending in asked.values())
    collected: list[tuple[Path, Outcome]] = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("folds", total=total, completed=done)
        for folder, outcome in ended:
            collected.append((folder, outcome))
            progress.advance(bar)
            name = outcome.fold if len(asked) == 1 else f"{outcome.fold} of {folder}"
            if outcome.error:
                console.print(f"fold {name} failed: {outcome.error}")
            elif not console.is_terminal:
                count = f"{done + len(collected)}/{total}"
                console.print(f"fold {name} done in {outcome.seconds:.1f} s ({count})")
    return collected


def conclude(folder: Path, clips: pd.DataFrame, encoded: EncodedSet, logger: Any) -> None:
    """Score a complete run, draw its pictures, log it where a logger is configured."""
    plan = runs.read_plan(folder)
    drawn = SYNTHETIC_TITLE if plan.synthetic else ""
    title = drawn + " ".join(folder.parts[-5:])
    if plan.clips:
        predictions = select(runs.read_predictions(folder), "last")
        show_scores(subset_scores(predictions, plan.classes), f"{drawn}{folder}")
        matrix = pooled_confusion(predictions, plan.classes)
        save_figure(confusion_figure(matrix, plan.classes, title), folder / "confusion.png")
    if plan.videos:
        show_scores(run_scores(plan, *runs.read_spotting(folder)), f"{drawn}{folder}: spotting")
    else:
        _draw_encoded(folder, plan, clips, encoded, title)
    name = logger.get("name") if logger is not None else None
    if name == "wandb":
        from mer.wandb_log import log_run as log_to_wandb  # takes a second to import

        log_to_wandb(folder, logger)
    elif name == "tensorboard":
        from mer.tensorboard_log import log_run as log_to_tensorboard  # likewise

        log_to_tensorboard(folder)


def _draw_encoded(
    folder: Path, plan: runs.Plan, clips: pd.DataFrame, encoded: EncodedSet, title: str
) -> None:
    """A sheet of encoded images of each class."""
    shown = clips.groupby("label", group_keys=False).head(-(-SHEET_CLIPS // len(plan.classes))).index
    captions = (clips.loc[shown, "subject"] + " " + clips.loc[shown, "label"]).tolist()
    rows = torch.tensor(list(shown))
    if encoded.lengths is not None:  # the first frame of each sequence
        rows = (encoded.lengths.cumsum(0) - encoded.lengths)[rows]
    images = encoded.images[rows].contiguous()
    if images.shape[1] in (1, 3) and images.min() >= 0 and images.max() <= 255:  # raw sums are no picture
        save_figure(image_sheet(images.numpy(), captions, title), folder / "encoded.png")


def show_scores(scores: pd.DataFrame, title: str) -> None:
    """Print the scores of each subset."""
    table = Table(title=Text(title), title_justify="left")
    table.add_column("subset")
    for name in scores.columns:
        table.add_column(name, justify="right")
    for subset, row in scores.iterrows():
        cells = [str(int(row[name])) if name in COUNTS else f"{row[name]:.4f}" for name in scores.columns]
        table.add_row(str(subset), *cells)
    Console(soft_wrap=True).print(table)
