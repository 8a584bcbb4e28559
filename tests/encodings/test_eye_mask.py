import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from mer.encodings.eye_mask import inside_eyes
from mer.errors import MerError


def box(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    """Four corners, two of them repeated: an eye that a detector found as a box."""
    return [(left, top), (left, top), (right, top), (right, bottom), (right, bottom), (left, bottom)]


def contains(polygon: Tensor, x: float, y: float) -> bool:
    """A ray to the left crosses the polygon's edges an odd number of times."""
    crossings = 0
    for (x_0, y_0), (x_1, y_1) in zip(polygon.tolist(), polygon.roll(-1, 0).tolist(), strict=True):
        if (y_0 <= y) != (y_1 <= y) and x_0 + (y - y_0) * (x_1 - x_0) / (y_1 - y_0) <= x:
            crossings += 1
    return crossings % 2 == 1


def test_a_box_covers_its_own_pixels() -> None:
    eyes = torch.tensor([[box(2, 3, 7, 6), box(10, 4, 14, 5)]])
    expected = torch.zeros(1, 1, 9, 16, dtype=torch.bool)
    expected[..., 3:6, 2:7] = True
    expected[..., 4:5, 10:14] = True
    assert torch.equal(inside_eyes(eyes.float(), 9, 16), expected)
    turned = eyes.flip(2).roll(2, 2).float()
    assert torch.equal(inside_eyes(turned, 9, 16), expected), "whatever the order and direction"


def test_any_polygons_are_those_of_the_even_odd_rule() -> None:
    """Random points: most polygons are not convex, many cross themselves; some corners are outside."""
    generator = torch.Generator().manual_seed(0)
    eyes = torch.rand(5, 2, 6, 2, generator=generator) * torch.tensor([34.0, 24.0]) - 2
    inside = inside_eyes(eyes, 20, 30)
    for clip, pair in zip(inside[:, 0], eyes, strict=True):
        expected = [[any(contains(eye, x, y) for eye in pair) for x in range(30)] for y in range(20)]
        assert torch.equal(clip, torch.tensor(expected))
    assert inside.flatten(1).any(1).all()


def test_an_eye_is_opencvs_but_for_its_rim() -> None:
    """OpenCV paints each pixel that the outline touches as well."""
    left = [(20, 40), (30, 32), (42, 31), (52, 40), (42, 46), (29, 47)]
    eyes = torch.tensor([[left, [(x + 60, y + 3) for x, y in left]]])
    filled, rim = np.zeros((80, 130), np.uint8), np.zeros((80, 130), np.uint8)
    for eye in eyes[0].int().numpy():
        cv2.fillPoly(filled, [eye], 1)
        cv2.polylines(rim, [eye], True, 1)
    inside = inside_eyes(eyes.float(), 80, 130)[0, 0].numpy()
    np.testing.assert_array_equal(inside[rim == 0], filled[rim == 0] == 1)
    assert not inside[filled == 0].any()
    assert inside.sum() > 400


def test_wrong_eyes_are_errors() -> None:
    eyes = torch.tensor([[box(2, 3, 7, 6), box(10, 4, 14, 5)]] * 2).float()
    with pytest.raises(MerError, match=r"eyes have shape \(2, 6, 2\): give \(batch, 2 eyes, 6 points"):
        inside_eyes(eyes[0], 9, 16)
    for shift in ((14, 0), (-14, 0), (0, 6), (0, -10)):
        moved = eyes.clone()
        moved[1, 1] += torch.tensor(shift)
        with pytest.raises(MerError, match=r"clip 1 of the batch: eye 2 is at .*outside its frame of 16x9"):
            inside_eyes(moved, 9, 16)
    eyes[0, 0, 3, 1] = torch.nan
    with pytest.raises(MerError, match=r"clip 0 of the batch: eye 1 is at .*nan.*outside"):
        inside_eyes(eyes, 9, 16)
    assert inside_eyes(eyes[:0], 9, 16).shape == (0, 1, 9, 16)
