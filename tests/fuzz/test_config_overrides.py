"""Overrides and configs that nobody meant: one line, or a config that runs; no code but mer's is called."""

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mer import config
from mer.data import splits as protocols
from mer.errors import MerError
from mer.packaged import config_dir
from mer.prepare import prepare
from mer.train import make_recipe, try_out
from tests import trust
from tests.fuzz.config_mutations import HALF, damaged, mutated

TINY = ("data.clips.subjects=2", "data.clips.clips_per_class=1", "data.clips.size=16", "encoding.size=28")
CHOICES = {"experiment": "laenet", "variant": None, "data": "synthetic", "protocol": "loso"}
# A wrong one of these may ask for the whole memory; what the machine has not is no matter of a config.
SIZES = ("size", "subjects", "clips_per_class", "batch_size")
VALUES = [
    *(
        "null",
        "true",
        "-1",
        "0",
        "1",
        "1.5",
        "1e30",
        "nan",
        "inf",
        "-inf",
        "[]",
        "[1,2]",
        "{}",
        "{a:1}",
        "abc",
    ),
    *(
        "''",
        '""',
        "'a b'",
        '"${seed}"',
        "${seed}",
        "${nope}",
        "${oc.env:HOME}",
        "${oc.env:NOPE}",
        "${.x}",
        "${",
    ),
    *("???", "../../x", "/etc/passwd", "~", "a b", "$(touch fuzz-marker)", "`id`", ";ls", "a,b", "1,2,3"),
    *("range(1,3)", "choice(1,2)", "glob(*)", "int(3)", "[[[[]]]]", "{_target_:os.system}", "os.system"),
    *(
        "{_target_:mer.runs.find}",
        "ünï",
        "日本",
        "=",
        "a=b",
        "\\",
        "'",
        '"',
        "#1",
        "@x",
        "a:b",
        "%",
        "^",
        "(",
        ")",
    ),
    *("none", "each", "{a:{b:[1,{c:null}]}}", "99999999999999999999999", "+1", "1_000", "0x1f", "1e-400"),
]
KEYS = [
    *("seed", "fold", "epochs", "batch_size", "order", "class_weights", "scheduler", "faces", "faces.method"),
    *(
        "faces.margins",
        "faces.align",
        "faces.landmarks",
        "apex",
        "strict",
        "init",
        "save_checkpoint",
        "store",
    ),
    *(
        "engine",
        "checkpoint_every",
        "workers",
        "device",
        "runs_dir",
        "tag",
        "data",
        "data.name",
        "data.clips",
    ),
    *("data.clips._target_", "data.classes", "data.label_map", "data.label_map.negative", "data.control"),
    *("encoding", "encoding._target_", "encoding.size", "network", "network._target_", "network.dropout"),
    *("protocol", "protocol._target_", "protocol.validation", "protocol.validation_by", "protocol.seed"),
    *("task", "task._target_", "task.loss", "optimizer", "optimizer._target_", "optimizer.lr", "logger"),
    *("augment", "experiment", "variant", "nothing", "network.nothing", "a.b.c", "data@x", "hydra", "", "="),
    *("data.root", "data.labels", "hydra.nothing", "hydra.run.dir", "optimizer.betas", "network.padding"),
]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@st.composite
def overrides(draw: st.DrawFn) -> list[str]:
    lines = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        key = draw(st.sampled_from(KEYS))
        whole = st.integers().map(str) if key.split(".")[-1] not in SIZES else st.just("3")
        value = draw(st.sampled_from(VALUES) | whole | st.text(max_size=6))
        prefix = draw(st.sampled_from([*[""] * 9, "+", "++", "~"]))
        lines.append(prefix + key + draw(st.sampled_from([*["="] * 9, ""])) + value)
    return lines


def build(lines: Sequence[str]) -> str:
    """All that `mer train` does before it trains."""
    cfg = config.compose([*TINY, *lines])
    folder = config.run_key(cfg, CHOICES, lines).folder(Path(cfg.runs_dir))
    recipe = make_recipe(cfg)
    prepared = prepare(cfg)
    try_out(recipe, prepared)
    protocols.select(prepared.splits, str(cfg.fold))
    return str(folder)


@HALF
@given(lines=overrides())
def test_an_override_is_run_or_refused(lines: list[str]) -> None:
    trust.attempt("input", "override", lambda: build(lines))
    assert not Path("fuzz-marker").exists()


SHIPPED = {
    group: yaml.safe_load((config_dir() / group / f"{name}.yaml").read_text(encoding="utf-8"))
    for group, name in (
        *(("network", "ststnet"), ("encoding", "apex_flow"), ("protocol", "loso"), ("data", "synthetic")),
        *(("task", "classification"), ("optimizer", "adam")),
    )
}


@HALF
@given(data=st.data())
def test_a_config_of_the_users_own_is_run_or_refused(data: st.DataObject) -> None:
    group = data.draw(st.sampled_from(sorted(SHIPPED)))
    if data.draw(st.booleans()):
        text = yaml.safe_dump(data.draw(mutated(small(SHIPPED[group]))), allow_unicode=True).encode(
            "utf-8", "surrogateescape"
        )
    else:
        text = data.draw(damaged(yaml.safe_dump(small(SHIPPED[group])).encode()))
    path = Path("conf", group, "mine.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    trust.attempt("input", "config file", lambda: build_own(group))
    assert not Path("fuzz-marker").exists()


def small(section: dict[str, Any]) -> dict[str, Any]:
    """The config on the tiny drawn faces, without numbers that ask for time or memory."""
    if "clips" in section:
        return section | {"clips": {"_target_": section["clips"]["_target_"]}}
    return {key: 28 if key == "size" else value for key, value in section.items()}


def build_own(group: str) -> str:
    lines = [f"{group}=mine"]
    cfg = config.compose(lines)
    config.run_key(cfg, CHOICES, lines)
    make_recipe(cfg)
    if group != "data":
        prepare(config.compose([*TINY[:3], *lines]))
    return "built"


# Each would do something if it were called with what its place gives it, or only imported.
DANGEROUS = [
    *("os.system", "os.remove", "shutil.rmtree", "subprocess.run", "subprocess.Popen", "builtins.eval"),
    *("builtins.exec", "builtins.open", "builtins.__import__", "runpy.run_path", "pickle.load", "pty.spawn"),
    *("importlib.import_module", "antigravity.geohash", "webbrowser.open", "socket.socket", "ctypes.CDLL"),
    *("mer.config.import_module", "mer.config.subprocess.run", "mer.sweep.product", "mer.config.partial"),
    *("torch.hub.load", "torch.load", "pandas.read_pickle", "numpy.load", "joblib.load", "torch.os.system"),
]
PLACES = ("network", "task", "optimizer", "scheduler", "encoding", "augment", "data.clips", "protocol")


@pytest.mark.parametrize("target", DANGEROUS)
def test_a_dangerous_target_is_called_nowhere(target: str) -> None:
    sys.modules.pop("antigravity", None)
    for place in PLACES:
        found = trust.attempt("input", "_target_", lambda place=place: locate(place, target))  # type: ignore[misc]
        assert isinstance(found, MerError), f"{place}._target_={target}"
    assert "antigravity" not in sys.modules


def locate(place: str, target: str) -> object:
    section = {"_target_": target}
    if place in ("data.clips", "protocol"):
        return config.function(section, place)
    return config.factory(section, nn.Module, place)


@pytest.fixture
def users_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the user's own, which leaves a file when it is imported."""
    marker = tmp_path / "imported"
    (tmp_path / "my_package.py").write_text(
        f"from pathlib import Path\nPath({str(marker)!r}).touch()\nfrom torch import nn\n"
        "class MyNet(nn.Module):\n"
        "    def __init__(self, *, in_channels: int, num_classes: int, width: int = 3) -> None:\n"
        "        super().__init__()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_package", raising=False)
    return marker


def test_the_users_own_class_is_found_where_it_is_asked_for(users_package: Path) -> None:
    made = config.factory({"_target_": "my_package.MyNet", "width": 5}, nn.Module, "network")
    assert made.keywords == {"width": 5}
    assert users_package.exists()
    sys.modules.pop("my_package", None)


@given(number=st.integers(0, 2**32))
def test_a_record_that_travelled_imports_nothing_of_the_users(number: int, users_package: Path) -> None:
    chance = random.Random(number)
    node: Any = {
        "_target_": chance.choice([*DANGEROUS[:17], "my_package.MyNet", "merx.Net", "torchy.Net", "mer"])
    }
    for _ in range(chance.randrange(1, 5)):
        node = chance.choice([{"a": node, "b": 1}, [0, node], {"network": node}])
    before = set(sys.modules)
    found = trust.attempt("input", "_target_ of a record", lambda: config.check_targets(node, "run.yaml"))
    assert isinstance(found, MerError) or "'mer'" in repr(node)
    assert set(sys.modules) == before
    assert not users_package.exists()
