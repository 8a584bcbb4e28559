"""A Lightning callback that keeps the test predictions of every epoch."""

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor


class EpochPredictions(pl.Callback):
    """Predicts the test clips after each epoch; draws no random number, so that training stays the same.

    Which epoch counts is decided later, by a rule: see ``mer.selection``.

    Args:
        batches: of the test clips, in order; a ``predict_step`` gives (rows, probabilities) of each.
    """

    def __init__(self, batches: Sequence[dict[str, Tensor]]) -> None:
        self.batches = batches
        self.probabilities: list[Tensor] = []  # (clips, num_classes) an epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Predict with the weights as they are now."""
        pl_module.eval()
        with torch.inference_mode():
            parts = [pl_module.predict_step(batch, k)[1] for k, batch in enumerate(self.batches)]
        pl_module.train()
        self.probabilities.append(torch.cat(parts))
