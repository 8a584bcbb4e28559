"""Runs that share a fit are those whose folds one network can stand for."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mer.augment import FixedPool
from mer.estimators import SVM
from mer.job import RunFold
from mer.joint_fits import group_folds
from mer.networks import LAENet
from mer.tasks import Classification
from tests.test_ensemble_engine import make_job


def fits(folder: Path, first: Mapping[str, Any], second: Mapping[str, Any]) -> list[int]:
    """Folds of each fit that two runs of two folds make."""
    job, folds = make_job(folder, "run")
    if "size" in second:
        jobs = [job, make_job(folder, "other", **second)[0]]
    else:
        jobs = [replace(job, recipe=replace(job.recipe, **changes)) for changes in (first, second)]
    return [len(group) for group in group_folds(RunFold(each, fold) for each in jobs for fold in folds[:2])]


class Started(LAENet):
    """LAENet whose weights begin elsewhere."""

    def __init__(self, *, in_channels: int, num_classes: int, value: float) -> None:
        super().__init__(in_channels=in_channels, num_classes=num_classes)
        nn.init.constant_(self.fc.weight, value)


class Slope(nn.Module):
    """As many weights whatever the slope; ``act`` is a function."""

    def __init__(
        self, *, in_channels: int, num_classes: int, act: Callable[[Tensor], Tensor] = torch.relu
    ) -> None:
        super().__init__()
        self.act = act
        self.fc = nn.Linear(in_channels * 28 * 28, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.act(images.flatten(1)))
        return logits


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"order": "balanced"},
        {"network": partial(LAENet, dropout=0.0, padding="same")},  # its default
        {"optimizer": partial(torch.optim.SGD, momentum=0.9, lr=1e-4)},
        {"save_checkpoint": False},
    ],
)
def test_runs_that_differ_fold_by_fold_share_a_fit(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert fits(tmp_path, {}, changes) == [4]


def test_other_first_weights_are_no_reason(tmp_path: Path) -> None:
    assert fits(
        tmp_path, {"network": partial(Started, value=0.1)}, {"network": partial(Started, value=0.2)}
    ) == [4]


@pytest.mark.parametrize(
    "changes",
    [
        {"network": partial(LAENet, dropout=0.5)},  # the same weights
        {"network": partial(LAENet, dropout=0.0, padding="release")},
        {"optimizer": partial(torch.optim.SGD, lr=2e-4, momentum=0.9)},
        {"optimizer": partial(torch.optim.Adam, lr=1e-4)},
        {"scheduler": partial(torch.optim.lr_scheduler.StepLR, step_size=1)},
        {"epochs": 4},
        {"batch_size": 9},
        {"class_weights": "balanced"},
        {"task": partial(Classification, label_smoothing=0.1)},
        {"augment": FixedPool(rotations=(0, 15))},
        {"store": "every_epoch"},
        {"size": 36},  # other images
        {"network": SVM},
    ],
)
def test_runs_that_a_fit_cannot_hold_stay_apart(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert fits(tmp_path, {}, changes) == [2, 2]


def test_what_is_not_known_to_be_equal_stays_apart(tmp_path: Path) -> None:
    acts = [lambda x: x * 2, lambda x: x * 3]
    one, other = ({"network": partial(Slope, act=act)} for act in acts)
    assert fits(tmp_path, one, other) == [2, 2]
    assert fits(tmp_path, {"network": partial(Slope, act=nn.functional.relu)}, one) == [2, 2]
    relu = {"network": partial(Slope, act=nn.functional.relu)}
    assert fits(tmp_path, relu, relu) == [4]


def test_a_broken_network_is_told_where_it_is_trained(tmp_path: Path) -> None:
    assert fits(tmp_path, {}, {"network": partial(nn.Linear, 1, 1)}) == [2, 2]


def test_other_labels_of_the_same_images_share_a_fit(tmp_path: Path) -> None:
    job, folds = make_job(tmp_path, "run")
    labels = job.clips["label"].sample(frac=1, random_state=0).to_list()
    shuffled = replace(job, run=tmp_path / "shuffled", clips=job.clips.assign(label=labels))
    members = [RunFold(each, fold) for each in (job, shuffled) for fold in folds]
    assert group_folds(members) == [members]
