"""OrigiNet: hybrid features and two parallel FCs on an active image (Verma et al. 2020)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mer.errors import MerError
from mer.networks.options import check_choice, check_images, check_momentum
from mer.networks.refined_relu import ACTIVATIONS, Activation
from mer.networks.same_padding import Padding, SameConv2d

Head = Literal["authors", "printed", "lfc"]


class OrigiNet(nn.Module):
    """Three hybrid feature blocks and augmented learning (eq 4-11): 1,873,384 parameters at 128x128x3, C = 8.

    Stages of 16, 32 and 64 filters (eq 7, 8): act(conv 3x3/2) + act(conv 5x5/2), batch norm. A fourth stage
    has two lanes of 96 filters, and two FC 128 of it meet in the classifier. No activation follows an FC.
    Batch norm has the eps of the authors' Keras release, 1e-3.

    The paper's ablation (its table VI): ``activation`` sigmoid is Sig and leaky LR; ``head`` lfc is LFC;
    ``kernels`` (1, 3) is KS-1 and (5, 7) KS-2. WDy is another encoding, the dynamic image.

    Args:
        in_channels: channels of the image.
        num_classes: classes of the label map.
        size: side of the images, which decides the sizes of the FCs; 128 in the authors' code.
        kernels: sides of the two lanes' filters in all four stages.
        head: ``authors``, the released model: the small lane reads stage 3 normalised, the large one reads
            its sum before batch norm, and each has its own FC 128. ``printed``, eq 5 and 6: stage 4 is like
            the others, both FC 128 read its normalised sum. ``lfc``: the small lane and its FC alone.
        activation: a name of :data:`~mer.networks.refined_relu.ACTIVATIONS`; the paper's is refined (eq 4).
        padding: ``symmetric`` or ``keras``, see :class:`~mer.networks.same_padding.SameConv2d`.
        norm_momentum: weight of a batch in the running statistics. The release's .01 needs several hundred
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
        size: int = 128,
        kernels: Sequence[int] = (3, 5),
        head: Head = "authors",
        activation: Activation = "refined",
        padding: Padding = "symmetric",
        norm_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if size < 1:
            raise MerError(f"network.size={size}: give the side of the images, encoding.size")
        if len(kernels) != 2:
            raise MerError(f"network.kernels={list(kernels)}: give two kernels, such as [3, 5]")
        check_choice("head", head, Head)
        if activation not in ACTIVATIONS:
            raise MerError(f"network.activation={activation!r}: choose one of {', '.join(ACTIVATIONS)}")
        check_momentum(norm_momentum)
        widths = (in_channels, 16, 32, 64, 96)
        lanes = 1 if head == "lfc" else 2
        norms = 4 if head == "printed" else 3
        stages = (4, 2 + lanes)  # of the small and of the large lane
        self.size = size
        self.head = head
        self.activation = ACTIVATIONS[activation]()
        self.small, self.large = (
            nn.ModuleList(
                SameConv2d(widths[k], widths[k + 1], kernel, stride=2, padding=padding) for k in range(count)
            )
            for kernel, count in zip(kernels, stages, strict=True)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(width, eps=1e-3, momentum=norm_momentum) for width in widths[1 : 1 + norms]
        )
        features = 96 * (-(-size // 16)) ** 2
        if head == "printed":  # two FC 128 on the same features are one FC 256
            self.fc = nn.ModuleList([nn.Linear(features, 256)])
        else:
            self.fc = nn.ModuleList(nn.Linear(features, 128) for _ in range(lanes))
        self.classifier = nn.Linear(128 * lanes, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, in_channels, size, size)."""
        check_images(images, "OrigiNet", self.size, 128)
        normed = total = images
        for stage in range(3):
            total = self._lane(self.small, stage, normed) + self._lane(self.large, stage, normed)
            normed = self.norms[stage](total)
        lanes = [self._lane(self.small, 3, normed)]
        if self.head == "authors":
            lanes.append(self._lane(self.large, 3, total))
        elif self.head == "printed":
            lanes = [self.norms[3](lanes[0] + self._lane(self.large, 3, normed))]
        features = [fc(lane.flatten(1)) for fc, lane in zip(self.fc, lanes, strict=True)]
        logits: Tensor = self.classifier(torch.cat(features, dim=1))
        return logits

    def _lane(self, convs: nn.ModuleList, stage: int, maps: Tensor) -> Tensor:
        activated: Tensor = self.activation(convs[stage](maps))
        return activated
