"""Convolutions that keep ceil(size / stride) pixels, padded as PyTorch users do or as Keras does."""

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from mer.errors import MerError

Padding = Literal["symmetric", "keras"]


def keras_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one axis under Keras's (TensorFlow's) rule ``same``.

    The output has ceil(size / stride) pixels; what that takes is split evenly, and an odd zero goes
    after. A 3x3 kernel with stride 2 gets (0, 1) on an even size and (1, 1) on an odd one.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A square convolution whose output has ceil(H / stride) x ceil(W / stride) pixels.

    Args:
        in_channels: channels of the input.
        out_channels: number of filters.
        kernel: side of the filters, odd.
        stride: pixels between two outputs.
        padding: ``symmetric`` pads kernel // 2 on all four sides; ``keras`` pads as the releases do (see
            :func:`keras_padding`), for weights that were trained there. They give the same shapes, and the
            same values where the rule asks for the same zeros: stride 1, or stride 2 on an odd size.

    Shape:
        (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).

    Raises:
        MerError: an even kernel, or another padding.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: Padding = "symmetric",
    ) -> None:
        if padding not in get_args(Padding):
            raise MerError(f"network.padding={padding!r}: choose one of {', '.join(get_args(Padding))}")
        if kernel < 1 or kernel % 2 == 0:
            raise MerError(f"network: a convolution of {kernel}x{kernel}: give an odd size, such as 3 or 5")
        super().__init__(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2)
        self.pads_as_keras = padding == "keras"

    def forward(self, input: Tensor) -> Tensor:
        """Maps (B, out_channels, H', W') of maps (B, in_channels, H, W)."""
        if self.kernel_size == (1, 1) and self.stride != (1, 1):
            # It reads every stride-th pixel. Torch 2.14.1 writes past its memory in the backward pass of such
            # a convolution, of 3 channels in channels_last on the CPU.
            rows, columns = self.stride
            return F.conv2d(input[..., ::rows, ::columns], self.weight, self.bias)
        if not self.pads_as_keras:
            return super().forward(input)
        above, beside = (
            keras_padding(size, self.kernel_size[0], self.stride[0]) for size in input.shape[-2:]
        )
        if above == beside and above[0] == above[1]:  # the convolution pads that by itself, without a copy
            return F.conv2d(input, self.weight, self.bias, self.stride, above)
        return F.conv2d(F.pad(input, (*beside, *above)), self.weight, self.bias, self.stride)
