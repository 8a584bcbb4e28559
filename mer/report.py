"""What a run shows: a progress bar, its scores, and the pictures in its folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
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

from mer import runs
from mer.data.encoded import EncodedSet
from mer.engine import Outcome
from mer.figures import confusion_figure, image_sheet, save_figure
from mer.scores import pooled_confusion, subset_scores

SHEET_CLIPS = 24


def show_progress(outcomes: Iterable[Outcome], folder: Path, chosen: int, pending: int) -> list[Outcome]:
    """Consume the outcomes of folds, with a bar and the time left."""
    console = Console(stderr=True)
    done = chosen - pending
    if done:
        console.print(
            f"{folder}: {done} of {chosen} folds are finished already", highlight=False, soft_wrap=True
        )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    collected = []
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("folds", total=chosen, completed=done)
        for outcome in outcomes:
            collected.append(outcome)
            progress.advance(bar)
            if outcome.error:
                progress.console.print(
                    f"fold {outcome.fold} failed: {outcome.error}", highlight=False, markup=False
                )
    return collected


def conclude(folder: Path, clips: pd.DataFrame, encoded: EncodedSet, logger: Any) -> None:
    """Score a complete run, draw its pictures, log it where a logger is configured."""
    plan = runs.read_plan(folder)
    predictions = runs.read_predictions(folder)
    scores = subset_scores(predictions, plan.classes)
    title = " ".join(folder.parts[-5:])
    confusion = folder / "confusion.png"
    save_figure(confusion_figure(pooled_confusion(predictions, plan.classes), plan.classes, title), confusion)
    shown = clips.groupby("label", group_keys=False).head(-(-SHEET_CLIPS // len(plan.classes))).index
    captions = (clips.loc[shown, "subject"] + " " + clips.loc[shown, "label"]).tolist()
    images = encoded.images[list(shown)].contiguous().numpy()
    if images.shape[1] in (1, 3):
        save_figure(image_sheet(images, captions, title), folder / "encoded.png")
    if logger is not None and logger.get("name") == "wandb":
        from mer.wandb_log import log_run  # wandb takes a second to import

        log_run(folder, logger)
    show_scores(scores, str(folder))


def show_scores(scores: pd.DataFrame, title: str) -> None:
    """Print the scores of each subset."""
    table = Table(title=title, title_justify="left")
    table.add_column("subset")
    for name in scores.columns:
        table.add_column(name, justify="right")
    for subset, row in scores.iterrows():
        cells = [str(int(row["clips"])), *(f"{row[name]:.4f}" for name in scores.columns[1:])]
        table.add_row(str(subset), *cells)
    Console(soft_wrap=True).print(table)
