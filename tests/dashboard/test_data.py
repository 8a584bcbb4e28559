"""What the dashboard says equals what `mer train` and `mer table` say; and nothing on disk makes it fail."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mer import dashboard, runs
from mer.dashboard import clip_images, curves, scoring
from mer.dashboard.run_data import read_all
from mer.dashboard.spotting_view import view
from mer.errors import MerError
from mer.metrics import confusion_matrix
from mer.scores import subset_scores
from mer.selection import select
from mer.spotting_summary import run_scores
from mer.statistics import bootstrap_interval, mcnemar
from tests.dashboard.make import CLASSES, encoded_set, run_of, score
from tests.dashboard.page import Reader, page_data
from tests.run_folder import FOLDS, make_metrics
from tests.spotting_run import make_spotting_run


def write(tmp_path: Path, *more: str) -> Path:
    out = tmp_path / "out"
    dashboard.main(
        [str(tmp_path / "runs"), "--experiments", str(tmp_path / "none"), "--out", str(out), *more]
    )
    return out


def test_scores_are_those_of_the_run(tmp_path: Path) -> None:
    run = run_of(tmp_path / "runs", "laenet", epochs=2)
    predictions = select(runs.read_predictions(run), "last")
    out = write(tmp_path)
    shown = {each["name"]: each for each in page_data(out / "compare.html")[0]["subsets"]}
    expected = subset_scores(predictions, CLASSES)
    assert set(shown) == set(expected.index) == {"all", "casme2", "smic"}
    for name, row in expected.iterrows():
        part = predictions if name == "all" else predictions[predictions["database"] == name]
        for metric in ("accuracy", "uf1", "uar"):
            assert shown[str(name)]["scores"][metric] == row[metric]
            interval = bootstrap_interval(part, CLASSES, metric)
            assert tuple(shown[str(name)]["intervals"][metric]) == interval
    page = Reader(out / "runs/laenet/base/megc2019_uvos/loso/seed-0.html")
    assert f"{score(predictions, 'all', 'uf1'):.4f}" in page.text
    matrix = page_data(out / "runs/laenet/base/megc2019_uvos/loso/seed-0.html")["subsets"][0]["matrix"]
    guess = predictions[[f"p_{name}" for name in CLASSES]].to_numpy().argmax(axis=1)
    target = [CLASSES.index(label) for label in predictions["label"]]
    assert matrix == confusion_matrix(target, guess, 3).tolist()


def test_what_mcnemar_needs(tmp_path: Path) -> None:
    """The page counts where two texts of digits differ."""
    tables = [select(runs.read_predictions(run_of(tmp_path, "laenet", seed=seed)), "last") for seed in (0, 1)]
    (first, key), (second, other) = (
        scoring.right(table.sample(frac=1, random_state=seed), CLASSES) for seed, table in enumerate(tables)
    )
    b = sum(one > two for one, two in zip(first, second, strict=True))
    c = sum(one < two for one, two in zip(first, second, strict=True))
    assert (b, c) == mcnemar(*tables)[:2]
    assert b + c > 0
    assert key == other
    relabelled = tables[0].assign(label=CLASSES[0])
    assert scoring.right(relabelled, CLASSES)[1] != key


def test_subjects_and_wrong_clips(tmp_path: Path) -> None:
    predictions = runs.read_predictions(run_of(tmp_path, "laenet"))
    subjects = scoring.subjects(predictions, CLASSES)
    wrong = scoring.wrong_clips(predictions, CLASSES)
    assert sum(row["clips"] for row in subjects) == len(predictions) == 12
    assert sum(row["clips"] - row["right"] for row in subjects) == len(wrong) > 0
    for row in subjects:
        assert sum(held["clips"] for held in row["held"]) == row["clips"]
        assert sum(held["right"] for held in row["held"]) == row["right"]
    assert wrong["probability"].is_monotonic_decreasing
    assert (wrong["label"] != wrong["predicted"]).all()
    assert (wrong["own"] < wrong["probability"]).all()
    probabilities = predictions[[f"p_{name}" for name in CLASSES]].to_numpy()
    assert wrong["probability"].iloc[0] in probabilities.max(axis=1)


def test_bands_are_quantiles_over_folds() -> None:
    metrics = pd.concat([make_metrics(fold).assign(fold=fold) for fold in FOLDS])  # losses 1, 2, 3 at first
    metrics["val_loss"] = np.nan
    (band,) = curves.bands(metrics)
    assert (band["name"], band["folds"], band["epoch"]) == ("train_loss", 3, [1, 2, 3])
    assert [band[key][0] for key in ("min", "low", "median", "high", "max")] == [1, 1.2, 2, 2.8, 3]
    long = pd.DataFrame({"fold": "a", "epoch": range(1, 5001), "train_loss": np.linspace(5, 1, 5000)})
    (thinned,) = curves.bands(long)
    assert len(thinned["epoch"]) == curves.POINTS
    assert (thinned["epoch"][0], thinned["epoch"][-1]) == (1, 5000)
    assert (thinned["median"][0], thinned["median"][-1]) == (5, 1)


def test_wrong_clips_have_their_own_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("MER_CACHE", str(cache))
    content = encoded_set(cache)
    run = run_of(tmp_path / "runs", "laenet", content=content)
    out = write(tmp_path)
    page = Reader(out / "runs/laenet/base/megc2019_uvos/loso/seed-0.html")
    figures = [attributes for tag, attributes in page.tags if tag == "figure"]
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    predictions = runs.read_predictions(run)
    names = sorted(map(tuple, predictions[["database", "subject", "clip"]].to_numpy()))
    assert len(figures) == len(images) == len(scoring.wrong_clips(predictions, CLASSES))
    for figure, image in zip(figures, images, strict=True):
        row = names.index(tuple(str(figure["data-name"]).split("/")))
        path = (out / "runs/laenet/base/megc2019_uvos/loso" / str(image)).resolve()
        assert path.is_relative_to(out)
        assert np.asarray(Image.open(path))[0, 0].tolist() == [10 * row, 0, 0]
    ignored = (out / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert "images of people" in page.text

    plain = write(tmp_path, "--no-clips")  # it may replace what it wrote
    assert not list(plain.rglob("*.png"))


def test_a_set_without_names_or_that_is_gone(tmp_path: Path) -> None:
    content = encoded_set(tmp_path, clips=13)
    run_of(tmp_path / "runs", "laenet", content=content)
    found = read_all(tmp_path / "runs")
    images, why = clip_images.find_images(found, tmp_path)
    assert images[content].rows == {}
    assert "at most 12 of the 13 clips" in why[content]
    images, why = clip_images.find_images(found, tmp_path / "elsewhere")
    assert not images
    assert "not in the cache" in why[content]
    damaged = tmp_path / "encoded" / "0123456789abcdef0123" / "images.npy"
    damaged.write_bytes(damaged.read_bytes()[:20])
    assert clip_images.find_images(found, tmp_path)[0] == {}


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ([[[255.0, 0.4, 0]]], [[[255, 0, 0]]]),  # 0..255 as it is
        ([[[7.0], [9.0]]], [[7, 9]]),  # grey
        ([[[3.0, 4.0]]], [[[3, 4, 0]]]),  # two channels
        ([[[-1.0], [0.0], [1.0]]], [[0, 128, 255]]),  # signed: stretched
        ([[[5.0, 6.0, 7.0, -900.0]]], [[[5, 6, 7]]]),  # of five channels, three
        ([[[0.5], [0.5]]], [[0, 0]]),
    ],
)
def test_pictures(image: list[Any], expected: list[Any]) -> None:
    assert clip_images.picture(np.array(image, np.float32)).tolist() == expected


def test_names_of_the_data_are_text(tmp_path: Path) -> None:
    """A subject or class may be called anything."""
    evil = "<script>alert(1)</script>"
    run_of(tmp_path / "runs", "laenet", subject=evil)
    out = write(tmp_path)
    path = out / "runs/laenet/base/megc2019_uvos/loso/seed-0.html"
    scripts = [attributes for tag, attributes in Reader(path).tags if tag == "script"]
    assert all("src" in each or each.get("type") == "application/json" for each in scripts)
    assert evil not in path.read_text(encoding="utf-8")
    subjects = page_data(path)["subjects"]
    assert evil in {subject["subject"] for subject in subjects}


def test_half_finished_failed_and_damaged_runs_are_listed(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    half = run_of(root, "half", folds=FOLDS[:1])
    with runs.claim(half, FOLDS[1]) as folder:
        runs.fail(folder, "no images in <b>/data</b>")
    broken = run_of(root, "broken")
    predictions = runs.fold_folder(broken, FOLDS[0]) / "predictions.parquet"
    predictions.write_bytes(b"PAR1 nothing")
    unplanned = run_of(root, "unplanned")
    (unplanned / "plan.yaml").write_text("[", encoding="utf-8")
    strange = run_of(root, "strange")
    record = runs.fold_folder(strange, FOLDS[0]) / "run.yaml"
    record.write_text("seconds: [1]\nversions: 3\ndate: {}\ncommit: 7\n", encoding="utf-8")
    run_of(root, "whole")
    out = write(tmp_path)
    states = {row["experiment"]: row["state"] for row in page_data(out / "compare.html")}
    assert states == {
        "half": "failed",
        "broken": "damaged",
        "unplanned": "damaged",
        "strange": "complete",
        "whole": "complete",
    }
    overview = Reader(out / "index.html").text
    assert f"{predictions}: damaged" in overview
    assert f"{unplanned / 'plan.yaml'}: damaged" in overview
    page = Reader(out / "runs/half/base/megc2019_uvos/loso/seed-0.html").text
    assert "PARTIAL: scores are of 1 of 3 folds" in page
    assert f"{FOLDS[1]}: no images in <b>/data</b>" in page


def test_no_runs_and_no_experiments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = write(tmp_path)
    assert capsys.readouterr().out == f"{out / 'index.html'}\n"
    assert "No runs in" in Reader(out / "index.html").text
    assert "No tables here" in Reader(out / "papers.html").text


def test_another_folder_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(MerError, match=r"is no dashboard; name another folder with --out"):
        write(tmp_path)
    assert (out / "thesis.tex").read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_pages_name_nothing_of_the_network(tmp_path: Path) -> None:
    run_of(tmp_path / "runs", "laenet")
    out = write(tmp_path)
    for path in out.rglob("*.html"):
        for tag, attributes in Reader(path).tags:
            for key in ("src", "href"):
                target = (attributes.get(key) or "").split("#")[0]
                if not target or target.startswith("data:"):
                    continue
                assert "//" not in target, (path, tag, target)
                assert (path.parent / target).exists(), (path, tag, target)


def test_spotting(tmp_path: Path) -> None:
    run = make_spotting_run(tmp_path / "runs", runs.RunKey("spot", "base", "videos", "loso", 0), shift=15)
    plan, (frames, expressions) = runs.read_plan(run), runs.read_spotting(run)
    shown = view(plan, frames, expressions)
    expected = run_scores(plan, frames, expressions)
    assert [row["auc"] for row in shown["scores"]] == expected["auc"].tolist()
    assert [row["interval_f1"] for row in shown["scores"]] == expected["interval_f1"].tolist()
    assert (
        sum(video["hits"] + video["misses"] for video in shown["videos"])
        == expected.loc["all", "expressions"]
    )
    errors = [video["misses"] + video["alarms"] for video in shown["videos"]]
    assert errors == sorted(errors, reverse=True)
    assert shown["videos"][0]["true"] == [[51, 90]]
    out = write(tmp_path)
    page = Reader(out / "runs/spot/base/videos/loso/seed-0.html")
    assert f"{expected['auc'].to_list()[0]:.4f}" in page.text


def test_help_imports_no_torch() -> None:
    code = (
        "import sys, contextlib\n"
        "from mer import dashboard\n"
        "with contextlib.suppress(SystemExit): dashboard.main(['--help'])\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
        "assert 'plotly' not in sys.modules, 'plotly'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--no-clips" in done.stdout
