"""OFF-ApexNet: two streams on the optical flow from onset to apex (Liong et al. 2018; Gan et al. 2019)."""

import torch
from torch import Tensor, nn

from mer.errors import MerError
from mer.networks.dropout import Dropout


class OFFApexNet(nn.Module):
    """One stream for u, one for v, then two FC 1024: 2,664,475 parameters at C = 3 (the paper prints 2.77 M).

    A stream: conv 5x5/1 6 -> max pool 2 -> conv 5x5/1 16 -> max pool 2 -> 7x7x16 = 784. Concat 1568 -> FC
    1024 -> FC 1024 -> FC C. ReLU after each layer but the last, dropout after each FC 1024.

    The two streams are the two groups of one grouped convolution, and maps are pooled before their ReLU: the
    same function and gradients, in one pass over the image and with a quarter of the ReLUs.

    Args:
        in_channels: channels of the image, 2 (u, v) or 3 (u, v, strain). The strain is not read.
        num_classes: classes of the label map.
        dropout: probability of zeroing an activation after an FC 1024 (0.5 in the paper).

    Shape:
        images (B, in_channels, 28, 28), any scale -> logits (B, num_classes).

    Raises:
        MerError: images of another size, or without both flow components.
    """

    def __init__(self, *, in_channels: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        if in_channels not in (2, 3):
            raise MerError(
                f"OFFApexNet takes (u, v) or (u, v, strain), not {in_channels} channels: "
                "set encoding=apex_flow"
            )
        self.streams = nn.Sequential(
            nn.Conv2d(2, 2 * 6, 5, padding=2, groups=2),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * 6, 2 * 16, 5, padding=2, groups=2),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Sequential(
            nn.Linear(2 * 16 * 7 * 7, 1024),
            nn.ReLU(inplace=True),
            Dropout(dropout),
            nn.Linear(1024, 1024),
            nn.ReLU(inplace=True),
            Dropout(dropout),
            nn.Linear(1024, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, in_channels, 28, 28)."""
        if images.shape[-2:] != (28, 28):
            raise MerError(
                f"OFFApexNet takes images of 28x28, not {images.shape[-2]}x{images.shape[-1]}: "
                "set encoding.size=28"
            )
        logits: Tensor = self.head(torch.flatten(self.streams(images[:, :2]), 1))
        return logits
