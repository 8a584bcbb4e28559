"""torchmetrics classes over `mer.metrics`, to log a score while training.

They exist because torchmetrics' macro averages treat absent classes differently, and its
``MulticlassAccuracy`` defaults to the macro average, which is UAR.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from mer import metrics

__all__ = ["UAR", "UF1", "F1Score", "PooledAccuracy"]


class _ConfusionMetric(Metric):
    """A score of the confusion matrix of all clips seen since ``reset``, over batches and processes.

    Args:
        num_classes: classes K of the label map.
        kwargs: of ``torchmetrics.Metric``.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    confusion: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        empty = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion", default=empty, dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch of clips.

        Args:
            preds: probabilities or logits (B, K), or classes (B,) of integers.
            target: true classes (B,), integers in 0..K-1.

        Raises:
            ValueError: wrong shapes or types, a class out of range, or nan among the scores
                (argmax would quietly call it a prediction).
        """
        if preds.ndim == 2:
            if preds.shape[1] != self.num_classes:
                raise ValueError(
                    f"preds have {preds.shape[1]} columns: the label map has {self.num_classes} classes"
                )
            if preds.isnan().any():
                raise ValueError(
                    f"preds hold nan, first for clip {int(preds.isnan().any(1).nonzero()[0])} of the batch"
                )
            preds = preds.argmax(dim=1)
        counts = metrics.confusion_matrix(target.cpu().numpy(), preds.cpu().numpy(), self.num_classes)
        self.confusion += torch.from_numpy(counts).to(self.confusion.device)

    def compute(self) -> Tensor:
        """The score, a scalar of torch's default type on the state's device; nan when no clip was seen."""
        return torch.tensor(self._score(self.confusion.cpu().numpy()), device=self.confusion.device)

    def _score(self, cm: NDArray[np.int64]) -> float:
        raise NotImplementedError


class PooledAccuracy(_ConfusionMetric):
    """Correct clips / all clips: `mer.metrics.accuracy`.

    >>> metric = PooledAccuracy(num_classes=3)
    >>> metric.update(torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]]), torch.tensor([0, 1]))
    >>> metric.update(torch.tensor([2, 0]), torch.tensor([2, 2]))
    >>> metric.compute()
    tensor(0.7500)
    """

    def _score(self, cm: NDArray[np.int64]) -> float:
        return metrics.accuracy(cm)


class UF1(_ConfusionMetric):
    """Unweighted F1, the mean over the present classes: `mer.metrics.uf1`.

    >>> metric = UF1(num_classes=3)
    >>> metric(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2]))  # (2/3 + 2/3 + 1) / 3
    tensor(0.7778)
    """

    def _score(self, cm: NDArray[np.int64]) -> float:
        return metrics.uf1(cm)


class UAR(_ConfusionMetric):
    """Unweighted average recall over the present classes: `mer.metrics.uar`.

    >>> metric = UAR(num_classes=3)  # class 2 has no clip: left out
    >>> metric(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]))
    tensor(0.7500)
    """

    def _score(self, cm: NDArray[np.int64]) -> float:
        return metrics.uar(cm)


class F1Score(_ConfusionMetric):
    """Harmonic mean of macro precision and macro recall, not UF1: `mer.metrics.f1_score`.

    >>> metric = F1Score(num_classes=3)
    >>> metric(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2]))  # both means are 5/6
    tensor(0.8333)
    """

    def _score(self, cm: NDArray[np.int64]) -> float:
        return metrics.f1_score(cm)
