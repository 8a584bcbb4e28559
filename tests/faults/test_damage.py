"""Flipped and missing bytes: each file is refused by name with its cure, or made again; never used."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from filelock import FileLock

from mer import runs
from mer.data.apex_spotting import spot_missing
from mer.data.clips import validate
from mer.data.encoded import encode, open_set
from mer.data.faces import FaceOptions, locate_all
from mer.data.faces import _read as read_faces
from mer.data.megc2019_uvos import read_clips
from mer.ensemble_checkpoint import load_checkpoint
from mer.ensemble_chunk import Options
from mer.ensemble_engine import train_folds
from mer.errors import MerError
from mer.runs._seal import read_sealed
from tests import trust
from tests.faults.damage import KINDS, damage
from tests.run_folder import FOLDS, make_metrics, make_predictions, make_run
from tests.test_ensemble_engine import make_job
from tests.trees import write_frames, write_megc2019_uvos


def try_damaged(path: Path, read: Callable[[], Any], *, every: int = 1, cure: str = "") -> Counter[str]:
    """Damage a file in many ways and read it: refused by name and with the cure, or what was read before.

    Returns:
        How many of each kind were noticed.
    """
    whole, expected, noticed = path.read_bytes(), read(), Counter[str]()
    for kind, content in damage(whole, every=every):
        path.write_bytes(content)
        got = trust.attempt("faults", f"{kind} in {path.name}", read)
        if isinstance(got, MerError):
            assert path.name in str(got), got
            assert cure in str(got), got
            noticed[kind] += 1
        else:
            assert_equal(got, expected)
    path.write_bytes(whole)
    assert_equal(read(), expected)
    return noticed


def assert_equal(got: Any, expected: Any) -> None:
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(got, expected)
    else:
        assert got == expected


# --- the run folder ---


@pytest.mark.parametrize(
    ("name", "read", "every"),
    [
        ("run.yaml", lambda run: runs.read_record(run, FOLDS[0]), 1),
        ("metrics.csv", lambda run: runs.read_metrics(run, FOLDS[0]), 1),
        ("predictions.parquet", lambda run: runs.read_predictions(run), 37),
    ],
)
def test_every_byte_of_a_fold_is_guarded(tmp_path: Path, name: str, read: Any, every: int) -> None:
    run = make_run(tmp_path)
    path = runs.fold_folder(run, FOLDS[0]) / name
    every_way = Counter(kind for kind, _ in damage(path.read_bytes(), every=every))
    noticed = try_damaged(path, lambda: read(run), every=every, cure=f"remove the folder {path.parent}")
    assert noticed == every_way  # not one passes unnoticed


def test_every_byte_of_the_plan_is_guarded(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = run / "plan.yaml"
    noticed = try_damaged(path, lambda: runs.read_plan(run), cure="remove this file and run the same command")
    assert noticed == Counter(kind for kind, _ in damage(path.read_bytes()))


def test_the_cure_of_a_damaged_plan_keeps_the_folds(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    plan, expected = runs.read_plan(run), runs.read_predictions(run)
    (run / "plan.yaml").write_bytes(b"half")
    with pytest.raises(MerError, match="damaged"):
        runs.start(run, plan)
    (run / "plan.yaml").unlink()
    runs.start(run, plan)
    pd.testing.assert_frame_equal(runs.read_predictions(run), expected)


def test_the_cure_of_a_damaged_fold_costs_that_fold(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    folder = runs.fold_folder(run, FOLDS[1])
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert [runs.state(run, fold) for fold in FOLDS] == ["done", "missing", "done"]


def test_weights_are_guarded_by_the_record_beside_them(tmp_path: Path) -> None:
    run = make_run(tmp_path, folds=[])
    with runs.claim(run, FOLDS[0]) as folder:
        path = folder / "weights.safetensors"
        path.write_bytes(bytes(range(256)) * 4)
        runs.finish(folder, make_predictions(FOLDS[0]), make_metrics(FOLDS[0]), {})
    noticed = try_damaged(path, lambda: runs.check_file(path), every=19)
    assert noticed == Counter(kind for kind, _ in damage(path.read_bytes(), every=19))


def test_folders_without_hashes_are_read_as_they_are(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    expected, plan = runs.read_predictions(run), runs.read_plan(run)
    for path in [run / "plan.yaml", *run.glob("fold-*/run.yaml")]:
        lines = path.read_text().splitlines(keepends=True)
        assert lines[0].startswith("# sha256 ")
        text = "".join(lines[1:])
        path.write_text(text.partition("files:\n")[0] if path.name == "run.yaml" else text)
        assert "files" not in read_sealed(path)
    pd.testing.assert_frame_equal(runs.read_predictions(run), expected)
    assert runs.read_plan(run) == plan
    assert len(runs.read_metrics(run, FOLDS[0])) == 3


def test_what_an_unfinished_attempt_left_is_no_part_of_the_next(tmp_path: Path) -> None:
    """Weights of a killed attempt under another config would be taken for this one's."""
    run = make_run(tmp_path, folds=[])
    with runs.claim(run, FOLDS[0]) as folder:
        (folder / "weights.safetensors").write_bytes(b"of another config")
        (folder / ".run.yaml.abc.unfinished").write_bytes(b"ha")
    with runs.claim(run, FOLDS[0]) as folder:
        assert [path.name for path in folder.iterdir()] == ["lock"]


# --- the cache ---


@pytest.mark.parametrize(("name", "every"), [("images.npy", 1501), ("about.json", 1)])
def test_an_encoded_set_is_made_again(tmp_path: Path, name: str, every: int) -> None:
    clips = read_clips(write_megc2019_uvos(tmp_path / "images", {"006": ("0", "1"), "s01": ("2",)}))
    first = encode(clips, progress=False)
    path, images = first.folder / name, first.images.clone()
    whole = path.read_bytes()
    if name == "images.npy":
        header = [(kind, content + whole[128:]) for kind, content in damage(whole[:128])]
        copies = [*header, *damage(whole, every=every)]
    else:
        copies = list(damage(whole, every=every))
    noticed = 0
    for kind, content in copies:
        path.write_bytes(content)
        found = open_set(first.folder)
        noticed += found is None
        if found is not None:  # a blank, or what about.json tells of the encoding for people
            assert found.content == first.content
            assert torch.equal(found.images, images)
        trust.record("faults", f"{kind} in {name}", "survived" if found else "made again")
    assert noticed > len(copies) / 2
    path.write_bytes(copies[-1][1])
    again = encode(clips, progress=False)
    assert again.content == first.content
    assert path.read_bytes() == whole


def test_a_header_that_cuts_the_same_pixels_otherwise_is_noticed(tmp_path: Path) -> None:
    """The hash is that of the pixels: their shape has to be compared too."""
    clips = read_clips(write_megc2019_uvos(tmp_path / "images", {"006": ("0", "1"), "s01": ("2",)}))
    path = encode(clips, progress=False).folder / "images.npy"
    whole = path.read_bytes()
    assert b"(3, 28, 28, 3)" in whole
    path.write_bytes(whole.replace(b"(3, 28, 28, 3)", b"(3, 14, 56, 3)"))
    assert open_set(path.parent) is None
    encode(clips, progress=False)
    assert path.read_bytes() == whole
    trust.record("faults", "another shape in images.npy", "made again")


def test_half_a_set_that_nobody_asks_for_again_is_removed(tmp_path: Path) -> None:
    """It may hold gigabytes; one whose process lives is locked and stays."""
    clips = read_clips(write_megc2019_uvos(tmp_path / "images", {"006": ("0", "1"), "s01": ("2",)}))
    encoded = Path(os.environ["MER_CACHE"], "encoded")
    killed, live = encoded / ".0123456789abcdef0123", encoded / ".ffffffffffffffffffff"
    for folder in (killed, live):
        folder.mkdir(parents=True)
        (folder / "images.npy").write_bytes(b"half")
    with FileLock(encoded / ".ffffffffffffffffffff.lock"):
        encode(clips, progress=False)
    assert not killed.exists()
    assert live.exists()


def drawn_clips(folder: Path) -> pd.DataFrame:
    write_frames(folder / "frames", range(1, 9), size=(48, 56))
    row = {"database": "d", "subject": "s", "clip": "c", "label": "x", "frames": str(folder / "frames")}
    return validate(pd.DataFrame([row | {"onset": 1, "apex": None, "offset": 8, "fps": 100}]), "t")


def test_faces_are_found_again(tmp_path: Path) -> None:
    clips = drawn_clips(tmp_path)
    options = FaceOptions(method="none")
    first = locate_all(clips, options, progress=False, threads=1)
    [path] = Path(os.environ["MER_CACHE"], "faces").glob("*.json")
    whole = path.read_bytes()
    copies, noticed = list(damage(whole)), 0
    for kind, content in copies:
        path.write_bytes(content)
        found = read_faces(path)
        assert found in (None, first)  # a blank that is another one is no damage
        noticed += found is None
        trust.record("faults", f"{kind} in the faces' cache", "survived" if found else "made again")
    assert noticed > 0.9 * len(copies)
    path.write_bytes(whole[:-1])
    assert locate_all(clips, options, progress=False, threads=1) == first
    assert path.read_bytes() == whole


def test_apexes_are_found_again(tmp_path: Path) -> None:
    clips = drawn_clips(tmp_path)
    first = spot_missing(clips, threads=1, progress=False)
    [path] = Path(os.environ["MER_CACHE"], "apexes").glob("*.json")
    whole = path.read_bytes()
    other = whole.replace(str(first["apex"][0]).encode(), str(first["apex"][0] ^ 1).encode(), 1)
    for kind, content in [*damage(whole), ("flipped byte", other)]:
        path.write_bytes(content)
        again = spot_missing(clips, threads=1, progress=False)
        assert again["apex"].tolist() == first["apex"].tolist()
        trust.record("faults", f"{kind} in the apexes' cache", "made again")


# --- the checkpoint of folds that are trained together ---


def test_a_damaged_checkpoint_is_never_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job, folds = make_job(tmp_path, "run", epochs=2)
    with monkeypatch.context() as patch:  # keeps what would be removed at the end
        patch.setattr("mer.ensemble_engine.remove_checkpoints", lambda _: None)
        list(train_folds(job, folds, 1, options=Options(devices=("cpu",), checkpoint_every=1)))
    [path] = job.run.glob("chunk-*.pt")
    whole = path.read_bytes()
    loaded = load_checkpoint([job], path)
    assert loaded is not None
    expected = loaded.state
    capsys.readouterr()
    noticed = Counter[str]()
    copies = list(damage(whole, every=len(whole) // 150))
    for kind, content in copies:
        path.write_bytes(content)
        found = load_checkpoint([job], path)
        if found is None:
            noticed[kind] += 1
            trust.record("faults", f"{kind} in a checkpoint", "left aside")
        else:  # a byte between the parts of the archive
            trust.record("faults", f"{kind} in a checkpoint", "survived")
            assert found.state["epochs_done"] == expected["epochs_done"]
            assert all(
                torch.equal(found.state["weights"][name], w) for name, w in expected["weights"].items()
            )
    assert noticed["flipped byte"] > 100
    assert noticed["missing bytes"] == sum(kind == KINDS[1] for kind, _ in copies)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == noticed.total()
    assert all(line.startswith(f"{path}: cannot be read (") and "start anew" in line for line in said)
