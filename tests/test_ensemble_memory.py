"""What a fold takes is found by trying, and what cannot be trained together is recognised."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mer.data.splits import Split
from mer.ensemble_memory import Need, measure, unsuited
from mer.errors import MerError
from mer.fold import open_encoded
from mer.job import Job, RunFold
from mer.networks import LAENet, STSTNet
from tests.test_ensemble_engine import make_job


def folds_of(job: Job, folds: list[Split]) -> list[RunFold]:
    return [RunFold(job, split) for split in folds]


def test_folds_that_fit_are_counted_beside_what_they_share() -> None:
    assert Need(common=100, fold=30).folds(250) == 5
    assert Need(common=100, fold=30).folds(249) == 4
    assert Need(common=100, fold=30).folds(50) == 1


def test_a_fold_takes_at_least_its_weights_and_what_autograd_keeps(tmp_path: Path) -> None:
    needs = {}
    for network in (LAENet, STSTNet):
        job, folds = make_job(tmp_path, "run", network=network, batch_size=20)
        needs[network] = measure(folds_of(job, folds[:2]), open_encoded(job), "32").fold
        # The maps before and after the batch norm, of 8 or 16 filters, float32.
        maps = 2 * 20 * 28 * 28 * 4 * (8 if network is LAENet else 16)
        assert maps < needs[network] < 6 * maps
    assert needs[STSTNet] > 1.5 * needs[LAENet]


def test_one_fold_alone_can_be_measured(tmp_path: Path) -> None:
    job, folds = make_job(tmp_path, "run")
    assert measure(folds_of(job, folds[:1]), open_encoded(job), "32").fold > 0


class Centred(nn.Module):
    """Subtracts the mean of the batch, as no batch norm does it."""

    def __init__(self, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_channels * 28 * 28, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = images.flatten(1)
        logits: Tensor = self.fc(features - features.mean(dim=0))
        return logits


def test_clips_that_act_on_each_other_are_recognised(tmp_path: Path) -> None:
    job, folds = make_job(tmp_path, "run", network=Centred)
    with pytest.raises(MerError, match="Centred: the clips of a batch act on each other"):
        measure(folds_of(job, folds), open_encoded(job), "32")


def test_sequences_are_left_to_processes(tmp_path: Path) -> None:
    job, _ = make_job(tmp_path, "run")
    encoded = open_encoded(job)
    assert unsuited(job, encoded) == ""
    object.__setattr__(encoded, "lengths", torch.ones(24, dtype=torch.int64))
    assert "sequences" in unsuited(job, encoded)
