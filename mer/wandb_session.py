"""One W&B run, begun and ended so that its files are whole; offline by default, silent."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import filelock
import wandb

from mer.errors import MerError
from mer.wandb_names import PROJECT


@contextmanager
def wandb_run(
    folder: Path,
    logger: Mapping[str, Any],
    *,
    failure: str,
    id: str,
    name: str,
    group: str,
    job_type: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
) -> Iterator[wandb.Run]:
    """A W&B run; logging one of the same id again replaces it.

    Args:
        folder: where its files go; made where there is none.
        logger: ``mode`` (offline or online; WANDB_MODE in the environment wins), ``project``, ``entity``,
            ``tags``, added to ``tags``.
        failure: what the error says before W&B's own reason.
        id: of the run, unique in its project.
        name: that W&B shows; ``group`` and ``job_type`` are what it groups runs by.
        config: nested; W&B flattens it with dots.

    Raises:
        MerError: W&B failed.
    """
    mode = cast(
        Literal["online", "offline", "disabled"],
        os.environ.get("WANDB_MODE") or logger.get("mode") or "offline",
    )
    if mode == "offline":  # else a thread of W&B's sends its own metrics after a minute (0.31)
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Two jobs that finish the last two folds of a run both log it.
        with filelock.FileLock(folder / "lock"):
            try:
                run = wandb.init(
                    project=logger.get("project") or PROJECT,
                    entity=logger.get("entity"),
                    mode=mode,
                    id=id,
                    resume="allow",
                    force=mode == "online",  # without a key it would log nothing and say nothing
                    reinit="create_new",
                    name=name,
                    group=group,
                    job_type=job_type,
                    # W&B refuses tags of over 64 characters.
                    tags=[str(tag)[:64] for tag in (*tags, *(logger.get("tags") or ()))],
                    dir=folder.parent,
                    config=dict(config),
                    settings=_settings(),
                )
                with run:
                    yield run
            finally:
                # finish() may return before the last records are on disk, and a run that failed holds its id
                # as long as the service lives (0.31).
                if wandb.run is None:
                    wandb.teardown()
            if mode == "offline":
                _remove_older(folder, Path(run.settings.sync_dir), run.id)
    except Exception as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise MerError(f"{failure}: {why}") from error


def _settings() -> wandb.Settings:
    """Say nothing, and watch neither the console, the code nor the machine: run.yaml records those."""
    return wandb.Settings(
        silent=True,
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


def _remove_older(folder: Path, kept: Path, run_id: str) -> None:
    """What an earlier log of the same run left: `wandb sync` would send it too."""
    for older in folder.glob(f"offline-run-*-{run_id}*"):
        if older.resolve() != kept.resolve():
            shutil.rmtree(older)
