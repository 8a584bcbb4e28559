"""The LightningModule that trains all folds at once: one network a fold, their weights stacked (torch.func).

Each fold has its own batches, batch-norm statistics, dropout and optimizer state, and nothing of one fold
reaches another. Without dropout a fold gets the weights that it gets alone, up to rounding.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mer.data.fold_batches import stack
from mer.errors import MerError
from mer.tasks.classification import Classification
from mer.tasks.cuda_graph import Gradients, StepGraph
from mer.tasks.masked_batch_norm import MaskedBatchNorm

Precision = Literal["32", "tf32", "bf16"]
# They treat every element of a parameter alike: a stack of parameters is as good as each of them.
ELEMENTWISE = {
    *(torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam),
    *(torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.Adamax),
}


class FoldEnsemble(pl.LightningModule):
    """Train K classifiers at once, on batches of :class:`mer.data.fold_batches.FoldBatches`.

    Rows that fill up a batch count neither in the loss nor in the statistics of a batch norm. A fold that
    has no batch left in an epoch waits: weights, statistics and the optimizer's state stay as they are.
    Dropout draws another mask for each fold, all from one generator.

    Args:
        tasks: K classifications of one architecture and one loss, each with its fold's weights.
        steps: batches an epoch of each fold, most first.
        images: (N, C, H, W) float32, the encoded set, on the device to train on.
        targets: (N,) class of each; (K, N) where folds of runs with other labels are among them.
        batch_size: clips a fold that are evaluated at a time.
        optimizer: parameters -> one of :data:`ELEMENTWISE`.
        scheduler: optimizer -> learning-rate scheduler, stepped once an epoch.
        validation: rows of each fold whose loss and accuracy are kept each epoch; none where there are none.
        test: rows of each fold that are predicted.
        every_epoch: predict them after each epoch, not only when :meth:`predict_test` is called.
        precision: ``32``; ``tf32`` and ``bf16`` are faster on some devices and less exact.
        cuda_graphs: record a step once and replay it, which saves starting its many small kernels.

    Raises:
        MerError: another optimizer.
    """

    def __init__(
        self,
        tasks: Sequence[Classification],
        *,
        steps: Sequence[int],
        images: Tensor,
        targets: Tensor,
        batch_size: int,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        validation: Sequence[Tensor],
        test: Sequence[Tensor],
        every_epoch: bool = False,
        precision: Precision = "32",
        cuda_graphs: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.pixels = images.permute(0, 2, 3, 1)  # the base of a channels_last set: a row is one block
        self.targets = targets.to(images.device).expand(len(tasks), -1)
        self.batch_size = batch_size
        self.validation, self.test = validation, test
        self.every_epoch = every_epoch
        self.precision = precision
        objectives = [_Objective(task) for task in tasks]
        # In a tuple it is no submodule, which Lightning would move: it has no values.
        self._template = (copy.deepcopy(objectives[0]).to("meta"),)
        self._modes = [(module, module.training) for module in self._template[0].modules()]
        weights, buffers = stack_module_state(objectives)
        self.trainable = [name for name, weight in weights.items() if weight.requires_grad]
        self.weights = {
            name: weight.detach().to(images.device).contiguous() for name, weight in weights.items()
        }
        self.statistics = {name: buffer.to(images.device) for name, buffer in buffers.items()}
        # Folds that always step together are one parameter of the optimizer, with one count of steps.
        starts = [k for k in range(len(steps)) if k == 0 or steps[k] != steps[k - 1]]
        self.groups = [slice(a, b) for a, b in zip(starts, [*starts[1:], len(steps)], strict=True)]
        self.steps = [steps[start] for start in starts]
        self.parts = [
            [nn.Parameter(self.weights[name][group]) for name in self.trainable] for group in self.groups
        ]
        self.optimizer = optimizer([part for parts in self.parts for part in parts])
        if type(self.optimizer) not in ELEMENTWISE:
            known = ", ".join(sorted(kind.__name__ for kind in ELEMENTWISE))
            raise MerError(f"optimizer={type(self.optimizer).__name__}: not one of {known}")
        self.scheduler = scheduler and scheduler(self.optimizer)
        self.epochs_done = 0
        self.history: dict[str, list[Tensor]] = {}  # name -> (K,) an epoch
        self.predictions: list[Tensor] = []  # (K, clips of the largest test, num_classes) an epoch
        # Of this epoch: loss * clips, clips.
        self._sums = torch.zeros(2, len(tasks), device=images.device, dtype=images.dtype)
        self._graphs: dict[Any, StepGraph] | None = {} if cuda_graphs else None

    def configure_optimizers(self) -> Optimizer:
        """Its scheduler is stepped here, as optimization is manual."""
        return self.optimizer

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """A step of the folds that still have a batch."""
        folds, largest = batch["row"].shape
        losses, gradients = self._differentiate(batch)
        for group, steps, parts in zip(self.groups, self.steps, self.parts, strict=True):
            for part, gradient in zip(parts, gradients, strict=True):
                # Without a gradient an optimizer leaves a parameter and its state alone.
                part.grad = gradient[group] if gradient is not None and batch_idx < steps else None
        self.optimizer.step()
        size = batch.get("size", largest)
        self._sums[0, :folds] += losses * size
        self._sums[1, :folds] += size

    def on_train_epoch_end(self) -> None:
        """Keep what an epoch is known by, and move the learning rate."""
        if any(len(rows) for rows in self.validation):
            loss, accuracy, clips = self._validate()
            self._keep("val_loss", loss / clips)
            self._keep("val_accuracy", accuracy / clips)
        self._keep("train_loss", self._sums[0] / self._sums[1])
        self._sums.zero_()
        if self.every_epoch:
            self.predict_test()
        if self.scheduler is not None:
            self.scheduler.step()
        self.epochs_done += 1

    def predict_test(self) -> None:
        """Add the probabilities of the test rows to ``predictions``."""
        parts = [logits.softmax(dim=-1) for _, logits, _ in self._evaluate(self.test)]
        self.predictions.append(torch.cat(parts, dim=1))

    def metrics(self, fold: int) -> pd.DataFrame:
        """Columns epoch (1-based) and what was kept of a fold."""
        kept = {name: torch.stack(values)[:, fold].tolist() for name, values in self.history.items()}
        if not len(self.validation[fold]):
            kept = {"train_loss": kept["train_loss"]}
        return pd.DataFrame({"epoch": range(1, self.epochs_done + 1), **kept})

    def fill(self, network: nn.Module, fold: int) -> None:
        """Give a network the weights and statistics of a fold."""
        ours = {**self.weights, **self.statistics}
        prefix = "task.network."
        state = {name: ours[prefix + name][fold] for name in network.state_dict() if prefix + name in ours}
        network.load_state_dict(state, strict=False)  # weights that are tied have one name here

    def keeps_rows_apart(self, batch: dict[str, Tensor]) -> bool:
        """Whether rows that fill up a batch change nothing for the others, dropout set aside.

        Batch norm is taken care of; a network that joins the rows of a batch in another way cannot be
        trained on batches that are filled up. Moves the statistics.
        """
        rows = batch["row"]
        more = {
            "row": torch.cat([rows, rows[:, :2]], dim=1),
            "size": torch.full_like(rows[:, 0], rows.shape[1]),
        }
        for module, _ in self._modes:
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
        with torch.no_grad():
            (_, alone), (_, filled) = (self._forward(self.weights, each) for each in ({"row": rows}, more))
        self._restore_modes()
        difference = (alone - filled[:, : rows.shape[1]]).abs().max()
        return bool(difference <= 1e-3 * alone.abs().max())

    def _restore_modes(self) -> None:
        for module, training in self._modes:
            module.training = training

    def _keep(self, name: str, values: Tensor) -> None:
        self.history.setdefault(name, []).append(values)

    def _differentiate(self, batch: dict[str, Tensor]) -> Gradients:
        if self._graphs is None:
            return self._gradients(batch)
        key = tuple((name, tensor.shape) for name, tensor in batch.items())
        if key not in self._graphs:
            self._graphs[key] = StepGraph(self._gradients, batch, list(self.statistics.values()))
        return self._graphs[key](batch)

    def _gradients(self, batch: dict[str, Tensor]) -> Gradients:
        folds = len(batch["row"])
        weights = {name: weight[:folds] for name, weight in self.weights.items()}
        wanted = [weights[name].requires_grad_() for name in self.trainable]
        losses, _ = self._forward(weights, batch)
        gradients = torch.autograd.grad(losses.sum(), wanted, allow_unused=True)
        # Fused optimizers read a gradient as if it lay in memory as its parameter does.
        contiguous = (None if gradient is None else gradient.contiguous() for gradient in gradients)
        return losses.detach(), tuple(contiguous)

    def _forward(self, weights: dict[str, Tensor], batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Losses (K',) and logits (K', B, num_classes) of the first K' folds; moves their statistics."""
        rows = batch["row"]
        images = batch["image"] if "image" in batch else self.pixels[rows].permute(0, 1, 4, 2, 3)
        positions = torch.arange(rows.shape[1], device=rows.device)
        counted = (
            positions < batch["size"][:, None] if "size" in batch else torch.ones_like(rows, dtype=torch.bool)
        )
        statistics = {name: values[: len(rows)] for name, values in self.statistics.items()}

        def call(weights: Any, statistics: Any, *inputs: Tensor) -> Any:
            return functional_call(self._template[0], (weights, statistics), (*inputs, "size" in batch))

        lower = self.precision == "bf16"
        # Graphs are recorded without autocast's cache, whose copies would not be recorded again.
        with torch.autocast(rows.device.type, torch.bfloat16, enabled=lower, cache_enabled=False):
            losses, logits = vmap(call, randomness="different")(
                weights, statistics, images, self.targets[: len(rows)].gather(1, rows), counted
            )
        return losses, logits.to(self.pixels.dtype)

    def _evaluate(self, rows: Sequence[Tensor]) -> list[tuple[Tensor, Tensor, dict[str, Tensor]]]:
        """(losses (K,), logits (K, B, num_classes), batch) of each batch_size rows; size 0: none left."""
        evaluated = []
        device = self.pixels.device
        nothing = torch.zeros(1, dtype=torch.int64)
        self._template[0].eval()
        with torch.no_grad():
            for start in range(0, max(map(len, rows)), self.batch_size):
                parts = [some[start : start + self.batch_size] for some in rows]
                batch = stack([{"row": part if len(part) else nothing} for part in parts])
                batch["size"] = torch.tensor([len(part) for part in parts])
                batch = {name: tensor.to(device) for name, tensor in batch.items()}
                evaluated.append((*self._forward(self.weights, batch), batch))
        self._restore_modes()
        return evaluated

    def _validate(self) -> Tensor:
        """(3, K): loss * clips, right clips, clips of the validation rows."""
        sums = torch.zeros_like(self._sums[0]).expand(3, -1).clone()
        for losses, logits, batch in self._evaluate(self.validation):
            size = batch["size"]
            counted = torch.arange(logits.shape[1], device=size.device) < size[:, None]
            right = (logits.argmax(dim=-1) == self.targets.gather(1, batch["row"])) & counted
            sums += torch.stack([torch.where(size > 0, losses * size, 0), right.sum(dim=1), size])
        return sums


class _Objective(nn.Module):
    """A task's loss and logits, of the rows that count."""

    def __init__(self, task: Classification) -> None:
        super().__init__()
        self.task = task

    def forward(
        self, images: Tensor, targets: Tensor, counted: Tensor, masked: bool
    ) -> tuple[Tensor, Tensor]:
        if masked and self.training:
            with MaskedBatchNorm(counted):
                logits = self.task(images)
        else:
            logits = self.task(images)
        # The task's loss of one row is free of its class weight; the mean of a batch weighs rows by it.
        each = vmap(lambda row, target: self.task.loss(row[None], target[None]))(logits, targets)
        weights = self.task.class_weights
        share = counted.to(each.dtype)
        if isinstance(weights, Tensor):
            share = share * weights[targets]
        # Only where it counts: a validation row of a class that is not trained on weighs 0, and has no loss.
        return torch.where(share > 0, each * share, 0).sum() / share.sum(), logits
