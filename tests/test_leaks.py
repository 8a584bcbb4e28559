"""Deliberate leaks: each stops a run before anything is trained, and what is tested decides nothing before.

Not told, because no program can: class weights, a crop or a threshold that somebody chose by looking at the
scores of the test subjects and then typed into a config.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from mer import runs, selection, train
from mer.checkpoint import About, check_subjects
from mer.data import composite, standins
from mer.data.duplicates import find_duplicates
from mer.data.frames import list_frames
from mer.data.splits import Split, check, check_complete, holdout, loso, lovo
from mer.errors import MerError
from mer.estimators import SVM, fit_estimator
from mer.spotting_scores import spotted
from tests import trust
from tests.spotting_run import make_video
from tests.trees import write_megc2019_uvos, write_png


@pytest.fixture(autouse=True)
def folder_without_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are started here; the folder of the tests may hold some, as after make demo."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    """The root of a tiny tree of flow images."""
    return write_megc2019_uvos(tmp_path / "images")


def run(*overrides: str) -> None:
    train.main([*overrides, "epochs=1", "workers=1"])


def refused(kind: str, call: Callable[[], object], *words: str) -> None:
    """The call is refused with these words, and no run folder is there."""
    error = trust.attempt("leaks", kind, call)
    assert isinstance(error, MerError), f"{kind}: accepted"
    for word in words:
        assert word in str(error), str(error)
    assert not list(Path().glob("runs/**/plan.yaml")), "a run was begun"


def clip_table() -> pd.DataFrame:
    """Four subjects of three clips, of which nothing is read."""
    rows = [(f"s{k}", f"c{n}") for k in range(4) for n in range(3)]
    table = pd.DataFrame(rows, columns=["subject", "clip"]).assign(database="d", label="x", image="/i.png")
    return table.assign(onset=None, apex=None, offset=None, fps=None)


def leaky(name: str, clips: pd.DataFrame) -> list[Split]:
    """What a function of the user's own may return: good splits, of which one is spoilt."""
    first, *rest = loso(clips, validation=0.34)
    tested, trained, held = first.test, first.train, first.validation
    spoilt = {
        "subject in train and test": Split(first.fold, (*trained, tested[0]), held, tested[1:]),
        "subject in validation and test": Split(first.fold, trained, (*held, tested[0]), tested[1:]),
        "subject in train and validation": Split(first.fold, (*trained, held[0]), held[1:], tested),
        "validation chosen by the test": Split(first.fold, trained, tested, tested),
        "clip in train and test of a protocol that shares subjects": Split(
            first.fold, (*trained, tested[0]), (), tested, (("train", "test"),)
        ),
        "clip in validation and test of a protocol that shares subjects": Split(
            first.fold, trained, tested[:1], tested, (("validation", "test"),)
        ),
        "clip tested twice in a fold": Split(first.fold, trained, (), (*tested, tested[0])),
        "row counted from the end": Split(
            first.fold, (*trained, tested[0] - len(clips)), (), tested, (("train", "test"),)
        ),
    }
    if name == "clip tested in two folds":
        return [first, *rest, Split("again", trained, (), tested)]
    return [spoilt[name], *rest]


LEAKY = {
    "subject in train and test": ("leak in fold", "is in train and in test"),
    "subject in validation and test": ("leak in fold", "is in validation and in test"),
    "subject in train and validation": ("leak in fold", "is in train and in validation"),
    "validation chosen by the test": ("leak in fold", "is in validation and in test"),
    "clip in train and test of a protocol that shares subjects": ("leak in fold", "clip", "is in train and"),
    "clip in validation and test of a protocol that shares subjects": ("leak in fold", "clip"),
    "clip tested twice in a fold": ("leak", "is tested in fold"),
    "clip tested in two folds": ("leak", "is tested in fold"),
    "row counted from the end": ("is not in the table",),
}


def own_protocol(clips: pd.DataFrame, *, kind: str) -> list[Split]:
    """A protocol's function, as a config names it."""
    return leaky(kind, clips)


def protocol_that_edits(clips: pd.DataFrame, *, kind: str) -> list[Split]:
    """A protocol's function that changes the table which it is given."""
    if kind == "subjects":  # each clip a subject of its own: its face would be known from the others
        clips["subject"] = [f"p{row}" for row in range(len(clips))]
    elif kind == "labels":
        clips["label"] = clips["label"].to_numpy()[::-1]
    else:
        clips[:] = clips.sort_values("label").to_numpy()
    return loso(clips)


@pytest.mark.parametrize("kind", LEAKY)
def test_splits_that_leak(kind: str) -> None:
    clips = clip_table()
    refused(kind, lambda: check(clips, leaky(kind, clips)), *LEAKY[kind])


@pytest.mark.parametrize("kind", ["subject in train and test", "validation chosen by the test"])
def test_a_protocol_of_ones_own_that_leaks(flow: Path, kind: str) -> None:
    own = [
        f"data.root={flow}",
        "protocol._target_=tests.test_leaks.own_protocol",
        f"+protocol.kind='{kind}'",
    ]
    drop = [f"~protocol.{name}" for name in ("validation", "validation_by", "seed")]
    refused(f"own protocol: {kind}", lambda: run("data=megc2019_uvos", *own, *drop), *LEAKY[kind])


@pytest.mark.parametrize(
    ("kind", "words"), [("subjects", "is in train and in test"), ("order", "is in train and in test")]
)
def test_a_protocol_that_edits_its_table_deceives_no_guard(flow: Path, kind: str, words: str) -> None:
    own = [
        *("protocol._target_=tests.test_leaks.protocol_that_edits", f"+protocol.kind={kind}"),
        *(f"~protocol.{name}" for name in ("validation", "validation_by", "seed")),
    ]
    call = partial(run, "data=megc2019_uvos", f"data.root={flow}", *own)
    refused(f"own protocol: edits the {kind} of its table", call, "leak in fold", words)


def test_a_protocol_that_edits_its_labels_changes_no_truth(flow: Path) -> None:
    drop = [f"~protocol.{name}" for name in ("validation", "validation_by", "seed")]
    own = ["protocol._target_=tests.test_leaks.protocol_that_edits", "+protocol.kind=labels", *drop]
    run("data=megc2019_uvos", f"data.root={flow}", *own, "tag=edits")
    run("data=megc2019_uvos", f"data.root={flow}", "tag=not")
    edits, other = (
        runs.read_predictions(next(Path("runs").glob(f"*/base.{tag}/*/*/seed-0")))
        .set_index(runs.KEY)["label"]
        .sort_index()
        for tag in ("edits", "not")
    )
    assert edits.equals(other)
    trust.record("leaks", "own protocol: edits the labels of its table", "equal", amount=len(edits))


def test_what_a_protocol_must_return() -> None:
    clips = clip_table()
    sound = loso(clips)
    returns: list[Any] = [None, ["#0"], [], sound[0]]
    for wrong in (
        {"fold": None},
        {"fold": 3},
        {"fold": ""},
        {"fold": "a\0b"},
        {"fold": "a\nb"},
        {"train": None},
        {"test": np.array(sound[0].test)},
        {"validation": {3}},
        {"train": (True, *sound[0].train)},
        {"train": (3.0, *sound[0].train)},
        {"shared": "train,test"},
        {"shared": None},
    ):
        returns.append([replace(sound[0], **wrong), *sound[1:]])
    for returned in returns:
        refused("own protocol: no splits", partial(check, clips, returned))


def test_a_clip_that_no_fold_tests() -> None:
    clips = clip_table()
    refused(
        "clip tested never", lambda: check_complete(clips, loso(clips)[1:]), "d/s0/c0 is tested in no fold"
    )


def test_the_protocols_of_the_house_leak_nothing() -> None:
    clips = clip_table()
    for splits in (loso(clips, validation=0.34), lovo(clips), holdout(clips, validation=0.3)):
        check(clips, splits)
        trust.record("leaks", "protocols of the house", "accepted", amount=len(splits))


def copied(flow: Path, change: Callable[[bytes], bytes], *, to: str = "006") -> None:
    """A clip of sub01 under another name, as a clip of another subject."""
    source = next((flow / "sub01/u_test/0").glob("*.png"))
    target = flow / to / "u_test/0" / f"{to}_copy .png"
    target.write_bytes(change(source.read_bytes()))


def saved_again(content: bytes) -> bytes:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def test_a_clip_under_two_names(flow: Path) -> None:
    for kind, change in (("byte copy", bytes), ("saved again as JPEG", saved_again)):
        copied(flow, change)
        call = partial(run, "data=megc2019_uvos", f"data.root={flow}")
        refused(
            f"clip under two names: {kind}", call, "leak in fold", "sub01/", "006/copy", "duplicates=warn"
        )


def test_a_copy_that_is_let_through_is_another_run(flow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied(flow, bytes)
    run("data=megc2019_uvos", f"data.root={flow}", "duplicates=warn", "fold='#0'", "experiment=laenet")
    assert "1 finding: 1 used" in capsys.readouterr().err
    (found,) = runs.find(Path("runs"))
    assert found.parent.parent.parent.name.startswith("base."), "it has a tag"
    assert runs.read_plan(found).config["duplicates"] == "warn"
    with pytest.raises(MerError, match="duplicates='maybe': choose error or warn"):
        run("data=megc2019_uvos", f"data.root={flow}", "duplicates=maybe")
    with pytest.raises(MerError, match=r"strict=true and 1 finding\(s\).*shows the same frame as"):
        run("data=megc2019_uvos", f"data.root={flow}", "strict=true")


def test_a_run_without_copies_is_the_run_that_it_was(flow: Path) -> None:
    """The guard that is on adds nothing to a run's key: what was trained before it is still found."""
    run("data=megc2019_uvos", f"data.root={flow}", "fold='#0'", "tag=mine")
    (found,) = runs.find(Path("runs"))
    assert "duplicates" not in runs.read_plan(found).config


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins of CASME II and SAMM, in which a clip of SAMM shows the frames of one of CASME II."""
    folder = tmp_path_factory.mktemp("standins")
    for name in ("casme2", "samm"):
        standins.write_standin(name, folder / name, size=32)
    return folder


@pytest.mark.parametrize("protocol", ["loso", "cross_dataset"])
def test_a_clip_in_two_databases(
    databases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(databases, tmp_path / "data")
    for name in ("casme2", "samm"):
        monkeypatch.setenv(f"MER_ROOT_{name.upper()}", str(tmp_path / "data" / name))
    call = partial(run, "data=composite", f"protocol={protocol}", "faces.method=none")
    clips = composite.read_clips(databases=["casme2", "samm"], labels="4class").clips
    assert len(find_duplicates(clips)) == 0
    one, other = (clips[clips["database"] == name].iloc[0] for name in ("casme2", "samm"))
    theirs, ours = (list_frames(Path(clip["frames"])) for clip in (one, other))
    for number, path in ours.items():
        # One frame later, and saved again.
        shown = theirs[min(max(one["onset"] + 1 + number - other["onset"], min(theirs)), max(theirs))]
        pixels = cv2.imread(str(shown))
        assert pixels is not None
        assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
    names = [f"{clip['database']}/{clip['subject']}/{clip['clip']} (" for clip in (one, other)]
    refused(f"clip in two databases, one frame later: {protocol}", call, "leak in fold", *names)


def test_weights_that_have_seen_the_tested_subject_or_a_copy_of_its_clip(flow: Path) -> None:
    """Whom weights were trained on is told by name, and under another name by content."""
    every, data = f"data.root={flow}", ["data=megc2019_uvos", "experiment=laenet"]
    source = flow.parent / "source"
    for subject in ("sub01", "sub02"):
        shutil.copytree(flow / subject, source / subject)
    before = ["protocol=holdout", "protocol.test=0.5", "save_checkpoint=true", "tag=before"]
    run(*data, f"data.root={source}", *before)
    (weights,) = runs.find(Path("runs"))
    tested = set(runs.read_predictions(weights)["subject"])
    (trained,) = {"sub01", "sub02"} - tested
    start = [f"init={weights}", "tag=after"]
    refusal = trust.attempt(
        "leaks",
        "weights trained on the tested subject",
        lambda: run(*data, every, *start, f"fold=casme2/{trained}"),
    )
    assert isinstance(refusal, MerError)
    assert f"was trained on subject casme2/{trained}, which this fold tests" in str(refusal)
    # The same clips as those of somebody else: nothing but their content tells.
    renamed = flow.parent / "renamed"
    shutil.copytree(flow / "s01", renamed / "s01")
    for path in (flow / trained / "u_test").rglob("*.png"):
        new = renamed / "sub09/u_test" / path.parent.name / path.name.replace(trained, "sub09")
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, new)
    refusal = trust.attempt(
        "leaks",
        "weights trained on a copy of the tested clip",
        lambda: run(*data, f"data.root={renamed}", *start[:1], "tag=renamed", "fold=casme2/sub09"),
    )
    assert isinstance(refusal, MerError)
    assert "was trained on the same frame as casme2/sub09/" in str(refusal)
    # Not even a folder was begun by any of them.
    assert runs.find(Path("runs")) == [weights]


@pytest.mark.parametrize("other", ["S1", "s1\u200b", "\uff53\uff11", "s 1"])
def test_a_person_under_two_spellings(tmp_path: Path, other: str) -> None:
    """Excel, another keyboard or a copied blank make two subjects of one person."""
    rows: list[dict[str, object]] = []
    draw = np.random.default_rng(0)
    for subject in ("s1", other, "s2"):
        for label in ("joy", "fear"):
            path = f"f{len(rows)}"
            for number in (1, 2, 3):
                write_png(
                    tmp_path / "mine" / path / f"{number}.png", draw.integers(0, 256, (32, 32, 3), np.uint8)
                )
            rows.append(
                {"subject": subject, "clip": label, "label": label, "onset": 1, "apex": 2, "path": path}
            )
    pd.DataFrame(rows).to_csv(tmp_path / "mine/clips.csv", index=False)
    call = partial(run, "data=folder", f"data.root={tmp_path / 'mine'}", "data.clips.cropped=true")
    refused("person under two spellings", call, "are spelt alike", "clips.csv")


def test_weights_know_whom_they_saw_however_it_is_spelt(tmp_path: Path) -> None:
    about = cast(About, SimpleNamespace(trained_on=["casme2/Sub 01"]))
    for tested in (["casme2/sub02", "casme2/sub01"], ["CASME2/SUB01"]):
        call = partial(check_subjects, about, tmp_path, tested)
        refused("weights trained on the tested subject, spelt otherwise", call, "leak", tested[-1])
    check_subjects(about, tmp_path, ["casme2/sub11", "samm/sub01"])


def test_weights_that_started_from_others_have_seen_what_those_saw(flow: Path) -> None:
    """Transfer in two steps: the second run's checkpoint knows whom the first was trained on."""
    data = ["data=megc2019_uvos", "experiment=laenet"]
    holdout = ["protocol=holdout", "protocol.test=0.5", "save_checkpoint=true"]
    for name, subjects in (("first", ("sub01", "sub02")), ("second", ("s01", "s02"))):
        for subject in subjects:
            shutil.copytree(flow / subject, flow.parent / name / subject)
    run(*data, f"data.root={flow.parent / 'first'}", *holdout, "tag=first")
    (first,) = runs.find(Path("runs"))
    trained = {"sub01", "sub02"} - set(runs.read_predictions(first)["subject"])
    run(*data, f"data.root={flow.parent / 'second'}", *holdout, f"init={first}", "tag=second")
    second = next(path for path in runs.find(Path("runs")) if path != first)
    third = [*data, f"data.root={flow}", f"init={second}", "tag=third", f"fold=casme2/{trained.pop()}"]
    refusal = trust.attempt(
        "leaks", "weights whose start was trained on the tested subject", lambda: run(*third)
    )
    assert isinstance(refusal, MerError)
    assert "was trained on subject casme2/sub0" in str(refusal)


def test_a_video_of_two_subjects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spotting: one recording in training and test, as a folder of two names and as a copy of it."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "mine"
    draw = np.random.default_rng(0)
    for subject in ("s1", "s2", "s3"):
        for number in range(1, 9):
            path = root / subject / f"img{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(0, 256, (8, 8, 3), np.uint8)
            assert cv2.imwrite(str(path), cv2.resize(pixels, (32, 32)))
    rows = [
        {"subject": s, "clip": "a", "label": "x", "onset": 2, "apex": 3, "offset": 5, "path": s}
        for s in ("s1", "s2", "s3")
    ]
    call = partial(
        run,
        "experiment=lbp_difference",
        "data=folder",
        f"data.root={root}",
        "data.clips.fps=30",
        "data.clips.cropped=true",
    )
    pd.DataFrame(rows).assign(path=["s1", "s2", "s1"]).to_csv(root / "clips.csv", index=False)
    refused("video of two subjects", call, "lie in this folder and differ in subject")
    pd.DataFrame(rows).to_csv(root / "clips.csv", index=False)
    shutil.rmtree(root / "s3")
    shutil.copytree(root / "s1", root / "s3")
    refused(
        "copy of a video", call, "leak in fold folder/s1: folder/s1/a (tested) and folder/s3/a (trained on)"
    )


def altered(flow: Path, subject: str) -> Path:
    """A copy of the tree in which one subject's clips have other labels and other pixels."""
    other = flow.parent / "altered"
    shutil.copytree(flow, other)
    folder = other / subject / "u_test"
    pixels = np.random.default_rng(99)  # other ones than the tree's, or they would be its copies
    for label in "012":
        (folder / label).rename(folder / f"was{label}")
    for label in "012":
        (folder / f"was{label}").rename(folder / str((int(label) + 1) % 3))
    for path in folder.rglob("*.png"):
        content = cv2.imencode(".png", pixels.integers(0, 256, (28, 28, 3), np.uint8))[1]
        path.write_bytes(content.tobytes())
    return other


@pytest.mark.parametrize(("engine", "network"), [("processes", "ststnet"), ("ensemble", "laenet")])
def test_what_is_tested_decides_nothing_before_it_is_predicted(flow: Path, engine: str, network: str) -> None:
    """Other labels and other pixels of the test subject: the same weights, losses and epoch, byte by byte."""
    options = [
        f"experiment={network}",
        "data=megc2019_uvos",
        "fold=smic/s01",
        "protocol.validation=0.4",
        "class_weights=balanced",
        "order=balanced",
        "store=every_epoch",
        "save_checkpoint=true",
        f"engine={engine}",
        "workers=1",
        "epochs=3",
        "optimizer.lr=0.01",
    ]
    found = []
    for name, root in (("one", flow), ("other", altered(flow, "s01"))):
        train.main([*options, f"data.root={root}", f"tag={name}"])
        (path,) = Path("runs").glob(f"*/base.{name}/*/*/seed-0")
        fold = runs.fold_folder(path, "smic/s01")
        predictions = pd.read_parquet(fold / "predictions.parquet")
        metrics = pd.read_csv(fold / "metrics.csv").assign(fold="smic/s01")
        chosen = selection.select(predictions, "best_on_validation", metrics)
        found.append((_tensors(fold), (fold / "metrics.csv").read_bytes(), set(chosen["epoch"]), predictions))
    (weights, losses, epoch, before), (others, other_losses, other_epoch, after) = found
    assert weights.keys() == others.keys()
    for key, tensor in weights.items():
        assert torch.equal(tensor, others[key]), key
    assert losses == other_losses
    assert epoch == other_epoch
    # And the subject was another one.
    assert before["label"].tolist() != after["label"].tolist()
    assert not np.array_equal(before.filter(like="p_"), after.filter(like="p_"))
    trust.record("leaks", f"test subject replaced, {engine}", "equal", amount=len(weights))


def _tensors(fold: Path) -> dict[str, torch.Tensor]:
    (path,) = fold.glob("*.safetensors")
    return load_file(path)


def test_an_svm_learns_its_scale_and_machine_from_the_training_rows() -> None:
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(12, 6, 1, 1)).astype(np.float32))
    targets = torch.tensor([0, 1, 2] * 4)
    split = Split("f", train=tuple(range(9)), validation=(), test=(9, 10, 11))
    learned: list[np.typing.NDArray[np.float64]] = []
    for images, labels in ((features, targets), (features.clone(), targets.clone())):
        if learned:
            images[9:], labels[9:] = images[9:] * 1e3 + 7, labels[9:].flip(0)
        machine = SVM(in_channels=6, num_classes=3, scale="standard")
        fit_estimator(machine, images, labels, split)
        learned.append(machine.probabilities(features[:9].flatten(1).numpy()))
    assert np.array_equal(learned[0], learned[1])
    trust.record("leaks", "test subject replaced, SVM", "equal")


def test_intervals_do_not_depend_on_the_truth_or_on_other_videos() -> None:
    """Each video's threshold is of its own curve, and nothing of the annotation."""
    one, _ = make_video("d/s1/a", [(20, 40)], [(20, 40), (100, 130)])
    other, _ = make_video("d/s2/b", [(5, 9)], [(70, 99)])
    alone = spotted(one)
    assert len(alone) == 2
    lied = one.assign(inside=~one["inside"], intensity=np.float32(1))
    together = spotted(pd.concat([other.assign(score=other["score"] * 50), lied], ignore_index=True))
    mine = together[together["subject"] == "s1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, alone)
    trust.record("leaks", "annotation of a tested video replaced", "equal")


def test_trained_spotting_does_not_depend_on_the_tested_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = ("subjects=3", "clips_per_class=1", "still=1", "long=0", "size=32", "length=[34,36]")
    options = [
        *("data=synthetic_videos", "experiment=timecontrast_small", "network.width=0.0625"),
        *(
            "network.context_dilation=2",
            "encoding.size=32",
            "epochs=2",
            "task.pretrain_epochs=1",
            "workers=1",
        ),
        *("class_weights=balanced", "save_checkpoint=true", "fold=synthetic/s02"),
        *(f"data.clips.{option}" for option in tiny),
    ]
    train.main([*options, "tag=one"])
    (table,) = (tmp_path / "mer-cache/synthetic_videos").glob("*/clips.csv")
    clips = pd.read_csv(table)
    tested = clips["subject"] == "s02"
    clips.loc[tested, "label"] = np.roll(clips.loc[tested, "label"], 1)
    clips.loc[tested, "onset"] += 1
    clips.to_csv(table, index=False)
    for path in (table.parent / "s02").rglob("*.png"):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert pixels is not None
        assert cv2.imwrite(str(path), np.ascontiguousarray(pixels[:, ::-1]))
    train.main([*options, "tag=other"])
    one, other = (
        runs.fold_folder(next(Path("runs").glob(f"*/*.{name}/*/*/seed-0")), "synthetic/s02")
        for name in ("one", "other")
    )
    assert (one / "frames.parquet").read_bytes() != (other / "frames.parquet").read_bytes()
    assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
    weights, others = _tensors(one), _tensors(other)
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    trust.record("leaks", "test subject replaced, spotting", "equal", amount=len(weights))


def test_rules_that_look_at_the_test_say_so() -> None:
    for rule in selection.RULES:
        leaks = rule in selection.LEAKY
        assert selection.describe(rule).startswith("LEAK") == leaks
        trust.record("leaks", f"epoch by {rule}", "labelled" if leaks else "accepted")
