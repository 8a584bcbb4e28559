"""Folds that are trained together: each as if it were alone, and nothing of one reaches another."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import StepLR

from mer.errors import MerError
from mer.networks import LAENet
from mer.tasks import Classification
from mer.tasks.ensemble_state import read_state, restore_state
from mer.tasks.fold_ensemble import FoldEnsemble

# In double precision rounding is too small to hide anything.
IMAGES = torch.rand(20, 3, 28, 28, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 255
TARGETS = torch.arange(20) % 3
# Fold 2 has a batch less than the others, and its batches are smaller.
BATCHES = [
    {
        "row": torch.tensor([[0, 1, 2, 3, 4], [5, 6, 7, 8, 5], [9, 10, 11, 9, 9]]),
        "size": torch.tensor([5, 4, 3]),
    },
    {"row": torch.tensor([[5, 6, 7], [1, 2, 3]])},
]
STEPS = [2, 2, 1]


def make_tasks(**options: Any) -> list[Classification]:
    tasks = []
    for seed in range(3):
        torch.manual_seed(seed)
        tasks.append(Classification(make_network(), **options).double())
    return tasks


def make_network() -> LAENet:
    return LAENet(in_channels=3, num_classes=3, dropout=0.0).double()


def make_ensemble(tasks: list[Classification] | None = None, **changes: Any) -> FoldEnsemble:
    fields: dict[str, Any] = {
        "steps": STEPS,
        "images": IMAGES,
        "targets": TARGETS,
        "batch_size": 4,
        "optimizer": partial(torch.optim.Adam, lr=1e-3),
        "validation": [torch.tensor([], dtype=torch.int64)] * 3,
        "test": [torch.arange(15, 20), torch.arange(12, 18), torch.arange(3)],
    }
    return FoldEnsemble(tasks or make_tasks(), **fields | changes)


def train(ensemble: FoldEnsemble, epochs: int = 1) -> FoldEnsemble:
    for _ in range(epochs):
        for step, batch in enumerate(BATCHES):
            ensemble.training_step(batch, step)
        ensemble.on_train_epoch_end()
    return ensemble


def rows_of(batch: dict[str, Tensor], fold: int) -> Tensor:
    size = int(batch["size"][fold]) if "size" in batch else batch["row"].shape[1]
    return batch["row"][fold, :size]


@pytest.mark.parametrize(
    "make",
    [
        partial(torch.optim.Adam, lr=1e-3, weight_decay=0.01),
        partial(torch.optim.AdamW, lr=1e-3, fused=True),
        partial(torch.optim.SGD, lr=1e-4),
        partial(torch.optim.SGD, lr=1e-4, momentum=0.9, nesterov=True),
        partial(torch.optim.RMSprop, lr=1e-3),
    ],
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": "focal", "label_smoothing": 0.1, "class_weights": torch.tensor([0.5, 1.0, 2.5])},
    ],
)
def test_each_fold_is_trained_as_alone(make: Callable[..., Any], options: dict[str, Any]) -> None:
    ensemble = train(make_ensemble(make_tasks(**options), optimizer=make), epochs=3)
    for fold, task in enumerate(make_tasks(**options)):
        optimizer = make(task.network.parameters())
        losses = []
        for _ in range(3):
            total = clips = 0.0
            for batch in BATCHES[: STEPS[fold]]:
                rows = rows_of(batch, fold)
                loss = task.loss(task(IMAGES[rows]), TARGETS[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total, clips = total + loss.item() * len(rows), clips + len(rows)
            losses.append(total / clips)
        ours = make_network()
        ensemble.fill(ours, fold)
        for (name, found), expected in zip(
            ours.state_dict().items(), task.network.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12, msg=f"fold {fold}: {name}")
        assert ensemble.metrics(fold)["train_loss"].tolist() == pytest.approx(losses, rel=1e-9)


def test_a_fold_that_waits_stays_as_it_is() -> None:
    """Adaptive optimizers move by their moments even where the gradient is zero."""
    ensemble = make_ensemble()
    ensemble.training_step(BATCHES[0], 0)
    before = {name: values.clone() for name, values in {**ensemble.weights, **ensemble.statistics}.items()}
    ensemble.training_step(BATCHES[1], 1)
    for name, values in {**ensemble.weights, **ensemble.statistics}.items():
        assert values[2].equal(before[name][2]), name
        assert not values[:2].equal(before[name][:2]), name
    counts = {int(state["step"]) for state in ensemble.optimizer.state.values()}
    assert [int(ensemble.optimizer.state[parts[0]]["step"]) for parts in ensemble.parts] == [2, 1]
    assert counts == {1, 2}


def test_nothing_of_a_fold_reaches_another() -> None:
    one, other = make_ensemble(), make_ensemble()
    changed = [{**batch, "row": batch["row"].clone()} for batch in BATCHES]
    changed[0]["row"][1] = torch.tensor([14, 13, 12, 11, 14])
    for ensemble, batches in ((one, BATCHES), (other, changed)):
        for step, batch in enumerate(batches):
            ensemble.training_step(batch, step)
    for name, values in one.weights.items():
        assert values[[0, 2]].equal(other.weights[name][[0, 2]]), name
        assert not values[1].equal(other.weights[name][1]), name


def test_dropout_draws_another_mask_for_each_fold() -> None:
    torch.manual_seed(0)
    task = Classification(nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 28 * 28, 3))).double()
    ensemble = make_ensemble([task] * 3, optimizer=partial(torch.optim.SGD, lr=1e-4), steps=[1, 1, 1])
    ensemble.training_step({"row": BATCHES[0]["row"][:1].expand(3, -1)}, 0)
    weights = ensemble.weights["task.network.2.weight"]
    assert not weights[0].equal(weights[1])
    assert not weights[1].equal(weights[2])


def test_predictions_and_validation_are_of_each_fold_s_own_rows() -> None:
    validation = [torch.tensor([7, 8, 9, 10, 11, 12]), torch.tensor([], dtype=torch.int64), torch.tensor([4])]
    ensemble = train(make_ensemble(validation=validation))
    ensemble.predict_test()
    network = make_network().eval()
    for fold, rows in enumerate(ensemble.test):
        ensemble.fill(network, fold)
        expected = network(IMAGES[rows]).softmax(dim=1)
        found = ensemble.predictions[0][fold, : len(rows)]
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
        metrics = ensemble.metrics(fold)
        if not len(validation[fold]):
            assert list(metrics) == ["epoch", "train_loss"]
            continue
        logits, target = network(IMAGES[validation[fold]]), TARGETS[validation[fold]]
        assert metrics["val_loss"][0] == pytest.approx(
            nn.functional.cross_entropy(logits, target).item(), rel=1e-4
        )
        assert metrics["val_accuracy"][0] == pytest.approx(float((logits.argmax(1) == target).float().mean()))


@pytest.mark.parametrize("kept", [[0, 1, 2], [2], [1, 2]])
def test_a_state_goes_on_where_it_was_read_also_for_some_of_the_folds(kept: list[int]) -> None:
    options: dict[str, Any] = {"scheduler": partial(StepLR, step_size=1, gamma=0.5), "every_epoch": True}
    whole = train(make_ensemble(**options), epochs=2)
    state = read_state(train(make_ensemble(**options)))
    state = {key: _copy(value) for key, value in state.items()}
    test, steps = ([values[k] for k in kept] for values in (whole.test, STEPS))
    some = make_ensemble(
        [make_tasks()[k] for k in kept],
        steps=steps,
        test=test,
        validation=whole.validation[: len(kept)],
        **options,
    )
    restore_state(some, state, kept)
    for step, batch in enumerate(BATCHES):
        if batch["row"].shape[0] == 2:
            batch = {"row": torch.cat([batch["row"], batch["row"][:1]])}
        live = [k for k in range(len(kept)) if steps[k] > step]
        if live:
            some.training_step({name: values[kept][live] for name, values in batch.items()}, step)
    some.on_train_epoch_end()
    for name, values in some.weights.items():
        torch.testing.assert_close(values, whole.weights[name][kept], rtol=1e-9, atol=1e-12)
    assert len(some.predictions) == 2
    assert some.scheduler is not None
    assert some.scheduler.get_last_lr() == [2.5e-4]
    for k, fold in enumerate(kept):
        assert some.metrics(k)["train_loss"].tolist() == pytest.approx(
            whole.metrics(fold)["train_loss"].tolist()
        )


def test_folds_of_other_labels_learn_their_own() -> None:
    labels = torch.stack([TARGETS, TARGETS.flip(0), (TARGETS + 1) % 3])
    rows = torch.tensor([[0, 1, 2, 3, 4]] * 3)
    validation = [torch.arange(5, 10)] * 3
    ensemble = make_ensemble(targets=labels, validation=validation, steps=[1] * 3)
    ensemble.training_step({"row": rows}, 0)
    ensemble.on_train_epoch_end()
    for fold, task in enumerate(make_tasks()):
        optimizer = torch.optim.Adam(task.network.parameters(), lr=1e-3)
        task.loss(task(IMAGES[rows[fold]]), labels[fold][rows[fold]]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        for name, expected in task.network.state_dict().items():
            found = {**ensemble.weights, **ensemble.statistics}[f"task.network.{name}"][fold]
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12, msg=f"fold {fold}: {name}")
        loss = task.eval().loss(task(IMAGES[5:10]), labels[fold][5:10])
        assert ensemble.metrics(fold)["val_loss"][0] == pytest.approx(loss.item(), rel=1e-9)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return value.clone() if isinstance(value, Tensor) else value


def test_an_optimizer_that_looks_at_whole_parameters_is_refused() -> None:
    with pytest.raises(MerError, match="optimizer=LBFGS"):
        make_ensemble(optimizer=torch.optim.LBFGS)


def test_a_network_that_joins_the_rows_of_a_batch_is_recognised() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3 * 28 * 28, 3)

        def forward(self, images: Tensor) -> Tensor:
            features = images.flatten(1)
            logits: Tensor = self.fc(features - features.mean(0))
            return logits

    assert make_ensemble().keeps_rows_apart(BATCHES[0])
    centred = [Classification(Centred()).double() for _ in range(3)]
    assert not make_ensemble(centred).keeps_rows_apart(BATCHES[0])
