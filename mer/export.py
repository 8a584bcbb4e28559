"""``mer export``: a trained network as ONNX or torch.export, held against the module that it came from.

Beside ``model.onnx`` or ``model.pt2`` lies ``model.json``, which the file also holds (ONNX: the metadata
property ``mer``; torch.export: the extra file ``model.json``): the inputs and outputs, what is done to a
clip before them, and all that the checkpoint says of itself but for the small pictures by which clips are
recognised.

A time-contrasted network becomes one step of itself: two consecutive frames and the memory's state in, the
first frame's scores and the next state out. Step by step it reads videos of any length, which a graph of
one length could not.
"""

import argparse
import contextlib
import hashlib
import io
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mer import checkpoint
from mer.atomic import write_text
from mer.checkpoint import Checkpoint
from mer.errors import MerError

FORMAT = 1
TOLERANCE = 1e-4  # of the largest output, or of 1 where all are smaller
BATCHES = (1, 3)  # that are compared
STEPS = 4  # of a time-contrasted network
FILES = {"onnx": "model.onnx", "torch": "model.pt2"}
Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Export a checkpoint, and print the paths.

    Raises:
        MerError: no checkpoint of one fold, a package that is missing, a network that cannot be exported, or
            one that gives other numbers then.
    """
    parser = argparse.ArgumentParser(
        prog="mer export",
        description="A trained network as ONNX or torch.export, checked against the module on random input; "
        "or the checkpoint itself, without the small pictures of the clips that it has seen.",
    )
    parser.add_argument(
        *("-c", "--checkpoint"), type=Path, required=True, help="checkpoint.safetensors or a fold's folder"
    )
    parser.add_argument("--format", choices=(*FILES, "checkpoint"), default="onnx")
    parser.add_argument("--out", type=Path, default=Path("export"), help="folder (default export)")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="of your own networks and encodings"
    )
    options = parser.parse_args(arguments)
    found = checkpoint.load(options.checkpoint, trusted=options.trust)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        if options.format == "checkpoint":
            checkpoint.write(options.out, found.network, replace(found.about, fingerprints=[]))
            print(options.out / checkpoint.FILE)
            return
        path, spec = export(found, options.out, options.format)
    except OSError as error:
        raise MerError(
            f"{options.out}: cannot be written ({error.strerror or error}); choose another --out"
        ) from error
    print(
        f"{path}: {spec['check']['largest_difference']:.1e} from the module, at most {TOLERANCE:g} is allowed"
    )
    print(path.with_suffix(".json"))


def export(found: Checkpoint, out: Path, kind: str) -> tuple[Path, dict[str, Any]]:
    """Write ``model.onnx`` or ``model.pt2`` and ``model.json`` into a folder.

    Args:
        found: the checkpoint.
        out: a folder that is there.
        kind: ``onnx`` or ``torch``.

    Returns:
        The path, and the content of model.json.

    Raises:
        MerError: see :func:`main`.
    """
    if kind == "onnx":
        _check_packages()
    module, inputs, spec = _interface(found)
    names = [tuple(each["name"] for each in spec[which]) for which in ("inputs", "outputs")]
    target = type(found.network).__name__
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as scratch, _quiet():
        path = Path(scratch) / FILES[kind]
        try:
            batch = Dim("batch", min=1)
            # Two of a batch: of one, torch would take the batch for a constant.
            program = torch.export.export(
                module, tuple(inputs(2)), dynamic_shapes=tuple({0: batch} for _ in spec["inputs"])
            )
            run = (
                _write_onnx(program, path, spec, *names)
                if kind == "onnx"
                else _write_torch(program, path, spec)
            )
        except (
            RuntimeError,
            ValueError,
            TypeError,
            NotImplementedError,
            torch.onnx.errors.OnnxExporterError,
        ) as error:
            why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise MerError(f"{found.path}: {target} cannot be exported as {kind}: {why}") from error
        difference = _compare(module, run, inputs, target)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        spec |= {
            "file": path.name,
            "sha256": digest,
            "check": {
                "batches": list(BATCHES),
                "largest_difference": difference,
                "tolerance": TOLERANCE,
                "by": f"onnxruntime {version('onnxruntime')}"
                if kind == "onnx"
                else f"torch {torch.__version__}",
            },
        }
        path.replace(out / path.name)
    write_text(out / "model.json", json.dumps(spec, indent=1, allow_nan=False) + "\n")
    return out / path.name, spec


class _Step(nn.Module):
    """One step of a time-contrasted network: (B, 2, 5, H, W) and a state -> logits, intensity, next state."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor, state: Tensor | None = None) -> tuple[Tensor, ...]:
        steps = self.network(frames, state)
        rest = () if steps.state is None else (steps.state,)
        return steps.logits[:, 0], steps.intensity[:, 0], *rest


class _Image(nn.Module):
    """A network whose input has the name ``images``, whatever its own ``forward`` calls it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


def _interface(found: Checkpoint) -> tuple[nn.Module, Callable[[int], list[Tensor]], dict[str, Any]]:
    """The module that is exported, random inputs of a batch size, and the description of both."""
    about = found.about
    if about.task != "spotting" and getattr(found.encoding, "gives", "image") != "image":
        raise MerError(
            f"{found.path}: it reads sequences of many lengths; only networks of images are exported"
        )
    shape, classes = about.shape, len(about.classes)
    outputs = [_tensor("logits", [classes], "a softmax over the classes gives their probabilities")]
    if about.task == "spotting":
        module: nn.Module = _Step(found.network).eval()
        with torch.inference_mode():
            state = found.network(torch.zeros(1, 2, *shape)).state
        text = (
            "a frame and the next one; red, green, blue 0..255 and the flow (u, v) in pixels from each to "
            "the next, of which the second is not read. The video's last frame is given with itself"
        )
        wanted = [_tensor("frames", [2, *shape], text)]
        outputs.append(_tensor("intensity", [], "of the first of the two frames, 0..1"))
        if state is not None:
            wanted.append(
                _tensor("state", list(state.shape[1:]), "what is remembered: 0 before a video's first frame")
            )
            outputs.append(_tensor("next_state", list(state.shape[1:]), "the state for the next step"))
    else:
        module = _Image(found.network).eval()
        wanted = [_tensor("images", shape, "as the encoding gives them, 0..255 unless its scale is none")]

    def inputs(batch: int) -> list[Tensor]:
        random = torch.Generator().manual_seed(batch)
        images = torch.rand(batch, *wanted[0]["shape"][1:], generator=random) * 255
        if about.task == "spotting":
            images[:, :, 3:] = torch.randn(images[:, :, 3:].shape, generator=random)
        return [images, *(torch.zeros(batch, *each["shape"][1:]) for each in wanted[1:])]

    told = {name: value for name, value in asdict(about).items() if name != "fingerprints"}
    spec = {
        "format": FORMAT,
        "inputs": wanted,
        "outputs": outputs,
        "preprocessing": _preprocessing(about),
        "checkpoint": told,
        "warning": "trained on SYNTHETIC DATA" if about.synthetic else None,
        "torch": torch.__version__,
    }
    return module, inputs, spec


def _tensor(name: str, shape: Sequence[int], text: str) -> dict[str, Any]:
    return {"name": name, "type": "float32", "shape": ["batch", *shape], "is": text}


def _preprocessing(about: checkpoint.About) -> list[str]:
    """What is done to a clip, in words; the options are in the metadata."""
    if about.encoding is None:
        return ["none: the network was trained on images that were published encoded"]
    found = (
        "the frames show the face alone" if about.cropped else "the face is found once a clip, and cut out"
    )
    name = str(about.encoding["_target_"])
    return [f"{found} (checkpoint.faces)", f"{name} (checkpoint.encoding)"]


def _write_onnx(
    program: ExportedProgram, path: Path, spec: dict[str, Any], inputs: Sequence[str], outputs: Sequence[str]
) -> Run:
    import onnxruntime

    made = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=list(inputs), output_names=list(outputs)
    )
    assert made is not None
    made.model.metadata_props["mer"] = json.dumps(spec)
    made.save(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of constants that it folds
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(given: Sequence[Tensor]) -> Sequence[Tensor]:
        fed = {name: tensor.numpy() for name, tensor in zip(inputs, given, strict=True)}
        return [torch.from_numpy(array) for array in session.run(list(outputs), fed)]

    return run


def _write_torch(program: ExportedProgram, path: Path, spec: dict[str, Any]) -> Run:
    torch.export.save(program, path, extra_files={"model.json": json.dumps(spec)})
    module = torch.export.load(path).module()

    def run(given: Sequence[Tensor]) -> Sequence[Tensor]:
        found = module(*given)
        return [found] if isinstance(found, Tensor) else list(found)

    return run


@torch.inference_mode()
def _compare(module: nn.Module, run: Run, inputs: Callable[[int], list[Tensor]], target: str) -> float:
    """The largest difference between the module and the export, as a share of the largest output or of 1.

    Steps go on from the state that each side gave itself.

    Raises:
        MerError: it is above the tolerance, or no number.
    """
    largest = 0.0
    for batch in BATCHES:
        ours = theirs = inputs(batch)
        for step in range(STEPS if len(ours) > 1 else 1):
            expected, found = module(*ours), run(theirs)
            expected = [expected] if isinstance(expected, Tensor) else list(expected)
            for one, other in zip(expected, found, strict=True):
                if one.shape != other.shape:
                    raise MerError(
                        f"{target}: the export gives {tuple(other.shape)} of a batch of {batch}, not "
                        f"{tuple(one.shape)}"
                    )
                difference = (one - other).abs().max() / one.abs().max().clamp(min=1)
                largest = max(largest, float(difference.nan_to_num(torch.inf)))
            images = inputs(batch + step + 1)[0][:batch]
            ours, theirs = [images, *expected[2:]], [images, *found[2:]]
    if largest > TOLERANCE:
        raise MerError(
            f"{target}: the export differs from the module by {largest:.1e} of its largest output; at most "
            f"{TOLERANCE:g} is allowed, and nothing was written"
        )
    return largest


def _check_packages() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise MerError(
            f"--format onnx needs {', '.join(missing)}: pip install -c constraints.txt -e '.[export]'; "
            "or choose --format torch"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporters say of graphs that are right; each filter carries its reason."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # torch 2.14: nn.GRU gathers its weights anew in each forward; the exporter sees attributes change.
        warnings.filterwarnings("ignore", message=r"(?s).*_flat_weights.*", category=UserWarning)
        yield
