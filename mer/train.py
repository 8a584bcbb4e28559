"""``mer train``: one run = data x encoding x network x protocol x fold(s) x seed, composed by Hydra."""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mer import config, runs
from mer.augment import Augmentation
from mer.data import splits as protocols
from mer.data.sequences import NONE
from mer.ensemble_engine import is_chosen
from mer.errors import MerError
from mer.estimators import SVM, check_descriptors
from mer.feature_difference import FeatureDifference
from mer.job import Job, Recipe
from mer.networks.time_contrast import TimeContrastNet
from mer.packaged import config_dir
from mer.prepare import Prepared, list_folds, prepare
from mer.ready_runs import ReadyRun, train_ready
from mer.sweep import expand
from mer.tasks.spotting import Spotting
from mer.video_engine import check_spotting, check_videos

LARGEST = 2**63 - 1  # what predictions.parquet and a checkpoint hold
_problems: list[str] = []  # of the jobs of this process: a sweep goes on after one has failed
_waiting: dict[str, ReadyRun] = {}  # overrides -> a sweep's run whose folds are trained with others'


def main(arguments: Sequence[str] | None = None) -> None:
    """Run Hydra on the command line; ``fold=each`` is expanded first.

    Under ``engine=ensemble`` the runs of a sweep in this process are all prepared before any is trained, so
    that their folds can share a fit.

    Raises:
        MerError: bad input, or the list of what failed in a sweep.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # Without it Hydra prints its own errors and exits; ours are one line each.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    _problems.clear()
    _waiting.clear()
    try:
        for line in expand(arguments, list_folds):
            sys.argv = ["mer train", *config.with_own_configs(line)]
            _job()
    except Exception as error:
        if config.is_config_error(error):
            raise config.explain(error) from error
        raise
    _train_waiting()
    if _problems:
        raise MerError("; ".join(_problems))


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")
def _job(cfg: DictConfig) -> None:
    """One Hydra job. In this process its error is kept for the end; elsewhere Hydra carries it back."""
    settings = HydraConfig.get()
    sweep = settings.mode == RunMode.MULTIRUN
    name = " ".join(settings.overrides.task)
    try:
        if sweep and cfg.get("init") is not None:
            _train_waiting()  # it may start from one of them
        ready = run(cfg)
        if any(not ready.can_wait_with(other) for other in _waiting.values()):
            _train_waiting()
        if sweep and ready.together and settings.launcher._target_.endswith("BasicLauncher"):
            _waiting[name] = ready
            return
        for error in train_ready([ready]).values():
            raise error
    except MerError as error:
        if sweep and not settings.launcher._target_.endswith("BasicLauncher"):
            raise
        _problems.append(f"[{name}] {error}" if sweep else str(error))


def _train_waiting() -> None:
    """Train the runs of a sweep that wait for each other."""
    names, ready = list(_waiting), list(_waiting.values())
    _waiting.clear()
    for k, error in train_ready(ready).items():
        _problems.append(f"[{names[k]}] {error}")


def run(cfg: DictConfig) -> ReadyRun:
    """Prepare the run that a config names."""
    settings = HydraConfig.get()
    overrides = list(settings.overrides.task)
    return prepare_run(cfg, config.run_key(cfg, settings.runtime.choices, overrides), overrides)


def train_run(cfg: DictConfig, key: runs.RunKey, overrides: Sequence[str]) -> Path:
    """Train the folds that a config names and are not finished, without Hydra; returns the run folder.

    Args:
        cfg: the composed config.
        key: of the run folder.
        overrides: for the record.

    Raises:
        MerError: bad input, or the list of the folds that failed.
    """
    ready = prepare_run(cfg, key, overrides)
    for error in train_ready([ready]).values():
        raise error
    return ready.job.run


def prepare_run(cfg: DictConfig, key: runs.RunKey, overrides: Sequence[str]) -> ReadyRun:
    """Everything of :func:`train_run` before the run folder is touched."""
    workers = _workers(cfg.workers)
    recipe = make_recipe(cfg)
    check_spotting(recipe)
    prepared = prepare(cfg)
    try_out(recipe, prepared)
    plan = runs.Plan(
        config=config.deciding(cfg),
        classes=prepared.classes,
        folds=[split.fold for split in prepared.splits],
        content=prepared.encoded.content,
        synthetic=prepared.synthetic,
        **_tested(recipe, prepared),
    )
    record = {
        **vars(key),
        "overrides": list(overrides),
        **config.provenance(),
        "build": _build(),
        "device": "cpu, one thread a fold",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "content": prepared.encoded.content,
        "config": config.resolved(cfg),
    }
    folder = key.folder(Path(cfg.runs_dir))
    job = Job(
        *(folder, prepared.clips, prepared.classes, prepared.encoded.folder, recipe, record),
        labels=prepared.labels,
        synthetic=prepared.synthetic,
    )
    return ReadyRun(
        job=job,
        plan=plan,
        chosen=protocols.select(prepared.splits, str(cfg.fold)),
        encoded=prepared.encoded,
        together=is_chosen(cfg.engine),
        checkpoint_every=cfg.checkpoint_every,
        workers=workers,
        logger=cfg.logger,
    )


def _workers(wanted: str | int) -> int:
    """``workers`` of a config; auto is one a core."""
    if wanted == "auto":
        return os.cpu_count() or 1
    if not isinstance(wanted, int) or wanted < 1:
        raise MerError(f"workers={wanted!r}: give auto, or a whole number, at least 1")
    return wanted


def _build() -> dict[str, Any]:
    """What of torch decides the last bits of a result, beside its version."""
    return {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def _tested(recipe: Recipe, prepared: Prepared) -> dict[str, int]:
    """How many clips and videos a complete run has tested."""
    rows = {row for split in prepared.splits for row in split.test}
    if prepared.labels is None:
        return {"clips": len(rows)}
    videos = prepared.labels.expressions["video"]
    found = [video in rows and k != NONE for video, k in zip(videos, prepared.labels.targets, strict=True)]
    classifies = not issubclass(getattr(recipe.network, "func", type), FeatureDifference)
    return {"clips": sum(found) * classifies, "videos": len(rows)}


def make_recipe(cfg: DictConfig) -> Recipe:
    """The recipe of a config, checked before any data is read."""
    plain = config.resolved(cfg)
    if cfg.class_weights not in ("none", "balanced"):
        raise MerError(f"class_weights={cfg.class_weights!r}: choose none or balanced")
    if cfg.store not in ("last", "every_epoch"):
        raise MerError(f"store={cfg.store!r}: choose last or every_epoch")
    for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("checkpoint_every", 0)):
        if not isinstance(cfg[name], int) or cfg[name] < least:
            raise MerError(f"{name}={cfg[name]!r}: give a whole number, at least {least}")
        if cfg[name] > LARGEST:
            raise MerError(f"{name}={cfg[name]}: give a whole number, at most {LARGEST}")
    return Recipe(
        network=config.factory(plain["network"], (nn.Module, SVM, FeatureDifference), "network"),
        task=config.factory(plain["task"], pl.LightningModule, "task"),
        optimizer=config.factory(plain["optimizer"], Optimizer, "optimizer"),
        scheduler=plain["scheduler"] and config.factory(plain["scheduler"], LRScheduler, "scheduler"),
        epochs=cfg.epochs,
        batch_size=cfg.batch_size,
        order=cfg.order,
        class_weights=cfg.class_weights,
        augment=plain["augment"]
        and config.call(config.factory(plain["augment"], Augmentation, "augment"), "augment"),
        seed=cfg.seed,
        store=cfg.store,
        init=Path(cfg.init).expanduser() if cfg.init else None,
        save_checkpoint=cfg.save_checkpoint,
    )


def try_out(recipe: Recipe, prepared: Prepared) -> None:
    """Build everything once, so that a wrong option ends here and not in each fold.

    Raises:
        MerError: naming the option.
    """
    channels, size = prepared.encoded.images.shape[1], prepared.encoded.images.shape[2:]
    frames = [] if prepared.encoded.lengths is None else [2]  # of a sequence
    try:
        network = recipe.network(in_channels=channels, num_classes=len(prepared.classes))
        scores_frames = isinstance(network, TimeContrastNet | FeatureDifference)
        if scores_frames != (prepared.labels is not None):
            raise MerError(
                f"network={type(network).__name__} scores the frames of videos: give it task=spotting"
                if scores_frames
                else f"task=spotting scores the frames of videos, which {type(network).__name__} does not: "
                "choose network=time_contrast, lbp_difference or hoof_difference"
            )
        if isinstance(network, FeatureDifference):
            _check_videos(recipe, network, prepared)
            return
        if isinstance(network, SVM):
            check_descriptors(prepared.encoded.images)
            if recipe.augment is not None:
                raise MerError(
                    "augment: network=svm reads descriptors, which are not augmented; use augment=none"
                )
            return
        task = recipe.task(
            network, optimizer=recipe.optimizer, scheduler=recipe.scheduler, class_weights=None
        )
        if isinstance(task, Spotting):
            _check_videos(recipe, task, prepared)
        task.configure_optimizers()
        with torch.inference_mode():
            task.eval()(torch.zeros(1, *frames, channels, *size))
    except (TypeError, ValueError, RuntimeError) as error:
        raise MerError(f"network, task, optimizer or scheduler: {str(error).splitlines()[0]}") from error


def _check_videos(recipe: Recipe, method: Spotting | FeatureDifference, prepared: Prepared) -> None:
    assert prepared.labels is not None
    check_videos(recipe, method, prepared.clips, prepared.labels, prepared.splits, prepared.encoded)


if __name__ == "__main__":
    from mer.errors import leave_at_once, run_verb

    leave_at_once()
    run_verb(main, sys.argv[1:])
