"""Importing is free: proved in a fresh interpreter, by a check that can fail."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "PIL", "cv2", "torchvision", "torch_neuron", "torch_neuronx", "torch_xla", "numpy", "tqdm")
CHECK = "import sys; found = sorted(set({heavy!r}) & set(sys.modules)); print(*found); sys.exit(bool(found))"


def loaded_by(statement: str) -> list[str]:
    code = f"{statement}; {CHECK.format(heavy=HEAVY)}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize(
    "statement",
    [
        "import neuronkit",
        "import neuronkit.errors",
        "import neuronkit.ocr",
        "import neuronkit.serving",
        "import neuronkit.adapters",
        "import neuronkit.integrations",
    ],
)
def test_import_loads_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement) == []


def test_the_check_above_can_fail() -> None:
    assert "torch" in loaded_by("import torch")


@pytest.mark.parametrize("module", ["errors", "specs", "options", "tables"])
def test_the_lowest_layer_loads_no_torch(module: str) -> None:
    assert "torch" not in loaded_by(f"import neuronkit.{module}")


def test_import_computes_for_at_most_50_ms() -> None:
    # The best of several fresh interpreters, in computing time, which other processes hardly change.
    code = "import time; t = time.process_time(); import neuronkit; print(time.process_time() - t)"
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout) for _ in range(5)
    ]
    assert min(runs) < 0.05


def test_every_public_name_resolves() -> None:
    import neuronkit

    for name in neuronkit.__all__:
        assert getattr(neuronkit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = neuronkit.nonsense


def test_dir_shows_the_public_names() -> None:
    import neuronkit

    shown = {name for name in dir(neuronkit) if not name.startswith("__")}
    assert {"CRAFT", "OCRPipeline", "compile_for_inferentia", "load_checkpoint", "ocr"} <= shown
    assert not {"annotations", "TYPE_CHECKING", "lazy_names", "_HOMES"} & shown


def test_help_begins_with_what_fits_a_screen() -> None:
    import neuronkit

    lines = (neuronkit.__doc__ or "").splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 100
    table = " ".join(lines[lines.index("") + 9 :])
    named = {name for name in dir(neuronkit) if name in table}
    assert {"make_static", "FixedShape", "estimate", "load", "OCRPipeline"} <= named
