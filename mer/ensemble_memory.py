"""How many folds are trained together: whether a job can be at all, and what memory a fold takes."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mer.data.encoded import EncodedSet
from mer.data.fold_batches import FoldBatches
from mer.errors import MerError
from mer.fold import build_network, build_task, fold_data
from mer.job import Job, RunFold
from mer.tasks.classification import Classification
from mer.tasks.fold_ensemble import FoldEnsemble, Precision

CPU_BUDGET = 2 << 30  # bytes; other processes want the rest
USABLE = 0.9  # of the free memory: allocators leave gaps


@dataclass(frozen=True)
class Need:
    """Memory that a step takes, in bytes: of any chunk, and of each fold in it."""

    common: int
    fold: int

    def folds(self, budget: int) -> int:
        """How many folds fit, at least one."""
        return max(1, (budget - self.common) // max(1, self.fold))


def unsuited(job: Job, encoded: EncodedSet) -> str:
    """Why folds of this kind are not trained together, as far as no trial is needed; else empty."""
    if job.labels is not None:
        return "task=spotting reads videos of many lengths"
    if encoded.lengths is not None:
        return "sequences of many lengths make no common batch"
    return ""


def measure(folds: Sequence[RunFold], encoded: EncodedSet, precision: Precision) -> Need:
    """Try a step of one fold and of two, and see what memory they take; one may be all that fits.

    Args:
        folds: of one run, or of several that may be trained in one fit; the first has the largest batches.
        encoded: with the images on the device.
        precision: of the training.

    Raises:
        MerError, RuntimeError: whatever keeps the folds from being trained together.
    """
    two = (folds[0], folds[min(1, len(folds) - 1)])
    one = _try(two[:1], encoded, precision)
    try:
        both = _try(two, encoded, precision)
    except torch.OutOfMemoryError:
        return Need(0, one)
    return Need(max(0, 2 * one - both), max(0, both - one))


def free_memory(device: torch.device) -> int:
    """Bytes that a chunk may take: what is free on a GPU, a fixed budget on the CPU."""
    if device.type != "cuda":
        return CPU_BUDGET
    torch.cuda.empty_cache()
    return int(USABLE * torch.cuda.mem_get_info(device)[0])


@contextmanager
def quiet_vmap() -> Iterator[None]:
    """What vmap has no rule for is computed fold by fold, which is as right, only slower."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"There is a performance drop because")
        yield


def _try(members: Sequence[RunFold], encoded: EncodedSet, precision: Precision) -> int:
    folds = [fold_data(job, split, encoded) for job, split in members]
    recipe = members[0].job.recipe
    tasks = []
    for (job, _), fold in zip(members, folds, strict=True):
        network = build_network(job, fold)
        if not isinstance(network, nn.Module):
            raise MerError(f"network={type(network).__name__} is fitted, not trained in steps")
        task = build_task(job, fold, network)
        if type(task) is not Classification:
            raise MerError(f"task={type(task).__name__}: only Classification is")
        tasks.append(task)
    batches = FoldBatches(folds)
    device = encoded.images.device

    def train() -> FoldEnsemble:
        ensemble = FoldEnsemble(
            tasks,
            steps=batches.steps,
            images=encoded.images,
            targets=folds[0].targets,
            batch_size=recipe.batch_size,
            optimizer=recipe.optimizer,
            scheduler=recipe.scheduler,
            validation=[],
            test=[torch.tensor(split.test) for _, split in members],
            precision=precision,
        )
        batch = {name: tensor.to(device) for name, tensor in next(iter(batches)).items()}
        # As if it were filled up: a batch norm that minds that takes more memory.
        ensemble.training_step(
            {**batch, "size": torch.full_like(batch["row"][:, 0], batch["row"].shape[1])}, 0
        )
        if not ensemble.keeps_rows_apart(batch):
            raise MerError(f"{type(tasks[0].network).__name__}: the clips of a batch act on each other")
        return ensemble

    with quiet_vmap():
        return _peak_on_gpu(train, device) if device.type == "cuda" else _peak_on_cpu(train)


def _peak_on_gpu(train: Callable[[], FoldEnsemble], device: torch.device) -> int:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    train()
    return int(torch.cuda.max_memory_allocated(device)) - int(before)


def _peak_on_cpu(train: Callable[[], FoldEnsemble]) -> int:
    """What autograd keeps, once more for the gradients of it, and the weights with two moments each."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        ensemble = train()
    weights: int = sum(weight.nbytes for weight in ensemble.weights.values())
    activations = sum(kept.values())
    return 2 * activations + 4 * weights
