"""Every YAML that is shipped composes, and what it names can be built."""

import subprocess
import sys
import zipfile
from pathlib import Path

import hydra
import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from mer import config
from mer.errors import MerError
from mer.packaged import config_dir
from mer.train import make_recipe

GROUPS = (
    *("data", "encoding", "network", "protocol", "task", "optimizer", "logger", "augment"),
    *("experiment", "variant"),
)
SHIPPED = [(group, name) for group in GROUPS for name in config.names(group)]
# Sides below which a network refuses: the others take 28, or `size`, which their layers need.
SMALLEST = {"alexnet": 63, "googlenet": 47, "vgg16": 32, "vgg19": 32, "learnet": 33}
SMALLEST |= dict.fromkeys(("resnet34", "resnet50", "mobilenet", "mobilenetv2"), 33)


def compose(*overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        return hydra.compose("train", overrides=list(overrides))


def test_every_group_has_configs() -> None:
    assert {group for group, _ in SHIPPED} == set(GROUPS)


@pytest.mark.parametrize(("group", "name"), SHIPPED, ids=["=".join(shipped) for shipped in SHIPPED])
def test_a_shipped_config_composes_and_builds(group: str, name: str) -> None:
    cfg = compose(f"{group}={name}")
    if cfg.network.get("weights"):
        cfg.network.weights = None  # a run fetches them, a test never does
    recipe = make_recipe(cfg)
    classes = len(cfg.data.classes or "ab")  # null: as many as the user's data has
    kind = cfg.network._target_.rpartition(".")[2].lower()
    with_flow = cfg.encoding is not None and cfg.encoding._target_.endswith("FramesAndFlow")
    channels = 5 if kind == "timecontrastnet" or with_flow else 3
    network = recipe.network(in_channels=channels, num_classes=classes)
    if not isinstance(network, nn.Module):
        assert kind in ("svm", "featuredifference")  # of descriptors; of videos
        return
    size = cfg.network.get("size", SMALLEST.get(kind, 28))
    if kind == "timecontrastnet":
        steps = network.eval()(torch.zeros(1, 3, channels, size, size))
        assert (steps.logits.shape, steps.intensity.shape) == ((1, 2, classes), (1, 2))
    else:
        assert network.eval()(torch.zeros(2, channels, size, size)).shape == (2, classes)
    if (kind == "timecontrastnet") == ("pretrain_epochs" in cfg.task):
        recipe.task(network, optimizer=recipe.optimizer).configure_optimizers()
    config.function(cfg.data.clips, "data.clips")
    config.function(cfg.protocol, "protocol")
    if cfg.encoding is not None:
        config.factory(cfg.encoding, nn.Module, "encoding")()


@pytest.mark.parametrize("name", config.names("variant"))
def test_a_variant_brings_its_experiment(name: str) -> None:
    assert compose(f"variant={name}") == compose(f"experiment={name.split('/')[0]}", f"variant={name}")


def test_encoded_data_turns_the_encoding_off_unless_the_user_insists() -> None:
    assert compose("data=megc2019_uvos").encoding is None
    assert compose("data=megc2019_uvos", "experiment=laenet").encoding is None
    assert compose("data=megc2019_uvos", "encoding=apex_flow").encoding is not None


def test_the_releases_settings() -> None:
    for experiment in ("ststnet", "laenet"):
        cfg = compose(f"experiment={experiment}")
        assert (cfg.epochs, cfg.batch_size, cfg.optimizer.lr) == (800, 256, 5e-5)
        assert cfg.optimizer._target_ == "torch.optim.Adam"
    assert compose("variant=ststnet/release_order").order == "release"


KEYS = {"experiment": "laenet", "variant": None, "data": "synthetic", "protocol": "loso"}


def tag(*overrides: str) -> str:
    return config.run_key(compose(*overrides), KEYS, overrides).tag


def test_only_other_overrides_add_a_tag() -> None:
    assert tag() == tag("seed=3", "workers=1", "runs_dir=x", "logger=wandb", "fold='#1'") == ""
    assert len(tag("epochs=3")) == 8
    assert tag("epochs=3") != tag("epochs=4")
    assert tag("epochs=3", "workers=1") == tag("epochs=3", "workers=2")
    assert tag("epochs=3", "tag=mine") == "mine"


def test_what_does_not_change_a_result_does_not_decide() -> None:
    plain = config.deciding(compose("data=megc2019_uvos"))
    other = config.deciding(
        compose(
            "data=megc2019_uvos", "data.root=elsewhere", "workers=7", "seed=4", "logger=wandb", "device=cuda"
        )
    )
    assert plain == other
    assert plain != config.deciding(compose("data=megc2019_uvos", "epochs=1"))


def test_a_variant_of_another_experiment_is_refused() -> None:
    choices = {**KEYS, "variant": "ststnet/release_order"}
    with pytest.raises(MerError, match="belongs to experiment=ststnet, not to laenet"):
        config.run_key(compose(), choices, [])


def test_a_target_must_be_of_its_kind() -> None:
    with pytest.raises(MerError, match=r"network\._target_=os\.system: a part of Python itself"):
        config.factory({"_target_": "os.system"}, nn.Module, "network")
    with pytest.raises(MerError, match=r"network\._target_=mer\.errors\.MerError: not a torch"):
        config.factory({"_target_": "mer.errors.MerError"}, nn.Module, "network")
    with pytest.raises(MerError, match="network has no _target_"):
        config.factory({}, nn.Module, "network")


def test_the_record_names_this_commit_and_no_other_repositorys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        pytest.skip("not a git checkout: an unpacked archive has no commit to name")
    head = subprocess.run(
        ["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    assert config.provenance()["commit"] == head.stdout.strip()
    # As installed into a virtual environment that lies inside another repository.
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setattr(config, "__file__", str(tmp_path / "site-packages" / "mer" / "config.py"))
    (tmp_path / "site-packages").mkdir()
    assert config.provenance()["commit"] == "unknown"


def test_the_configs_travel_in_the_wheel(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    code = "from hatchling.build import build_wheel; import sys; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    shipped = {f"mer/conf/{group}/{name}.yaml" for group, name in SHIPPED} | {"mer/conf/train.yaml"}
    assert shipped <= names


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=null"], "a group such as data, network or encoding takes the name of a config"),
        (["~data.clips"], "data.clips: missing from the config"),
        (["~network"], "network: missing from the config"),
        (["seed=abc"], "seed='abc': a whole number is needed"),
        (["seed=0,1"], r"seed=0,1: -m makes it a sweep; seed=\[0,1\] is one list"),
        (["runs_dir=3"], "runs_dir=3: a text is needed"),
        (["device=gpu"], "device='gpu': choose auto, cpu, cuda"),
        (["order=sorted"], "order='sorted': choose shuffled"),
        (["+faces.x=3"], "unknown config key 'faces.x'"),
        (["data.name=null"], "data.name=None: a text is needed"),
        (["data.label_map.negative=3"], "data.label_map=.*: a mapping or null is needed"),
        (["+a=${b}"], "config: a: Interpolation key 'b' not found"),
        (["+a=${b}", "+b=${a}"], "config: .*(leads back to itself|ecursi)"),
    ],
)
def test_a_config_that_cannot_be_run_is_refused_before_anything_is_read(
    overrides: list[str], message: str
) -> None:
    with pytest.raises(MerError, match=message) as caught:
        config.compose(overrides)
    assert "\n" not in str(caught.value)


def test_a_config_that_no_record_can_hold_is_refused() -> None:
    with pytest.raises(MerError, match="config: it holds what no record can"):
        tag("+network.more={a:1,2:3}")


def test_a_tag_of_zero_is_a_tag() -> None:
    assert tag("epochs=3", "tag=0") == "0"


def test_own_configs_are_found_in_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "it's (mine), really"
    (own / "conf" / "network").mkdir(parents=True)
    (own / "conf" / "network" / "mine.yaml").write_text("_target_: mer.networks.STSTNet\ndropout: 0.25\n")
    monkeypatch.chdir(own)
    assert config.compose(["network=mine"]).network.dropout == 0.25


def test_an_own_config_that_is_no_yaml_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "network").mkdir(parents=True)
    (tmp_path / "conf" / "network" / "mine.yaml").write_bytes(b"a: [\xff")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MerError, match="config: "):
        config.compose(["network=mine"])
