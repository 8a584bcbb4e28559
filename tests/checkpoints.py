"""Writes checkpoints for tests, of networks that were never trained."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from mer import checkpoint, networks
from mer.checkpoint import About

LAENET = {"_target_": "mer.networks.LAENet"}
FLOW = {"_target_": "mer.encodings.ApexFlow", "size": 28, "scales": 2, "warps": 1, "outer_iterations": 1}
FRAMES = {"_target_": "mer.encodings.FramesAndFlow", "size": 32, "warps": 1, "outer_iterations": 1}
SPOTTING: dict[str, Any] = {
    "network": {
        "_target_": "mer.networks.TimeContrastNet",
        "size": 32,
        "width": 0.0625,
        "context_dilation": 2,
    },
    "in_channels": 5,
    "shape": [5, 32, 32],
    "encoding": FRAMES,
    "task": "spotting",
}


def make_about(**changes: Any) -> About:
    fields: dict[str, Any] = {
        "network": LAENET,
        "in_channels": 3,
        "classes": ["negative", "positive", "surprise"],
        "label_map": {"anger": "negative", "joy": "positive", "surprise": "surprise", "other": None},
        "task": "classification",
        "window": 64,
        "encoding": FLOW,
        "shape": [3, 28, 28],
        "faces": {"method": "auto", "margins": [25, 0, 5, 5], "align": False},
        "cropped": False,
        "apex": "spot_missing",
        "fps": [200.0],
        "databases": ["a"],
        "trained_on": ["a/s1", "a/s2"],
        "fingerprints": [],
        "run": {"experiment": "laenet", "variant": "base", "seed": 0, "fold": "a/s3", "epoch": 3},
        "synthetic": False,
        "mer": "0.1.0",
        "commit": "abc",
    }
    return About(**fields | changes)


def make_network(about: About, *, seed: int = 0) -> nn.Module:
    """The network that the metadata name, its weights and its running statistics drawn."""
    torch.manual_seed(seed)
    keywords: dict[str, Any] = {name: value for name, value in about.network.items() if name != "_target_"}
    made = getattr(networks, str(about.network["_target_"]).rpartition(".")[2])
    network: nn.Module = made(in_channels=about.in_channels, num_classes=len(about.classes), **keywords)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(std=0.1)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif tensor.ndim > 1:
                tensor.mul_(1.5)
    return network.eval()


def write_fold(into: Path, fold: str, *, seed: int = 0, **changes: Any) -> nn.Module:
    """The checkpoint of a fold in a run folder; gives its network."""
    about = make_about(**changes)
    network = make_network(about, seed=seed)
    folder = into / f"fold-{fold.replace('/', '.')}"
    folder.mkdir(parents=True)
    checkpoint.write(folder, network, about)
    return network
