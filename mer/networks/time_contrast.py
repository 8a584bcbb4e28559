"""The time-contrasted network with visual memory (Nag, Bhunia, Konwer and Roy 2019): when, and which."""

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks.context_contrast import ContextContrast
from mer.networks.deeplab_largefov import Norm, SpatialNetwork
from mer.networks.imagenet import Weights
from mer.networks.motion_pattern import TemporalNetwork
from mer.networks.options import check_images
from mer.networks.visual_memory import Memory, VisualMemory
from mer.networks.width import scaled
from mer.networks.xavier import fill_xavier


class Steps(NamedTuple):
    """What the network says of each pair of frames.

    Attributes:
        logits: (B, T - 1, num_classes).
        intensity: (B, T - 1), 0..1.
        state: what the memory holds after the last step, for the frames that follow; None without memory.
    """

    logits: Tensor
    intensity: Tensor
    state: Tensor | None


class TimeContrastNet(nn.Module):
    """Spatial and temporal network, context contrast, visual memory, two heads: one step a pair of frames.

    Step t reads the frames t and t + 1 and the flow between them: fc6 of each frame
    (:class:`mer.networks.deeplab_largefov.SpatialNetwork`), two 1x1 convolutions with tanh to 128 channels;
    :class:`mer.networks.context_contrast.ContextContrast` of both (eq 1-3); the temporal network's likelihood
    of motion (:class:`mer.networks.motion_pattern.TemporalNetwork`, sigmoid), averaged over 2x2 to the same
    1/8; both concatenated; :class:`mer.networks.visual_memory.VisualMemory`; two heads: FC 256 -> FC C, and
    FC 256 -> FC 1, sigmoid. Ours: 128 channels between the two 1x1 convolutions, ReLU between a head's FCs.

    Stage 1 trains ``spatial`` and ``temporal`` alone, by :meth:`frame_logits` and :meth:`motion_logits`; then
    :meth:`freeze_pretrained`, and stage 2 trains the rest by :meth:`forward`.

    No step depends on a later frame: steps before the padding of a batch are those of the clip alone, and a
    video in windows that share one frame, each given the state of the one before, has the steps of the
    whole. Both hold where batch norm does not learn (``eval``, or frozen). The state after padding is no
    clip's.

    Args:
        in_channels: of a sequence: 5, R, G, B, u, v.
        num_classes: classes of the label map.
        size: side of the frames, encoding.size, which decides the size of the memory's first FC.
        width: factor on every number of channels and hidden units, see :func:`mer.networks.width.scaled`.
        memory: ``gru``, ``convgru`` or ``none``.
        contrast: without, the map of frame t stands alone for the pair.
        spatial: without, there are no frames' maps, and so no contrast.
        temporal: without, the flow is not read.
        fc6_dilation: of the spatial network.
        context_dilation: of M_c.
        norm: of the spatial network, ``none`` or ``batch``.
        weights: of the spatial network, ``imagenet`` or None.

    Shape:
        sequence (B, T, 5, size, size): frames of 0..255, and the flow in pixels from each frame to the next,
        of which the last is not read; T >= 2 -> :class:`Steps` with T - 1 steps.

    Raises:
        MerError: an option is out of range, or nothing is left to read; other channels; frames of another
            size; a sequence of one frame.
    """

    def __init__(
        self,
        *,
        in_channels: int = 5,
        num_classes: int,
        size: int = 64,
        width: float = 1.0,
        memory: Memory = "gru",
        contrast: bool = True,
        spatial: bool = True,
        temporal: bool = True,
        fc6_dilation: int = 2,
        context_dilation: int = 4,
        norm: Norm = "none",
        weights: Weights | None = None,
    ) -> None:
        super().__init__()
        if in_channels != 5:
            raise MerError(
                f"TimeContrastNet takes frames with their flow (R, G, B, u, v), not {in_channels} channels: "
                "set encoding=frames_and_flow"
            )
        if size < 16 or size % 16:
            raise MerError(f"network.size={size}: give the side of the frames, a multiple of 16")
        if not (spatial or temporal):
            raise MerError("network.spatial=false and network.temporal=false: nothing is left to read")
        self.size = size
        channels, hidden = scaled(128, width), scaled(256, width)
        self.spatial = self.reduce = self.contrast = self.temporal = None
        if spatial:
            self.spatial = SpatialNetwork(
                num_classes=num_classes, width=width, fc6_dilation=fc6_dilation, norm=norm, weights=weights
            )
            self.reduce = nn.Sequential(
                nn.Conv2d(self.spatial.channels, channels, 1),
                nn.Tanh(),
                nn.Conv2d(channels, channels, 1),
                nn.Tanh(),
            )
            fill_xavier(self.reduce)
            if contrast:
                self.contrast = ContextContrast(channels=channels, dilation=context_dilation)
        if temporal:
            self.temporal = TemporalNetwork(width=width)
        self.memory = VisualMemory(
            in_channels=channels * spatial + temporal, size=size // 8, hidden=hidden, memory=memory
        )
        self.class_head = _head(hidden, num_classes)
        self.intensity_head = _head(hidden, 1)
        self._frozen = False

    def forward(self, sequence: Tensor, state: Tensor | None = None) -> Steps:
        """The T - 1 steps of a sequence (B, T, 5, size, size), after what ``state`` remembers."""
        self._check(sequence)
        maps = []
        if self.spatial is not None:
            frames = self._frame_maps(sequence)
            maps.append(frames[:, :-1] if self.contrast is None else self.contrast(frames))
        if self.temporal is not None:
            flow = sequence[:, :-1, 3:]
            motion = F.avg_pool2d(self.temporal(flow.flatten(0, 1)).sigmoid(), 2)
            maps.append(motion.reshape(*flow.shape[:2], *motion.shape[1:]))
        vectors, state = self.memory(torch.cat(maps, dim=2), state)
        return Steps(self.class_head(vectors), self.intensity_head(vectors).squeeze(-1).sigmoid(), state)

    def frame_logits(self, frames: Tensor) -> Tensor:
        """Stage 1: logits (N, num_classes + 1) of frames (N, 3, H, W) of 0..255; the last is neutral's.

        Raises:
            MerError: there is no spatial network.
        """
        if self.spatial is None:
            raise MerError("network.spatial=false: there is no spatial network to train on frames")
        logits: Tensor = self.spatial(frames)
        return logits

    def motion_logits(self, flow: Tensor) -> Tensor:
        """Stage 1: logits of motion (N, 1, H / 4, W / 4) of flow (N, 2, H, W) in pixels.

        Raises:
            MerError: there is no temporal network.
        """
        if self.temporal is None:
            raise MerError("network.temporal=false: there is no temporal network to train on flow")
        logits: Tensor = self.temporal(flow)
        return logits

    def contrast_maps(self, sequence: Tensor) -> Tensor:
        """Equations 1, 2, 3 on a sequence (B, T, 5, size, size): (B, T - 1, 3, 128, size / 8, size / 8).

        Raises:
            MerError: there is no context contrast; or the sequence does not fit.
        """
        if self.contrast is None:
            raise MerError("network.contrast=false or network.spatial=false: there are no contrast maps")
        self._check(sequence)
        return self.contrast.differences(self._frame_maps(sequence))

    def freeze_pretrained(self) -> None:
        """End stage 1: the spatial and temporal network learn no more, nor do their running statistics."""
        self._frozen = True
        for module in self._pretrained():
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for what is frozen."""
        super().train(mode)
        if self._frozen:
            for module in self._pretrained():
                module.eval()
        return self

    def _pretrained(self) -> list[nn.Module]:
        return [module for module in (self.spatial, self.temporal) if module is not None]

    def _check(self, sequence: Tensor) -> None:
        check_images(sequence, "TimeContrastNet", self.size, 64)
        if sequence.ndim != 5 or sequence.shape[2] != 5:
            raise MerError(
                f"TimeContrastNet takes sequences (B, T, 5, H, W), not {tuple(sequence.shape)}: "
                "set encoding=frames_and_flow"
            )
        if sequence.shape[1] < 2:
            raise MerError("TimeContrastNet compares each frame with the next: give two frames or more")

    def _frame_maps(self, sequence: Tensor) -> Tensor:
        """Each frame's map (B, T, channels, h, w), -1..1, computed once."""
        assert self.spatial is not None
        assert self.reduce is not None
        maps: Tensor = self.reduce(self.spatial.features(sequence[:, :, :3].flatten(0, 1)))
        return maps.reshape(*sequence.shape[:2], *maps.shape[1:])


def _head(hidden: int, outputs: int) -> nn.Sequential:
    head = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs))
    fill_xavier(head)
    return head
