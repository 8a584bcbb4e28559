from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor
from torch.testing import assert_close

from mer import feature_difference as module
from mer.descriptors.hoof import hoof
from mer.descriptors.lbp import lbp_codes
from mer.encodings.apex_flow import grey, tvl1_flow
from mer.errors import MerError
from mer.feature_difference import (
    Feature,
    FeatureDifference,
    Flow,
    chi_square,
    contrasted,
    feature_difference,
    half_interval,
    lbp_features,
)
from mer.packaged import config_dir

Curve = NDArray[np.float32]
# Three methods; 25 fps and 1/3 s make k = 4.
METHODS: list[tuple[Feature, Flow]] = [("lbp", "first"), ("hoof", "first"), ("hoof", "consecutive")]
FPS, K = 25.0, 4


def method(feature: Feature = "lbp", *, channels: int = 1, **options: Any) -> FeatureDifference:
    options = {"interval_seconds": 1 / 3, **options}
    return FeatureDifference(in_channels=channels, num_classes=3, feature=feature, **options)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def waves(shift: float, side: int = 24) -> Tensor:
    """A smooth texture (side, side), moved to the right by some pixels."""
    along = torch.arange(side, dtype=torch.float64)
    x, y = along - shift, along[:, None]
    return (127.5 + 60 * torch.sin(x / 3 + y / 5) + 60 * torch.sin(y / 4 - x / 7)).round().to(torch.uint8)


def moved(shifts: list[float]) -> Tensor:
    """A grey video (T, 1, 24, 24) whose frame t is moved by ``shifts[t]`` pixels."""
    return torch.stack([waves(shift) for shift in shifts])[:, None]


def with_flow(video: Tensor) -> Tensor:
    """A grey video (T, 1, H, W) with a flow of some kind, 0 where nothing changes: (T, 5, H, W), 0..255.

    As in an encoded sequence, channels 3 and 4 lead to the next frame and are 0 at the last.
    """
    change = video.float().diff(dim=0, append=video[-1:].float())
    return torch.cat([video.expand(-1, 3, -1, -1).float(), change, change.roll(1, -1)], dim=1)


def histograms(frames: int, blocks: int = 5, bins: int = 6) -> Tensor:
    counts = torch.rand(frames, blocks, bins, generator=torch.Generator().manual_seed(1))
    counts[counts < 0.3] = 0  # empty bins, in both histograms at times
    return counts / counts.sum(-1, keepdim=True).clamp(min=0.1)  # some are empty altogether


# F and C.


def reference(features: Tensor, k: int, most: int) -> tuple[list[float], list[float]]:
    """F and C one number at a time."""
    total, blocks, bins = features.shape
    value = features.double().tolist()
    differences = []
    for i in range(total):
        tail = max(i - k, 0) if i > 0 else 1
        head = min(i + k, total - 1) if i < total - 1 else total - 2
        distances = []
        for block in range(blocks):
            distance = 0.0
            for b in range(bins):
                p, q = value[i][block][b], (value[tail][block][b] + value[head][block][b]) / 2
                distance += (p - q) ** 2 / (p + q) if p + q else 0
            distances.append(distance)
        differences.append(sum(sorted(distances)[-most:]) / most)
    contrasts = [
        max(0.0, differences[i] - (differences[max(i - k, 0)] + differences[min(i + k, total - 1)]) / 2)
        for i in range(total)
    ]
    return differences, contrasts


@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize(("share", "most"), [(1 / 3, 2), (0.01, 1), (1.0, 5)])
def test_f_and_c_are_the_double_loops(k: int, share: float, most: int) -> None:
    features = histograms(12)
    differences, contrasts = reference(features, k, most)
    curve = feature_difference(features, k=k, share=share)
    assert_close(curve, torch.tensor(differences), rtol=1e-5, atol=1e-7)
    assert_close(contrasted(curve, k=k), torch.tensor(contrasts), rtol=1e-5, atol=1e-6)
    assert max(contrasts) > 0 == min(contrasts)


def test_a_third_of_36_blocks_are_twelve() -> None:
    features = torch.zeros(3, 36, 2)
    features[:, :, 0] = 1
    features[1, :13] = torch.tensor([0.0, 1.0])  # 13 blocks differ by 2, their neighbours in time being equal
    assert feature_difference(features, k=1)[1] == 2
    features[1, :3] = features[0, :3]
    assert_close(feature_difference(features, k=1)[1], torch.tensor(2 * 10 / 12))


def test_of_noise_the_ends_differ_as_much_as_the_middle() -> None:
    k = 40
    curve = feature_difference(histograms(400, blocks=36, bins=32), k=k)
    assert (curve[[0, -1]] - curve.mean()).abs().max() < 4 * curve.std()
    contrast = contrasted(curve, k=k)
    ends = torch.cat([contrast[:k], contrast[-k:]])
    assert ends.mean() < 2 * contrast[k:-k].mean()


def test_chi_square_runs_from_equal_to_disjoint() -> None:
    p = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    assert chi_square(p, p).item() == 0
    assert chi_square(p, p.flip(1)).item() == 2
    assert chi_square(torch.zeros(1, 4), p).item() == 1  # nothing moves in one of them


def test_the_reverse_of_a_video_has_the_reverse_f() -> None:
    video = moved([0, 0.3, 0.9, 2, 2.5, 2.5, 1, 0.2, 0, 0, 0.4, 3])
    backwards = video.flip(0)
    for contrast in (False, True):
        scorer = method(contrast=contrast)
        curve = scorer.score(video, FPS)
        assert np.array_equal(scorer.score(backwards, FPS), curve[::-1])
        assert len(set(curve.tolist())) > 4


# k.


def test_k_is_what_the_paper_gives_for_its_databases() -> None:
    # Moilanen et al. 2014: N = 2k + 1 is 9 frames of SMIC at 25 fps, 21 frames of CASME at 60 fps.
    assert [2 * half_interval(fps, 0.33) + 1 for fps in (25, 60)] == [9, 21]


def test_k_is_half_the_interval_rounded_and_at_least_one() -> None:
    assert [half_interval(fps, 0.5) for fps in (200, 100, 30, 60, 25, 1)] == [50, 25, 8, 15, 6, 1]


def test_the_frame_rate_decides_what_is_compared() -> None:
    video = noise(20, 1, 18, 18)
    scorer = method(contrast=False)
    for fps in (25.0, 60.0):
        features = lbp_features(video[:, 0], blocks=6)
        expected = feature_difference(features, k=half_interval(fps, 1 / 3))
        assert np.array_equal(scorer.score(video, fps), expected.numpy())
    assert not np.array_equal(scorer.score(video, 25), scorer.score(video, 60))


@pytest.mark.parametrize(
    ("fps", "message"),
    [(float("nan"), r"frame rate of the video is unknown.*data\.clips\.fps="), (0, "fps=0: give a positive")],
)
def test_an_unusable_frame_rate_is_refused(fps: float, message: str) -> None:
    with pytest.raises(MerError, match=message):
        method().score(noise(5, 1, 18, 18), fps)


# Features.


def test_lbp_features_are_counts_block_by_block() -> None:
    frames = noise(2, 14, 19)
    features = lbp_features(frames, blocks=3)
    codes = np.pad(lbp_codes(frames).numpy().astype(int), ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    rows, columns = [0, 4, 8, 14], [0, 6, 12, 19]
    for row in range(3):
        for column in range(3):
            block = codes[1, rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
            counts = np.bincount(block[block >= 0], minlength=256)
            expected = torch.from_numpy(counts / counts.sum()).float()
            assert_close(features[1, 3 * row + column], expected)


@pytest.mark.parametrize("flow", ["first", "consecutive"])
def test_hoof_is_that_of_its_flow(flow: Flow) -> None:
    video = with_flow(moved([0, 0.5, 1.5, 2, 1, 0]))
    luma = grey(video[:, :3])
    flows = [tvl1_flow(luma[:1], luma[t : t + 1]) for t in range(1, 6)]
    if flow == "consecutive":
        flows = [video[t : t + 1, 3:] for t in range(5)]
    features = torch.cat([hoof(one, blocks=6).flatten(1, 2) for one in flows])
    scorer = method("hoof", channels=5, flow=flow, contrast=False)
    expected = feature_difference(features, k=K).tolist()
    assert max(expected) > 0
    # One frame has no flow.
    expected = [expected[0], *expected] if flow == "first" else [*expected, expected[-1]]
    np.testing.assert_allclose(scorer.score(video, FPS), expected, rtol=1e-6)


def test_the_frame_without_a_flow_makes_no_peak() -> None:
    # The same flow throughout: from the first frame to every other, and from every frame to the next.
    video = moved([0.0] + [1.0] * 11)
    assert not method("hoof").score(video, FPS).any()
    steady = with_flow(moved([0.0] * 12))
    steady[:-1, 3] = 1
    assert not method("hoof", channels=5, flow="consecutive").score(steady, FPS).any()


def test_frames_are_read_as_luma_whatever_their_type() -> None:
    grey = moved([0, 0.5, 1.5, 2, 1, 0, 0])
    colour = grey.expand(-1, 3, -1, -1)
    curves = {
        "grey": method().score(grey, FPS),
        "grey float": method().score(grey.float(), FPS),
        "colour": method(channels=3).score(colour, FPS),
        "colour float": method(channels=3).score(colour.float(), FPS),
        "with flow": method(channels=5).score(with_flow(grey), FPS),
    }
    assert curves["grey"].max() > 0
    assert all(np.array_equal(curve, curves["grey"]) for curve in curves.values())
    # A green movement shows more than a blue one: luma, no mean of the channels.
    sides = [torch.zeros(7, 3, 24, 24, dtype=torch.uint8) for _ in range(2)]
    for channel, side in zip((1, 2), sides, strict=True):
        side[:, channel] = grey[:, 0] // 16
    green, blue = (method(channels=3).score(side, FPS).max() for side in sides)
    assert green > blue


# Curves.


@pytest.mark.parametrize(("feature", "flow"), METHODS)
def test_a_still_video_scores_nothing(feature: Feature, flow: Flow) -> None:
    still = with_flow(waves(0).expand(12, 1, -1, -1))
    curve = method(feature, channels=5, flow=flow).score(still, FPS)
    assert curve.shape == (12,)
    assert curve.dtype == np.float32
    assert not curve.any()


@pytest.mark.parametrize("feature", ["lbp", "hoof"])
def test_a_brief_movement_is_the_peak(feature: Feature) -> None:
    shifts = [0.0] * 30
    shifts[14:17] = [2.0] * 3
    curve = method(feature).score(moved(shifts), FPS)
    moving = np.zeros(30, dtype=bool)
    moving[14:17] = True
    assert curve[moving].min() > 2 * curve[~moving].max()


@pytest.mark.parametrize("feature", ["lbp", "hoof"])
def test_a_step_is_seen_within_k_of_it_and_nowhere_else(feature: Feature) -> None:
    step = 15
    video = moved([0.0] * step + [2.0] * 15)
    near = np.abs(np.arange(30) - (step - 0.5)) < K
    for contrast in (True, False):
        curve = method(feature, contrast=contrast).score(video, FPS)
        assert near[curve.argmax()]
        assert not curve[~near].any()
    assert (curve[near] > 0).all()  # without the contrast


def test_the_contrast_takes_slow_changes_away() -> None:
    video = moved([3 * np.sin(t / 12) for t in range(60)])
    plain, contrast = (method(contrast=contrast).score(video, FPS) for contrast in (False, True))
    assert (contrast <= plain).all()
    assert contrast.mean() < plain.mean() / 3


@pytest.mark.parametrize(("feature", "flow"), METHODS)
def test_two_frames_are_enough(feature: Feature, flow: Flow) -> None:
    curve = method(feature, channels=5, flow=flow).score(with_flow(moved([0, 2])), FPS)
    assert curve.shape == (2,)
    assert np.isfinite(curve).all()


@pytest.mark.parametrize(("feature", "flow"), METHODS)
def test_chunks_change_nothing(feature: Feature, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    video = with_flow(moved([0, 0.5, 1.5, 2, 1, 0, 0, 2]))
    scorer = method(feature, channels=5, flow=flow)
    whole = scorer.score(video, FPS)
    assert whole.max() > 0
    assert np.array_equal(scorer.score(video, FPS), whole)
    for frames in (1, 3):  # of a flow; of histograms one each or a few
        monkeypatch.setattr(module, "CHUNK", frames * 24 * 24)
        np.testing.assert_allclose(scorer.score(video, FPS), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("feature", "flow"), [METHODS[0], METHODS[2]])
def test_a_window_with_2k_frames_around_it_has_the_same_curve(feature: Feature, flow: Flow) -> None:
    video = with_flow(moved(torch.rand(30, generator=torch.Generator().manual_seed(0)).mul(2).tolist()))
    whole = method(feature, channels=5, flow=flow).score(video, FPS)[10:20]

    def windowed(around: int) -> Curve:
        # The last flow of a window is not read: one frame more.
        window = video[10 - around : 20 + around + 1]
        return method(feature, channels=5, flow=flow).score(window, FPS)[around : around + 10]

    assert whole.max() > 0
    np.testing.assert_allclose(windowed(2 * K), whole, rtol=0, atol=1e-6)
    assert not np.allclose(windowed(K), whole, rtol=0, atol=1e-6)


# Bad input.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature": "hog"}, r"network\.feature='hog': choose one of lbp, hoof"),
        ({"flow": "last"}, r"network\.flow='last': choose one of first, consecutive"),
        ({"angles": "half"}, r"network\.angles='half': choose one of primary, all"),
        ({"blocks": 0}, r"network\.blocks=0: give 1 or more"),
        ({"bins": 0}, r"network\.bins=0: give 1 or more"),
        ({"share": 0.0}, r"network\.share=0\.0: give a number above 0"),
        ({"share": 1.5}, r"network\.share=1\.5: give a number above 0"),
        ({"interval_seconds": -1.0}, r"network\.interval_seconds=-1\.0: give a positive number"),
        ({"channels": 2}, r"1 \(grey\), 3 \(R, G, B\) or 5 channels.*not 2: choose an encoding"),
        (
            {"feature": "hoof", "flow": "consecutive", "channels": 3},
            r"network\.flow=consecutive reads the flow in channels 3 and 4, and the videos have 3: choose",
        ),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MerError, match=message):
        method(**options)


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (torch.zeros(1, 1, 18, 18), "a video of 1 frame has no movement to spot: leave it out"),
        (torch.zeros(0, 1, 18, 18), "a video of 0 frame"),
        (torch.zeros(4, 3, 18, 18), r"of 1 channels takes one video .*, not \(4, 3, 18, 18\)"),
        (torch.zeros(2, 4, 1, 18, 18), r"takes one video .*, not \(2, 4, 1, 18, 18\)"),
        (torch.zeros(4, 1, 18, 11), r"network\.blocks=6 on frames of 11x18 pixels: .*encoding\.size"),
        (torch.full((4, 1, 18, 18), -1.0), r"frames lie in 0\.\.255, and the video's are -1\.\.-1"),
        (torch.full((4, 1, 18, 18), torch.nan), r"frames lie in 0\.\.255, and the video's are nan\.\.nan"),
    ],
)
def test_an_unusable_video_is_refused(video: Tensor, message: str) -> None:
    with pytest.raises(MerError, match=message):
        method().score(video, FPS)


def test_a_flow_that_is_not_finite_is_refused_where_it_is_read() -> None:
    video = torch.zeros(4, 5, 18, 18)
    video[1, 3, 0, 0] = torch.nan
    with pytest.raises(MerError, match="flow of the video is not finite: encode it anew"):
        method("hoof", channels=5, flow="consecutive").score(video, FPS)
    assert not method("hoof", channels=5, flow="first").score(video, FPS).any()


@pytest.mark.parametrize("side", [12, 13])
@pytest.mark.parametrize(("feature", "flow"), METHODS)
def test_the_smallest_frames(feature: Feature, flow: Flow, side: int) -> None:
    video = with_flow(noise(5, 1, side, side))
    assert np.isfinite(method(feature, channels=5, flow=flow).score(video, FPS)).all()


# Shipped configs.


@pytest.mark.parametrize("feature", ["lbp", "hoof"])
def test_a_shipped_config_is_the_papers(feature: Feature) -> None:
    config = OmegaConf.load(config_dir() / "network" / f"{feature}_difference.yaml")
    built = vars(instantiate(config, in_channels=5, num_classes=5))
    default = vars(FeatureDifference(in_channels=5, num_classes=5, feature=feature))
    assert built == {**default, "share": pytest.approx(1 / 3)}
