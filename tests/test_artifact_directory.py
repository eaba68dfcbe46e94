"""A directory artifact is whole, or it is an ArtifactError."""

import os
import shutil
from pathlib import Path

import pytest

import neuronkit
from neuronkit.errors import ArtifactError
from neuronkit.storage.sealed import read_manifest, save_directory


def fill(directory: Path) -> None:
    (directory / "cache").mkdir()
    (directory / "cache" / "a.neff").write_bytes(b"program")
    (directory / "graph.pt2").write_bytes(b"graph")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_directory(tmp_path / "model", {"format": 1}, fill)
    return tmp_path / "model"


def test_manifest_comes_back_and_nothing_else_is_left(saved: Path) -> None:
    assert read_manifest(saved) == {"format": 1}
    assert [entry.name for entry in saved.parent.iterdir()] == ["model"]


def test_an_existing_directory_is_replaced(saved: Path) -> None:
    save_directory(saved, {"format": 2}, lambda directory: None)
    assert read_manifest(saved) == {"format": 2}
    assert not (saved / "graph.pt2").exists()
    assert [entry.name for entry in saved.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["graph.pt2", "cache/a.neff", "neuronkit.json", "SHA256SUMS"])
def test_a_changed_or_missing_file_is_noticed(saved: Path, name: str) -> None:
    contents = (saved / name).read_bytes()
    (saved / name).write_bytes(contents[:-2] + b"x" + contents[-1:])
    with pytest.raises(ArtifactError, match="a file is missing, new or changed"):
        read_manifest(saved)
    (saved / name).unlink()
    with pytest.raises(ArtifactError, match="compile again"):
        read_manifest(saved)


def test_a_new_file_is_noticed(saved: Path) -> None:
    (saved / "cache" / "stranger.neff").write_bytes(b"")
    with pytest.raises(ArtifactError, match="a file is missing, new or changed"):
        read_manifest(saved)


@pytest.mark.parametrize("name", ["SHA256SUMS", "graph.pt2", "cache"])
def test_what_is_no_file_is_no_part_of_it(saved: Path, name: str, tmp_path: Path) -> None:
    """Pipes would be waited for, devices have no end, and what is behind a link to a folder is not sealed."""
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(tmp_path)):
        directory = Path(shutil.copytree(saved, tmp_path / "copy"))
        shutil.move(directory / name, tmp_path / "aside")
        make(directory / name)
        for read in (read_manifest, neuronkit.load):
            with pytest.raises(ArtifactError, match=r"a file is missing, new or changed \('"):
                read(directory)
        with pytest.raises(ArtifactError, match=r"a file is missing|which cannot be read|has SHA-256"):
            neuronkit.load(directory, sha256="0" * 64)
        shutil.rmtree(directory)
        shutil.rmtree(tmp_path / "aside") if name == "cache" else (tmp_path / "aside").unlink()


def test_a_link_to_a_folder_is_noticed(saved: Path, tmp_path: Path) -> None:
    (saved / "more").symlink_to(tmp_path)
    with pytest.raises(ArtifactError, match=r"new or changed \('more'\)"):
        read_manifest(saved)


def test_a_failed_save_leaves_the_old_one(saved: Path) -> None:
    def full_disk(directory: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ArtifactError, match=r"was not written \(.*No space left"):
        save_directory(saved, {"format": 3}, full_disk)
    assert read_manifest(saved) == {"format": 1}
    assert [entry.name for entry in saved.parent.iterdir()] == ["model"]


def test_a_missing_parent(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"was not written .*No such file"):
        save_directory(tmp_path / "no" / "model", {}, fill)
