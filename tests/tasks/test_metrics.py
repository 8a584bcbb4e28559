"""The torchmetrics classes: equal to the numpy functions, over batches, copies and processes."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassRecall

from mer import metrics
from mer.tasks.metrics import UAR, UF1, F1Score, PooledAccuracy

Score = Callable[[NDArray[np.int64]], float]

PAIRS = [
    pytest.param(PooledAccuracy, metrics.accuracy, id="accuracy"),
    pytest.param(F1Score, metrics.f1_score, id="f1"),
    pytest.param(UF1, metrics.uf1, id="uf1"),
    pytest.param(UAR, metrics.uar, id="uar"),
]


def batch(seed: int, clips: int = 57, num_classes: int = 5) -> tuple[Tensor, Tensor]:
    """Logits and true classes; the last class has no clip and is sometimes predicted."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(num_classes - 1, (clips,), generator=generator)
    logits = torch.randn(clips, num_classes, generator=generator)
    logits[torch.arange(clips), target] += 1
    return logits, target


def expected(score: Score, logits: Tensor, target: Tensor) -> float:
    return score(metrics.confusion_matrix(target.numpy(), logits.numpy().argmax(1), logits.shape[1]))


@pytest.mark.parametrize(("metric_class", "score"), PAIRS)
class TestEveryScore:
    def test_logits_probabilities_and_classes_agree(self, metric_class: type[Metric], score: Score) -> None:
        logits, target = batch(0)
        for preds in (logits, logits.softmax(1), logits.argmax(1), logits.argmax(1).int()):
            value = metric_class(num_classes=5)(preds, target)
            assert value.shape == ()
            assert value.item() == pytest.approx(expected(score, logits, target), abs=1e-6)

    def test_batches_add_up_to_one_call(self, metric_class: type[Metric], score: Score) -> None:
        logits, target = batch(1)
        parts = metric_class(num_classes=5)
        sizes = [1, 20, 0, 36]
        for part, labels in zip(torch.split(logits, sizes), torch.split(target, sizes), strict=True):
            parts.update(part, labels)
        whole = metric_class(num_classes=5)
        whole.update(logits, target)
        assert torch.equal(parts.compute(), whole.compute())
        assert whole.compute().item() == pytest.approx(expected(score, logits, target), abs=1e-6)

    def test_forward_gives_the_batch_and_keeps_the_sum(
        self, metric_class: type[Metric], score: Score
    ) -> None:
        (first, first_target), (second, second_target) = batch(2), batch(3)
        metric = metric_class(num_classes=5)
        metric(first, first_target)
        of_batch = metric(second, second_target)
        assert of_batch.item() == pytest.approx(expected(score, second, second_target), abs=1e-6)
        both = expected(score, torch.cat([first, second]), torch.cat([first_target, second_target]))
        assert metric.compute().item() == pytest.approx(both, abs=1e-6)

    def test_processes_are_summed(self, metric_class: type[Metric], score: Score) -> None:
        (here, here_target), (there, there_target) = batch(4), batch(5)
        other = torch.from_numpy(metrics.confusion_matrix(there_target.numpy(), there.numpy().argmax(1), 5))
        metric = metric_class(
            num_classes=5,
            dist_sync_fn=lambda state, group: [state, other],  # noqa: ARG005 - the gather of two processes
            distributed_available_fn=lambda: True,
        )
        metric.update(here, here_target)
        both = expected(score, torch.cat([here, there]), torch.cat([here_target, there_target]))
        assert metric.compute().item() == pytest.approx(both, abs=1e-6)

    def test_pickled_with_its_state(self, metric_class: type[Metric], score: Score) -> None:
        logits, target = batch(6)
        metric = metric_class(num_classes=5)
        metric.update(logits[:30], target[:30])
        copy = pickle.loads(pickle.dumps(metric))  # noqa: S301 - written on this line
        copy.update(logits[30:], target[30:])
        assert copy.compute().item() == pytest.approx(expected(score, logits, target), abs=1e-6)

    def test_reset_forgets(self, metric_class: type[Metric], score: Score) -> None:
        logits, target = batch(7)
        metric = metric_class(num_classes=5)
        metric.update(*batch(8))
        metric.reset()
        metric.update(logits, target)
        assert metric.compute().item() == pytest.approx(expected(score, logits, target), abs=1e-6)

    def test_no_clip_is_nan(self, metric_class: type[Metric], score: Score) -> None:
        metric = metric_class(num_classes=3)
        metric.update(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
        assert torch.isnan(metric.compute())
        assert np.isnan(score(np.zeros((3, 3), dtype=np.int64)))


def test_a_collection_that_shares_the_state_keeps_the_scores_apart() -> None:
    # MetricCollection merges metrics of equal state into one group after the first update.
    collection = MetricCollection(
        {"accuracy": PooledAccuracy(5), "f1": F1Score(5), "uf1": UF1(5), "uar": UAR(5)}, compute_groups=True
    )
    parts = [batch(seed) for seed in (9, 10, 11)]
    for logits, target in parts:
        collection.update(logits, target)
    assert len(collection.compute_groups) == 1
    logits, target = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    cm = metrics.confusion_matrix(target.numpy(), logits.numpy().argmax(1), 5)
    assert {name: value.item() for name, value in collection.compute().items()} == pytest.approx(
        metrics.scores(cm), abs=1e-6
    )


def test_an_absent_class_is_left_out_unlike_in_torchmetrics() -> None:
    # Class 3 has no clip and is predicted once. The second line is why these classes exist: if it
    # fails, torchmetrics has changed.
    preds, target = torch.tensor([0, 0, 3]), torch.tensor([0, 1, 1])
    assert UAR(num_classes=4)(preds, target).item() == 0.5
    assert MulticlassRecall(num_classes=4, average="macro")(preds, target).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("preds", "target", "message"),
    [
        (torch.zeros(2, 4), torch.tensor([0, 1]), "4 columns: the label map has 3"),
        (
            torch.tensor([[0.1, 0.2, 0.7], [0.1, float("nan"), 0.3]]),
            torch.tensor([0, 1]),
            "nan, first for clip 1",
        ),
        (torch.tensor([0.2, 0.8]), torch.tensor([0, 1]), "predicted has type float32"),
        (torch.tensor([0, 1, 2]), torch.tensor([0, 1]), "target has 2 clips, predicted has 3"),
        (torch.tensor([0, 1]), torch.tensor([0, 3]), r"target\[1\] is 3"),
        (torch.zeros(2, 3, 1), torch.tensor([0, 1]), r"predicted has shape \(2, 3, 1\)"),
    ],
)
def test_bad_batches_leave_the_state_alone(preds: Tensor, target: Tensor, message: str) -> None:
    metric = UF1(num_classes=3)
    metric.update(torch.tensor([1]), torch.tensor([1]))
    with pytest.raises(ValueError, match=message):
        metric.update(preds, target)
    assert metric.confusion.sum() == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_the_gpu() -> None:
    logits, target = batch(12)
    metric = UF1(num_classes=5).to("cuda")
    value = metric(logits.cuda(), target.cuda())
    assert value.device.type == "cuda"
    assert value.item() == pytest.approx(expected(metrics.uf1, logits, target), abs=1e-6)
