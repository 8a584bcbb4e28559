from pathlib import Path

import pytest

from mer.data.roots import cache_dir, find_root
from mer.errors import MerError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("given", "environment", "file"):
        (tmp_path / name).mkdir()
    return tmp_path


def write_roots(text: str) -> None:
    Path("conf").mkdir()
    Path("conf/roots.yaml").write_text(text, encoding="utf-8")


def test_the_argument_then_the_environment_then_the_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_roots(f"casme2: {here / 'file'}\n")
    assert find_root("casme2") == here / "file"
    monkeypatch.setenv("MER_ROOT_CASME2", str(here / "environment"))
    assert find_root("casme2") == here / "environment"
    assert find_root("casme2", here / "given") == here / "given"


def test_a_tilde_is_expanded(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_root("casme2", "~/given") == here / "given"
    monkeypatch.setenv("MER_CACHE", "~/cache")
    assert cache_dir() == here / "cache"


def test_an_empty_text_is_not_the_current_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MER_ROOT_CASME2", "")
    monkeypatch.setenv("MER_CACHE", "")
    assert cache_dir() == here / ".cache/mer"
    with pytest.raises(MerError, match="casme2: its folder is not known"):
        find_root("casme2", "")


@pytest.mark.parametrize("text", ["", "samm: /somewhere\n", "casme2:\n"])
def test_an_unknown_root_says_the_three_ways(text: str) -> None:
    write_roots(text)
    with pytest.raises(
        MerError, match=r"data.root=/path/to/casme2, or set MER_ROOT_CASME2, or write .* into conf/roots.yaml"
    ):
        find_root("casme2")


def test_a_missing_folder_says_what_named_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        MerError, match=r"/gone: no such folder \(data.root\); it should be the folder of casm"
    ):
        find_root("casme2", here / "gone")
    (here / "archive.zip").touch()
    with pytest.raises(MerError, match=r"archive.zip: no such folder \(data.root\)"):
        find_root("casme2", here / "archive.zip")
    with pytest.raises(MerError, match=r"~nobody-here/x: no such user \(data.root\); write the path in full"):
        find_root("casme2", "~nobody-here/x")
    write_roots("casme2: /gone\n")
    with pytest.raises(MerError, match=r"/gone: no such folder \(conf/roots.yaml, key casme2\)"):
        find_root("casme2")
    monkeypatch.setenv("MER_ROOT_CASME2", "/gone")
    with pytest.raises(MerError, match=r"/gone: no such folder \(MER_ROOT_CASME2\)"):
        find_root("casme2")


def test_a_bad_roots_file_is_named() -> None:
    write_roots("casme2: [\n")
    with pytest.raises(MerError, match=r"conf/roots.yaml: not YAML"):
        find_root("casme2")
    Path("conf/roots.yaml").write_bytes("casme2: /dätä".encode("latin-1"))
    with pytest.raises(MerError, match=r"conf/roots.yaml: not YAML"):
        find_root("casme2")
    Path("conf/roots.yaml").write_text("- /data\n", encoding="utf-8")
    with pytest.raises(MerError, match=r"conf/roots.yaml: expected lines such as 'casme2: "):
        find_root("casme2")


def test_a_date_that_does_not_exist_is_no_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/roots.yaml").write_text("casme2: 2014-13-45\n")
    with pytest.raises(MerError, match=r"conf/roots\.yaml: not YAML \(.*month must be"):
        find_root("casme2")


def test_a_root_that_is_too_long_for_the_disk_is_named() -> None:
    with pytest.raises(MerError, match="x: no such folder"):
        find_root("casme2", "x" * 5000)


def test_aliases_that_stand_for_billions_of_values_are_no_yaml() -> None:
    bomb = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    write_roots("\n".join(["a0: &a0 [x]", *bomb, "casme2: *a11"]))
    with pytest.raises(MerError, match=r"conf/roots\.yaml: not YAML \(its aliases stand for more than"):
        find_root("casme2")
