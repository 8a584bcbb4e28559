"""Weights from a formula: the same on every machine, with no two filters alike."""

import torch
from torch import Tensor, nn


def fill(network: nn.Module) -> dict[str, Tensor]:
    """Give every tensor of a network its own values, in eval mode; returns them by name.

    They look random: smooth ones would cancel in the convolutions, and no image would matter any more.
    """
    for k, tensor in enumerate(network.state_dict().values()):
        if not tensor.is_floating_point():
            continue
        index = torch.arange(tensor.numel(), dtype=torch.float64)
        uniform = 43758.5453 * torch.sin(12.9898 * index + 78.233 * k)
        unit = (uniform - uniform.floor() - 0.5).view_as(tensor) * 12**0.5  # mean 0, variance 1
        tensor.copy_(unit * (2 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else 0.1 * unit)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_var is not None
            module.weight.data += 1
            module.running_var += 1
    return dict(network.eval().state_dict())


def draw_images(*shape: int, seed: int = 0) -> Tensor:
    """Images 0..255."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 255
