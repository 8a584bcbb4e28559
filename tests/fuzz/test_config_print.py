"""Printed figures and command lines that nobody meant: an answer or one line, within a time."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mer import check_print, cli
from mer.errors import MerError
from mer.print_check import FIGURES, MOST_CLIPS, printed_interval
from mer.print_findings import findings
from mer.print_readings import COLUMNS, check_matrix, check_row
from tests import trust
from tests.fuzz.config_mutations import HALF

SECONDS = 60  # on a busy machine


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


NUMBERS = st.sampled_from(
    [
        *(
            "0",
            "1",
            "0.7",
            ".7",
            "0.70",
            "0.7692",
            "76.92%",
            "100%",
            "0%",
            "1.1",
            "-1",
            "",
            "%",
            ".",
            "1e-3",
            "nan",
        ),
        *(
            "0.5.5",
            "٣",
            "½",
            "0,7",
            " 0.7",
            "0.7 ",
            "0.7\n",
            "inf",
            "0." + "9" * 400,
            "9" * 5000,
            "0x1",
            "७०%",
        ),
    ]
)
COUNTS = st.one_of(
    st.lists(st.integers(1, 60), min_size=2, max_size=3),
    st.lists(st.integers(-2, 12), max_size=6),
    st.lists(st.sampled_from([0, 1, 442, 10**4, 10**6, 10**18, 10**400]), min_size=1, max_size=4),
)


@given(
    counts=COUNTS.map(lambda counts: ",".join("9" * 400 if n == 10**400 else str(n) for n in counts))
    | st.text(max_size=8),
    printed=st.dictionaries(
        st.sampled_from([*FIGURES, "auc", "", "a b"]) | st.text(max_size=3), NUMBERS, max_size=3
    ),
    more=st.lists(st.sampled_from(["--json", "--of=all", "--matrix=50,50;50,50", "--write"]), max_size=1),
)
def test_any_row_is_answered_or_refused(counts: str, printed: dict[str, str], more: list[str]) -> None:
    figures = [f"{name}={text}" for name, text in printed.items() if not name.startswith("-")]
    start = time.perf_counter()
    trust.attempt("input", "check-print", lambda: check_print.main([f"--counts={counts}", *figures, *more]))
    assert time.perf_counter() - start < SECONDS


@given(
    counts=st.lists(st.integers(0, 40) | st.just(MOST_CLIPS), min_size=1, max_size=4),
    cells=st.lists(st.lists(NUMBERS | st.integers(0, 100).map("{}%".format), max_size=4), max_size=4),
)
def test_any_matrix_is_answered_or_refused(counts: list[int], cells: list[list[str]]) -> None:
    matrix = ";".join(",".join(row) for row in cells)
    start = time.perf_counter()
    line = [f"--counts={','.join(map(str, counts))}", f"--matrix={matrix}"]
    trust.attempt("input", "check-print", lambda: check_print.main(line))
    assert time.perf_counter() - start < SECONDS


@given(
    rows=st.lists(st.lists(st.integers(0, 25), min_size=3, max_size=3), min_size=3, max_size=3),
    decimals=st.integers(0, 3),
)
def test_the_matrix_that_was_printed_is_among_those_found(rows: list[list[int]], decimals: int) -> None:
    """However it is rounded: what is true is never called inconsistent."""
    matrix = np.array(rows)
    counts = matrix.sum(axis=1)
    shares = 100 * matrix / np.maximum(counts, 1)[:, None]
    cells = [[f"{share:.{decimals}f}%" for share in row] for row in shares]
    intervals = [[printed_interval(cell) for cell in row] for row in cells]
    if any(
        not each.holds(np.array([s / 100]))[0]
        for r, t in zip(intervals, shares, strict=True)
        for each, s in zip(r, t, strict=True)
    ):
        return
    check = check_matrix(cells, counts.tolist())
    assert check.ways >= 1
    assert not check.rows
    assert int(np.trace(matrix)) in check.correct
    assert check.matrix is None or check.matrix.tolist() == rows


def test_what_is_too_large_says_so_soon() -> None:
    """Where no figure of five classes narrows the search, and where a wrong one lets it go on to its end."""
    start = time.perf_counter()
    assert check_row([300] * 5, {"uf1": "0.7"}).verdict == "undecided"
    assert time.perf_counter() - start < SECONDS
    with pytest.raises(MerError, match="at most 10000 can be searched"):
        check_row([10**6, 10**6], {"accuracy": "0.7692"})


DOCUMENT = {
    "paper": "P",
    "scores": [
        {
            "where": "Table 1",
            "counts": {"all": [9, 7]},
            "rows": {"Net": {"accuracy": "0.7500", "uf1": "0.7460"}},
        }
    ],
    "accuracies": [
        {
            "where": "Table 2",
            "columns": {"a": "set"},
            "sets": {"set": [16]},
            "rows": {"Net": ["75%"]},
            "gains": [],
        }
    ],
}


@HALF
@given(
    counts=st.lists(st.sampled_from(["0", "9", "-7", "x", "", "1e3", "99999999999", "7.5"]), max_size=3),
    printed=st.dictionaries(st.sampled_from([*COLUMNS, "x"]), NUMBERS, max_size=2),
    size=st.sampled_from(["0", "16", "-1", "x", "99999999999999"]),
)
def test_a_print_check_of_any_numbers_is_read_or_refused(
    counts: list[str], printed: dict[str, str], size: str
) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    document["scores"][0]["counts"]["all"] = counts
    document["scores"][0]["rows"]["Net"] = printed
    document["accuracies"][0]["sets"]["set"] = [size]
    Path("print_check.yaml").write_text(yaml.safe_dump(document))
    start = time.perf_counter()
    trust.attempt("input", "print check", lambda: findings(Path("print_check.yaml")))
    assert time.perf_counter() - start < SECONDS


WORDS = [
    *(
        "-h",
        "--help",
        "--debug",
        "--json",
        "--verify",
        "--write",
        "--partial",
        "--fresh",
        "--format=x",
        "--missing",
    ),
    *(
        "--nothing",
        "-",
        "--",
        "",
        " ",
        "x",
        "/etc/passwd",
        "..",
        ".",
        "/dev/null",
        "data=x",
        "data=synthetic",
        "=",
        "a=b",
    ),
    *(
        "seed=x",
        "fold=each",
        "-m",
        "network=x",
        "--counts",
        "--counts=1,1",
        "uf1=0.5",
        "casme2",
        "日本",
        "\udcff",
        "a\nb",
    ),
    *(
        "--size=0",
        "--size=x",
        "--full",
        "encodings",
        "spotting",
        "--cfg=job",
        "--cfg",
        "job",
        "\x00",
        "${x}",
        "'",
        "~",
        "runs",
    ),
]
# Those that go on after reading: they would draw databases, measure for minutes or open a port.
QUIET = (
    "audit",
    "table",
    "status",
    "check-print",
    "standin",
    "figures",
    "encode",
    "train",
    "export",
    "predict",
    "reproduce",
)
LONG = {("train", ""), ("train", "data=synthetic"), ("encode", "data=synthetic"), ("train", "-m")}


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = sys.argv
    yield
    sys.argv = before


@given(verb=st.sampled_from(QUIET), words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
def test_any_command_line_ends_in_a_line(
    verb: str, words: list[str], arguments: None, capsys: pytest.CaptureFixture[str]
) -> None:
    if verb in ("train", "encode") and not {"-h", "--help", "network=x", "data=x"} & set(words):
        words = [*words, "data=x"]
    capsys.readouterr()
    code = run([verb, *[word for word in words if word != "--debug"]])
    err = capsys.readouterr().err
    assert code in (0, 1, 2)
    assert "Traceback" not in err
    if code == 1:
        assert err.strip().splitlines()[-1].startswith("mer: "), err
    trust.record("input", f"command line, mer {verb}", f"exit code {code}")


def run(line: Sequence[str]) -> int:
    sys.argv = ["mer", *line]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
