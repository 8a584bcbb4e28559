"""YAML of strangers: small answers to large questions."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mer.errors import MerError
from mer.yaml_file import C_LOADER, MOST_NODES, parse_yaml, read_yaml

LOADERS = [yaml.SafeLoader, C_LOADER]


@pytest.mark.parametrize("loader", LOADERS)
def test_aliases_stay_what_they_are(loader: Any) -> None:
    assert parse_yaml("a: &x [1, {b: 2}]\nc: *x\nd: &y 3\ne: *y", loader) == {
        "a": [1, {"b": 2}],
        "c": [1, {"b": 2}],
        "d": 3,
        "e": 3,
    }


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("&a [*a]", "an alias stands for itself"),
        ("[" * 5000, "too deep|stream end"),
        ("a: " + "- " * 5000 + "1", "too deep|not allowed"),
        ("2001-99-99", "none of its type: month must be in"),
        ("9" * 5000, "none of its type"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("!!int x", "none of its type"),
    ],
)
def test_what_is_no_plain_value_is_an_error_of_yaml(loader: Any, text: str, message: str) -> None:
    with pytest.raises(yaml.YAMLError, match=message):
        parse_yaml(text, loader)


@pytest.mark.parametrize("loader", LOADERS)
def test_billion_laughs_are_counted_not_told(loader: Any) -> None:
    def laughs(rounds: int) -> str:
        lines = ["- &a0 [x]", *(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, rounds))]
        return "\n".join(lines)

    assert len(parse_yaml(laughs(4), loader)) == 4
    with pytest.raises(yaml.YAMLError, match=f"more than {MOST_NODES:,} values"):
        parse_yaml(laughs(40), loader)


def test_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with pytest.raises(MerError, match=r"a\.yaml: no such table$"):
        read_yaml(path, missing="no such table")
    path.write_bytes(b"a: \xff")
    with pytest.raises(MerError, match=r"a\.yaml: cannot be read \('utf-8' codec"):
        read_yaml(path)
    path.write_text("")
    assert read_yaml(path) is None
