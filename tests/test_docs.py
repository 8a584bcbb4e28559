"""The pages in docs/ are followed literally: files are written, commands run, links looked up."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mer import cli
from mer.data import standins

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
LINKED = [ROOT / "README.md", *PAGES, *sorted(ROOT.glob("experiments/*/README.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# (\S+\.\w+)\n")
COMMENT = re.compile(r"(^|\s)#.*")  # as bash has it: fold=#0 begins none
DATABASES = ("casme2", "samm", "smic")
GENERATED = ("trust", "cost")  # by a command, from what it measured


def stem(page: Path) -> str:
    return page.stem


def blocks(path: Path) -> list[tuple[str, str]]:
    """Language and text of the page's code blocks, in order."""
    return BLOCK.findall(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small stand-ins for the licensed databases that the pages name."""
    folder = tmp_path_factory.mktemp("databases")
    for name in DATABASES:
        standins.write_standin(name, folder / name)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page for page in PAGES if page.stem not in GENERATED], ids=stem)
def test_a_page_is_followed_as_it_stands(
    page: Path, tmp_path: Path, databases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    shutil.copytree(ROOT / "experiments", place / "experiments")  # as in a clone
    monkeypatch.chdir(place)
    monkeypatch.setenv("MER_CACHE", str(databases / "cache"))  # one for all pages
    monkeypatch.setattr(sys, "path", list(sys.path))
    for language, text in blocks(page):
        text = re.sub(r"/path/to/(\w+)", lambda found: str(databases / found[1]), text)
        if language == "bash":
            for line in text.splitlines():
                run(shlex.split(COMMENT.sub("", line)))
        else:
            write(text, language)


def write(text: str, language: str) -> None:
    """A file, whose name stands in its first line; of a table that line is no row."""
    first = FILE.match(text)
    assert first, f"a block of {language} without its file's name: {text[:60]!r}"
    path = Path(first[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text[first.end() :] if language == "csv" else text, encoding="utf-8")


def run(words: list[str]) -> None:
    """A line of a bash block: `mer` in this process, since a start takes seconds; python in another."""
    if not words:
        return
    if words[0] == "python":
        subprocess.run([sys.executable, *words[1:]], check=True)
        return
    assert words[0] == "mer", words
    before = sys.argv
    sys.argv = words
    try:
        cli.main()
        code: object = 0
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv = before
    assert not code, f"`{' '.join(words)}` ended with {code}"


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_point_at_files(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)]+)\)", text):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = (page.parent / target) if target else page
        assert path.exists(), f"{page}: {link}"
        if anchor:
            names = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in names], link


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f"docs/{page.name}" not in readme] == []


def test_messages_in_the_troubleshooting_list_are_those_of_the_code() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    source = " ".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "mer").rglob("*.py")))
    # Adjacent literals are one text; what is filled in stands in braces there and as ... here.
    joined = re.sub(r'"\s+f?"', "", source)
    told = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert len(told) >= 12
    for message in told:
        parts = [part for part in re.split(r"\.\.\.", message) if part.strip()]
        assert all(part in joined for part in parts), message


def test_an_error_of_a_command_is_one_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner above would notice a command that fails."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="ended with 1"):
        run(["mer", "train", "experiment=nothing"])
