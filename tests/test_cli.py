import subprocess
import sys

import pytest

from mer import cli
from mer.errors import MerError, run_verb


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mer", "--help"])
    cli.main()
    out = capsys.readouterr().out
    assert all(f"  {verb} " in out for verb in cli.VERBS)


def test_an_unknown_verb_lists_those_that_exist(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["mer", "trian"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert f"no verb 'trian'; there are {', '.join(cli.VERBS)}" in capsys.readouterr().err


def refuse(arguments: object) -> None:
    raise MerError("sheet.xlsx, row 3: no apex")


def test_an_error_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_verb(refuse, [])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "mer: sheet.xlsx, row 3: no apex\n"


def test_debug_keeps_the_traceback() -> None:
    with pytest.raises(MerError):
        run_verb(refuse, ["--debug"])


def test_ctrl_c_is_one_line_and_exit_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(arguments: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run_verb(interrupt, [])
    assert ended.value.code == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_ctrl_c_does_not_abort_where_a_thread_is_inside_opencv() -> None:
    """Without `leave_at_once` it ends in SIGABRT. Handlers that others registered have to run."""
    code = """
import atexit, threading, time
from mer.errors import leave_at_once, run_verb
leave_at_once()
import cv2, numpy
image = numpy.zeros((2000, 2000, 3), "u1")
atexit.register(print, "cleaned up")
def work():
    while True:
        cv2.GaussianBlur(image, (0, 0), 3)
def verb(_):
    threading.Thread(target=work, daemon=True).start()
    time.sleep(0.2)
    raise KeyboardInterrupt
run_verb(verb, [])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stdout == "cleaned up\n"
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("line", [["--help"], ["status", "--help"], ["table", "--help"], ["bench", "--help"]])
def test_what_needs_no_torch_does_not_import_it(line: list[str]) -> None:
    code = (
        "import sys; from mer.cli import main; sys.argv = ['mer', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit as ended: assert not ended.code, ended.code\n"
        "heavy = {'torch', 'hydra', 'pytorch_lightning', 'cv2', 'kornia', 'wandb'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: mer" in done.stdout


def test_a_reader_that_stops_reading_is_no_error() -> None:
    code = "from mer.errors import run_verb; run_verb(lambda _: print('line ' * 9, flush=True), [])"
    with subprocess.Popen(
        [sys.executable, "-c", f"import time; time.sleep(.3); {code}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout
        assert child.stderr
        child.stdout.close()
        assert child.stderr.read() == b""
