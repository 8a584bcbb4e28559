"""``mer audit`` and ``mer encode`` as a user runs them, on stand-ins of every database."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from mer import audit, encode, figures, runs, standin, train
from mer.data import standins
from mer.errors import MerError
from tests.trees import write_frames, write_megc2019_uvos, write_png


def overrides(database: str, root: Path) -> list[str]:
    """How a stand-in is named on the command line."""
    if database == "megc2019":
        return ["data=megc2019", *(f"data.clips.{name}={root / name}" for name in ("casme2", "samm", "smic"))]
    return [f"data={database}", f"data.root={root}"]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("standins")
    return {name: standins.write_standin(name, folder / name, size=32) for name in standins.names()}


@pytest.mark.parametrize("database", standins.names())
def test_a_stand_in_audits_clean_and_trains_a_fold(
    database: str,
    roots: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = overrides(database, roots[database])
    audit.main([*given, "strict=true"])  # every quirk of the release is a known one
    printed = capsys.readouterr().out
    assert printed.startswith(f"SYNTHETIC DATA: {database}: ")
    train.main([*given, "fold='#0'", "epochs=1", "workers=1", "strict=true", "tag=tried"])
    [run] = runs.find(tmp_path / "runs")
    plan = runs.read_plan(run)
    assert plan.synthetic
    assert runs.state(run, plan.folds[0]) == "done"


def test_the_facts_as_json(roots: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    given = [*overrides("casme2", roots["casme2"]), "data.labels=3class", "encoding=dynamic_image"]
    audit.main([*given, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["classes"] == {"negative": 6, "positive": 3, "surprise": 3}
    assert report["left_out_by_label"] == 5
    assert report["videos"] is None
    assert report["counts"]["casme2"]["others"] == 3
    assert report["other_than_published"].startswith("casme2 others 3, published 99")
    assert report["frames"] == {"cropped": 17, "original": 0}
    assert report["encoded"]["state"] == "not made yet"
    assert len(report["findings"]) == 4
    assert {finding["known"] for finding in report["findings"]} == {True}

    encode.main(given)
    told = capsys.readouterr().out
    assert "12 clips, 12 x 3 x 112 x 112 float32" in told
    folder = Path(told.split(": ")[0])
    audit.main(given)
    assert f"encoded as DynamicImage: there ({folder})" in capsys.readouterr().out
    audit.main([*given, "--verify"])
    assert "encoded as DynamicImage: verified" in capsys.readouterr().out
    with (folder / "images.npy").open("r+b") as file:
        file.seek(-100, 2)
        file.write(b"\0\1\2\3")
    audit.main([*given, "--verify"])
    assert "encoded as DynamicImage: damaged" in capsys.readouterr().out


def test_apexes_are_spotted_where_none_is_labelled(
    roots: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    given = overrides("smic", roots["smic"])
    audit.main([*given, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["apexes"] == {"labelled": 0, "spotted": report["used"]}
    with pytest.raises(MerError, match=r"has no apex, nor have \d+ others"):
        audit.main([*given, "apex=labelled"])
    with pytest.raises(MerError, match="apex='middle': choose labelled, spot_missing, spot_all"):
        audit.main([*given, "apex=middle"])


def test_strict_ends_a_run_before_training_and_names_what_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = standins.write_standin("casme2", tmp_path / "root", size=16)
    extra = root / "Cropped/sub04/unheard"
    extra.mkdir()
    given = overrides("casme2", root)
    wrong = f"{extra}: a folder that no row of CASME2-coding-20140508.xlsx names; left out"
    with pytest.raises(MerError, match="casme2: strict=true and 1 finding"):
        audit.main([*given, "strict=true"])
    assert f"to look at:\n  {wrong}" in capsys.readouterr().out
    with pytest.raises(MerError, match=r"strict=true and 1 finding\(s\), the first: .*unheard"):
        train.main([*given, "strict=true", "fold='#0'", "epochs=1"])
    assert not list(tmp_path.glob("runs/*/*/*/*/*/fold-*"))
    train.main([*given, "fold='#0'", "epochs=1"])
    told = "5 findings: 3 corrected, 1 left out, 1 used; `mer audit data=casme2` lists them"
    assert told in capsys.readouterr().err


def test_frames_that_are_not_cropped_need_a_face(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Clips whose face is not found are left out and listed; whole frames can be asked for."""
    root = standins.write_standin("casme2", tmp_path / "root", size=16)
    for path in (root / "CASME2_RAW_selected").rglob("*.jpg"):
        write_png(path, np.zeros((40, 40, 3), np.uint8))
    given = [*overrides("casme2", root), "data.clips.frames=original"]
    with pytest.raises(MerError, match=r"no face found in this clip, nor in any other; .*faces.method=none"):
        audit.main(given)
    audit.main([*given, "faces.method=none", "encoding=dynamic_image"])
    assert "faces: not needed: frames are used as they are 15" in capsys.readouterr().out


def test_landmarks_of_the_users_crop_the_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = standins.write_standin("casme2", tmp_path / "root", size=32)
    given = [*overrides("casme2", root), "data.clips.frames=original", "faces.method=landmarks"]
    with pytest.raises(MerError, match=r"faces.landmarks=.*: no such folder"):
        audit.main([*given, f"faces.landmarks={tmp_path / 'points'}"])
    # The raw frames of the stand-in have borders of 4 and 9 px around the face.
    points = np.random.default_rng(0).uniform((12, 6), (38, 30), (68, 2))
    # The subject's right eye is on the left.
    points[36:42, 0], points[42:48, 0] = np.linspace(16, 21, 6), np.linspace(29, 34, 6)
    points[36:48, 1] = 14
    for folder in (root / "CASME2_RAW_selected").glob("*/*"):
        path = tmp_path / "points" / folder.parent.name / f"{folder.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, points)
    audit.main([*given, f"faces.landmarks={tmp_path / 'points'}", "encoding=apex_flow_masked"])
    assert "faces: landmarks 15, not found 0; eyes from landmarks 15" in capsys.readouterr().out


SPOTTING = ("task=spotting", "encoding=frames_and_flow")


def test_videos_are_counted_with_the_expressions_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ("subjects=2", "clips_per_class=1", "still=2", "long=1", "size=16", "length=[34,34]")
    drawn = [f"data.clips.{option}" for option in (*tiny, "long_length=[110,110]")]
    given = ["data=synthetic_videos", *SPOTTING, *drawn]
    audit.main([*given, "--json"])
    report = json.loads(capsys.readouterr().out)
    labels = report["counts"]["synthetic"]
    # Of each subject: three videos of one expression, two of none, and one of two or three.
    assert {name: report["videos"][name] for name in ("videos", "with_one_expression")} == {
        "videos": 12,
        "with_one_expression": 6,
    }
    assert (report["videos"]["with_several"], report["videos"]["without_any"]) == (2, 4)
    expressions = report["videos"]["expressions"]
    assert expressions == labels["negative"] + labels["positive"] + labels["surprise"]
    assert 6 + 2 * 2 <= expressions <= 6 + 2 * 3
    assert report["videos"]["expressions_without_class"] == 0
    assert report["apexes"] == {"labelled": expressions, "spotted": 0, "missing": 0}
    assert report["frames"] == {"cropped": 12, "original": 0}
    assert report["used"] == 12

    two = ["data.label_map={negative: negative, positive: positive, surprise: null}"]
    audit.main([*given, *two, "data.classes=[negative,positive]"])
    lines = capsys.readouterr().out.splitlines()
    assert f"synthetic: {expressions} expressions of 2 subjects: " in "\n".join(lines)
    of_each = "6 with one expression, 2 with several, 4 without any"
    assert f"videos: 12: {of_each}; {expressions} expressions" in lines
    classes = ", ".join(f"{name} {labels[name]}" for name in ("negative", "positive"))
    without = f"{labels['surprise']} expressions without a class by their label: spotted, not classified"
    assert f"classes: {classes}; {without}" in lines
    assert "used: 12 videos, 2 subjects, 2 folds" in lines


def test_of_videos_only_lost_faces_count_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, size in (("a", (8, 8)), ("b", (40, 40)), ("c", (8, 8))):
        write_frames(tmp_path / name, range(1, 21), size=size, seed=ord(name))
    for path in (tmp_path / "b").iterdir():
        write_png(path, np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "clips.csv").write_text(
        """subject,clip,label,onset,apex,offset,cropped,path
s1,a1,joy,2,4,6,yes,a
s1,a2,fear,11,,15,yes,a
s2,b1,joy,2,4,6,no,b
s3,c1,joy,2,4,6,yes,c
""",
        encoding="utf-8",
    )
    given = ["data=folder", f"data.root={tmp_path}", *SPOTTING, "data.label_map={joy: joy, fear: null}"]
    given.append("data.classes=[joy]")
    audit.main([*given, "apex=labelled", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["videos"] == {
        "videos": 3,
        "with_one_expression": 2,
        "with_several": 1,
        "without_any": 0,
        "expressions": 4,
        "expressions_without_class": 1,
    }
    assert report["apexes"] == {"labelled": 3, "spotted": 0, "missing": 1}
    assert report["classes"] == {"joy": 3}
    assert report["left_out_by_label"] == 0  # it is spotted
    assert (report["faces"]["whole frame"], report["faces"]["not found"]) == (2, 1)
    assert report["used"] == 2
    problems = [finding["problem"] for finding in report["findings"]]
    assert sorted(problems) == ["no apex, so its intensity is undefined", "no face found"]
    audit.main(given)
    printed = capsys.readouterr().out
    assert "faces: whole frame 2, not found 1; eyes from" in printed
    assert "apexes: labelled 3, spotted 1, missing 0\n" in printed
    assert "used: 2 videos, 2 subjects, 2 folds" in printed


def test_encoded_images_have_no_frames_to_look_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_megc2019_uvos(tmp_path / "images")
    audit.main(["data=megc2019_uvos", f"data.root={root}"])
    printed = capsys.readouterr().out
    assert "frames: encoded images 24" in printed
    assert "no finding" in printed
    with pytest.raises(MerError, match="encoded images already; there are no frames to show"):
        figures.main(["encodings", "data=megc2019_uvos", f"data.root={root}"])


def test_a_table_of_a_stand_in_is_titled_synthetic_and_never_lies_beside_the_papers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mer import table

    monkeypatch.chdir(tmp_path)
    root = standins.write_standin("casme2", tmp_path / "root", size=16)
    given = ["experiment=laenet", "data.labels=3class", "epochs=1", "workers=1", "tag=quick"]
    train.main([*given, *overrides("casme2", root)])
    request = {
        "title": "A try",
        "data": "casme2",
        "protocol": "loso",
        "seeds": [0],
        "columns": {"uf1": {"header": "UF1", "subset": "all", "metric": "uf1"}},
        "rows": [{"label": "LAENet", "variant": "laenet/base"}],
    }
    path = tmp_path / "experiments/mine/table1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(request))
    table.main([str(path), "tag=quick"])
    assert "# SYNTHETIC DATA: A try" in capsys.readouterr().out


def test_figures_show_frames_and_encodings(
    roots: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures.main(["encodings", *overrides("casme2", roots["casme2"]), f"runs_dir={tmp_path}"])
    path = Path(capsys.readouterr().out.strip())
    assert path == tmp_path / "figures/encodings-casme2.png"
    from matplotlib.image import imread

    height, width, _ = imread(path).shape
    assert width > 11 * 168  # 5 frames, 3 sums of frames, flow, strain, apex flow
    assert height > 5 * 168  # five classes
    with pytest.raises(MerError, match="no figure 'heads'; there is encodings"):
        figures.main(["heads"])


def test_standin_refuses_what_it_would_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    standin.main(["casme2", str(tmp_path / "a"), "--size", "16"])
    assert "try `mer audit data=casme2 data.root=" in capsys.readouterr().out
    with pytest.raises(MerError, match="holds something already"):
        standin.main(["casme2", str(tmp_path / "a")])
    with pytest.raises(MerError, match="atlantis: no stand-in of this name; there are "):
        standin.main(["atlantis", str(tmp_path / "b")])


def test_options_that_do_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MerError, match="no option --loud; there are --verify and --json"):
        audit.main(["data=synthetic", "--loud"])
    with pytest.raises(MerError, match="data=atlantis: no such config; there are "):
        audit.main(["data=atlantis"])
    for verb in (audit, encode, figures):
        verb.main(["--help"])
        assert "usage: mer" in capsys.readouterr().out
