"""Weights from a formula: the same on every machine, with no two filters alike."""

from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


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


def parameters(network: nn.Module) -> int:
    """How many there are."""
    return sum(parameter.numel() for parameter in network.parameters())


def filled(network: Network) -> Network:
    """The network in double precision with weights of a wave; vectors (also variances) are positive."""
    network.double()
    with torch.no_grad():
        for k, value in enumerate(network.state_dict().values()):
            if value.is_floating_point():
                wave = torch.sin(torch.arange(value.numel(), dtype=torch.float64) * (0.7 + k)).view_as(value)
                value.copy_(0.6 + 0.3 * wave if value.ndim == 1 else wave * (4 / value[0].numel()) ** 0.5)
    return network
