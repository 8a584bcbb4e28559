"""Augmentation: OpenCV's warps, Pillow's equalisation, drawn by the seed alone, alike within a clip."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from PIL import Image, ImageOps
from torch import Tensor

from mer import config
from mer.augment import Augmentation, FixedPool, Padding, RandomAffine, RandomPool, equalize
from mer.errors import MerError
from tests.test_engine import files, make_job, train

ANGLES = [-45, -30, -15, 0, 15, 30, 45]
BORDERS = {
    "zeros": (cv2.BORDER_CONSTANT, "constant"),
    "border": (cv2.BORDER_REPLICATE, "edge"),
    "reflection": (cv2.BORDER_REFLECT_101, "reflect"),
}
EVERY: list[Augmentation] = [FixedPool(), FixedPool(equalize="all"), RandomPool(), RandomAffine()]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 255


def hills() -> NDArray[np.float32]:
    """A smooth image without symmetry, wider than high."""
    y, x = np.mgrid[:40, :50]
    image: NDArray[np.float32] = (120 + 60 * np.sin(x / 7) + 40 * np.cos(y / 5 + x / 11)).astype(np.float32)
    return image


def test_the_pool_has_each_rotation_and_the_equalised_image() -> None:
    assert len(FixedPool()) == len(ANGLES) + 1
    assert len(FixedPool(equalize="all")) == 2 * len(ANGLES)
    assert len(FixedPool(equalize="none")) == len(ANGLES)
    assert len(FixedPool(rotations=[5], equalize="none")) == len(RandomPool()) == len(RandomAffine()) == 1


@pytest.mark.parametrize("padding", get_args(Padding))
def test_rotations_are_opencv_s(padding: Padding) -> None:
    image = hills()
    pool = FixedPool(equalize="none", padding=padding)
    ours = pool.apply(torch.from_numpy(image).expand(len(ANGLES), 1, 40, 50), torch.arange(len(ANGLES)))
    flag, mode = BORDERS[padding]
    around = np.pad(image, 1, mode=mode)  # type: ignore[call-overload]
    # OpenCV rounds coordinates to 1/32 pixel: half of that along each axis, times the steepest slope.
    steepest = max(float(np.abs(np.diff(around, axis=axis)).max()) for axis in (0, 1))
    for angle, rotated in zip(ANGLES, ours[:, 0].numpy(), strict=True):
        matrix = cv2.getRotationMatrix2D(((50 - 1) / 2, (40 - 1) / 2), angle, 1.0)
        expected = cv2.warpAffine(image, matrix, (50, 40), flags=cv2.INTER_LINEAR, borderMode=flag)
        np.testing.assert_allclose(rotated, expected, rtol=0, atol=steepest / 32 + 0.01)


def test_a_positive_angle_turns_counter_clockwise() -> None:
    image = torch.zeros(1, 1, 21, 21)
    image[0, 0, 10, 18] = 255  # 8 pixels right of the centre
    turned = FixedPool(rotations=[45], equalize="none").apply(image, torch.tensor([0]))[0, 0]
    row, column = divmod(int(turned.argmax()), 21)
    assert (row, column) == (10 - round(8 * 0.5**0.5), 10 + round(8 * 0.5**0.5)), "above and to the right"


def test_no_rotation_changes_no_byte_and_the_input_stays() -> None:
    images = noise(8, 3, 20, 30)
    before = images.clone()
    variants = torch.arange(8)
    augmented = FixedPool().apply(images, variants)
    assert torch.equal(augmented[ANGLES.index(0)], images[ANGLES.index(0)])
    assert all(not torch.equal(augmented[k], images[k]) for k in range(8) if k != ANGLES.index(0))
    for other in EVERY:
        other.apply(images, variants, 1)
    assert torch.equal(images, before)


def test_a_variant_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    images, variants, pool = noise(14, 2, 20, 30), torch.arange(14).flip(0), FixedPool(equalize="all")
    alone = [pool.apply(images[k : k + 1], variants[k : k + 1]) for k in range(14)]
    assert torch.equal(pool.apply(images, variants), torch.cat(alone))


def test_equalisation_is_pillow_s() -> None:
    """Of the 8-bit level, each channel on its own; uneven histograms, and whole and fractional levels."""
    levels = torch.stack([noise(40, 50), noise(40, 50, seed=1) ** 2 / 255, 100 + noise(40, 50, seed=2) / 8])
    for image in (levels, levels.floor()):
        ours = equalize(image[None])[0]
        for channel, equalized in zip(image.numpy(), ours.numpy(), strict=True):
            expected = np.asarray(ImageOps.equalize(Image.fromarray(channel.astype(np.uint8))))
            np.testing.assert_array_equal(equalized, expected)


def test_equalisation_comes_before_rotation() -> None:
    images, pool = noise(7, 3, 20, 30), FixedPool(equalize="all")
    rotations = torch.arange(7)
    expected = pool.apply(equalize(images), rotations)
    assert torch.equal(pool.apply(images, rotations + 7), expected)
    assert torch.equal(FixedPool().apply(images[:1], torch.tensor([7])), equalize(images[:1]))


def test_a_constant_image_stays() -> None:
    images = torch.full((2, 3, 20, 20), 51.0)
    assert torch.equal(equalize(images), images)


@pytest.mark.parametrize("level", [-30.0, 300.0])
def test_equalisation_outside_its_range_is_refused(level: float) -> None:
    images = noise(1, 1, 20, 20).index_fill(3, torch.tensor([3]), level)
    with pytest.raises(MerError, match=rf"the images reach from .*{level:g}.*, but equalisation takes 0..25"):
        FixedPool().apply(images, torch.tensor([7]))


def test_the_random_pool_draws_each_variant_of_the_pool() -> None:
    image = noise(1, 1, 20, 20)
    variants = FixedPool().apply(image.expand(8, 1, 20, 20), torch.arange(8))
    drawn = RandomPool().apply(image.expand(800, 1, 20, 20), torch.zeros(800, dtype=torch.int64), 3)
    counts = [int((drawn == variant).all((1, 2, 3)).sum()) for variant in variants]
    assert sum(counts) == 800, "each is one of the pool"
    # 100 expected; the standard deviation of a count is sqrt(800 / 8 * 7 / 8) = 9.4.
    assert all(100 - 4 * 9.4 < count < 100 + 4 * 9.4 for count in counts)


def test_an_affine_draw_stays_within_its_ranges_and_fills_them() -> None:
    """Recovered from an image of its own coordinates, which bilinear sampling keeps exactly."""
    draws, centre, arm = 1000, torch.tensor([30.0, 22.0]), 8
    y, x = torch.meshgrid(torch.arange(45.0), torch.arange(61.0), indexing="ij")
    coordinates = torch.stack([x, y]).expand(draws, 2, 45, 61)
    source = RandomAffine().apply(coordinates, torch.zeros(draws), 5)
    # Where the pixels at the centre, to the right of it and below it come from.
    middle, right, below = source[:, :, 22, 30], source[:, :, 22, 30 + arm], source[:, :, 22 + arm, 30]
    matrix = torch.linalg.inv(torch.stack([right - middle, below - middle], dim=2) / arm)
    shift = torch.einsum("bij,bj->bi", matrix, centre - middle)
    scale = torch.linalg.det(matrix).sqrt()
    degrees = torch.rad2deg(torch.atan2(matrix[:, 0, 1], matrix[:, 0, 0]))
    # No shear, no mirroring, one factor for both axes.
    torch.testing.assert_close(matrix[:, 0, 0], matrix[:, 1, 1], rtol=0, atol=1e-4)
    torch.testing.assert_close(matrix[:, 0, 1], -matrix[:, 1, 0], rtol=0, atol=1e-4)
    drawn = [(degrees, -10, 10), (scale, 0.9, 1.1), (shift[:, 0], -2, 2), (shift[:, 1], -2, 2)]
    for values, low, high in drawn:
        span = high - low
        # A uniform draw of 1000 leaves less than 2 % free at each end, but for one time in 10^8.
        assert low - 1e-4 * span < values.min() < low + 0.02 * span
        assert high - 0.02 * span < values.max() < high + 1e-4 * span
        # Standard deviation of the mean: span / sqrt(12 * 1000) = .009 span.
        assert abs(values.mean() - (low + high) / 2) < 0.04 * span
    together = torch.corrcoef(torch.stack([values for values, _, _ in drawn]))
    assert (together - torch.eye(4)).abs().max() < 4 / draws**0.5, "each is drawn on its own"


def test_an_affine_motion_is_opencv_s() -> None:
    """A range of one value is no draw."""
    affine = RandomAffine(degrees=0, scale=[1.2, 1.2], translate=0)
    image = hills()
    ours = affine.apply(torch.from_numpy(image)[None, None], torch.zeros(1))[0, 0].numpy()
    matrix = cv2.getRotationMatrix2D(((50 - 1) / 2, (40 - 1) / 2), 0, 1.2)
    expected = cv2.warpAffine(image, matrix, (50, 40), flags=cv2.INTER_LINEAR)
    steepest = max(float(np.abs(np.diff(image, axis=axis)).max()) for axis in (0, 1))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=steepest / 32 + 0.01)


@pytest.mark.parametrize("augment", [RandomPool(), RandomAffine()], ids=repr)
def test_what_is_drawn_depends_on_the_seed_alone(augment: Augmentation) -> None:
    images, variants = noise(16, 3, 20, 20), torch.zeros(16, dtype=torch.int64)
    first = augment.apply(images, variants, 7)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    assert torch.equal(augment.apply(images, variants, 7), first)
    assert torch.equal(torch.get_rng_state(), state), "nothing is taken from the global generator"
    assert not torch.equal(augment.apply(images, variants, 8), first)


@pytest.mark.parametrize("augment", EVERY, ids=repr)
def test_all_frames_of_a_clip_change_alike(augment: Augmentation) -> None:
    clips = noise(6, 5, 3, 20, 30)
    variants = torch.tensor([0, 7, 1, 7, 6, 3])
    augmented = augment.apply(clips, variants, 2)
    assert augmented.shape == clips.shape
    assert not torch.equal(augmented, clips)
    for t in range(5):
        assert torch.equal(augmented[:, t], augment.apply(clips[:, t], variants, 2))
    still = augment.apply(clips[:, :1].expand(6, 5, 3, 20, 30), variants, 2)
    assert torch.equal(still, still[:, :1].expand_as(still))


@pytest.mark.parametrize("padding", get_args(Padding))
@pytest.mark.parametrize("kind", [FixedPool, RandomPool, RandomAffine])
def test_the_frames_that_pad_a_clip_stay_zero(kind: Any, padding: Padding) -> None:
    clips = noise(8, 4, 3, 20, 20)
    clips[:, 2:] = 0
    augmented = kind(padding=padding).apply(clips, torch.arange(8), 0)
    assert augmented[:, :2].any((2, 3, 4)).all()
    assert not augmented[:, 2:].any()


@pytest.mark.parametrize("augment", EVERY, ids=repr)
def test_it_travels_to_another_process(augment: Augmentation) -> None:
    assert isinstance(augment, Augmentation)
    copy = pickle.loads(pickle.dumps(augment))  # noqa: S301
    images, variants = noise(8, 3, 20, 20), torch.arange(8)
    assert copy == augment
    assert torch.equal(copy.apply(images, variants, 4), augment.apply(images, variants, 4))


def test_folds_side_by_side_give_the_same_bytes(tmp_path: Path) -> None:
    job, folds = make_job(tmp_path, "one", augment=RandomPool())
    assert [outcome.error for outcome in train(job, folds[:2])] == ["", ""]
    two, _ = make_job(tmp_path, "two", augment=RandomPool())
    train(two, folds[1::-1], workers=2)
    plain, _ = make_job(tmp_path, "plain")
    train(plain, folds[:2])
    assert len(files(job.run)) == 4
    assert files(two.run) == files(job.run)
    assert all(files(plain.run)[name] != written for name, written in files(job.run).items())


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (FixedPool, {"rotations": []}, "augment.rotations is empty: give at least one angle"),
        (FixedPool, {"rotations": "15"}, "augment.rotations='15': give a list of degrees"),
        (RandomPool, {"rotations": 15}, "augment.rotations=15: give a list of degrees"),
        (FixedPool, {"rotations": [0, "a"]}, r"augment.rotations=\[0, 'a'\]: give a list of degrees"),
        (FixedPool, {"rotations": [float("nan")]}, r"augment.rotations=\[nan\]: give a list of degrees"),
        (FixedPool, {"equalize": True}, "augment.equalize=True: choose one of unrotated, all, none"),
        (RandomPool, {"padding": "fill"}, "augment.padding='fill': choose one of zeros, border, reflection"),
        (RandomAffine, {"padding": None}, "augment.padding=None: choose one of zeros, border, reflection"),
        (RandomAffine, {"degrees": -1}, "augment.degrees=-1: give a number, at least 0"),
        (RandomAffine, {"translate": "2px"}, "augment.translate='2px': give a number, at least 0"),
        (RandomAffine, {"scale": 0.9}, "augment.scale=0.9: give the lowest and the highest factor"),
        (RandomAffine, {"scale": [1.1, 0.9]}, r"augment.scale=\[1.1, 0.9\]: give the lowest and the highest"),
        (RandomAffine, {"mirror": "u"}, "augment.mirror='u': choose one of none, pixels, flow"),
        (RandomAffine, {"mirror": "pixels", "flow": True}, "frames with their flow are not mirrored"),
        (RandomAffine, {"scale": [0, 1]}, r"augment.scale=\[0, 1\]: give the lowest and the highest factor"),
    ],
)
def test_bad_options_are_named(kind: Any, options: dict[str, object], message: str) -> None:
    with pytest.raises(MerError, match=message):
        kind(**options)


def test_the_shipped_configs_are_the_defaults() -> None:
    assert set(config.names("augment")) == {"none", "pool", "random_pool", "affine", "affine_flow"}
    made = {}
    for name in config.names("augment"):
        cfg = OmegaConf.load(Path(__file__).parents[1] / "conf/augment" / f"{name}.yaml")
        if name == "none":
            assert cfg == {"augment": None}
            continue
        plain = OmegaConf.to_container(cfg)
        assert isinstance(plain, dict)
        made[name] = config.factory(
            {str(key): value for key, value in plain.items()}, Augmentation, "augment"
        )()
    for name, kind in (("pool", FixedPool), ("random_pool", RandomPool), ("affine", RandomAffine)):
        options = {key: tuple(v) if isinstance(v, list) else v for key, v in vars(made[name]).items()}
        assert type(made[name]) is kind
        assert options == vars(kind())


def test_importing_it_is_light() -> None:
    """Worker processes of runs without augmentation pay for every import."""
    code = (
        "import sys, mer.augment\n"
        "assert 'kornia' not in sys.modules\n"
        "assert {m for m in sys.modules if m.split('.')[0] == 'mer'} == {'mer', 'mer.augment', 'mer.errors'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_vectors_of_a_flow_turn_and_grow_with_its_image() -> None:
    """A spot that the flow carries from one frame to the next is carried by the moved flow, too."""
    frames = torch.zeros(4, 2, 5, 65, 65)
    frames[:, 0, 0, 30:33, 20:23] = 255
    frames[:, 1, 0, 34:37, 28:31] = 255  # 8 to the right and 4 down
    frames[:, :, 3], frames[:, :, 4] = 8.0, 4.0
    moved = RandomAffine(degrees=40, scale=(0.8, 1.2), translate=3, flow=True).apply(
        frames.clone(), torch.zeros(4, dtype=torch.int64), 7
    )
    rows, columns = torch.arange(65.0)[:, None], torch.arange(65.0)
    spots = moved[:, :, 0] / moved[:, :, 0].sum((-2, -1), keepdim=True)
    places = torch.stack([(spots * columns).sum((-2, -1)), (spots * rows).sum((-2, -1))], dim=-1)
    carried = places[:, 1] - places[:, 0]
    torch.testing.assert_close(moved[:, 0, 3:, 32, 32], carried, atol=0.1, rtol=0)
    assert (carried - torch.tensor([8.0, 4.0])).abs().max() > 1  # they were moved indeed


def test_a_flow_is_turned_in_frames_with_their_flow_only() -> None:
    with pytest.raises(MerError, match="not for images of 3 channels"):
        RandomAffine(flow=True).apply(torch.zeros(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64), 0)


STILL: dict[str, Any] = {"degrees": 0, "scale": (1, 1), "translate": 0}


def test_half_of_the_draws_are_mirrored_with_the_motion_turned_around() -> None:
    images = noise(200, 3, 6, 6)
    pixels, flow = (
        RandomAffine(**STILL, mirror=kind).apply(images, torch.zeros(200, dtype=torch.int64), 3)
        for kind in ("pixels", "flow")
    )
    mirrored = (pixels != images).any(dim=(1, 2, 3))
    assert 70 < mirrored.sum() < 130
    assert torch.equal(pixels[mirrored], images[mirrored].flip(-1))
    assert torch.equal(flow[~mirrored], images[~mirrored])
    assert torch.equal(flow[mirrored][:, 1:], pixels[mirrored][:, 1:])
    assert torch.equal(flow[mirrored][:, 0], 255 - pixels[mirrored][:, 0])


def test_a_mirrored_motion_is_the_motion_of_mirrored_frames() -> None:
    """A face that moves to the right moves to the left in a mirror; up stays up."""
    u = torch.linspace(-1, 2, 8).square().expand(1, 1, 8, 8)  # 0..4, and not its own mirror image
    image = torch.cat([u / 4 * 255, torch.full_like(u, 90), torch.full_like(u, 10)], dim=1)
    turned = torch.cat([(-u.flip(-1) + 4) / 4 * 255, image[:, 1:]], dim=1)  # -4..0, scaled
    assert not torch.allclose(turned, image, atol=1)
    draws = [
        RandomAffine(**STILL, mirror="flow").apply(image, torch.zeros(1, dtype=torch.int64), seed)
        for seed in range(20)
    ]
    found = [torch.allclose(draw, turned, atol=1e-3) for draw in draws]
    assert all(same or torch.equal(draw, image) for same, draw in zip(found, draws, strict=True))
    assert any(found)


def test_what_holds_no_motion_is_not_turned_around() -> None:
    with pytest.raises(MerError, match=r"mirror=flow is for images of \(u, v, strain\), not for \(5, 8, 8\)"):
        RandomAffine(mirror="flow").apply(torch.zeros(1, 5, 8, 8), torch.zeros(1, dtype=torch.int64), 0)
