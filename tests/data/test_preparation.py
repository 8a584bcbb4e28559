"""Faces and apexes are looked for where an encoding needs them, and only there."""

from pathlib import Path

import pytest

from mer.data import casme2, smic
from mer.data.faces import FaceOptions
from mer.data.preparation import make_ready
from mer.data.standins import write_standin
from mer.data.standins.tree import write_frames
from mer.encodings import ApexFlow, DynamicImage
from mer.errors import MerError
from tests.trees import write_megc2019_uvos


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin("casme2", tmp_path_factory.mktemp("casme2") / "root", size=32)


def test_cropped_clips_with_apexes_need_nothing(root: Path) -> None:
    clips = casme2.read_clips(root).clips.dropna(subset="apex").reset_index(drop=True)
    ready = make_ready(clips, ApexFlow(), faces=FaceOptions())
    assert ready.faces is None
    assert ready.findings == []
    assert ready.spotted == 0
    assert ready.clips is clips


def test_missing_apexes_are_spotted_for_encodings_that_read_them(root: Path) -> None:
    clips = casme2.read_clips(root).clips
    ready = make_ready(clips, ApexFlow())
    assert ready.spotted == 2
    labelled = clips["apex"].notna()
    assert ready.clips["apex"][labelled].equals(clips["apex"][labelled])
    spotted = ready.clips[~labelled]
    assert ((spotted["onset"] <= spotted["apex"]) & (spotted["apex"] <= spotted["offset"])).all()
    assert make_ready(clips, DynamicImage()).clips is clips
    assert make_ready(clips, DynamicImage(), apex="labelled").clips is clips
    with pytest.raises(MerError, match=r"EP12_01f has no apex, nor have 1 others.*apex=spot_missing"):
        make_ready(clips, ApexFlow(), apex="labelled")
    assert make_ready(clips, ApexFlow(), apex="spot_all").spotted == len(clips)


def test_masked_eyes_need_faces_even_in_cropped_frames(root: Path) -> None:
    clips = casme2.read_clips(root).clips
    ready = make_ready(clips, ApexFlow(mask="before"), faces=FaceOptions())
    assert ready.faces is not None
    assert {face.method for face in ready.faces} == {"whole frame"}
    assert len(ready.faces) == len(ready.clips) == len(clips)


def test_a_clip_whose_face_is_not_found_is_left_out_and_told(tmp_path: Path) -> None:
    import numpy as np

    root = write_standin("smic", tmp_path / "root", size=48)
    clips = smic.read_clips(root, frames="original").clips
    blank = Path(clips["frames"][3])
    for path in blank.iterdir():
        path.unlink()
    onset, offset = int(clips["onset"][3]), int(clips["offset"][3])
    write_frames(blank, "image{:06d}.bmp", np.zeros((offset - onset + 1, 66, 58), np.uint8), onset)
    ready = make_ready(clips, DynamicImage(size=28), faces=FaceOptions())
    gone = clips.iloc[3]
    assert [(finding.clip, finding.outcome) for finding in ready.findings] == [
        (f"smic/{gone['subject']}/{gone['clip']}", "left out")
    ]
    assert gone["clip"] not in ready.clips["clip"].tolist()
    assert ready.faces is not None
    assert len(ready.clips) == len(ready.faces) == len(clips) - 1
    everything = make_ready(clips, DynamicImage(size=28), faces=FaceOptions(method="none"))
    assert everything.faces is None
    assert len(everything.clips) == len(clips)


def test_encoded_images_pass_as_they_are(tmp_path: Path) -> None:
    from mer.data.megc2019_uvos import read_clips

    clips = read_clips(write_megc2019_uvos(tmp_path))
    assert make_ready(clips, None, faces=FaceOptions()).clips is clips
    with pytest.raises(MerError, match="apex='never': choose labelled"):
        make_ready(clips, None, apex="never")  # type: ignore[arg-type]
