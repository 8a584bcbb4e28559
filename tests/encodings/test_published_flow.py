"""Our flow images against the published ones of MEGC 2019: size, range, channel order, shape of values."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mer.data import megc2019_uvos, synthetic
from mer.data.drawn_clip import displacement
from mer.data.encoded import encode
from mer.encodings import ApexFlow
from mer.encodings.apex_flow import flow_image

PUBLISHED = Path(__file__).parents[2] / ".." / "shared" / "data" / "megc2019_uvos"
QUIET: dict[str, Any] = {  # the movements as usual, hardly anything else
    **{"amplitude": (0.7, 2.0), "stray": 0.35, "jitter": 0.04},
    **{"noise": 0.5, "blink": 0.0, "head": 0.0, "light": 0.0},
}
Images = NDArray[np.float64]  # (N, 3, 28, 28)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Images:
    if not PUBLISHED.is_dir():
        pytest.skip(f"the published flow images are not at {PUBLISHED}")
    clips = megc2019_uvos.read_clips(PUBLISHED)
    return encode(clips, cache=tmp_path_factory.mktemp("cache"), progress=False).images.double().numpy()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Images:
    folder = tmp_path_factory.mktemp("drawn")
    clips = synthetic.write_and_read(folder / "tree", subjects=3, clips_per_class=1)
    return encode(clips, ApexFlow(), cache=folder, progress=False).images.double().numpy()


def strain_fits(u: Images, v: Images, strain: Images) -> float:
    """How much of the strain squared follows from u and v (R^2), whatever factor scaled each channel."""
    (u_y, u_x), (v_y, v_x) = np.gradient(u), np.gradient(v)
    terms = [u_x**2 + u_y**2 / 2, v_y**2 + v_x**2 / 2, u_y * v_x, np.ones_like(u)]
    design, wanted = np.stack(terms, -1).reshape(-1, 4), strain.ravel() ** 2
    rest = wanted - design @ np.linalg.lstsq(design, wanted, rcond=None)[0]
    return float(1 - rest.var() / wanted.var())


@pytest.mark.parametrize("source", ["published", "drawn"])
def test_size_range_and_channels_are_those_of_the_release(
    source: str, request: pytest.FixtureRequest
) -> None:
    images: Images = request.getfixturevalue(source)
    assert images.shape[1:] == (3, 28, 28)
    # Each channel was scaled on its own, after it had got this size.
    assert (images.min((2, 3)) == 0).all()
    assert (images.max((2, 3)) == 255).all()
    u, v, strain = images.mean((0, 2, 3))
    print(f"{source}: mean u {u:.1f}, v {v:.1f}, strain {strain:.1f}")
    # Flow has both signs, strain is positive and small nearly everywhere.
    assert 105 < u < 150
    assert 105 < v < 150
    assert 15 < strain < 40
    pixels = images.reshape(len(images), 3, -1)
    centred = pixels - pixels.mean(2, keepdims=True)
    skew = ((centred**3).mean(2) / pixels.std(2) ** 3).mean(0)
    assert np.abs(skew[:2]).max() < 1 < 2 < skew[2]


def test_the_release_has_u_before_v(published: Images) -> None:
    """Exchanged, the strain would not be theirs; our own order is tested on known motion."""
    fits = np.array([(strain_fits(*image), strain_fits(*image[[1, 0, 2]])) for image in published])
    better, (as_is, exchanged) = (fits[:, 0] > fits[:, 1]).mean(), np.median(fits, axis=0)
    print(f"R^2 of the strain {as_is:.3f}, exchanged {exchanged:.3f}; better as it is in {better:.0%}")
    assert better > 0.6
    assert as_is > exchanged + 0.02


def test_the_images_of_the_files_show_the_known_motion(tmp_path: Path) -> None:
    clips = synthetic.write_and_read(tmp_path / "tree", subjects=1, clips_per_class=1, **QUIET)
    images = encode(clips, ApexFlow(), cache=tmp_path, progress=False).images
    _, drawn = synthetic.draw_clips(0, clips_per_class=1, seed=0, **QUIET)
    known = torch.stack(
        [torch.from_numpy(displacement(drawn[name], drawn[name].apex)) for name in clips["clip"]]
    )
    for image, expected in zip(images.numpy(), flow_image(known).numpy(), strict=True):
        found = [float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(image, expected, strict=True)]
        print("correlation with the known u, v, strain:", np.round(found, 2))
        assert min(found[:2]) > 0.7
        assert found[2] > 0.3
