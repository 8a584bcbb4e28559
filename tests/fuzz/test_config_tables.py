"""Table files after edits that nobody meant, through `mer table --partial`, which trains nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mer import check_print, table
from mer.errors import MerError
from mer.packaged import config_dir
from mer.print_findings import findings
from mer.table_file import read_document
from mer.table_needs import databases
from tests import trust
from tests.fuzz.config_mutations import HALF, JUNK, damaged, mutated

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
TABLES = sorted(path for path in EXPERIMENTS.glob("*/*.yaml") if path.name != check_print.NAME)
CHECKS = sorted(EXPERIMENTS.glob(f"*/{check_print.NAME}"))
# These kinds compose a config for each row, which takes a while.
SLOW = ("layers", "complexity", "counts")


def of_kind(path: Path) -> str:
    return str(yaml.safe_load(path.read_text(encoding="utf-8")).get("kind", "scores"))


QUICK = [path for path in TABLES if of_kind(path) not in SLOW]
OTHERS = [path for path in TABLES if of_kind(path) in SLOW]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def render(original: Path, content: bytes) -> str:
    """Render it where no run and no data is, beside the paper's print check."""
    folder = Path("experiments") / original.parent.name
    folder.mkdir(parents=True, exist_ok=True)
    if (found := original.with_name("print_check.json")).exists():
        shutil.copy(found, folder)
    path = folder / original.name
    path.write_bytes(content)
    table.main([str(path), "--partial"])
    return path.name


def as_yaml(document: Any) -> bytes:
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogateescape")


@given(data=st.data())
def test_an_edited_table_is_rendered_or_refused(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(QUICK))
    content = as_yaml(data.draw(mutated(read_document(path))))
    trust.attempt("input", f"table of {of_kind(path)}", lambda: render(path, content))


@HALF
@given(data=st.data())
def test_an_edited_table_of_networks_or_counts_is_rendered_or_refused(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(OTHERS))
    document = read_document(path)
    document["rows"] = document.get("rows", [])[:2]
    document.pop("footnotes", None)
    content = as_yaml(data.draw(mutated(document)))
    trust.attempt("input", f"table of {of_kind(path)}", lambda: render(path, content))


@given(data=st.data())
def test_a_damaged_table_is_rendered_or_refused(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(QUICK))
    content = data.draw(damaged(path.read_bytes()))
    trust.attempt("input", "table file, damaged", lambda: render(path, content))
    assert not Path("fuzz-marker").exists()


@given(junk=st.sampled_from(JUNK) | st.binary(max_size=30))
def test_a_file_that_is_no_table_is_refused(junk: Any) -> None:
    content = junk if isinstance(junk, bytes) else as_yaml(junk)
    found = trust.attempt("input", "table file, damaged", lambda: render(TABLES[0], content))
    assert isinstance(found, MerError)


BOMB = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40))]
)
BOMB_LISTED = "\n".join(f"- {line.partition(': ')[2]}" for line in BOMB.splitlines())
BEFORE_SEEDS = (
    "title: t\ndata: d\nprotocol: p\ncolumns: {a: {subset: all, metric: uf1, header: h}}\n"
    "rows: [{label: x, not_run: y}]\n"
)
TRICKS = {
    "billion laughs": BOMB,
    "billion laughs in a field": f"title: t\nseeds: [0]\n{BOMB}\nrows: *a39",
    "billion laughs in a list that is shown": f"{BEFORE_SEEDS}seeds:\n{BOMB_LISTED}",
    "a list in itself": "title: &a [*a]",
    "a mapping in itself": "&a title: t\nrows: &b {x: *b}",
    "lists in lists": "title: " + "[" * 5000,
    "mappings in mappings": "{a: " * 2000,
    "a long number": "title: " + "9" * 5000,
    "sixties": "title: " + ":".join(["59"] * 3000),
    "a date that is none": "title: 2001-99-99",
    "a tag": "title: !!python/object/apply:os.system ['touch fuzz-marker']",
    "an unknown tag": "title: !mine 3",
    "merged with itself": "a: &a {<<: *a}",
    "a list as a key": "? [1, 2]\n: 3",
    "a mapping as a key": "? {a: 1}\n: 3",
    "two documents": "title: a\n---\ntitle: b",
    "binary": "title: !!binary '====x'",
    "a set": "title: !!set {a, b}",
    "pairs": "title: !!omap [a: 1]",
    "nothing": "",
}


@pytest.mark.parametrize("read", [lambda path: table.main([str(path), "--partial"]), findings])
@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_of_yaml_is_refused(trick: str, read: Any) -> None:
    path = Path("print_check.yaml")
    path.write_text(TRICKS[trick])
    found = trust.attempt("input", "YAML trick", lambda: read(path))
    assert isinstance(found, MerError)
    assert len(str(found)) < 1000, "a message that nobody can read"
    assert not Path("fuzz-marker").exists()


@HALF
@given(data=st.data())
def test_an_edited_print_check_is_read_or_refused(data: st.DataObject) -> None:
    """Without the rows that are searched: those are of test_config_print.py."""
    original = data.draw(st.sampled_from(CHECKS))
    document = yaml.load(original.read_text(encoding="utf-8"), yaml.BaseLoader)
    document["scores"] = []
    path = Path("print_check.yaml")
    for each in original.parent.glob("table*.yaml"):
        shutil.copy(each, ".")
    path.write_bytes(as_yaml(data.draw(mutated(document))))
    trust.attempt("input", "print check", lambda: findings(path))


@given(data=st.data())
def test_edited_findings_are_shown_or_refused(data: st.DataObject) -> None:
    """print_check.json, from which tables take footnotes."""
    path = EXPERIMENTS / "laenet" / "table4.yaml"
    found = json.loads((path.parent / "print_check.json").read_text(encoding="utf-8"))
    found["findings"] = [each for each in found["findings"] if "4" in each["where"]][:4]
    if data.draw(st.booleans()):
        content = json.dumps(data.draw(mutated(found)), default=str).encode()
    else:
        content = data.draw(damaged(json.dumps(found).encode()))
    Path("print_check.json").write_bytes(content)
    Path("table4.yaml").write_bytes(path.read_bytes())
    trust.attempt("input", "print_check.json", lambda: table.main(["table4.yaml", "--partial"]))


@HALF
@given(data=st.data())
def test_an_edited_data_config_names_its_databases_or_is_refused(data: st.DataObject) -> None:
    """`mer table` reads the configs of data without Hydra."""
    name = data.draw(st.sampled_from(["casme2", "megc2019", "composite", "casme2_4class"]))
    content = (config_dir() / "data" / f"{name}.yaml").read_bytes()
    if data.draw(st.booleans()):
        content = as_yaml(data.draw(mutated(yaml.safe_load(content))))
    else:
        content = data.draw(damaged(content))
    path = Path("conf/data/mine.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    trust.attempt("input", "data config", lambda: databases("mine"))


def test_a_data_config_that_starts_from_itself_is_refused() -> None:
    Path("conf/data").mkdir(parents=True)
    Path("conf/data/mine.yaml").write_text("defaults: [mine]\n")
    found = trust.attempt("input", "data config", lambda: databases("mine"))
    assert isinstance(found, MerError)


ARGUMENTS = [
    *(
        "seeds=",
        "seeds=0,0",
        "seeds=x",
        "seeds=-1",
        "data=",
        "data=../x",
        "data=/etc",
        "tag=a/b",
        "tag=..",
        "=x",
    ),
    *(
        "runs_dir=",
        "runs_dir=/dev/null",
        "data.root=x",
        "roots.casme2=/none",
        "measure=maybe",
        "points=3",
        "x",
    ),
    *(
        "--format=tex",
        "--format=csv",
        "logger=wandb",
        "data=\udcff",
        "seeds=9999999999999999999999",
        "tag=a b",
    ),
    *(
        "data=synthetic",
        "protocol=x",
        "tag=x",
        "data=日本",
        "seeds=1,2",
        "workers=x",
        "roots.=3",
        "data=a\x00b",
    ),
]


@HALF
@given(given=st.lists(st.sampled_from(ARGUMENTS), min_size=1, max_size=3), path=st.sampled_from(QUICK))
def test_overrides_of_a_table_are_taken_or_refused(given: list[str], path: Path) -> None:
    trust.attempt("input", "table override", lambda: table.main([str(path), "--partial", *given]))
