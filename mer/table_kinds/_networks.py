"""A network as the YAML of a table of layers or of complexity names it, and what is counted of it.

A row (or, for ``layers``, the table) has one of ``variant: laenet/base`` and ``network: laenet``, a config of
conf/network; ``options``, keywords of the network that differ; one of ``data: casme2`` and ``classes: 5``;
and ``input: [3, 28, 28]``, channels, height and width, which a variant takes from its encoding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mer import config
from mer.errors import MerError
from mer.prepare import make_encoding
from mer.runs import BASE_VARIANT
from mer.table_file import variant_parts

FIELDS: Mapping[str, Any] = {
    "variant": str,
    "network": str,
    "options": dict,
    "input": list,
    "data": str,
    "classes": int,
}
# What autograd calls a convolution and an FC.
_WEIGHTED = ("Convolution", "Addmm", "Mm", "Bmm")


@dataclass(frozen=True)
class Network:
    """How a network is made, and what it is given."""

    make: "partial[Any]"
    channels: int
    height: int
    width: int
    classes: int

    def build(self, device: Literal["meta", "cpu"] = "meta") -> tuple[nn.Module, Tensor]:
        """The network in eval mode, random weights, and one zero image (1, C, H, W).

        On ``meta`` both have shapes and no values: counts need no more, and VGG-16 takes no memory.

        Raises:
            MerError: an option that it does not have, or that is out of range.
        """
        with torch.device(device):
            network = config.call(self.make, "network", in_channels=self.channels, num_classes=self.classes)
            return network.eval(), torch.zeros(1, self.channels, self.height, self.width)


def find_network(path: Path, where: str, fields: Mapping[str, Any]) -> Network:
    """The network that the keys of :data:`FIELDS` name.

    Raises:
        MerError: keys that contradict each other, a config that is not there, or a wrong input.
    """
    if ("variant" in fields) == ("network" in fields):
        raise MerError(f"{path}: {where}: exactly one of variant and network is needed")
    if ("data" in fields) == ("classes" in fields):
        raise MerError(f"{path}: {where}: exactly one of data and classes is needed, for the last layer")
    if "network" in fields and "input" not in fields:
        raise MerError(f"{path}: {where}: network={fields['network']} needs input: [channels, height, width]")
    cfg = config.compose(_overrides(path, where, fields))
    made = config.factory(config.resolved(cfg)["network"], nn.Module, "network")
    keywords = {**made.keywords, **{str(key): value for key, value in fields.get("options", {}).items()}}
    if "weights" in keywords:
        keywords["weights"] = None  # counts do not depend on them, and they may not be on this machine
    shape = fields["input"] if "input" in fields else _encoded_shape(path, where, make_encoding(cfg))
    if len(shape) != 3 or not all(type(side) is int and side > 0 for side in shape):
        raise MerError(f"{path}: {where}.input: {shape} does not fit, [channels, height, width] is needed")
    channels, height, width = shape
    return Network(partial(made.func, **keywords), channels, height, width, _classes(path, where, fields))


def depth(output: Tensor) -> int:
    """Convolutions and FCs on the longest way from the image to an output that has a gradient."""
    longest: dict[Any, int] = {}
    pending = [output.grad_fn]
    while pending:
        node = pending[-1]
        before = [each for each, _ in node.next_functions if each is not None] if node else []
        if waiting := [each for each in before if each not in longest]:
            pending += waiting
            continue
        assert node is not None
        own = node.name().startswith(_WEIGHTED)
        longest[node] = own + max((longest[each] for each in before), default=0)
        pending.pop()
    return longest[output.grad_fn]


def parameter_count(network: nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters())


def _overrides(path: Path, where: str, fields: Mapping[str, Any]) -> list[str]:
    if "network" in fields:
        return [f"network={fields['network']}"]
    experiment, variant = variant_parts(path, where, fields["variant"])
    chosen = [] if variant == BASE_VARIANT else [f"variant={experiment}/{variant}"]
    return [f"experiment={experiment}", *chosen]


def _classes(path: Path, where: str, fields: Mapping[str, Any]) -> int:
    if "classes" in fields:
        if fields["classes"] < 1:
            raise MerError(f"{path}: {where}.classes={fields['classes']}: at least 1 is needed")
        return int(fields["classes"])
    names = config.compose([f"data={fields['data']}"]).data.classes
    if names is None:
        raise MerError(f"{path}: {where}.data={fields['data']}: its config lists no classes; give classes:")
    return len(names)


def _encoded_shape(path: Path, where: str, encoding: nn.Module | None) -> list[int]:
    """Channels, height and width of what an encoding gives, tried on two black frames in colour."""
    if encoding is None or encoding.gives != "image":
        raise MerError(f"{path}: {where}: its encoding gives no image; give input: [channels, height, width]")
    eyes = [torch.zeros(1, 2, 6, 2)] if encoding.masks_eyes else []
    with torch.inference_mode():
        image: Tensor = encoding(torch.zeros(1, 2, 3, 64, 64), torch.tensor([2]), *eyes)
    return list(image.shape[1:])
