"""A training step recorded as a CUDA graph: its many small kernels are started by one call."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Gradients = tuple[Tensor, tuple[Tensor | None, ...]]


class StepGraph:
    """The gradients of batches of one shape, recorded once and replayed.

    Args:
        compute: batch -> losses and gradients; may move ``statistics`` in place, and nothing else.
        batch: an example. It is computed three times before it is recorded, as CUDA's libraries set
            themselves up in the first calls.
        statistics: brought back to what they were before.
    """

    def __init__(
        self,
        compute: Callable[[dict[str, Tensor]], Gradients],
        batch: dict[str, Tensor],
        statistics: Sequence[Tensor],
    ) -> None:
        self.batch = {name: tensor.clone() for name, tensor in batch.items()}
        before = [tensor.clone() for tensor in statistics]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                compute(self.batch)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = compute(self.batch)
        for tensor, old in zip(statistics, before, strict=True):
            tensor.copy_(old)

    def __call__(self, batch: dict[str, Tensor]) -> Gradients:
        """Losses and gradients, which the next call overwrites."""
        for name, tensor in batch.items():
            self.batch[name].copy_(tensor)
        self.graph.replay()
        return self.result
