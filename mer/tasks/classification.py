"""The LightningModule that trains a network to classify encoded images."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mer.errors import MerError

Loss = Literal["cross_entropy", "focal"]


class Classification(pl.LightningModule):
    """Classify images (B, C, H, W) with any network that returns logits (B, num_classes).

    Logs ``train_loss``, and with a validation loader ``val_loss`` and ``val_accuracy``, once an epoch.

    Args:
        network: a module of ``mer.networks``, or any other.
        optimizer: parameters -> optimizer; Adam at 5e-5 (STSTNet's release) where None.
        scheduler: optimizer -> learning-rate scheduler, stepped once an epoch; none where None.
        loss: ``cross_entropy``, or ``focal`` (Lin et al. 2017, eq 5: (1 - p)^gamma times the cross entropy).
        focal_gamma: gamma of the focal loss; 0 is the cross entropy.
        label_smoothing: 0..1, for either loss.
        class_weights: (num_classes,) weight of each class in the loss, or None.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        loss: Loss = "cross_entropy",
        focal_gamma: float = 2.0,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        if loss not in ("cross_entropy", "focal"):
            raise MerError(f"task.loss={loss!r}: choose cross_entropy or focal")
        # Convolutions read channels_last images, which the data module gives, without a copy.
        self.network = network.to(memory_format=torch.channels_last)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.focal_gamma = focal_gamma if loss == "focal" else 0.0
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", class_weights, persistent=False)
        # Of this epoch: loss * clips, and clips. Lightning's own sums of what is logged each step take longer
        # than the optimizer's step.
        self._loss_sum: Tensor | float = 0.0
        self._clips = 0

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes)."""
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch."""
        loss = self.loss(self(batch["image"]), batch["target"])
        self._loss_sum = self._loss_sum + loss.detach() * len(batch["target"])
        self._clips += len(batch["target"])
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the loss of the epoch's clips."""
        self.log("train_loss", self._loss_sum / self._clips)
        self._loss_sum, self._clips = 0.0, 0

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the loss and the accuracy of the validation subjects."""
        self._evaluate("val", batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the loss and the accuracy of the test subject."""
        self._evaluate("test", batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> tuple[Tensor, Tensor]:
        """(rows (B,), probabilities (B, num_classes))."""
        return batch["row"], self(batch["image"]).softmax(dim=1)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean loss of a batch; with class weights, the weighted mean as in ``torch.nn.CrossEntropyLoss``."""
        weights = self.class_weights if isinstance(self.class_weights, Tensor) else None
        if self.focal_gamma == 0:
            return F.cross_entropy(logits, target, weight=weights, label_smoothing=self.label_smoothing)
        each = F.cross_entropy(
            logits, target, weight=weights, label_smoothing=self.label_smoothing, reduction="none"
        )
        probability = logits.softmax(dim=1).gather(1, target[:, None])[:, 0]
        total = weights[target].sum() if weights is not None else len(target)
        return ((1 - probability) ** self.focal_gamma * each).sum() / total

    def configure_optimizers(self) -> Any:
        """The optimizer, with its scheduler where there is one."""
        make = self.optimizer or (lambda parameters: torch.optim.Adam(parameters, lr=5e-5))
        optimizer = make(self.network.parameters())
        if self.scheduler is None:
            return optimizer
        return [optimizer], [self.scheduler(optimizer)]

    def _evaluate(self, part: str, batch: dict[str, Tensor]) -> None:
        logits = self(batch["image"])
        size = len(batch["target"])
        self.log(f"{part}_loss", self.loss(logits, batch["target"]), batch_size=size)
        self.log(
            f"{part}_accuracy", (logits.argmax(dim=1) == batch["target"]).float().mean(), batch_size=size
        )
