"""AffectiveNet: features of four receptive fields on an affective-motion image (Verma et al. 2021)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mer.errors import MerError
from mer.networks.options import check_choice, check_images, check_momentum
from mer.networks.same_padding import Padding, SameConv2d

MFL = Literal["full", "lfc", "no_fc", "none"]


class EncapFeat(nn.Module):
    """Two convolutions of 32 filters, added, then one of 64, all with stride 2 (eq 9, 10).

    Args:
        in_channels: channels of the input.
        kernels: sides of the two filters that are added.
        refine_kernel: side of the 64 filters on their sum.
        padding: see :class:`AffectiveNet`.

    Shape:
        (B, in_channels, H, W) -> (B, 64, H', W') with H' = ceil(H / 4).
    """

    def __init__(
        self, *, in_channels: int, kernels: Sequence[int], refine_kernel: int, padding: Padding
    ) -> None:
        super().__init__()
        small, large = kernels
        self.small = SameConv2d(in_channels, 32, small, stride=2, padding=padding)
        self.large = SameConv2d(in_channels, 32, large, stride=2, padding=padding)
        self.refine = SameConv2d(32, 64, refine_kernel, stride=2, padding=padding)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, 64, H', W') of maps (B, in_channels, H, W)."""
        both = torch.relu_(self.small(maps)) + torch.relu_(self.large(maps))
        return torch.relu_(self.refine(both))


class AffectiveNet(nn.Module):
    """MICRoFeat, then MFL (fig 2, eq 6-16): 2,271,296 parameters at 112x112x3 and four classes.

    MICRoFeat: a stream for each of four kernels, conv/1 of 16 filters -> :class:`EncapFeat`; concat ->
    batch norm. MFL: Fm2 = conv 3x3/2 184, Fm3 = conv 3x3/2 196 (conv 3x3/2 128 (Fm2)), logits = FC (batch
    norm (FC 32 (Fm2) || FC 32 (Fm3))). ReLU after each convolution, none after an FC: the paper prints
    neither. Batch norm has the eps of its authors' Keras releases, 1e-3.

    The paper's ablation (its table 1): ``encap_kernels`` (5, 7) is KS-1 and (7, 11) KS-2; ``mfl`` lfc is
    LFC and no_fc WoMFL; 3x3 is ``stream_kernels`` (3, 3, 3, 3) with ``encap_kernels`` (3, 3); 1x1 is
    (1, 5, 7, 11), (1, 5) and ``refine_kernel`` 1.

    Args:
        in_channels: channels of the image.
        num_classes: classes of the label map.
        size: side of the images, which decides the sizes of the FCs. The paper prints none; of the usual
            ones, 112 gives its counts.
        stream_kernels: side of each stream's first filters (eq 7).
        encap_kernels: sides of the two filters that EncapFeat adds.
        refine_kernel: side of EncapFeat's last filters.
        mfl: ``full``; ``lfc``: one FC path, of Fm3; ``no_fc``: Fm3 straight to the classifier; ``none``: the
            classifier on MICRoFeat, the other reading of WoMFL.
        padding: ``symmetric`` or ``keras``, see :class:`~mer.networks.same_padding.SameConv2d`.
        norm_momentum: weight of a batch in the running statistics. The releases' .01 needs several hundred
            batches; raise it for a short training.

    Shape:
        images (B, in_channels, size, size), any scale -> logits (B, num_classes).

    Raises:
        MerError: an option is out of range, or images are of another size.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        size: int = 112,
        stream_kernels: Sequence[int] = (3, 5, 7, 11),
        encap_kernels: Sequence[int] = (3, 5),
        refine_kernel: int = 3,
        mfl: MFL = "full",
        padding: Padding = "symmetric",
        norm_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if size < 1:
            raise MerError(f"network.size={size}: give the side of the images, encoding.size")
        if not stream_kernels:
            raise MerError("network.stream_kernels=[]: give the kernel of each stream, such as [3, 5, 7, 11]")
        if len(encap_kernels) != 2:
            raise MerError(f"network.encap_kernels={list(encap_kernels)}: give two kernels, such as [3, 5]")
        check_choice("mfl", mfl, MFL)
        check_momentum(norm_momentum)
        self.size = size
        self.mfl = mfl
        self.streams = nn.ModuleList(
            nn.Sequential(
                SameConv2d(in_channels, 16, kernel, padding=padding),
                nn.ReLU(inplace=True),
                EncapFeat(
                    in_channels=16, kernels=encap_kernels, refine_kernel=refine_kernel, padding=padding
                ),
            )
            for kernel in stream_kernels
        )
        channels = 64 * len(stream_kernels)
        self.norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=norm_momentum)
        side2, side3 = -(-size // 8), -(-size // 32)
        if mfl == "none":
            features = channels * (-(-size // 4)) ** 2
        else:
            self.conv2 = SameConv2d(channels, 184, 3, stride=2, padding=padding)
            self.conv3 = nn.Sequential(
                SameConv2d(184, 128, 3, stride=2, padding=padding),
                nn.ReLU(inplace=True),
                SameConv2d(128, 196, 3, stride=2, padding=padding),
                nn.ReLU(inplace=True),
            )
            features = 196 * side3**2
        if mfl in ("full", "lfc"):
            if mfl == "full":
                self.fc2 = nn.Linear(184 * side2**2, 32)
            self.fc3 = nn.Linear(features, 32)
            features = 64 if mfl == "full" else 32
            self.feature_norm = nn.BatchNorm1d(features, eps=1e-3, momentum=norm_momentum)
        self.classifier = nn.Linear(features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, in_channels, size, size)."""
        check_images(images, "AffectiveNet", self.size, 112)
        maps = self.norm(torch.cat([stream(images) for stream in self.streams], dim=1))
        logits: Tensor = self.classifier(self._features(maps))
        return logits

    def _features(self, maps: Tensor) -> Tensor:
        if self.mfl == "none":
            return maps.flatten(1)
        maps2 = torch.relu_(self.conv2(maps))
        maps3: Tensor = self.conv3(maps2).flatten(1)
        if self.mfl == "no_fc":
            return maps3
        parts = [self.fc3(maps3)]
        if self.mfl == "full":
            parts.insert(0, self.fc2(maps2.flatten(1)))
        normed: Tensor = self.feature_norm(torch.cat(parts, dim=1))
        return normed
