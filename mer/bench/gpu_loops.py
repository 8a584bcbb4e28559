"""What the GPU's figures stand beside: one fold after another, on the same drawn set and the same device."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from mer.data import splits
from mer.data.clips import validate
from mer.data.encoded import EncodedSet
from mer.data.module import FoldData
from mer.networks import LAENet, STSTNet
from mer.tasks import Classification
from mer.trainer import quiet_lightning

CLASSES = ["negative", "positive", "surprise"]
CLIPS, SUBJECTS, SIDE, BATCH_SIZE = 442, 68, 28, 256  # the composite of MEGC 2019
ENGINE_EPOCHS = 800  # STSTNet's release
LOOP_EPOCHS = 100  # of one fold in the sequential loops
REPETITIONS = 3
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "ststnet": partial(STSTNet, padding="release"),
    "laenet": LAENet,
}
Figures = dict[str, Any]


def sequential_loops(device: torch.device) -> Figures:
    """One fold after another: Lightning as the library has it, and a bare loop; seconds a whole LOSO takes.

    The loss must fall, so that what is timed trains.
    """
    clips, encoded = draw_set(device)
    data = fold_data(clips, encoded)
    figures: Figures = {"epochs": LOOP_EPOCHS}
    for name, make in NETWORKS.items():
        bare(make, data, device, epochs=2)  # kernels are loaded
        loop_s, first, last = bare(make, data, device, epochs=LOOP_EPOCHS)
        if LOOP_EPOCHS > 10 and not last < first:
            raise RuntimeError(f"{name}: the loss went from {first} to {last}")
        lightning_s = lightning(make, data, device, epochs=LOOP_EPOCHS)
        figures[name] = {
            "bare_epoch_ms": round(1000 * loop_s / LOOP_EPOCHS, 3),
            "lightning_epoch_ms": round(1000 * lightning_s / LOOP_EPOCHS, 3),
            "bare_loso_s": round(loop_s / LOOP_EPOCHS * SUBJECTS * ENGINE_EPOCHS, 1),
            "lightning_loso_s": round(lightning_s / LOOP_EPOCHS * SUBJECTS * ENGINE_EPOCHS, 1),
            "loss": [round(first, 4), round(last, 4)],
        }
    return figures


def draw_set(device: torch.device, *, shade: float = 0.7) -> tuple[pd.DataFrame, EncodedSet]:
    """A clip table and random images, channels_last, on the device; a class is told by a channel's shade."""
    generator = torch.Generator().manual_seed(0)
    table = pd.DataFrame(
        {
            "database": "drawn",
            "subject": [f"s{clip % SUBJECTS:02d}" for clip in range(CLIPS)],
            "clip": [f"c{clip:04d}" for clip in range(CLIPS)],
            "label": [CLASSES[clip // SUBJECTS % len(CLASSES)] for clip in range(CLIPS)],
            "image": "drawn.png",
        }
    )
    clips = validate(table.reindex(columns=[*table.columns, "onset", "apex", "offset", "fps"]), "drawn")
    pixels = torch.rand(CLIPS, SIDE, SIDE, 3, generator=generator) * 255
    for row, label in enumerate(clips["label"]):
        pixels[row, :, :, CLASSES.index(label)] *= shade
    return clips, EncodedSet(pixels.to(device).permute(0, 3, 1, 2), "drawn", Path("drawn"))


def fold_data(clips: pd.DataFrame, encoded: EncodedSet) -> FoldData:
    """The first fold."""
    split = splits.loso(clips)[0]
    return FoldData(clips=clips, classes=CLASSES, split=split, encoded=encoded, batch_size=BATCH_SIZE)


def bare(
    make: Callable[..., nn.Module], data: FoldData, device: torch.device, epochs: int
) -> tuple[float, float, float]:
    """Seconds of a loop without Lightning, and the loss of its first and last step."""
    torch.manual_seed(0)
    network = make(in_channels=3, num_classes=3).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    pixels, target = data.images.permute(0, 2, 3, 1), data.targets.to(device)
    rows = torch.tensor(data.split.train, device=device)
    losses = []
    start = now(device)
    for _ in range(epochs):
        for index in torch.split(rows[torch.randperm(len(rows), device=device)], BATCH_SIZE):
            optimizer.zero_grad()
            loss = F.cross_entropy(network(pixels[index].permute(0, 3, 1, 2)), target[index])
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.detach())
    seconds = now(device) - start
    return seconds, losses[0].item(), losses[-1].item()


def lightning(make: Callable[..., nn.Module], data: FoldData, device: torch.device, epochs: int) -> float:
    """Seconds of the same fold by Lightning, as the library is used without Hydra."""
    torch.manual_seed(0)
    optimizer = partial(torch.optim.Adam, lr=1e-3, fused=True)
    task = Classification(make(in_channels=3, num_classes=3), optimizer=optimizer)
    with quiet_lightning():
        trainer = pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        start = now(device)
        trainer.fit(task, datamodule=data)
        return now(device) - start


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Median seconds of a call, after one that loads its kernels."""
    call()
    seconds = []
    for _ in range(REPETITIONS):
        start = now(device)
        call()
        seconds.append(now(device) - start)
    return statistics.median(seconds)


def now(device: torch.device) -> float:
    """The clock when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
