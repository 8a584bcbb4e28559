"""The LightningModule that trains the time-contrasted network: when, and which expression.

Stage 1 trains the spatial network to classify frames and the temporal network to tell moving pixels, each
alone; stage 2 freezes both and trains the rest on sequences ("the trained model is used to train the
intermediate Convolution Layers and GRU Module", section 3 of the paper).
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mer.data.sequences import NONE
from mer.errors import MerError
from mer.networks.time_contrast import TimeContrastNet


class Spotting(pl.LightningModule):
    """Train a network on stretches of videos (``mer.data.sequences.VideoData``), frame by frame.

    Logs ``train_loss``, and in stage 2 its parts ``train_class_loss`` and ``train_intensity_loss``, once an
    epoch.

    Args:
        network: its parts ``spatial`` and ``temporal`` may be None, in an ablation.
        optimizer: parameters -> optimizer; RMSProp, 1e-4, weight decay 0.005 (the paper's) where None.
        scheduler: optimizer -> learning-rate scheduler, stepped once an epoch; none where None.
        pretrain_epochs: epochs of stage 1; 0 is none. How long is not printed.
        frozen: whether stage 2 leaves the spatial and temporal network as they are (the paper); False
            trains all of it (ours), as does a training without stage 1.
        truncation: frames of a stretch after which the memory's gradient ends and the weights are
            updated; the state is carried on. The paper's stretches are of 14, which is one such part.
        motion: flow above which a pixel moves, in pixels of the encoded frame (ours; stage 1).
        intensity_weight: of eq 5 beside eq 4; the paper has them equal, or does not print otherwise.
        inside_share: part of eq 5 that frames inside expressions have (ours), or None: as many as they are
            (the paper). Most are outside, where the intensity is 0; up to a half, the constant that fits
            best is 0, where a sigmoid hardly learns.
        stretch, draws, focus: of the training stretches, read by ``VideoData``; see there.
        window: frames that are scored at a time at test; memory grows with it and not with the video.
        class_weights: (num_classes,) weight of each class in eq 4, or None.
    """

    def __init__(
        self,
        network: TimeContrastNet,
        *,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        pretrain_epochs: int = 0,
        frozen: bool = True,
        truncation: int = 14,
        motion: float = 0.1,
        intensity_weight: float = 1.0,
        inside_share: float | None = None,
        stretch: int = 14,
        draws: int = 1,
        focus: float = 0.5,
        window: int = 64,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("truncation", truncation), ("window", window)):
            if value < 1:
                raise MerError(f"task.{name}={value}: at least 1")
        if inside_share is not None and not 0 < inside_share < 1:
            raise MerError(f"task.inside_share={inside_share}: give a number between 0 and 1, or null")
        if pretrain_epochs < 0 or motion < 0 or intensity_weight < 0:
            raise MerError(
                f"task.pretrain_epochs={pretrain_epochs}, task.motion={motion}, "
                f"task.intensity_weight={intensity_weight}: none of them below 0"
            )
        self.automatic_optimization = False  # one step each `truncation` frames
        # Convolutions read channels_last frames, which the data module gives, without a copy.
        self.network = network.to(memory_format=torch.channels_last)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.pretrain_epochs = pretrain_epochs
        self.frozen = frozen
        self.truncation = truncation
        self.motion = motion
        self.intensity_weight = intensity_weight
        self.inside_share = inside_share
        self.stretch = stretch
        self.draws = draws
        self.focus = focus
        self.window = window
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Intensity (B, T - 1) of sequences (B, T, C, H, W)."""
        intensity: Tensor = self.network(frames).intensity
        return intensity

    def configure_optimizers(self) -> Any:
        """The optimizer, with its scheduler where there is one; a weight without gradient stays as it is."""
        make = self.optimizer or (lambda weights: torch.optim.RMSprop(weights, lr=1e-4, weight_decay=0.005))
        optimizer = make(self.network.parameters())
        if self.scheduler is None:
            return optimizer
        return [optimizer], [self.scheduler(optimizer)]

    @property
    def pretrains(self) -> bool:
        """Whether this epoch is of stage 1."""
        return self.current_epoch < self.pretrain_epochs

    def on_train_epoch_start(self) -> None:
        """End stage 1, where it ends."""
        if self.frozen and 0 < self.pretrain_epochs == self.current_epoch:
            self.network.freeze_pretrained()

    def on_train_epoch_end(self) -> None:
        """Step the scheduler, which Lightning leaves to a module that steps its own optimizer."""
        scheduler = self.lr_schedulers()
        if scheduler is not None and not isinstance(scheduler, list):
            scheduler.step()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One step for each part of the stretches; all is one step in stage 1."""
        if self.pretrains:
            self._update({"train_loss": self.pretrain_loss(batch)}, len(batch["real"]))
            return
        state: Any = None
        for start in range(0, batch["real"].shape[1], self.truncation):
            part = slice(start, start + self.truncation)
            known = {name: values[:, part] for name, values in batch.items() if name != "frames"}
            if not known["real"].any():
                break
            steps = self.network(batch["frames"][:, start : start + self.truncation + 1], state)
            state = _detached(steps.state)
            self._update(self.losses(steps.logits, steps.intensity, known), len(batch["real"]))

    def losses(self, logits: Tensor, intensity: Tensor, known: dict[str, Tensor]) -> dict[str, Tensor]:
        """Eq 4 and eq 5 of a batch of steps. What lies after a video's end counts nowhere.

        Args:
            logits: (B, S, num_classes).
            intensity: (B, S), predicted.
            known: ``real``, ``intensity``, ``inside``, ``target`` and ``expression``, (B, S) each, see
                ``VideoData``.
        """
        weights = self.class_weights if isinstance(self.class_weights, Tensor) else None
        of_class = class_loss(logits, known["target"], known["expression"], known["real"], weights)
        defined = known["real"] & ~known["intensity"].isnan()
        error = (intensity - known["intensity"].nan_to_num()).abs()
        outside = defined & ~known["inside"]
        inside = defined & known["inside"]
        if self.inside_share is not None and inside.any() and outside.any():
            of_intensity = torch.lerp(
                _mean_over(error, outside), _mean_over(error, inside), self.inside_share
            )
        else:
            of_intensity = _mean_over(error, defined)
        return {
            "train_loss": of_class + self.intensity_weight * of_intensity,
            "train_class_loss": of_class,
            "train_intensity_loss": of_intensity,
        }

    def pretrain_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Stage 1 (ours): frames by class, those outside all expressions a class more; pixels that move."""
        frames = batch["frames"][:, :-1][batch["real"]]
        loss = frames.new_zeros(())
        if self.network.spatial is not None:
            logits = self.network.frame_logits(frames[:, :3])
            target = torch.where(batch["inside"], batch["target"], logits.shape[1] - 1)[batch["real"]]
            # Frames of an expression without a class teach nothing; a batch may hold no others.
            each = F.cross_entropy(logits, target, ignore_index=NONE, reduction="sum")
            loss = loss + each / (target != NONE).sum().clamp(min=1)
        if self.network.temporal is not None:
            flow = frames[:, 3:]
            logits = self.network.motion_logits(flow)
            moved = flow.square().sum(dim=1, keepdim=True).sqrt()
            height, width = logits.shape[-2:]
            moves = F.adaptive_avg_pool2d(moved, (height, width)) > self.motion
            loss = loss + F.binary_cross_entropy_with_logits(logits, moves.float())
        return loss

    def _update(self, losses: dict[str, Tensor], size: int) -> None:
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(losses["train_loss"])
        optimizer.step()
        for name, value in losses.items():
            self.log(name, value.detach(), on_step=False, on_epoch=True, batch_size=size)


def class_loss(
    logits: Tensor, target: Tensor, expression: Tensor, real: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Eq 4 of the paper: cross entropy of the mean softmax over each expression's frames; 0 without one.

    Args:
        logits: (B, S, num_classes).
        target, expression: (B, S) int64, -1 where there is none.
        real: (B, S) bool: which steps count.
        weights: (num_classes,) of the classes in the mean, or None.
    """
    counted = real & (target != NONE)
    if not counted.any():
        return logits.sum() * 0.0
    row = torch.arange(len(logits), device=logits.device)[:, None].expand_as(target)[counted]
    pairs = torch.stack([row, expression[counted]])
    keys, place = torch.unique(pairs, dim=1, return_inverse=True)
    frames = torch.bincount(place).to(logits.dtype)
    probabilities = logits.new_zeros(keys.shape[1], logits.shape[2])
    probabilities = probabilities.index_add(0, place, logits.softmax(dim=2)[counted]) / frames[:, None]
    of_key = target.new_zeros(keys.shape[1]).index_copy(0, place, target[counted])
    return F.nll_loss(probabilities.clamp(min=1e-12).log(), of_key, weight=weights)


class Curves(NamedTuple):
    """What is predicted of videos, padded to the longest.

    Attributes:
        intensity: (B, T) float32, 0..1.
        probabilities: (B, T, num_classes) float32.
    """

    intensity: Tensor
    probabilities: Tensor


@torch.inference_mode()
def score_videos(
    network: nn.Module, frames: Tensor, firsts: Tensor, lengths: Tensor, *, window: int = 64
) -> Curves:
    """Score every frame of videos once: windows of frames, the memory's state carried from one to the next.

    A frame is scored from it and the next one; a video's last, for which there is none, from it twice.

    Args:
        network: a ``TimeContrastNet`` in eval mode.
        frames: (N, C, H, W), the frames of many videos one after another, perhaps a memory map.
        firsts: (B,) int64, position of each video's first frame.
        lengths: (B,) int64, frames of each.
        window: frames a time. It changes no score beyond rounding.

    Returns:
        Curves of the B videos; 0 after a video's end.
    """
    pixels = frames.permute(0, 2, 3, 1)
    device = next(network.parameters()).device
    longest = int(lengths.max())
    state: Any = None
    intensity, probabilities = [], []
    for start in range(0, longest, window):
        position = torch.arange(start, min(start + window, longest) + 1)
        place = firsts[:, None] + position.minimum(lengths[:, None] - 1)
        steps = network(pixels[place].movedim(-1, -3).to(device).float(), state)
        state = steps.state
        intensity.append(steps.intensity.cpu())
        probabilities.append(steps.logits.softmax(dim=2).cpu())
    there = torch.arange(longest) < lengths[:, None]
    return Curves(torch.cat(intensity, 1) * there, torch.cat(probabilities, 1) * there[..., None])


def _mean_over(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of the values that count; 0, with a gradient, where none does."""
    return (values * counted).sum() / counted.sum().clamp(min=1)


def _detached(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.detach()
    return None if state is None else tuple(part.detach() for part in state)
