"""``mer bench roofline``: a training step's arithmetic and traffic against what one core can do.

FLOPs are those that PyTorch counts in convolutions and matrix products, forward and backward. Bytes are
those of an eager step, in which every operation reads its tensors from memory and writes its results there;
caches make it less. The limits are measured in the same run, with one thread as a fold has: a matrix
product in float32, and a copy that no cache holds. The floor of a step is the longer of the two times.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from mer.bench.turns import in_turn
from mer.networks import LAENet, STSTNet
from mer.trainer import use_one_thread

BATCH_SIZE, SIDE, CLASSES = 256, 28, 3
REPETITIONS = 20
MATRIX, COPIED = 1024, 64 << 20  # side of the product; values of the copy, 256 MiB
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "ststnet": partial(STSTNet, padding="release"),
    "laenet": LAENet,
}


def measure() -> dict[str, Any]:
    """Of each network; ``ratio`` is STSTNet's measured step to its floor: 1 would be the limit."""
    use_one_thread()
    steps = {name: _step(make) for name, make in NETWORKS.items()}
    counts = {name: count(step) for name, step in steps.items()}
    left, right = torch.rand(2, MATRIX, MATRIX)
    source = torch.rand(COPIED)
    target = torch.empty_like(source)
    turns: dict[str, Callable[[], object]] = {
        **steps,
        "gemm": partial(torch.mm, left, right),
        "copy": partial(target.copy_, source),
    }
    for call in turns.values():  # first calls set up their kernels
        call()
    seconds = in_turn(turns, REPETITIONS)
    gflops = 2 * MATRIX**3 / seconds["gemm"] / 1e9
    gigabytes = 2 * COPIED * source.element_size() / seconds["copy"] / 1e9
    figures = {
        name: against(flops, moved, seconds[name], gflops, gigabytes)
        for name, (flops, moved) in counts.items()
    }
    for name, of_network in figures.items():
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in of_network.items())}")
    return {
        "ratio": figures["ststnet"]["measured_to_floor"],
        "batch_size": BATCH_SIZE,
        "threads": torch.get_num_threads(),
        "gemm_gflops": round(gflops, 1),
        "copy_gb_s": round(gigabytes, 2),
        "torch": torch.__version__,
        **figures,
    }


def against(flops: int, moved: int, seconds: float, gflops: float, gigabytes: float) -> dict[str, Any]:
    """Milliseconds that a step's arithmetic and its traffic would take at the limits, and what it takes."""
    arithmetic, traffic = flops / gflops / 1e6, moved / gigabytes / 1e6
    return {
        "mflop": round(flops / 1e6, 1),
        "mbytes": round(moved / 1e6, 1),
        "arithmetic_ms": round(arithmetic, 3),
        "traffic_ms": round(traffic, 3),
        "bound_by": "arithmetic" if arithmetic > traffic else "memory",
        "measured_ms": round(1000 * seconds, 3),
        "measured_to_floor": round(1000 * seconds / max(arithmetic, traffic), 2),
    }


def count(step: Callable[[], object]) -> tuple[int, int]:
    """FLOPs and bytes of a call."""
    with FlopCounterMode(display=False) as flops, BytesMoved() as moved:
        step()
    return flops.get_total_flops(), moved.total


class BytesMoved(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the tensors that each operation reads and writes; views move nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count it."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            self.total += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


def _step(make: Callable[..., nn.Module]) -> Callable[[], None]:
    """A training step as a fold takes it: channels_last, fused Adam."""
    network = make(in_channels=3, num_classes=CLASSES).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-5, fused=True)
    images = torch.rand(BATCH_SIZE, 3, SIDE, SIDE).mul_(255).contiguous(memory_format=torch.channels_last)
    target = torch.randint(CLASSES, (BATCH_SIZE,))

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(images), target))
        optimizer.step()

    return step
