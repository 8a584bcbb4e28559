"""Checks of the options and images that several of the papers' networks share."""

from typing import get_args

from torch import Tensor

from mer.errors import MerError


def check_choice(key: str, value: str, choices: object) -> None:
    """Raise MerError unless ``network.<key>`` is one of the values of a Literal type."""
    if value not in get_args(choices):
        raise MerError(f"network.{key}={value!r}: choose one of {', '.join(get_args(choices))}")


def check_momentum(norm_momentum: float) -> None:
    """Raise MerError unless it can be the weight of a batch in running statistics."""
    if not 0 < norm_momentum <= 1:
        raise MerError(f"network.norm_momentum={norm_momentum}: give a weight above 0, up to 1")


def check_images(images: Tensor, network: str, size: int, papers: int) -> None:
    """Raise MerError unless images (B, C, H, W) have the side that a network's FCs were built for.

    Args:
        images: the input.
        network: its name, for the message.
        size: the side that it was built for.
        papers: the side in the paper, for the message.
    """
    height, width = images.shape[-2:]
    if (height, width) != (size, size):
        raise MerError(
            f"{network} was built for images of {size}x{size}, not {height}x{width}: set network.size to "
            f"encoding.size (the paper's: {papers})"
        )
