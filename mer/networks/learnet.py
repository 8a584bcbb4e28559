"""LEARNet: lateral accretive hybrid network on an affective-motion or dynamic image (Verma et al. 2020)."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mer.errors import MerError
from mer.networks.options import check_choice, check_images, check_momentum
from mer.networks.same_padding import Padding, SameConv2d

Reading = Literal["printed", "authors"]
Conv5 = Literal["unpadded", "padded"]
Norm = Literal["batch", "lrn"]


class LEARNet(nn.Module):
    """Four lanes, two of which add their neighbour's maps (table VII): 1,405,824 parameters and a classifier.

    conv 3x3/2 16 -> four lanes of conv 1x1/2 16 -> conv 3x3/2 32 -> conv 5x5/2 64 -> concat 256 ->
    normalisation -> conv 3x3/2 256 -> FC 256 -> dropout -> FC C. ReLU after each layer but the last.
    Accretion: lane 2 adds lane 1's maps to its own before its second and before its third convolution, and
    lane 4 adds lane 3's in the same way; lanes 1 and 3 are plain.

    Batch norm has the eps of the authors' Keras release, 1e-3. That release itself is ``reading`` authors
    with ``padding`` keras, for 1,866,824 parameters at C = 8.

    Args:
        in_channels: channels of the image.
        num_classes: classes of the label map.
        size: side of the images, which decides the size of the first FC; 112 in the paper.
        reading: ``printed``, table VII; ``authors``: the released model, with a batch norm after each
            addition.
        conv5: padding of the last convolution, of 7x7 maps. ``unpadded``: 3x3 are left, as the printed
            589,824 weights of the FC need; ``padded``: 4x4, as in the table's output column and in the
            release. None takes unpadded for printed, padded for authors.
        norm: of the concatenated lanes. ``batch``: table VII prints LRN, but with the 256 + 256 parameters
            of a batch norm, and the release has one; ``lrn``: local response normalisation over 5 channels
            with AlexNet's constants, which has none.
        padding: of the other convolutions, ``symmetric`` or ``keras``, see
            :class:`~mer.networks.same_padding.SameConv2d`; of conv5 as well where it is padded.
        dropout: probability of zeroing an activation after FC 256 (0.5 in the release).
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
        size: int = 112,
        reading: Reading = "printed",
        conv5: Conv5 | None = None,
        norm: Norm = "batch",
        padding: Padding = "symmetric",
        dropout: float = 0.5,
        norm_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        check_choice("reading", reading, Reading)
        if conv5 is None:
            conv5 = "padded" if reading == "authors" else "unpadded"
        if conv5 not in get_args(Conv5):
            raise MerError(f"network.conv5={conv5!r}: choose one of {', '.join(get_args(Conv5))}, or null")
        check_choice("norm", norm, Norm)
        check_momentum(norm_momentum)
        if size < (33 if conv5 == "unpadded" else 1):
            raise MerError(f"network.size={size}: too small; give the side of the images, 112 in the paper")
        self.size = size
        self.conv1 = SameConv2d(in_channels, 16, 3, stride=2, padding=padding)
        self.conv2 = SameConv2d(16, 4 * 16, 1, stride=2, padding=padding)  # the lanes' 1x1, side by side
        self.conv3 = nn.ModuleList(SameConv2d(16, 32, 3, stride=2, padding=padding) for _ in range(4))
        self.conv4 = nn.ModuleList(SameConv2d(32, 64, 5, stride=2, padding=padding) for _ in range(4))
        # Of lane 2 and lane 4, after their additions.
        self.norms1, self.norms2 = (
            nn.ModuleList(
                nn.BatchNorm2d(width, eps=1e-3, momentum=norm_momentum)
                if reading == "authors"
                else nn.Identity()
                for _ in range(2)
            )
            for width in (16, 32)
        )
        self.norm = (
            nn.BatchNorm2d(256, eps=1e-3, momentum=norm_momentum)
            if norm == "batch"
            else nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)
        )
        side = -(-size // 16)
        if conv5 == "padded":
            self.conv5: nn.Conv2d = SameConv2d(256, 256, 3, stride=2, padding=padding)
            side = -(-side // 2)
        else:
            self.conv5 = nn.Conv2d(256, 256, 3, stride=2)
            side = (side - 3) // 2 + 1
        self.fc = nn.Linear(256 * side**2, 256)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(256, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, in_channels, size, size)."""
        check_images(images, "LEARNet", self.size, 112)
        first = torch.relu_(self.conv2(torch.relu_(self.conv1(images)))).chunk(4, dim=1)
        second = self._convolve(self.conv3, self._accrete(first, self.norms1))
        third = self._convolve(self.conv4, self._accrete(second, self.norms2))
        maps = torch.relu_(self.conv5(self.norm(torch.cat(third, dim=1))))
        logits: Tensor = self.classifier(self.dropout(torch.relu_(self.fc(maps.flatten(1)))))
        return logits

    @staticmethod
    def _accrete(lanes: tuple[Tensor, ...], norms: nn.ModuleList) -> tuple[Tensor, ...]:
        lane1, lane2, lane3, lane4 = lanes
        return lane1, norms[0](lane1 + lane2), lane3, norms[1](lane3 + lane4)

    @staticmethod
    def _convolve(convs: nn.ModuleList, lanes: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(torch.relu_(conv(lane)) for conv, lane in zip(convs, lanes, strict=True))
