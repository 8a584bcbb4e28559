import torch
from torch.testing import assert_close

from mer.encodings.scaling import min_max, resized, scaled


def test_min_max_is_joint_over_channels_and_by_clip() -> None:
    images = torch.tensor([[[[0.0, 1.0]], [[2.0, 4.0]]], [[[-3.0, 7.0]], [[2.0, 2.0]]]])
    expected = torch.tensor([[[[0.0, 63.75]], [[127.5, 255.0]]], [[[0.0, 255.0]], [[127.5, 127.5]]]])
    assert_close(min_max(images), expected)


def test_a_constant_image_divides_by_nothing() -> None:
    for value in (-7.0, 0.0, 8.0):
        assert torch.equal(scaled(torch.full((2, 3, 2, 2), value), "minmax"), torch.zeros(2, 3, 2, 2))


def test_the_scales() -> None:
    images = torch.tensor([-300.0, 0.0, 100.0, 300.0]).view(1, 1, 2, 2)
    assert torch.equal(scaled(images, "none"), images)
    assert scaled(images, "clip").flatten().tolist() == [0, 0, 100, 255]
    assert_close(scaled(images, "minmax").flatten(), torch.tensor([0, 127.5, 170, 255]))


def test_no_size_keeps_the_images() -> None:
    images = torch.rand(2, 3, 7, 9)
    assert resized(images, None) is images
    assert resized(images, 5).shape == (2, 3, 5, 5)
