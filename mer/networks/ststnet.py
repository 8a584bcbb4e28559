"""STSTNet: the shallow triple-stream network of Liong et al. 2019 (FG, MEGC 2019)."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks.dropout import Dropout
from mer.networks.relu_norm_pool import relu_norm_pool

Padding = Literal["same", "release"]


class STSTNet(nn.Module):
    """Three parallel streams of one 3x3 convolution each on a 28x28 flow image.

    conv 3x3/1 -> ReLU -> batch norm -> max pool 3x3/3 -> dropout -> concat -> average pool 2x2/2
    -> linear. 1,683 parameters at three channels and three classes (the paper prints 1,670).

    Streams that differ only in their number of filters are one convolution with the filters side by
    side: the same function and gradients, in one pass over the image. Filters are ordered by stream.

    Args:
        in_channels: channels of the image; 3 for (u, v, strain).
        num_classes: classes of the label map.
        widths: filters of each stream.
        padding: ``same`` is the paper's (convolution 28 -> 28, pooling 28 -> 10 with padding 1);
            ``release`` is the authors' PyTorch code (convolution padded by 2: 28 -> 30, pooled to 10).
        dropout: probability of zeroing an activation after the max pool.

    Shape:
        images (B, in_channels, 28, 28), any scale (the papers use 0..255) -> logits (B, num_classes).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (3, 5, 8),
        padding: Padding = "same",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if padding not in ("same", "release"):
            raise MerError(
                f"network.padding={padding!r}: choose same (the paper) or release (the authors' code)"
            )
        filters = sum(widths)
        release = padding == "release"
        # oneDNN convolves half as fast where it pads by more than 1.
        self.border = nn.ZeroPad2d(1) if release else nn.Identity()
        self.conv = nn.Conv2d(in_channels, filters, 3, padding=1)
        self.norm = nn.BatchNorm2d(filters)
        self.max_pool = nn.MaxPool2d(3, stride=3, padding=0 if release else 1)
        self.dropout = Dropout(dropout)
        self.average_pool = nn.AvgPool2d(2, stride=2)
        self.fc = nn.Linear(filters * 5 * 5, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, in_channels, 28, 28)."""
        if images.shape[-2:] != (28, 28):
            raise MerError(
                f"{type(self).__name__} takes images of 28x28, not {images.shape[-2]}x{images.shape[-1]}: "
                "set encoding.size=28"
            )
        streams = relu_norm_pool(self.conv(self.border(images)), self.norm, self.max_pool)
        dropped = self.dropout(streams)
        if self.training:
            return self._pool_and_classify(dropped)
        logits: Tensor = self.fc(self.average_pool(dropped).flatten(1))
        return logits

    def _pool_and_classify(self, dropped: Tensor) -> Tensor:
        """``fc`` of the average pool as one product: both are linear, and the pool's gradient takes long.

        Each weight counts a quarter for each of the four activations that the pool averages.
        """
        classes = self.fc.out_features
        weight = self.fc.weight.view(classes, -1, 5, 1, 5, 1).expand(-1, -1, -1, 2, -1, 2) / 4
        # In the order of the activations in memory, channels last: flattening them copies nothing.
        weight = weight.permute(0, 2, 3, 4, 5, 1).reshape(classes, -1)
        return F.linear(dropped.permute(0, 2, 3, 1).flatten(1), weight, self.fc.bias)


def load_released(path: str | Path) -> STSTNet:
    """The network of an authors' weight file (``.pth``, one a subject; keys conv1..3, bn1..3, fc).

    It gives the authors' outputs in eval mode for inputs in the release's convention: values 0..255,
    channels B, G, R (strain, v, u), which is the reverse of this project's (u, v, strain).

    Raises:
        MerError: the file is missing, is no plain state dict, or holds other keys or shapes.
    """
    path = Path(path)
    if not path.is_file():
        raise MerError(f"{path}: no such weight file; the release has one <subject>.pth for each subject")
    try:
        if zipfile.is_zipfile(path):  # torch writes check sums and does not read them
            with zipfile.ZipFile(path) as archive:
                if flipped := archive.testzip():
                    raise ValueError(f"damaged: {flipped} has another check sum")
        released = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise MerError(f"{path}: not a state dict that can be read without running code ({why})") from error
    streams = ("1", "2", "3")
    expected = {f"conv{k}.{part}" for k in streams for part in ("weight", "bias")}
    expected |= {
        f"bn{k}.{part}" for k in streams for part in ("weight", "bias", "running_mean", "running_var")
    }
    expected |= {"fc.weight", "fc.bias"}
    found = {str(key) for key in released} if isinstance(released, dict) else set()
    if missing := sorted(expected - found):
        raise MerError(
            f"{path}: not an STSTNet release, which has {', '.join(missing)}; found {sorted(found)[:8]}"
        )
    for key in sorted(expected):
        tensor = released[key]
        numbers = isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel() > 0
        if not (numbers and tensor.isfinite().all()):
            raise MerError(f"{path}: {key} holds no finite numbers; replace the file")
        if tensor.dim() != (4 if "conv" in key and "weight" in key else 2 if key == "fc.weight" else 1):
            raise MerError(f"{path}: {key} has the shape {tuple(tensor.shape)}, that of another network")
    try:
        return _from_released(released, streams)
    except (RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise MerError(f"{path}: shapes of another network ({why})") from error


def _from_released(released: Mapping[str, Tensor], streams: Sequence[str]) -> STSTNet:
    state = {
        f"{ours}.{part}": torch.cat([released[f"{theirs}{k}.{part}"] for k in streams])
        for ours, theirs, parts in (
            ("conv", "conv", ("weight", "bias")),
            ("norm", "bn", ("weight", "bias", "running_mean", "running_var")),
        )
        for part in parts
    }
    state |= {"fc.weight": released["fc.weight"], "fc.bias": released["fc.bias"]}
    network = STSTNet(
        in_channels=state["conv.weight"].shape[1],
        num_classes=state["fc.bias"].shape[0],
        widths=[released[f"conv{k}.bias"].shape[0] for k in streams],
        padding="release",
    )
    # The release predates the counter of batches, which eval mode does not use.
    state["norm.num_batches_tracked"] = torch.zeros((), dtype=torch.long)
    network.load_state_dict(state)
    return network
