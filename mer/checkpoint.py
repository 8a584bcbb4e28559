"""A trained network with all that prediction needs, in one safetensors file: no pickle, no config beside it.

``mer train save_checkpoint=true`` leaves ``checkpoint.safetensors`` in each fold's folder. Its metadata has
one entry, ``mer``: JSON with the format's number, :class:`About` and a sha256 of both the metadata and the
tensors, so that a flipped bit is noticed. (Of several entries, safetensors writes the order at random.)

In a notebook::

    from mer import checkpoint

    trained = checkpoint.load("runs/.../fold-casme2.sub01")
    trained.network, trained.encoding, trained.classes

The file names the class of its network and encoding. Only those of ``mer``, and of packages that are passed
as trusted, are imported: a checkpoint may come from a stranger.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from mer.atomic import write_atomically
from mer.data.clips import spelling
from mer.errors import MerError
from mer.runs import fold_folder
from mer.targets import check_keywords, check_targets, check_value, locate

FILE = "checkpoint.safetensors"
FORMAT = 1  # raise it when a reader of the one before would be wrong
OURS = "mer."
TASKS = ("classification", "spotting")


@dataclass(frozen=True, kw_only=True)
class About:
    """What a checkpoint says of its weights; plain JSON.

    Attributes:
        network: ``_target_`` and keywords; ``in_channels`` and ``num_classes`` come on top.
        in_channels: of an encoded image, or of a frame of a sequence.
        classes: in the order of their index.
        label_map: label -> class, None where it was left out.
        task: ``classification``, or ``spotting``: frames of videos are scored.
        window: frames that are scored at a time; of spotting.
        encoding: ``_target_`` and keywords; None where images were published as they are.
        shape: (channels, height, width) of an encoded image, or of a frame of a sequence.
        faces: options of `mer.data.faces.FaceOptions`, but for the folder of landmarks.
        cropped: whether the training frames showed the face alone, so that none was looked for.
        apex: ``labelled``, ``spot_missing`` or ``spot_all``.
        fps: rates of the training clips, rising; those that are known.
        databases: that were trained or validated on.
        trained_on: ``<database>/<subject>`` of every clip that was trained or validated on: nobody of them
            may be tested by a fold that starts from here.
        fingerprints: of these clips, see `mer.data.duplicates.fingerprints`: small pictures without names.
        run: experiment, variant, tag, data, protocol, seed, fold and epoch, as far as there are any.
        synthetic: trained on drawn faces.
        mer, commit: of the code that trained it.
    """

    network: dict[str, object]
    in_channels: int
    classes: list[str]
    label_map: dict[str, str | None] | None
    task: str
    window: int
    encoding: dict[str, object] | None
    shape: list[int]
    faces: dict[str, object]
    cropped: bool
    apex: str
    fps: list[float]
    databases: list[str]
    trained_on: list[str]
    fingerprints: list[str]
    run: dict[str, str | int | None]
    synthetic: bool
    mer: str
    commit: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read.

    Attributes:
        path: of the file.
        about: its metadata.
        network: in eval mode, with the weights, on the CPU.
        encoding: as it was trained with; None where images were published as they are.
    """

    path: Path
    about: About
    network: nn.Module
    encoding: nn.Module | None

    @property
    def classes(self) -> list[str]:
        """In the order of the network's outputs."""
        return self.about.classes


def write(folder: Path, network: nn.Module, about: About) -> None:
    """Write ``checkpoint.safetensors`` into a folder. The same network and metadata give the same bytes."""
    from safetensors.torch import save_file  # a machine that only trains may lack it

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    text = _canonical(asdict(about))
    content = {"format": FORMAT, "sha256": _digest(state, text), "about": json.loads(text)}
    metadata = {"mer": json.dumps(content, sort_keys=True)}
    write_atomically(folder / FILE, lambda scratch: save_file(state, scratch, metadata))


def find(path: Path | str) -> list[Path]:
    """The checkpoints that a path means: a file; the one of a fold's folder; those of all folds of a run.

    Raises:
        MerError: there is none.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return [path]
    if (path / FILE).is_file():
        return [path / FILE]
    found = sorted(path.glob(f"fold-*/{FILE}"))
    if not found:
        what = f"no {FILE} in it, nor in a fold of it" if path.is_dir() else "nothing is there"
        raise MerError(f"{path}: {what}; train with save_checkpoint=true")
    return found


def find_start(init: Path, fold: str) -> Path:
    """The checkpoint that a fold starts from: of a run, its fold of the same name or its only fold.

    Raises:
        MerError: there is none, or a run has several of other names.
    """
    same = fold_folder(init, fold) / FILE
    if same.is_file():
        return same
    try:
        found = find(init)
    except MerError as error:
        raise MerError(f"init={error}") from error
    if len(found) > 1:
        raise MerError(
            f"init={init}: {len(found)} folds have checkpoints, but none is {fold}; name a run of one fold"
        )
    return found[0]


def start_from(path: Path, network: nn.Module, tested: Iterable[str]) -> About:
    """Give a network the weights of a checkpoint.

    Args:
        path: see :func:`find_start`.
        network: of the same constructor arguments.
        tested: ``<database>/<subject>`` of the clips that will be tested.

    Raises:
        MerError: as :func:`read`; another network or class count, naming keys and shapes; or a subject that
            the weights were trained on and that will be tested.
    """
    about, state = read(path)
    check_subjects(about, path, tested)
    _fill(network, state, path)
    return about


def check_subjects(about: About, path: Path, tested: Iterable[str]) -> None:
    """Raise MerError where the weights of ``path`` were trained on a subject that will be tested."""
    seen = {spelling(name) for name in about.trained_on}  # another table may spell them otherwise
    if leaked := sorted(name for name in set(tested) if spelling(name) in seen):
        raise MerError(f"leak: {path} was trained on subject {leaked[0]}, which this fold tests")


def load(path: Path | str, *, trusted: Sequence[str] = ()) -> Checkpoint:
    """Read a checkpoint and build its network and encoding.

    Args:
        path: a file, a fold's folder, or a run folder of one fold.
        trusted: packages beside ``mer`` whose classes it may name, as ``["my_package"]``. Importing one runs
            its code.

    Raises:
        MerError: as :func:`find` and :func:`read`; a run of several folds; a class that is not trusted, is
            gone, or does not take the keywords; weights that do not fit it.
    """
    found = find(path)
    if len(found) > 1:
        raise MerError(f"{path}: {len(found)} folds have checkpoints; name one, as {found[0].parent}")
    about, state = read(found[0])
    network = _build(about, found[0], trusted)
    _fill(network, state, found[0])
    return Checkpoint(found[0], about, network.eval(), _build_encoding(about, found[0], trusted))


def read_about(path: Path) -> About:
    """The metadata of a file alone, of which nothing is compared with its hash.

    Raises:
        MerError: it is no checkpoint, or one of another format.
    """
    plain, _, _ = _open(path, tensors=False)
    return _checked(plain, path)


def read(path: Path) -> tuple[About, dict[str, Tensor]]:
    """The metadata and the tensors of a file; nothing that it names is imported.

    Raises:
        MerError: it is no checkpoint, one of another format, or damaged.
    """
    plain, digest, state = _open(path, tensors=True)
    if digest != _digest(state, _canonical(plain)):
        raise MerError(f"{path}: damaged (not the bytes that it names); copy it again, or train it again")
    return _checked(plain, path), state


def _open(path: Path, *, tensors: bool) -> tuple[Any, Any, dict[str, Tensor]]:
    """The metadata, the hash that they name, and the tensors where they are wanted."""
    from safetensors import SafetensorError, safe_open  # as in write

    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {})["mer"])
            names = list(file.keys()) if tensors else []
            state: dict[str, Tensor] = {name: file.get_tensor(name) for name in names}
        number, digest, plain = content["format"], content["sha256"], content["about"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise MerError(
            f"{path}: no checkpoint that `mer train save_checkpoint=true` wrote ({why})"
        ) from error
    if number != FORMAT:
        raise MerError(f"{path}: a checkpoint of format {number}; this version of mer reads {FORMAT}")
    return plain, digest, state


def _checked(plain: Any, path: Path) -> About:
    """The metadata, held against its types."""
    names = [field.name for field in fields(About)]
    if not isinstance(plain, dict) or set(plain) != set(names):
        raise MerError(f"{path}: its metadata are not those of a checkpoint of format {FORMAT}")
    for name, hint in get_type_hints(About).items():
        check_value(f"{path}: {name}", plain[name], hint)
    about = About(**plain)
    if not about.classes or len(set(about.classes)) < len(about.classes):
        raise MerError(f"{path}: classes={about.classes}: at least one, and each once, is needed")
    if len(about.shape) != 3 or min(about.shape) < 1 or about.shape[0] != about.in_channels:
        raise MerError(
            f"{path}: shape={about.shape}: {about.in_channels} channels, height and width are needed"
        )
    if about.task not in TASKS or about.window < 1:
        raise MerError(
            f"{path}: task={about.task}, window={about.window}: choose {' or '.join(TASKS)}, and 1 or more"
        )
    return about


def _build(about: About, path: Path, trusted: Sequence[str]) -> nn.Module:
    return _make(
        about.network,
        f"{path}: network",
        trusted,
        in_channels=about.in_channels,
        num_classes=len(about.classes),
    )


def _build_encoding(about: About, path: Path, trusted: Sequence[str]) -> nn.Module | None:
    if about.encoding is None:
        return None
    encoding = _make(about.encoding, f"{path}: encoding", trusted)
    if not hasattr(encoding, "reads"):
        raise MerError(f"{path}: encoding._target_={about.encoding['_target_']}: not an encoding")
    return encoding


def _make(plain: Mapping[str, Any], key: str, trusted: Sequence[str], **more: Any) -> nn.Module:
    """The module that ``_target_`` names, called with the keywords beside it; nothing else is imported."""
    target = str(plain.get("_target_"))
    check_targets(plain, key, trusted=[OURS, *trusted])
    found = locate(target, key)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise MerError(f"{key}._target_={target}: not a torch module")
    keywords = {name: value for name, value in plain.items() if name != "_target_"} | more
    if target.startswith(OURS) and "weights" in keywords:
        keywords["weights"] = None  # the file has them: nothing is downloaded
    check_keywords(found, keywords, key)
    try:
        with torch.random.fork_rng(devices=[]):  # weights are drawn, and then replaced
            return found(**keywords)
    except (TypeError, ValueError, RuntimeError, MerError) as error:
        raise MerError(f"{key}: {(str(error).splitlines() or [type(error).__name__])[0]}") from error


def _fill(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    different = [
        f"{name} {found.get(name, 'missing')}, not {wanted.get(name, 'there')}"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]
    if different:
        shown = "; ".join(different[:4]) + (f"; and {len(different) - 4} more" if len(different) > 4 else "")
        raise MerError(f"{path}: weights of another network or class count: {shown}")
    with torch.no_grad():
        network.load_state_dict(state)


def _canonical(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True)


def _digest(state: Mapping[str, Tensor], text: str) -> str:
    """The sha256 of the metadata and of every tensor, in the order of their names."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(state):
        tensor = state[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
