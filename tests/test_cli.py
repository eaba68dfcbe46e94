"""The command line: what users type, in a process of its own where that matters."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from neuronkit import TensorSpec, compile_for_inferentia
from neuronkit.cli.main import main, make_parser
from neuronkit.demo.picture import IMAGE
from neuronkit.demo.weights import FOLDER
from neuronkit.ocr.writers import FORMATS

from .ocr.documents import check_alto, check_hocr, check_json, pdf_words

pytestmark = pytest.mark.tooling

ROOT = Path(__file__).parents[1]
COLUMNS = (
    ("the quick brown", "coffee and cake", "station road", "orange juice", "fresh bread"),
    ("winter garden", "green apple pie", "silver spoon", "market street", "window seat"),
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone, with an environment into which README's command installs it; packages are those of this one."""
    folder = tmp_path_factory.mktemp("clone")
    # What a clone would have, and what is not committed yet.
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    for name in listed.decode().splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    environment = folder / "env"
    venv.create(environment, with_pip=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "those_of_the_tests.pth").write_text(sysconfig.get_paths()["purelib"], "utf-8")
    (install,) = [line for line in commands_of_the_readme() if line[0] == "pip"]
    in_clone([environment / "bin" / "pip", *install[1:], "--quiet"], folder)
    return folder


def commands_of_the_readme() -> list[list[str]]:
    section = (ROOT / "README.md").read_text("utf-8").partition("## On the command line")[2].partition("```\n\n")[0]
    return [shlex.split(line) for line in section.splitlines() if line.startswith(("pip ", "neuronkit "))]


def in_clone(command: Sequence[str | Path], clone: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


def typed(*words: str, folder: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "neuronkit", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == status, done.stderr
    return done


def two_columns(size: tuple[int, int] = (620, 440)) -> Image.Image:
    """A page of two columns, in a font that the demo's weights know."""
    import matplotlib

    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 20)
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for left, lines in zip((30, 340), COLUMNS):
        for i, line in enumerate(lines):
            for j, word in enumerate(line.split()):
                draw.text((left + 90 * j, 40 + 60 * i), word, "black", font)
    return page


def make_pdf(path: Path) -> None:
    """Five pages of two columns, of which the third is noted as turned."""
    import fpdf
    import pypdfium2 as pdfium

    document = fpdf.FPDF(unit="pt")
    document.set_auto_page_break(False)
    for number in range(5):
        picture = two_columns()
        if number == 2:
            picture = picture.rotate(90, expand=True)
        width, height = 0.72 * picture.width, 0.72 * picture.height
        document.add_page(format=(width, height))
        document.image(picture, 0, 0, width, height)
    document.output(str(path))
    with pdfium.PdfDocument(path.read_bytes()) as whole:
        whole[2].set_rotation(90)
        whole.save(path)


@pytest.mark.slow
def test_the_commands_of_the_readme_are_typed_one_by_one(clone: Path) -> None:
    commands = [words[1:] for words in commands_of_the_readme() if words[0] == "neuronkit"]
    printed = [in_clone([clone / "env" / "bin" / "neuronkit", *words], clone) for words in commands]
    assert "subtotal 1160" in printed[0]
    assert "subtotal" in [word for word, _ in pdf_words(clone / "receipt.pdf", 0, (690, 450))]
    assert "recognizer" in printed[3]


@pytest.mark.slow
def test_a_pdf_of_columns_is_read_and_its_files_are_right(clone: Path, tmp_path: Path) -> None:
    make_pdf(tmp_path / "scan.pdf")
    wanted = " ".join(line for column in COLUMNS for line in column).split()
    for output in ("out.pdf", "out.xml", "out.hocr", "out.json"):
        pages = [] if output == "out.pdf" else ["--pages", "3"]
        command = ["read", tmp_path / "scan.pdf", "--dpi", "100", "-o", tmp_path / output, *pages]
        in_clone([clone / "env" / "bin" / "neuronkit", *command], clone)
    check_alto((tmp_path / "out.xml").read_bytes())
    hocr = check_hocr((tmp_path / "out.hocr").read_bytes())
    (page,) = json.loads((tmp_path / "out.json").read_text("utf-8"))
    check_json(page)
    assert page["text"].split() == [word for word, _ in hocr]
    for number in range(5):
        found = pdf_words(tmp_path / "out.pdf", number, (page["height"], page["width"]))
        assert [word for word, _ in found] == page["text"].split(), number
        for (_, place), (_, bounds) in zip(found, hocr):
            np.testing.assert_allclose(place, bounds, atol=2)
    right = sum(a == b for a, b in zip(page["text"].split(), wanted, strict=True))
    assert right >= 0.9 * len(wanted), page["text"]


@pytest.mark.slow
def test_a_folder_is_read_again_only_where_it_changed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    two_columns().crop((0, 0, 320, 100)).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    first = typed("read", "in", "-o", "out/", "--format", "markdown", folder=tmp_path, status=1)
    assert first.stdout.startswith("1 read, 1 failed")
    assert first.stderr.count("small weights") == 1
    second = json.loads(typed("read", "in", "-o", "out/", "-f", "markdown", "--json", folder=tmp_path, status=1).stdout)
    assert (second["read"], len(second["skipped"]), len(second["failed"])) == ([], 1, 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".neuronkit-read.jsonl", "a.png.md"]


@pytest.mark.slow
def test_from_a_checkpoint_to_an_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, artifact, word = str(FOLDER / "parseq.pt"), str(tmp_path / "parseq.pt"), str(tmp_path / "word.png")
    two_columns().crop((30, 36, 110, 70)).save(word)
    assert main(["compile", weights, "-o", artifact, "--target", "cpu", "--batch", "2"]) == 0
    assert main(["show", artifact]) == 0
    assert "images: float32[2, 3, 32, 128]" in capsys.readouterr().out
    assert main(["show", artifact, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == "cpu"
    assert main(["compare", artifact, weights, word, "--also", artifact, "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)["models"]
    assert [model["target"] for model in compared] == ["cpu", "original", "cpu"]
    assert main(["estimate", weights, "--target", "inf2", "--json"]) == 0
    assert main(["analyze", weights, "--target", "inf2"]) == 0
    other = torch.load(weights, weights_only=True)
    state = next(value for value in other.values() if isinstance(value, dict) and len(value) > 20)
    name = next(name for name in state if name.endswith("head.weight"))
    state[name] = state[name] + 0.1 * torch.randn(state[name].shape, generator=torch.Generator().manual_seed(0))
    torch.save(other, tmp_path / "other.pt")
    capsys.readouterr()
    assert main(["compare", artifact, str(tmp_path / "other.pt"), word]) == 1


def test_the_cache_is_listed_checked_and_pruned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("list", "verify", "prune"):
        assert main(["cache", action, "--directory", str(tmp_path)]) == 0
    assert "0 entries, 0 broken" in capsys.readouterr().out
    assert main(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["neuronkit"]


def test_an_artifact_is_shown_without_its_sdk_and_nothing_in_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TensorSpec("x", (2, 4))
    path = str(compile_for_inferentia(torch.nn.Linear(4, 3), spec, target="cpu").save(tmp_path / "a.pt"))
    monkeypatch.setattr(torch.jit, "load", pytest.fail)
    assert main(["show", path]) == 0
    assert "x: float32[2, 4]" in capsys.readouterr().out
    # Of another target, as a machine without its SDK sees it.
    native = str(Path(__file__).parent / "artifacts" / "format1-native")
    assert main(["show", native]) == 0
    assert "trn2-native" in capsys.readouterr().out


def test_ray_that_is_not_installed_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["serve", "ray", "a.pt", "b.pt"]) == 2
    assert "pip install" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("begin", ["ray.build_app", "triton.export_repository"])
def test_a_server_that_is_stopped_has_done_its_work(
    begin: str, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(60)

    # Also before it serves. tests/serving stops servers that do.
    monkeypatch.setattr(f"neuronkit.serving.{begin}", stopped)
    before = signal.getsignal(number)
    assert main(["serve", begin.partition(".")[0], "detector.pt", "recognizer.pt"]) == 0
    assert signal.getsignal(number) == before


def test_errors_are_one_line_and_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(tmp_path / "gone.pt")]) == 2
    assert "gone.pt" in capsys.readouterr().err
    assert main(["read", str(tmp_path / "*.png")]) == 2
    assert main(["read", "a.png", "--detector", "craft.pt"]) == 2
    for amount in ("nan", "inf", "-1"):
        assert main(["cache", "prune", "--directory", str(tmp_path), "--max-bytes", amount]) == 2
        assert "expected a number of bytes" in capsys.readouterr().err
    assert main(["serve", "triton", "a.pt", "--port", "99999"]) == 2
    assert "got --port=99999" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main(["nonsense"])
    assert left.value.code == 2
    capsys.readouterr()
    assert main([]) == 2
    assert "compile a checkpoint to an artifact" in capsys.readouterr().err


def test_a_turned_page_names_the_option_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(IMAGE) as receipt:
        receipt.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png")
    assert main(["read", "--quiet", str(tmp_path / "turned.png")]) == 0
    assert "--turned tries that" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("read RECEIPT --pages 0", "expected numbers and ranges"),
        ("read RECEIPT --dpi nan", "expected a finite number"),
        ("read RECEIPT -o x.doc", "expected the ending of a format"),
        ("read RECEIPT -o missing/x.txt", "expected a file in a folder that is there"),
        ("read EMPTY", "a folder without images"),
        ("analyze gone.pt", "check the path"),
        ("analyze RECEIPT", "got a PNG picture"),
        ("analyze PARSEQ --target nonsense", "did you mean"),
        ("estimate CRAFT --canvas 12x", "give such as 1280x960"),
        ("estimate CRAFT --batch 0", "at least 1"),
        ("compile CRAFT --target cpu -o missing/x.pt", "make it first"),
        ("compile CRAFT --target cpu -o RECEIPT", "a file that save() did not write"),
        ("show RECEIPT", "not a whole artifact"),
        ("env gone.pt", "check the path"),
        ("cache list", "set NEURONKIT_CACHE_DIR"),
        ("cache list --directory RECEIPT", "give a directory"),
        ("serve triton gone.pt", "check the path"),
        ("serve ray one.pt", "give both"),
        ("compare gone.pt PARSEQ RECEIPT", "check the path"),
        ("demo --out x.doc", "expected the ending of a format"),
        ("demo --out x.txt", "expected a picture to write"),
        ("demo --out receipt.png/x.png", "cannot be made"),
    ],
)
def test_what_cannot_begin_says_so_in_a_line(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEURONKIT_CACHE_DIR", raising=False)
    (tmp_path / "empty").mkdir()
    shutil.copy(IMAGE, tmp_path / "receipt.png")
    places = {"RECEIPT": "receipt.png", "EMPTY": "empty"}
    places |= {name.upper(): str(FOLDER / f"{name}.pt") for name in ("craft", "parseq")}
    typed = [places.get(word, word) for word in words.split()]
    for more in ([], ["--json"]):
        assert main([*typed, *more]) == 2
        out, err = capsys.readouterr()
        told = [line for line in err.splitlines() if "small weights" not in line]
        assert (out, len(told)) == ("", 1), err
        assert told[0].startswith(f"neuronkit {typed[0]}: ")
        assert said in told[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "receipt.png"]


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_output_that_cannot_be_written(
    more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["cache", "list", "--directory", str(tmp_path), *more]
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(command) == 1
    assert capsys.readouterr().err == "neuronkit cache: [Errno 28] No space left on device\n"
    left, right = os.pipe()
    os.close(left)
    with os.fdopen(right, "w") as nobody_reads:
        monkeypatch.setattr(sys, "stdout", nobody_reads)
        assert main(command) == 0
    monkeypatch.setattr(sys, "stdout", None)
    assert main(command) == 0
    assert main(["read", str(IMAGE), *more]) == 2
    assert "standard output is closed" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["read", "-", *more]) == 2
    assert "standard input is closed" in capsys.readouterr().err
    assert main(["read", "-", "-", *more]) == 2
    assert "more than once" in capsys.readouterr().err


def test_messages_are_no_output_where_stderr_is_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open(tmp_path / "out", "w+") as out:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", None)
        assert main(["show", "gone.pt"]) == 2
        assert (tmp_path / "out").read_text() == ""
        sys.stderr.close()


def test_characters_that_the_terminal_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode("größe-中-\U0001f600-\udcff".encode("utf-8", "surrogateescape"))
    for more, coding in (([], "ascii"), (["--json"], "ascii"), (["--json"], "utf-8")):
        with open(tmp_path / "out", "w+", encoding=coding) as out:
            monkeypatch.setattr(sys, "stdout", out)
            assert main(["cache", "verify", "--directory", str(folder), *more]) == 0
            assert main(["cache", "list", "--directory", str(folder), *more]) == 0
    with open(tmp_path / "out", "w+", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert main(["cache", "list", "--directory", str(folder)]) == 0
    assert r"gr\xf6\xdfe-\u4e2d-\U0001f600-\udcff: 0 entries" in (tmp_path / "out").read_text("ascii")


def test_pages_that_no_file_has_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", str(IMAGE), "--pages", "7-"]) == 1
    assert "no page was read" in capsys.readouterr().err


def test_a_picture_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(IMAGE, tmp_path / "a.png")
    assert main(["read", str(tmp_path / "a.png"), "-o", str(tmp_path / "a.png")]) == 2
    assert "the file that a page was read from" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() == IMAGE.read_bytes()


def test_every_command_shows_an_example() -> None:
    commands = next(action for action in make_parser()._actions if action.choices and "read" in action.choices)
    assert commands.choices is not None
    assert set(commands.choices) == {
        *("read", "demo", "analyze", "estimate", "compile", "compare", "show", "env", "cache", "serve")
    }
    for name, command in commands.choices.items():  # type: ignore[attr-defined]
        assert f"Example:\n  neuronkit {name}" in command.format_help()
        assert "--json" in command.format_help()
    assert "picture" in FORMATS


def test_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, neuronkit.cli.main; neuronkit.cli.main.make_parser(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
