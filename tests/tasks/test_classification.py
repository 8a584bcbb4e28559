from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mer.errors import MerError
from mer.networks import LAENet
from mer.tasks import Classification
from mer.tasks.epoch_log import EpochLog
from mer.trainer import make_trainer, quiet_lightning


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


TARGET = torch.tensor([0, 0, 1, 2, 2, 2])


def task(**options: object) -> Classification:
    return Classification(nn.Flatten(), **options)  # type: ignore[arg-type]


def test_focal_loss_with_gamma_0_is_the_cross_entropy(logits: torch.Tensor) -> None:
    weights = torch.tensor([1.0, 2.0, 0.5])
    for options in ({}, {"class_weights": weights}, {"label_smoothing": 0.1}):
        focal = task(loss="focal", focal_gamma=1e-12, **options).loss(logits, TARGET)
        torch.testing.assert_close(focal, task(**options).loss(logits, TARGET))


def test_focal_loss_is_its_formula(logits: torch.Tensor) -> None:
    probability = torch.stack([row.softmax(0)[k] for row, k in zip(logits, TARGET, strict=True)])
    expected = (-((1 - probability) ** 2) * probability.log()).mean()
    torch.testing.assert_close(task(loss="focal", focal_gamma=2.0).loss(logits, TARGET), expected)


def test_class_weights_are_torchs(logits: torch.Tensor) -> None:
    weights = torch.tensor([1.0, 2.0, 0.5])
    expected = F.cross_entropy(logits, TARGET, weight=weights)
    torch.testing.assert_close(task(class_weights=weights).loss(logits, TARGET), expected)


def test_an_unknown_loss_names_the_key() -> None:
    with pytest.raises(MerError, match=r"task\.loss='hinge'"):
        task(loss="hinge")


def test_the_default_optimizer_is_the_releases() -> None:
    optimizer = Classification(LAENet(in_channels=3, num_classes=3)).configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["lr"] == 5e-5


def test_a_scheduler_is_stepped_once_an_epoch() -> None:
    import functools

    decay = functools.partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    optimizers, schedulers = Classification(
        LAENet(in_channels=3, num_classes=3), scheduler=decay
    ).configure_optimizers()
    assert schedulers[0].optimizer is optimizers[0]


def test_predictions_are_probabilities_with_their_rows() -> None:
    module = Classification(LAENet(in_channels=3, num_classes=3)).eval()
    rows, probabilities = module.predict_step(
        {"row": torch.tensor([4, 7]), "image": torch.rand(2, 3, 28, 28)}, 0
    )
    assert rows.tolist() == [4, 7]
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))


def test_the_logged_loss_is_the_mean_over_the_epoch_s_clips() -> None:
    """Batches of unequal size, a learning rate of 0: each epoch has the loss of the weights as they are."""
    images, targets = torch.rand(7, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    log = EpochLog()
    batches = [{"image": images[:5], "target": targets[:5]}, {"image": images[5:], "target": targets[5:]}]
    still = Classification(network, optimizer=partial(torch.optim.SGD, lr=0.0))
    loader: DataLoader[Any] = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    with quiet_lightning():
        make_trainer(2, log).fit(still, loader, loader)
    expected = F.cross_entropy(network(images), targets).item()
    for name in ("train_loss", "val_loss"):
        assert log.table()[name].tolist() == pytest.approx([expected, expected], rel=1e-6)
