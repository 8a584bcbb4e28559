"""No code is run from data: no call in the package that could, and no reader that does."""

import ast
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mer.data.encoded import open_set
from mer.data.faces import FaceOptions, locate_all
from mer.data.folder import read_clips
from mer.data.frames import list_frames, read_frame
from mer.data.landmarks import read_landmarks
from mer.data.roots import find_root
from mer.data.sheet import read_cells
from mer.errors import MerError
from mer.networks.imagenet_weights import read_weights
from mer.networks.ststnet import load_released
from mer.runs import read_plan
from mer.table_file import load_table
from tests import trust
from tests.trees import write_frames

# Modules that can turn bytes into calls, and names of functions and classes that do.
MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "code",
    "runpy",
}
BUILTINS = {"eval", "exec", "compile", "__import__", "execfile"}
NAMES = {
    *("system", "popen", "execv", "execve", "execvp", "spawnl", "spawnv", "read_pickle", "to_pickle"),
    *("unsafe_load", "full_load", "Loader", "UnsafeLoader", "FullLoader", "CLoader", "CFullLoader"),
    *("CUnsafeLoader", "getoutput", "getstatusoutput", "create_subprocess_shell", "memmap_pickle"),
}
RUNS = {"run", "Popen", "call", "check_call", "check_output"}


def unsafe(tree: ast.AST) -> Iterator[str]:
    """What in a file could run code from data, with its line."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            yield from (f"{line}: import {a.name}" for a in node.names if a.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = {node.module or "", *(alias.name for alias in node.names)}
            if (node.module or "").split(".")[0] in MODULES or names & NAMES:
                yield f"{line}: from {node.module} import {sorted(names & (NAMES | MODULES))}"
        elif isinstance(node, ast.Attribute) and node.attr in NAMES:
            yield f"{line}: .{node.attr}"
        elif isinstance(node, ast.Constant) and node.value in {name for name in NAMES if "Loader" in name}:
            yield f"{line}: {node.value!r}"  # getattr(yaml, "Loader")
        elif isinstance(node, ast.Call):
            yield from (f"{line}: {problem}" for problem in unsafe_call(node))


def unsafe_call(call: ast.Call) -> Iterator[str]:
    options = {option.arg: option.value for option in call.keywords}

    def is_set(name: str, value: bool) -> bool:
        option = options.get(name)
        return isinstance(option, ast.Constant) and option.value is value

    if isinstance(call.func, ast.Name) and call.func.id in BUILTINS:
        yield f"{call.func.id}()"
    if not (isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)):
        return
    module, name = call.func.value.id, call.func.attr
    if (module, name) == ("torch", "load") and not is_set("weights_only", True):
        yield "torch.load without weights_only=True"
    if (module, name) in {("np", "load"), ("numpy", "load")} and not is_set("allow_pickle", False):
        yield "np.load without allow_pickle=False"
    if (module, name) == ("yaml", "load") and len(call.args) + len(call.keywords) < 2:
        yield "yaml.load without a loader"
    if "shell" in options and not is_set("shell", False):
        yield "shell="
    if module == "subprocess" and name in RUNS and not isinstance(call.args[0], ast.List | ast.Name):
        yield f"subprocess.{name} of a text"


@pytest.mark.parametrize("path", sorted(trust.PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_call_could_run_code_from_data(path: Path) -> None:
    found = list(unsafe(ast.parse(path.read_text(encoding="utf-8"))))
    assert not found, f"{path}: {found}"
    trust.record("input", "calls that could run code", "none")


@pytest.mark.parametrize(
    "line",
    [
        *("import pickle", "from pickle import loads", "import joblib", "eval(x)", "exec(x)", "os.system(x)"),
        *(
            "torch.load(p)",
            "torch.load(p, weights_only=False)",
            "np.load(p)",
            "np.load(p, allow_pickle=True)",
        ),
        *(
            "yaml.load(x)",
            "yaml.unsafe_load(x)",
            "yaml.load(x, yaml.Loader)",
            "getattr(yaml, 'UnsafeLoader')",
        ),
        *(
            "pd.read_pickle(p)",
            "subprocess.run(f'ls {x}', shell=True)",
            "subprocess.run('ls')",
            "os.popen(x)",
        ),
        "from os import system",
    ],
)
def test_the_search_finds_what_it_is_for(line: str) -> None:
    assert list(unsafe(ast.parse(line)))


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def in_numpy(path: Path) -> bytes:
    file = path.with_name("object.npy")
    np.save(file, np.array([Touch(path)], dtype=object), allow_pickle=True)
    return file.read_bytes()


def in_torch(path: Path) -> bytes:
    file = path.with_name("object.pth")
    torch.save({"weight": Touch(path)}, file)
    return file.read_bytes()


def in_yaml(path: Path) -> bytes:
    call = "!!python/object/apply:pathlib.Path"
    return f"a: {call}.touch [{call} ['{path}']]\n".encode()


PAYLOADS: dict[str, Callable[[Path], bytes]] = {
    "pickle": lambda path: pickle.dumps(Touch(path)),
    "old pickle": lambda path: pickle.dumps(Touch(path), protocol=0),
    "numpy": in_numpy,
    "torch": in_torch,
    "yaml": in_yaml,
    "python": lambda path: f"from pathlib import Path; Path({str(path)!r}).touch()\n".encode(),
    "shell": lambda path: f"#!/bin/sh\ntouch {path}\n".encode(),
}


def in_folder(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """Put the bytes into a file of this name and read it."""

    def put(folder: Path, content: bytes) -> object:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return read(path)

    return put


def an_encoded_set(folder: Path, content: bytes) -> object:
    folder.joinpath("images.npy").write_bytes(content)
    about = {"format": 2, "clips": 1, "sha256": "0" * 64}
    folder.joinpath("about.json").write_text(json.dumps(about))
    if open_set(folder, verify=False) is not None:
        return None
    raise MerError("taken as damaged")


def cached_faces(folder: Path, content: bytes) -> object:
    """The cache of faces is of this content: they are found anew."""
    write_frames(folder / "frames", range(1, 3), size=(32, 32))
    row = {"database": "d", "subject": "s", "clip": "c", "onset": 1, "apex": 2, "offset": 2}
    clips = pd.DataFrame([row | {"frames": str(folder / "frames"), "cropped": True}])
    options = FaceOptions(method="haar")
    first = locate_all(clips, options, cache=folder, progress=False)
    (cached,) = (folder / "faces").glob("*.json")
    cached.write_bytes(content)
    assert locate_all(clips, options, cache=folder, progress=False) == first
    raise MerError("found anew")


def roots_file(folder: Path, content: bytes) -> object:
    folder.joinpath("conf").mkdir()
    folder.joinpath("conf/roots.yaml").write_bytes(content)
    return find_root("casme2")


def weights(name: str) -> Callable[[Path], object]:
    return lambda path: read_weights(f"http://127.0.0.1/{name}", path.name)


READERS: dict[str, Callable[[Path, bytes], object]] = {
    **{f"sheet{suffix}": in_folder(f"s{suffix}", read_cells) for suffix in (".xlsx", ".xls")},
    "clips.csv": in_folder("clips.csv", lambda path: read_clips(path.parent)),
    **{
        f"image{s}": in_folder(f"f/img1{s}", lambda p: read_frame(p, grey=True))
        for s in (".png", ".jpg", ".bmp")
    },
    "video": in_folder("v.avi", list_frames),
    **{f"points{s}": in_folder(f"p{s}", read_landmarks) for s in (".txt", ".pts", ".csv")},
    "encoded set": an_encoded_set,
    "faces": cached_faces,
    "conf/roots.yaml": roots_file,
    "ststnet.pth": in_folder("sub01.pth", load_released),
    "imagenet.pth": in_folder("weights/net.pth", weights("net.pth")),
    "imagenet.safetensors": in_folder("weights/net.safetensors", weights("net.safetensors")),
    "table.yaml": in_folder("table.yaml", load_table),
    "plan.yaml": in_folder("run/plan.yaml", lambda path: read_plan(path.parent)),
}


@pytest.mark.parametrize("kind", sorted(PAYLOADS))
@pytest.mark.parametrize("reader", sorted(READERS))
def test_no_reader_runs_what_a_file_holds(
    reader: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "ran"
    content = PAYLOADS[kind](marker)
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MER_WEIGHTS", str(folder / "weights"))
    result = trust.attempt("input", "code in a file of data", lambda: READERS[reader](folder, content))
    assert isinstance(result, MerError)
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["pickle", "old pickle"])
def test_the_payload_is_live(kind: str, tmp_path: Path) -> None:
    pickle.loads(PAYLOADS[kind](tmp_path / "ran"))  # noqa: S301  the test would prove nothing otherwise
    assert (tmp_path / "ran").is_file()


def test_the_process_of_old_workbooks_runs_no_file_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("json.py", "mer.py", "zipfile.py", "sitecustomize.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    (tmp_path / "s.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)
    with pytest.raises(MerError, match=r"s\.xls: not a spreadsheet that can be read"):
        read_cells(tmp_path / "s.xls")
    assert not (tmp_path / "ran").exists()
