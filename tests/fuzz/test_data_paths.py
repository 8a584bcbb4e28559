"""Names and paths that lead out of the root: refused or told, never read."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mer.data import casme, casme2, casme_sq, folder, samm, smic
from mer.data.findings import Reading
from mer.data.standins import write_standin
from mer.errors import MerError
from tests import trust
from tests.fuzz.sheets import Grid, read_grid, write_grid
from tests.trees import write_frames

FEW = settings(max_examples=max(8, settings().max_examples // 3))
# reader, sheet, the column of the subject and of the clip, a row that is used.
SHEETS: dict[str, tuple[Callable[[Path], Reading], str, int, int, int]] = {
    "casme": (casme.read_clips, "casme.xlsx", 1, 3, 1),
    "casme2": (casme2.read_clips, "CASME2-coding-20140508.xlsx", 0, 1, 5),
    "casme_sq": (casme_sq.read_clips, "CAS(ME)^2code_final.xlsx", 0, 1, 3),
    "samm": (samm.read_clips, "SAMM_Micro_FACS_Codes_v2.xlsx", 0, 1, 15),
    "smic": (partial(smic.read_clips, frames="long"), "HS_long/SMIC-HS-E_annotation.xlsx", 0, 1, 2),
}
OUT = [
    "..",
    "../x",
    "../../secret",
    "sub01/../../../secret",
    "/etc",
    "{secret}",
    "a/b",
    "..\\x",
    "./s1",
    "~root",
]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("standins")
    write_frames(base / "secret", range(1, 200), size=(4, 4))
    write_frames(base / "secret/secret", range(1, 200), size=(4, 4))
    return {name: write_standin(name, base / name, size=8) for name in SHEETS}


@pytest.mark.parametrize("name", sorted(SHEETS))
@given(subject=st.sampled_from([None, *OUT]), clip=st.sampled_from([None, *OUT]))
@FEW
@example(subject=None, clip="../../../secret")
@example(subject="../../secret", clip="secret")
@example(subject=None, clip="{secret}")
@example(subject="{secret}", clip="secret")
def test_no_name_in_a_sheet_leads_out_of_the_frames(
    name: str, subject: str | None, clip: str | None, roots: dict[str, Path]
) -> None:
    reader, sheet, of_subject, of_clip, row = SHEETS[name]
    root = roots[name]
    path = root / sheet
    content = path.read_bytes()
    secret = str(root.parent / "secret")
    grid: Grid = [list(line) for line in read_grid(path)]
    for column, text in ((of_subject, subject), (of_clip, clip)):
        if text is not None:
            grid[row][column] = text.replace("{secret}", secret)
    try:
        write_grid(path, grid)
        reading = trust.attempt("input", f"names that climb, {name}", lambda: reader(root))
    finally:
        path.write_bytes(content)
    assert isinstance(reading, Reading)
    for place in reading.clips["frames"]:
        assert Path(place).resolve().is_relative_to(root.resolve()), place
        assert ".." not in Path(place).relative_to(root).parts
    if (clip is not None and set(clip) & set("/\\")) or clip == "..":
        assert any(f", row {row + 1}:" in str(finding) for finding in reading.findings)


PATHS = [
    *(
        "../secret",
        "frames/../../secret",
        "{base}/secret",
        "/etc/passwd",
        "../../etc/passwd",
        "link",
        "link/../secret",
    ),
    *(
        "..\\secret",
        "frames/link",
        "/dev/zero",
        "/proc/self/mem",
        "~",
        "~root",
        "$HOME",
        "file:///etc/passwd",
    ),
    *(
        "http://example.org/v.avi",
        "concat:a.avi|b.avi",
        "tcp://127.0.0.1:9",
        "pipe:0",
        "-",
        "%d.avi",
        "a\0b",
        "\n",
    ),
]


@given(path=st.one_of(st.sampled_from(PATHS), st.text(max_size=30)), landmarks=st.sampled_from(["", *PATHS]))
def test_no_path_of_a_table_leads_out_of_the_root(
    path: str, landmarks: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("own")
    root = base / "root"
    write_frames(base / "secret", range(1, 4), size=(4, 4))
    write_frames(root / "frames/c1", range(1, 4), size=(4, 4))
    (base / "secret/points.txt").write_text("1 2\n" * 68)
    (root / "link").symlink_to(base / "secret")
    (root / "frames/link").symlink_to("/")
    header: list[object] = ["subject", "clip", "label", "path", "landmarks"]
    cells: list[object] = [
        "s1",
        "c2",
        "joy",
        *(text.replace("{base}", str(base)) for text in (path, landmarks)),
    ]
    write_grid(root / "clips.csv", [header, ["s1", "c1", "joy", "frames/c1", ""], cells])
    reading = trust.attempt("input", "paths that climb, clips.csv", lambda: folder.read_clips(root))
    if isinstance(reading, MerError):
        return
    named = [str(p) for column in ("frames", "landmarks") for p in reading.clips[column].dropna()]
    for place in named:
        assert Path(place).resolve().is_relative_to(root.resolve()), place
    if "c2" not in set(reading.clips["clip"]):
        assert any("s1/c2" in str(finding) or ", row 3:" in str(finding) for finding in reading.findings)


def test_paths_may_leave_the_root_where_it_is_allowed(tmp_path: Path) -> None:
    write_frames(tmp_path / "elsewhere", range(1, 4), size=(4, 4))
    (tmp_path / "root").mkdir()
    row: list[object] = ["s1", "c1", "joy", str(tmp_path / "elsewhere")]
    write_grid(tmp_path / "root/clips.csv", [["subject", "clip", "label", "path"], row])
    with pytest.raises(MerError, match=r"leads out of .*data\.clips\.anywhere=true"):
        folder.read_clips(tmp_path / "root")
    assert len(folder.read_clips(tmp_path / "root", anywhere=True).clips) == 1
