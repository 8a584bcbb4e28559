from pathlib import Path

import pytest
import torch

from mer.data import MEGC2019UVOSDataModule
from mer.data.clips import class_counts, map_labels
from mer.data.encoded import encode
from mer.data.megc2019_uvos import PUBLISHED_COUNTS, read_clips
from mer.encodings import ApexFlow
from mer.errors import MerError
from tests.trees import write_megc2019_uvos


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_megc2019_uvos(tmp_path / "norm_u_v_os")


def test_the_release_is_read(root: Path) -> None:
    clips = read_clips(root)
    assert len(clips) == 24, "u_train is not read"
    first = clips.iloc[0]
    assert (first["database"], first["subject"], first["clip"]) == ("casme2", "sub01", "EP01_01")
    assert first["label"] == "negative"
    assert first["image"] == str(root / "sub01/u_test/0/sub01_EP01_01 .png")
    assert clips.groupby("database")["subject"].unique().map(list).to_dict() == {
        "casme2": ["sub01", "sub02"],
        "samm": ["006", "007"],
        "smic": ["s01", "s02"],
    }
    assert clips["label"].value_counts().to_dict() == {"negative": 12, "positive": 6, "surprise": 6}
    assert clips[["onset", "apex", "offset", "fps"]].isna().all(axis=None)


def test_a_third_of_the_real_subjects_show_one_class_only(megc2019_uvos: Path) -> None:
    """Why F1 is pooled over folds and not averaged: the README says 23."""
    classes = read_clips(megc2019_uvos).groupby(["database", "subject"])["label"].nunique()
    assert (classes == 1).sum() == 23


def test_the_real_clips_are_as_many_as_published(megc2019_uvos: Path) -> None:
    clips = read_clips(megc2019_uvos)
    assert class_counts(clips).to_dict("index") == PUBLISHED_COUNTS
    assert clips["label"].value_counts().to_dict() == {"negative": 250, "positive": 109, "surprise": 83}


def test_the_data_module_works_without_a_config(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MER_ROOT_MEGC2019_UVOS", str(root))
    data = MEGC2019UVOSDataModule(fold="smic/s01", batch_size=7)
    assert (data.in_channels, data.num_classes, data.classes) == (3, 3, ["negative", "positive", "surprise"])
    assert data.split.fold == "smic/s01"
    batches = list(data.train_dataloader())
    assert [len(batch["target"]) for batch in batches] == [7, 7, 6]
    assert batches[0]["image"].shape == (7, 3, 28, 28)
    with pytest.raises(MerError, match="fold=all: a data module holds one fold"):
        MEGC2019UVOSDataModule(fold="all")
    assert MEGC2019UVOSDataModule(root=str(root)).split.fold == "casme2/sub01"


def test_pixels_are_the_file_s_in_the_order_r_g_b(root: Path) -> None:
    import cv2

    clips = read_clips(root)
    image = encode(clips, progress=False).images[0]
    bgr = torch.from_numpy(cv2.imread(clips["image"][0]))
    torch.testing.assert_close(image, bgr.flip(-1).permute(2, 0, 1).float(), rtol=0, atol=0)


def test_an_encoding_of_these_images_is_refused(root: Path) -> None:
    with pytest.raises(MerError, match=r"encoding=ApexFlow: .* already encoded; use encoding=none"):
        MEGC2019UVOSDataModule(root=root, encoding=ApexFlow())


def test_a_wrong_root_says_what_the_root_holds(root: Path, tmp_path: Path) -> None:
    for wrong in (tmp_path, root / "006", root / "006/u_test/0"):
        with pytest.raises(
            MerError, match=r"no <subject>/u_test folder; the root is the folder that holds 006"
        ):
            read_clips(wrong)


def test_a_missing_root_names_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MerError, match=r"pass data.root=.*or set MER_ROOT_MEGC2019_UVOS"):
        MEGC2019UVOSDataModule()
    with pytest.raises(MerError, match=r"gone: no such folder \(data.root\)"):
        MEGC2019UVOSDataModule(root=tmp_path / "gone")


def test_a_subject_without_images_is_named(root: Path) -> None:
    for image in (root / "s02/u_test").rglob("*.png"):
        image.unlink()
    with pytest.raises(MerError, match=r"s02: a subject without images .*; restore them or remove it"):
        read_clips(root)


def test_a_strange_folder_is_named(root: Path) -> None:
    (root / "s03x").mkdir()
    with pytest.raises(MerError, match=r"s03x: not a subject of the release .*; move it away"):
        read_clips(root)


def test_hidden_files_are_passed_over(root: Path) -> None:
    (root / ".cache").mkdir()
    (root / "006/u_test/.ipynb_checkpoints").mkdir()
    (root / "006/u_test/0/._006_EP01_01 .png").touch()
    (root / "notes.txt").touch()
    assert len(read_clips(root)) == 24


def test_a_strange_label_folder_is_named(root: Path) -> None:
    (root / "006/u_test/2").rename(root / "006/u_test/3")
    with pytest.raises(MerError, match=r"006/u_test/3: the label folders are 0 \(negative\)"):
        read_clips(root)


def test_another_subject_s_image_is_named(root: Path) -> None:
    # One person's clip in another's folder would be trained on and tested.
    (root / "006/u_test/0/006_EP01_01 .png").rename(root / "006/u_test/0/007_EP01_09 .png")
    with pytest.raises(MerError, match=r"007_EP01_09 .png: expected a file name that begins with 006_"):
        read_clips(root)


def test_a_clip_under_two_labels_is_named(root: Path) -> None:
    source = root / "006/u_test/0/006_EP01_01 .png"
    (root / "006/u_test/1/006_EP01_01 .png").write_bytes(source.read_bytes())
    with pytest.raises(MerError, match=r"clip samm/006/EP01_01 has 2 rows; a clip has one"):
        read_clips(root)


def test_an_image_cut_short_is_named(root: Path) -> None:
    image = root / "s01/u_test/1/s01_EP01_03 .png"
    image.write_bytes(image.read_bytes()[:-20])
    with pytest.raises(MerError, match=r"s01_EP01_03 .png: this image is cut short .*; copy or extract it"):
        encode(read_clips(root), progress=False)


def test_a_label_outside_the_map_is_named(root: Path) -> None:
    with pytest.raises(MerError, match=r"has the label 'surprise', .*add it to data.label_map"):
        map_labels(read_clips(root), {"negative": "n", "positive": "p"}, ["n", "p"], root)
