"""LAENet: the lightweight apex-based enhanced network (Lien and Chiang 2020; PAPERS: LAENet tables 1-2)."""

from mer.networks.ststnet import Padding, STSTNet


class LAENet(STSTNet):
    """STSTNet without its stream of eight filters: streams of 3 and of 5, 843 parameters (LAENet table 1).

    84 + 140 (convolutions) + 16 (batch norm) + 603 (linear on 5x5x8) at three channels and classes.

    Args:
        in_channels: channels of the image; 3 for (u, v, strain).
        num_classes: classes of the label map.
        padding: ``same`` as LAENet's table 2 prints it, or ``release`` as in STSTNet's code.
        dropout: probability of zeroing an activation after the max pool (0.5 in the paper).

    Shape:
        images (B, in_channels, 28, 28) -> logits (B, num_classes).
    """

    def __init__(
        self, *, in_channels: int, num_classes: int, padding: Padding = "same", dropout: float = 0.5
    ) -> None:
        super().__init__(
            in_channels=in_channels, num_classes=num_classes, widths=(3, 5), padding=padding, dropout=dropout
        )
