"""What a `_target_` may name, and the types of what stands beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from mer.errors import MerError
from mer.networks import STSTNet
from mer.targets import check_function, check_keywords, check_target, check_targets, check_value, fits, locate


@pytest.mark.parametrize("target", ["mer.networks.LAENet", "torch.optim.Adam"])
def test_our_own_and_torchs_classes_may_travel(target: str) -> None:
    check_target(target)


@pytest.mark.parametrize(
    "target",
    ["os.system", "merx.Net", "mermaid", "torchx.Net", "my_package.MyNet", "", ".mer.x", "builtins.eval"],
)
def test_no_other_class_travels(target: str) -> None:
    with pytest.raises(MerError, match=r"may name classes of mer, torch only"):
        check_target(target)


def test_a_package_that_is_named_is_trusted_but_python_never() -> None:
    check_target("my_package.nets.MyNet", trusted=("mer.", "my_package"))
    check_target("mine.nets.MyNet", trusted=("mine.nets.",))
    with pytest.raises(MerError, match="may name"):
        check_target("mine.others.MyNet", trusted=("mine.nets",))
    with pytest.raises(MerError, match="a part of Python itself"):
        check_target("os.system", trusted=("os",))


def test_targets_are_found_wherever_they_are() -> None:
    config: dict[str, Any] = {
        "network": {"_target_": "mer.networks.LAENet", "parts": [{"_target_": "os.system"}]}
    }
    with pytest.raises(MerError, match=r"^run\.yaml: network\.parts\[0\]\._target_=os\.system: "):
        check_targets(config, "run.yaml")
    check_targets({"network": {"_target_": "mer.networks.LAENet"}}, "run.yaml")


def test_a_record_reads_no_environment() -> None:
    with pytest.raises(MerError, match=r"data\.root='\$\{oc\.env:HOME\}': a record holds no interpolations"):
        check_targets({"data": {"root": "${oc.env:HOME}"}}, "run.yaml")


def test_what_a_module_imported_itself_is_not_its_own() -> None:
    with pytest.raises(MerError, match="a part of Python itself"):
        locate("mer.sweep.product", "protocol")
    with pytest.raises(MerError, match="cannot be imported"):
        locate("mer.atomic.os.remove", "network")


def test_a_module_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text("def (:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        MerError, match=r"network\._target_=broken_package\.Net: cannot be imported \(invalid syn"
    ):
        locate("broken_package.Net", "network")


def test_a_library_reads_no_clips() -> None:
    for target in ("pandas.read_pickle", "torch.hub.load"):
        with pytest.raises(MerError, match="a function of a library"):
            check_function(target, locate(target, "data.clips"), "data.clips")


def test_keywords_are_held_against_the_signature() -> None:
    check_keywords(STSTNet, {"dropout": 1, "widths": [1, 2, 3], "padding": "anything"}, "network")
    for keywords, message in (
        ({"dropout": "x"}, r"network\.dropout='x': a number is needed"),
        ({"widths": [1, "b"]}, r"network\.widths=\[1, 'b'\]: a list \(a whole number each\) is needed"),
        ({"widths": "123"}, r"network\.widths='123': a list"),
        ({"padding": 3}, r"network\.padding=3: one of same, release is needed"),
        (
            {"lanes": 3},
            r"network: unexpected keyword argument 'lanes'; there are in_channels, num_classes, widths",
        ),
    ):
        with pytest.raises(MerError, match=message):
            check_keywords(STSTNet, keywords, "network")


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        (1, float, True),
        (False, float, False),
        (True, bool, True),
        ("a", str, True),
        ("a", Path, True),
        (None, Path, False),
        (None, int | None, True),
        ([1], Sequence[int], True),
        ("ab", Sequence[str], False),
        ([1, 2], tuple[int, int], True),
        ([1, "a"], tuple[int, int], False),
        ({"a": None}, Mapping[str, str | None], True),
        ({"a": 3}, Mapping[str, str | None], False),
        ("z", Literal["x", "y"], True),
        (3, Literal["x", "y"], False),
        ([1], Any, True),
    ],
)
def test_plain_values_fit_types(value: object, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected


def test_a_long_value_is_cut() -> None:
    with pytest.raises(MerError) as caught:
        check_value("a", list(range(10**6)), int)
    assert len(str(caught.value)) < 120
