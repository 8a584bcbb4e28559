import pytest
import torch
from torch import Tensor

from mer.errors import MerError
from mer.networks.same_padding import Padding, SameConv2d, keras_padding


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (13, 6, 5, (1, 2)),  # the example in TensorFlow's documentation of SAME
        (28, 3, 2, (0, 1)),
        (7, 3, 2, (1, 1)),
        (28, 5, 2, (1, 2)),
        (28, 5, 1, (2, 2)),
        (28, 1, 2, (0, 0)),  # fewer pixels are read than there are: never negative
    ],
)
def test_the_zeros_of_tensorflows_rule(
    size: int, kernel: int, stride: int, expected: tuple[int, int]
) -> None:
    assert keras_padding(size, kernel, stride) == expected


def direct(conv: SameConv2d, image: Tensor, tops: tuple[int, int]) -> Tensor:
    """The definition: output (i, j) sums weight (a, b) times pixel (i s + a - top, j s + b - left)."""
    weight, bias = conv.weight, conv.bias
    assert bias is not None
    kernel, stride = weight.shape[-1], conv.stride[0]
    rows, columns = image.shape[-2:]
    out = bias[:, None, None].repeat(1, -(-rows // stride), -(-columns // stride))
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            for a in range(kernel):
                for b in range(kernel):
                    y, x = i * stride + a - tops[0], j * stride + b - tops[1]
                    if 0 <= y < rows and 0 <= x < columns:
                        out[:, i, j] += weight[:, :, a, b] @ image[:, y, x]
    return out


@pytest.mark.parametrize("padding", ["symmetric", "keras"])
@pytest.mark.parametrize(
    ("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (3, 3), (5, 1), (5, 2), (11, 2)]
)
@pytest.mark.parametrize("shape", [(6, 6), (7, 7), (6, 5), (2, 9)])
def test_a_convolution_is_its_definition(
    padding: Padding, kernel: int, stride: int, shape: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    conv = SameConv2d(2, 3, kernel, stride=stride, padding=padding).double()
    image = torch.randn(2, *shape, dtype=torch.float64)

    def before(size: int) -> int:
        if padding == "symmetric":
            return kernel // 2
        # TensorFlow's documentation: by the remainder of the size.
        total = max(kernel - (stride if size % stride == 0 else size % stride), 0)
        return total // 2

    with torch.no_grad():
        ours = conv(image[None])[0]
        assert ours.shape == (3, -(-shape[0] // stride), -(-shape[1] // stride))
        torch.testing.assert_close(ours, direct(conv, image, (before(shape[0]), before(shape[1]))))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "equal"),
    [(8, 3, 1, True), (7, 5, 2, True), (8, 1, 2, True), (8, 3, 2, False), (8, 5, 2, False)],
)
def test_the_paddings_differ_at_stride_2_on_even_sizes_only(
    size: int, kernel: int, stride: int, equal: bool
) -> None:
    torch.manual_seed(0)
    ours = SameConv2d(1, 1, kernel, stride=stride)
    theirs = SameConv2d(1, 1, kernel, stride=stride, padding="keras")
    theirs.load_state_dict(ours.state_dict())
    image = torch.randn(1, 1, size, size)
    assert ours(image).shape == theirs(image).shape
    assert torch.allclose(ours(image), theirs(image)) == equal


def test_wrong_options_are_named() -> None:
    with pytest.raises(MerError, match=r"network\.padding='same': choose one of symmetric, keras"):
        SameConv2d(1, 1, 3, padding="same")  # type: ignore[arg-type]
    with pytest.raises(MerError, match=r"4x4: give an odd size"):
        SameConv2d(1, 1, 4)
    with pytest.raises(MerError, match=r"-1x-1: give an odd size"):
        SameConv2d(1, 1, -1)


@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_strided_1x1_convolution_is_torchs_and_trains(
    channels: int, memory_format: torch.memory_format
) -> None:
    """Torch's own, of 3 channels in channels_last on the CPU, ends the process in its backward pass."""
    torch.manual_seed(0)
    conv = SameConv2d(channels, 16, 1, stride=2)
    images = torch.randn(8, channels, 28, 27).contiguous(memory_format=memory_format)
    found = conv(images)
    expected = torch.nn.functional.conv2d(images.contiguous(), conv.weight, conv.bias, stride=2)
    torch.testing.assert_close(found, expected)
    found.square().mean().backward()
    assert conv.weight.grad is not None
    (reference,) = torch.autograd.grad(expected.square().mean(), conv.weight)
    torch.testing.assert_close(conv.weight.grad, reference)
