"""The wheel holds what it must, installs, and says what it needs; and a broken OpenCV is told apart from a bug."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import neuronkit

pytestmark = pytest.mark.tooling

ROOT = Path(__file__).parent.parent
FIND_BOXES = """
import numpy, neuronkit.ocr
try:
    neuronkit.ocr.CraftProcessor().preprocess([numpy.zeros((64, 64, 3), numpy.uint8)])
except ImportError as error:
    print(f"{type(error).__module__}.{type(error).__name__}: {error}")
"""


def python(code: str, *path: Path, cwd: Path, interpreter: str = sys.executable) -> str:
    """Run code in a fresh interpreter outside the repository, with these folders first on its path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
    command = [interpreter, "-W", "error::SyntaxWarning", "-c", code]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: building in place leaves files behind, and picks up those of earlier builds."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "neuronkit", source / "neuronkit", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "tests").mkdir()
    (source / "tests" / "test_nothing.py").touch()
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the wheel's contents, as pip lays them out."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return folder


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.slow
def test_wheel_holds_the_package_and_its_data_and_nothing_else(wheel: Path) -> None:
    held = contents(wheel)
    package = {name for name in held if ".dist-info/" not in name}
    sources = {path for path in (ROOT / "neuronkit").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert package == {path.relative_to(ROOT).as_posix() for path in sources}
    assert {"neuronkit/py.typed", "neuronkit/demo/receipt.png", "neuronkit/demo/receipt.json"} <= package
    for folder, ending, least in (("tables", ".json", 5), ("demo/weights", ".pt", 2)):
        assert sum(name.startswith(f"neuronkit/{folder}/") and name.endswith(ending) for name in package) >= least
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in held)


@pytest.mark.slow
def test_wheel_is_for_every_platform_and_small(wheel: Path) -> None:
    assert wheel.name == f"neuronkit-{neuronkit.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        weights = [info.file_size for info in archive.infolist() if "/weights/" in info.filename]
    assert sum(weights) <= 4_000_000


@pytest.mark.slow
def test_metadata(metadata: Message) -> None:
    assert metadata["Name"] == "neuronkit"
    assert metadata["Version"] == neuronkit.__version__
    assert set(metadata["Requires-Python"].split(",")) == {">=3.10", "<3.14"}
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    required = {r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r}
    assert required == {"torch>=1.13.1", "numpy", "opencv-python", "pillow>=10.1", "tqdm"}
    assert set(metadata.get_all("Provides-Extra", [])) >= {"inf1", "inf2", "torchvision", "plot", "dev"}


@pytest.mark.slow
def test_extras_pin_the_frameworks_of_the_sdks(metadata: Message) -> None:
    from packaging.requirements import Requirement

    requirements = [Requirement(r) for r in metadata.get_all("Requires-Dist", [])]

    def takes(extra: str, package: str, version: str, python_version: str) -> bool:
        found = [r for r in requirements if r.name == package and r.marker is not None]
        wanted = [r for r in found if r.marker.evaluate({"extra": extra, "python_version": python_version})]  # type: ignore[union-attr]
        return bool(wanted) and all(r.specifier.contains(version) for r in wanted)

    assert takes("inf1", "torch", "1.13.1", "3.10")
    assert not takes("inf1", "torch", "2.0.0", "3.10")
    assert takes("inf1", "numpy", "1.26.4", "3.10")
    assert not takes("inf1", "numpy", "2.0.0", "3.10")
    assert takes("inf2", "torch", "2.9.0", "3.11")
    assert not takes("inf2", "torch", "2.10.0", "3.11")


@pytest.mark.slow
def test_imports_in_an_environment_that_has_nothing_else(installed: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "fresh", symlinks=True)
    interpreter = tmp_path / "fresh" / "bin" / "python"
    code = (
        "import neuronkit, neuronkit.errors, neuronkit.options, neuronkit.specs, neuronkit.tables, neuronkit.ocr\n"
        "import importlib.util, importlib.metadata\n"
        "print(neuronkit.__file__, importlib.util.find_spec('torch'), importlib.metadata.version('neuronkit'))\n"
        "print(neuronkit.TensorSpec('x', (1, 2)))\n"
    )
    first, second = python(code, installed, cwd=tmp_path, interpreter=str(interpreter)).splitlines()
    assert first == f"{installed / 'neuronkit' / '__init__.py'} None {neuronkit.__version__}"
    assert second == "x: float32[1, 2]"


@pytest.mark.slow
def test_what_is_installed_reads_a_word(installed: Path, tmp_path: Path) -> None:
    code = (
        "import neuronkit, torch\n"
        "from neuronkit.demo.picture import IMAGE, load_truth\n"
        "from neuronkit.demo.weights import load_craft, load_parseq\n"
        "from neuronkit.ocr import load_image\n"
        "static = neuronkit.StaticPARSeq(load_parseq())\n"
        "neuronkit.compile_for_inferentia(static, target='cpu').save('parseq.pt')\n"
        "neuronkit.analyze(static, target='inf1')\n"
        "load_craft()\n"
        "print(neuronkit.__file__)\n"
        "print(neuronkit.load('parseq.pt').specs[0], load_image(IMAGE).ndim, len(load_truth()) > 11)\n"
    )
    first, second = python(code, installed, cwd=tmp_path).splitlines()
    assert first == str(installed / "neuronkit" / "__init__.py")
    assert second == "images: float32[1, 3, 32, 128] 3 True"


BROKEN = "libGL.so.1: cannot open shared object file: No such file or directory"


def stub(folder: Path, statement: str) -> Path:
    (folder / "cv2").mkdir()
    (folder / "cv2" / "__init__.py").write_text(statement + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        (f"raise ImportError({BROKEN!r})", BROKEN),
        ("raise ModuleNotFoundError(\"No module named 'cv2'\", name='cv2')", "No module named 'cv2'"),
    ],
    ids=["broken", "absent"],
)
def test_without_opencv_the_error_names_the_way_out(statement: str, cause: str, tmp_path: Path) -> None:
    printed = python(FIND_BOXES, stub(tmp_path, statement), ROOT, cwd=tmp_path)
    assert printed.startswith("neuronkit.errors.MissingDependencyError: ")
    assert cause in printed
    assert "pip install opencv-python-headless" in printed


def test_with_opencv_there_is_no_such_error(tmp_path: Path) -> None:
    assert python(FIND_BOXES, ROOT, cwd=tmp_path) == ""
