"""Clip tables with any numbers and names, and every encoding on the smallest clips there are."""

import inspect
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mer import encodings
from mer.data.clips import FRAME_NUMBERS, KEY, validate
from mer.data.encoded import EncodedSet, encode
from mer.data.findings import Reading
from mer.data.megc2019_uvos import read_clips
from mer.data.settle import settle
from mer.errors import MerError
from tests import trust
from tests.fuzz.sheets import STRANGE, spoil
from tests.trees import write_frames, write_megc2019_uvos, write_png

FEW = settings(max_examples=max(10, settings().max_examples // 2))
ODD: list[object] = [*STRANGE, 1e19, 2**63, -(2**63), 1 + 2j, [1], pd.NA, pd.Timestamp(0), b"3", float("nan")]
NUMBERS = st.one_of(st.sampled_from(ODD), st.integers(0, 12), st.integers())
ENCODINGS = [getattr(encodings, name) for name in encodings.__all__]


@given(rows=st.lists(st.tuples(*[NUMBERS] * 4), min_size=1, max_size=3), name=st.sampled_from(ODD))
@example(rows=[(10**30, None, None, 25)], name="c")
@example(rows=[(None, None, 1e19, 25)], name="c")
@example(rows=[(-5, None, None, 25)], name="c")
@example(rows=[(1, 1 + 2j, 2, 25)], name="c")
def test_a_table_of_any_cells_is_sound_or_refused(rows: list[tuple[object, ...]], name: object) -> None:
    table = pd.DataFrame(
        [
            {"database": "d", "subject": "s", "clip": f"{number}{name}", "label": name, "frames": "f"}
            | dict(zip([*FRAME_NUMBERS, "fps"], cells, strict=True))
            for number, cells in enumerate(rows)
        ],
        dtype=object,
    )
    clips = trust.attempt("input", "clip table", lambda: validate(table, "table"))
    if isinstance(clips, MerError):
        return
    assert len(clips) == len(rows)
    numbers = clips[FRAME_NUMBERS].to_numpy(float, na_value=np.nan)
    assert not (numbers < 0).any()
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert not (numbers[:, one] > numbers[:, other]).any()
    # Each number is the one that was given.
    for before, after in zip(rows, numbers[clips["clip"].argsort()], strict=True):
        for cell, number in zip(before, after, strict=False):
            if isinstance(cell, int) and not isinstance(cell, bool) and len(rows) == 1:
                assert number == cell


@given(onset=NUMBERS, apex=NUMBERS, offset=NUMBERS, reads=st.sampled_from(["clip", "onset_apex"]))
@FEW
@example(onset=6, apex=3, offset=1, reads="clip")
@example(onset=0, apex=10**15, offset=10**15, reads="clip")
@example(onset=3, apex=3, offset=3, reads="onset_apex")
def test_rows_with_any_numbers_are_encoded_or_told(
    onset: object, apex: object, offset: object, reads: str
) -> None:
    with tempfile.TemporaryDirectory() as base:
        folder = write_frames(Path(base) / "c1", range(1, 7), size=(8, 9))
        row = {"subject": "s", "clip": "c1", "label": "joy", "frames": str(folder)}
        numbers = {"onset": onset, "apex": apex, "offset": offset}
        rows = pd.DataFrame([row | numbers], dtype=object)
        reading = trust.attempt(
            "input", "rows of any numbers", lambda: settle(rows, source=folder, database="d", fps=25)
        )
        if isinstance(reading, MerError):
            assert "d/s/c1" in str(reading)
            return
        assert isinstance(reading, Reading)
        kind = encodings.ApexFlow(size=8) if reads == "onset_apex" else encodings.StillFrame(size=8)
        result = trust.attempt(
            "input",
            "rows of any numbers, encoded",
            lambda: encode(reading.clips, kind, cache=Path(base) / "cache", progress=False),
        )
        if isinstance(result, EncodedSet):
            assert len(result.images) == 1
            assert torch.isfinite(result.images).all()
        else:
            assert reading.clips["apex"].isna().all(), "an apex that is missing is the only reason left"


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.__name__)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (3, 40), (5, 5)], ids=str)
@pytest.mark.parametrize("last", [1, 4])
def test_the_smallest_clips_are_encoded_or_named(encoding: type, size: tuple[int, int], last: int) -> None:
    options = {"size": 8} if "size" in inspect.signature(encoding).parameters else {}
    with tempfile.TemporaryDirectory() as base:
        folder = write_frames(Path(base) / "c1", range(1, last + 1), size=size)
        row = dict(zip(KEY, ("d", "s", "c1"), strict=True))
        numbers = {"onset": 1, "apex": last, "offset": last, "fps": 25}
        clips = validate(pd.DataFrame([row | numbers | {"label": "joy", "frames": str(folder)}]), "table")
        result = trust.attempt(
            "input",
            f"smallest clips, {encoding.__name__}",
            lambda: encode(clips, encoding(**options), cache=Path(base) / "cache", progress=False),
        )
        if isinstance(result, EncodedSet):
            assert torch.isfinite(result.images.float()).all()


@given(st.data())
@FEW
def test_published_flow_images_are_read_or_named(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as base:
        root = write_megc2019_uvos(Path(base) / "uvos", {"s01": ("0", "1"), "sub01": ("2",)}, size=6)
        place = root / "s01/u_test/0/s01_EP01_01 .png"
        kind = data.draw(
            st.sampled_from(
                ["bytes", "name", "label", "subject", "size", "link", "folder", "gone", "capital"]
            )
        )
        text = data.draw(
            st.sampled_from(["..", "x", "s01_", "s01_ ", "s02_a", "S01_a", "a\nb", "s01_\udcff"])
        )
        if kind == "bytes":
            place.write_bytes(spoil(data, place.read_bytes()))
        elif kind == "name" and text != "..":  # "...png" is hidden, and hidden files are no clips
            place.rename(place.with_name(f"{text}.png"))
        elif kind == "label" and text != "..":
            place.parent.rename(place.parent.with_name(text))
        elif kind == "subject" and text != "..":
            (root / "s01").rename(root / text)
        elif kind == "size":
            write_png(place, np.zeros((4, 5, 3), np.uint8))
        elif kind in ("link", "folder", "gone"):
            place.unlink()
            if kind != "gone":
                place.symlink_to(place.name) if kind == "link" else place.mkdir()
        elif kind == "capital":
            place.rename(place.with_suffix(".PNG"))
        clips = trust.attempt("input", "encoded images", lambda: read_clips(root))
        if isinstance(clips, MerError):
            return
        assert len(clips) == (2 if kind == "gone" else 3)
        result = trust.attempt(
            "input", "encoded images, read", lambda: encode(clips, cache=Path(base) / "cache", progress=False)
        )
        assert isinstance(result, MerError) or len(result.images) == len(clips)
