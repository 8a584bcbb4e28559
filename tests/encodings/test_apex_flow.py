import subprocess
import sys
from pathlib import Path

import cv2
import hydra
import numpy as np
import pytest
import torch
from kornia.geometry.transform import resize
from omegaconf import OmegaConf
from torch import Tensor
from torch.testing import assert_close

from mer.encodings import ApexFlow
from mer.encodings.apex_flow import TVL1, Mask, apex_flow, flow_image, grey, optical_strain, tvl1_flow
from mer.encodings.eye_mask import inside_eyes
from mer.errors import MerError


def grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    return x, y


def texture(x: Tensor, y: Tensor, *, seed: int = 0) -> Tensor:
    """A sum of 40 waves of at least 7 pixels, uint8 (1, 1, H, W), at coordinates that may be fractions."""
    draws = torch.rand(40, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5
    a, b, phase = draws.T[:, :, None, None] * torch.tensor([1.2, 1.2, 20.0])[:, None, None, None]
    waves = torch.sin(a * x + b * y + phase).sum(0)
    return (128 + 12 * waves).clamp(0, 255).round().to(torch.uint8)[None, None]


def moved_pair(
    dx: float, dy: float, *, height: int = 64, width: int = 64, seed: int = 0
) -> tuple[Tensor, Tensor]:
    x, y = grid(height, width)
    return texture(x, y, seed=seed), texture(x - dx, y - dy, seed=seed)


def pairs() -> tuple[Tensor, Tensor]:
    """Clips (3, 2, 1, 48, 40) of different motions, and their lengths."""
    moves = [(0.6, -0.4), (-0.5, 0.0), (1.2, 0.7)]
    clips = [torch.stack(moved_pair(*move, height=48, width=40, seed=k), 1) for k, move in enumerate(moves)]
    return torch.cat(clips), torch.tensor([2, 2, 2])


@pytest.mark.parametrize(("dx", "dy"), [(0.6, -0.4), (-0.3, 0.8)])
def test_flow_of_a_translation_is_the_translation(dx: float, dy: float) -> None:
    flow = tvl1_flow(*moved_pair(dx, dy))
    assert (flow.dtype, flow.shape) == (torch.float32, (1, 2, 64, 64))
    error = (flow - torch.tensor([dx, dy])[:, None, None]).norm(dim=1)[:, 8:-8, 8:-8]
    assert error.max() < 0.15
    means = flow.mean((0, 2, 3))
    assert torch.equal(means.sign(), torch.tensor([dx, dy]).sign())


def test_flow_is_opencvs_with_its_defaults_at_both_depths() -> None:
    first, second = moved_pair(0.6, -0.4, height=40)
    expected = np.zeros((40, 64, 2), np.float32)
    cv2.optflow.DualTVL1OpticalFlow.create().calc(first[0, 0].numpy(), second[0, 0].numpy(), expected)
    flow = tvl1_flow(first, second)
    np.testing.assert_array_equal(flow[0].permute(1, 2, 0).numpy(), expected)
    assert_close(tvl1_flow(first.float(), second.float()), flow, atol=1e-3, rtol=0)


def test_every_parameter_reaches_opencv() -> None:
    first, second = moved_pair(0.6, -0.4, height=40, width=36)
    default = tvl1_flow(first, second)
    others = [
        TVL1(tau=0.1),
        TVL1(lambda_=0.05),
        TVL1(theta=0.2),
        TVL1(scales=1),
        TVL1(warps=1),
        TVL1(epsilon=0.2),
        TVL1(inner_iterations=2),
        TVL1(outer_iterations=1),
        TVL1(scale_step=0.5),
        TVL1(median=1),
    ]
    flows = [default, *(tvl1_flow(first, second, params=params) for params in others)]
    assert len({flow.numpy().tobytes() for flow in flows}) == 11
    solver = cv2.optflow.DualTVL1OpticalFlow.create()
    read = [solver.getTau(), solver.getLambda(), solver.getTheta(), solver.getScalesNumber()]
    read += [solver.getWarpingsNumber(), solver.getEpsilon(), solver.getInnerIterations()]
    read += [solver.getOuterIterations(), solver.getScaleStep(), solver.getMedianFiltering()]
    assert list(vars(TVL1()).values()) == read


def test_the_modules_parameters_reach_the_flow() -> None:
    clips, lengths = pairs()
    settings = TVL1(
        tau=0.2,
        lambda_=0.1,
        theta=0.25,
        scales=2,
        warps=3,
        epsilon=0.02,
        inner_iterations=20,
        outer_iterations=4,
        scale_step=0.7,
        median=3,
    )
    assert ApexFlow(**vars(settings)).params == settings
    expected = apex_flow(clips[:, 0], clips[:, 1], size=20, params=settings)
    assert torch.equal(ApexFlow(size=20, **vars(settings))(clips, lengths), expected)


def test_strain_of_an_affine_field_is_exact_everywhere() -> None:
    x, y = grid(9, 13)
    u_x, u_y, v_x, v_y = 0.3, -0.7, 0.45, -0.2
    flow = torch.stack([u_x * x + u_y * y + 5, v_x * x + v_y * y - 2])[None].float()
    expected = (u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2) ** 0.5
    assert_close(optical_strain(flow), torch.full((1, 1, 9, 13), expected), atol=1e-5, rtol=0)


def test_strain_of_a_rotation_and_of_a_translation_is_zero() -> None:
    x, y = grid(8, 8)
    rotation = torch.stack([-0.2 * y, 0.2 * x])[None].float()
    assert_close(optical_strain(rotation), torch.zeros(1, 1, 8, 8), atol=1e-6, rtol=0)
    assert not optical_strain(torch.full((1, 2, 8, 8), 3.0)).any()


def test_strain_uses_central_differences() -> None:
    x, y = grid(7, 9)
    flow = torch.stack([x**2 + y, torch.zeros_like(x)])[None]
    expected = ((2 * x) ** 2 + 1 / 2).sqrt()
    assert_close(optical_strain(flow)[0, 0, :, 1:-1], expected[:, 1:-1])


@pytest.mark.parametrize("size", [28, 64])
def test_image_is_u_v_strain_each_stretched_on_its_own(size: int) -> None:
    clips, lengths = pairs()
    image = ApexFlow(size=size)(clips, lengths)
    assert (image.dtype, image.shape) == (torch.float32, (3, 3, size, size))
    assert torch.equal(image.amin((2, 3)), torch.zeros(3, 3))
    assert torch.equal(image.amax((2, 3)), torch.full((3, 3), 255.0))


def test_the_flow_and_its_strain_are_resized_before_they_are_scaled() -> None:
    flow = torch.randn(2, 2, 40, 56, generator=torch.Generator().manual_seed(0))
    channels = torch.cat([flow, optical_strain(flow)], 1)
    square = resize(channels, (28, 28), antialias=True)
    low, high = square.amin((2, 3), keepdim=True), square.amax((2, 3), keepdim=True)
    assert_close(flow_image(flow), (square - low) / (high - low) * 255, atol=1e-2, rtol=0)


@pytest.mark.parametrize("size", [28, 33, 64])
def test_a_constant_channel_is_zero_and_no_rounding_is_stretched(size: int) -> None:
    flow = torch.randn(1, 2, 47, 40, generator=torch.Generator().manual_seed(0))
    flow[:, 0] = 0.3
    image = flow_image(flow, size=size)
    assert not image[:, 0].any()
    assert torch.equal(image.amax((2, 3)), torch.tensor([[0.0, 255.0, 255.0]]))
    assert not flow_image(torch.full((1, 2, 47, 40), 0.3), size=size).any()


def test_without_resizing_a_channel_is_an_affine_function_of_the_flow() -> None:
    first, second = moved_pair(0.6, -0.4, height=40, width=40)
    flow = tvl1_flow(first, second)
    channels = torch.cat([flow, optical_strain(flow)], 1)[0]
    image = apex_flow(first, second, size=40)[0]
    for raw, scaled in zip(channels, image, strict=True):
        assert_close(scaled, (raw - raw.min()) / (raw.max() - raw.min()) * 255, atol=1e-2, rtol=0)


def test_the_same_batch_gives_the_same_bytes_alone_and_together() -> None:
    clips, lengths = pairs()
    encoder = ApexFlow()
    images = encoder(clips, lengths)
    assert images.numpy().tobytes() == encoder(clips, lengths).numpy().tobytes()
    alone = torch.cat([encoder(clip[None], lengths[:1]) for clip in clips])
    assert_close(images, alone, atol=1e-3, rtol=0)
    assert (ApexFlow.reads, ApexFlow.gives) == ("onset_apex", "image")


def test_the_number_of_threads_does_not_matter() -> None:
    clips, _ = pairs()
    before = torch.get_num_threads()
    flows = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            flows.append(tvl1_flow(clips[:, 0], clips[:, 1]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*flows)


def test_a_still_pair_is_zero() -> None:
    clips, lengths = pairs()
    still = clips[:, :1].expand(-1, 2, -1, -1, -1)
    assert torch.equal(ApexFlow()(still, lengths), torch.zeros(3, 3, 28, 28))


def test_an_empty_batch_stays_empty() -> None:
    clips, lengths = pairs()
    assert ApexFlow()(clips[:0], lengths[:0]).shape == (0, 3, 28, 28)


def test_colour_is_turned_into_luma() -> None:
    colours = torch.tensor([200.0, 100.0, 50.0])[None, :, None, None].expand(1, 3, 4, 4)
    luma = torch.full((1, 1, 4, 4), 0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert_close(grey(colours.to(torch.uint8)), luma, atol=1e-3, rtol=0)
    clips, lengths = pairs()
    encoder = ApexFlow()
    coloured = encoder(clips.expand(-1, -1, 3, -1, -1), lengths)
    assert_close(coloured, encoder(clips, lengths), atol=0.5, rtol=0)


def test_wrong_clips_are_errors() -> None:
    clips, lengths = pairs()
    encoder = ApexFlow()
    with pytest.raises(MerError, match=r"two frames a clip, onset and apex, .* lengths \[1, 2\]: load"):
        encoder(clips, torch.tensor([2, 1, 2]))
    with pytest.raises(MerError, match=r"not clips of shape \(3, 4, 1, 48, 40\)"):
        encoder(torch.cat([clips, clips], 1), lengths)
    with pytest.raises(MerError, match="grey or R, G, B frames, not 2 channels"):
        encoder(torch.cat([clips, clips], 2), lengths)
    with pytest.raises(MerError, match=r"grey images .*, not \(3, 2, 48, 40\) and \(3, 2, 48, 40\)"):
        tvl1_flow(clips[:, :, 0], clips[:, :, 0])


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("size", 0, "positive side"),
        ("tau", 0.0, "positive number"),
        ("scales", -1, "positive number"),
        ("scale_step", 1.0, "between 0 and 1"),
        ("median", 4, "choose 3 or 5, or 1"),
    ],
)
def test_wrong_parameters_name_their_key(key: str, value: float, hint: str) -> None:
    with pytest.raises(MerError, match=rf"encoding\.{key}={value}: .*{hint}"):
        ApexFlow(**{key: value})  # type: ignore[arg-type]


def eye_boxes(clips: int) -> Tensor:
    """Eyes (B, 2, 6, 2): boxes of the columns 6..13 and 24..33, rows 10..15 of the frame."""
    corners = [
        [(left, 10), (left, 10), (right, 10), (right, 16), (right, 16), (left, 16)]
        for left, right in ((6, 14), (24, 34))
    ]
    return torch.tensor(corners).float().expand(clips, -1, -1, -1)


def random_flow() -> Tensor:
    return torch.randn(2, 2, 40, 40, generator=torch.Generator().manual_seed(0))


def test_masked_before_there_is_no_motion_inside_and_the_same_outside() -> None:
    flow, eyes = random_flow(), eye_boxes(2)
    inside = inside_eyes(eyes, 40, 40).expand(-1, 3, -1, -1)
    assert inside.any()
    plain, masked = flow_image(flow, size=40), flow_image(flow, size=40, mask="before", eyes=eyes)
    channels = torch.cat([flow, optical_strain(flow)], 1)
    outside = channels.masked_fill(inside, 0)
    low, high = outside.amin((2, 3), keepdim=True), outside.amax((2, 3), keepdim=True)
    still = ((0 - low) / (high - low) * 255).expand_as(masked)
    assert_close(masked[inside], still[inside], atol=1e-3, rtol=0)
    assert_close(masked, (outside - low) / (high - low) * 255, atol=1e-3, rtol=0)
    assert (plain[inside] - still[inside]).abs().max() > 50
    # Back in pixels a frame, what is outside is the flow as it was.
    motion = masked / 255 * (high - low) + low
    assert_close(motion[~inside], channels[~inside], atol=1e-4, rtol=0)


def test_a_mask_of_motion_makes_no_strain_at_its_edge() -> None:
    flow = torch.full((1, 2, 40, 40), 3.0)
    image = flow_image(flow, mask="before", eyes=eye_boxes(1))
    assert image[:, :2].any()
    assert not image[:, 2].any()


@pytest.mark.parametrize("size", [10, 40, 80])
def test_masked_after_the_image_is_zero_where_an_eye_is_and_unchanged_elsewhere(size: int) -> None:
    flow, eyes = random_flow(), eye_boxes(2)
    plain, masked = flow_image(flow, size=size), flow_image(flow, size=size, mask="after", eyes=eyes)
    inside = inside_eyes(eyes, 40, 40)
    if size < 40:  # four by four pixels of the frame are one of the image
        touched = inside.unfold(2, 4, 4).unfold(3, 4, 4).any(-1).any(-1)
    else:
        touched = inside.repeat_interleave(size // 40, 2).repeat_interleave(size // 40, 3)
    touched = touched.expand(-1, 3, -1, -1)
    assert touched.any()
    assert not masked[touched].any()
    assert plain[touched].any()
    assert torch.equal(masked[~touched], plain[~touched])


def test_a_thin_eye_is_not_lost_in_a_small_image() -> None:
    eyes = eye_boxes(2).clone()
    eyes[..., 1] = torch.where(eyes[..., 1] == 16, 11, 10)
    rows = (flow_image(random_flow(), size=10, mask="after", eyes=eyes) == 0).all(1)
    assert rows[:, 2, 2].all()
    assert rows[:, 2, 7].all()


@pytest.mark.parametrize("mask", ["before", "after"])
def test_the_module_masks_each_clips_own_eyes(mask: Mask) -> None:
    clips, lengths = pairs()
    eyes = eye_boxes(3) + torch.tensor([0.0, 3.0, 6.0])[:, None, None, None]
    encoder = ApexFlow(mask=mask)
    images = encoder(clips, lengths, eyes)
    for index in range(3):
        flow = tvl1_flow(clips[index : index + 1, 0], clips[index : index + 1, 1])
        alone = flow_image(flow, mask=mask, eyes=eyes[index : index + 1])
        assert_close(images[index], alone[0], atol=1e-3, rtol=0)
    assert torch.equal(images, encoder(clips, lengths, eyes))
    assert not torch.equal(images, encoder(clips, lengths, eye_boxes(3)))
    assert encoder(clips[:0], lengths[:0], eyes[:0]).shape == (0, 3, 28, 28)


def test_only_a_mask_takes_eyes_and_the_cache_sees_it() -> None:
    clips, lengths = pairs()
    assert not ApexFlow().masks_eyes
    assert [ApexFlow(mask=mask).masks_eyes for mask in ("before", "after")] == [True, True]
    assert vars(ApexFlow(mask="after"))["mask"] == "after"
    assert torch.equal(ApexFlow()(clips, lengths), apex_flow(clips[:, 0], clips[:, 1]))
    with pytest.raises(MerError, match=r"encoding\.mask=before: no pairs of eyes for 3 clips"):
        ApexFlow(mask="before")(clips, lengths)
    with pytest.raises(MerError, match=r"encoding\.mask=after: 1 pairs of eyes for 3 clips"):
        ApexFlow(mask="after")(clips, lengths, eye_boxes(1))
    with pytest.raises(MerError, match=r"encoding\.mask=none: eyes were given"):
        ApexFlow()(clips, lengths, eye_boxes(3))
    with pytest.raises(MerError, match=r"encoding\.mask='eyes': choose one of none, before, after"):
        ApexFlow(mask="eyes")  # type: ignore[arg-type]


def test_the_shipped_ipol_parameters_are_the_preset() -> None:
    """As in IPOL's program: tau, lambda, theta, zoom, levels, warps, 300 iterations, no median filter."""
    shipped = Path(__file__).parents[2] / "conf" / "encoding" / "apex_flow_ipol.yaml"
    encoder = hydra.utils.instantiate(OmegaConf.load(shipped))
    assert isinstance(encoder, ApexFlow)
    assert encoder.params == TVL1.ipol()
    assert encoder.params.inner_iterations * encoder.params.outer_iterations == 300
    first, second = moved_pair(0.6, -0.4)
    error = tvl1_flow(first, second, params=encoder.params) - torch.tensor([0.6, -0.4])[:, None, None]
    assert error.norm(dim=1)[:, 8:-8, 8:-8].max() < 0.15


def broken_opencv(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Put a cv2 with this source before the real one for the rest of the test."""
    (folder / "cv2.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "cv2")


def test_a_missing_libgl_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips, lengths = pairs()
    broken_opencv(tmp_path, monkeypatch, "raise ImportError('libGL.so.1: cannot open shared object file')")
    with pytest.raises(MerError, match=r"libGL: apt-get install libgl1"):
        ApexFlow()(clips, lengths)


def test_other_import_errors_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips, lengths = pairs()
    broken_opencv(tmp_path, monkeypatch, "raise ImportError('numpy is too old')")
    with pytest.raises(ImportError, match="numpy is too old"):
        ApexFlow()(clips, lengths)


def test_an_opencv_without_contrib_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips, lengths = pairs()
    broken_opencv(tmp_path, monkeypatch, "")
    with pytest.raises(MerError, match="pip install opencv-contrib-python"):
        ApexFlow()(clips, lengths)


def test_importing_the_package_needs_no_opencv() -> None:
    code = "import sys; sys.modules['cv2'] = None; import mer.encodings, mer.data.frames"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_frames_of_one_pixel_have_no_strain() -> None:
    with pytest.raises(MerError, match="frames of 9x1 pixels have no optical strain"):
        optical_strain(torch.zeros(1, 2, 1, 9))
