"""Results of a data set on disk: files of JSON lines, each of them whole or not there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.storage.atomic import replacing_file

FORMAT = 1
# Every line begins like this, so that names are found without parsing whole pages.
_PREFIX = '{"image": '


def read_results(output: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Give what `read_dataset` has written so far, one image after the other.

    Args:
        output: The folder given to `read_dataset`.

    Yields:
        For each image a dict: ``"image"``, its path or name, and what `Page.to_dict` gives. ``"error"`` says why an
        image could not be read.

    Raises:
        ArtifactError: If the folder holds no such results.

    Examples:
        ```python
        for result in read_results("results/"):
            print(result["path"], result["text"])
        ```
    """
    output = checks.path("output", output, error=ArtifactError)
    if not (output / "manifest.json").is_file():
        raise ArtifactError(f"{checks.shown(output)} holds no results; give the output folder of read_dataset")
    for path in _files(Path(output)):
        with open(path, encoding="utf-8") as lines:
            yield from map(json.loads, lines)


class ResultStore:
    """The output folder: parts, written by workers, and results, which only the driver creates from them.

    A worker that dies, or a task that runs twice, leaves parts that are not used; a result is a part whose name has
    reached the driver, and a name reaches it once. So no image is lost or doubled, whichever process is killed.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.parts, self.results = output / "parts", output / "results"

    @contextlib.contextmanager
    def open(self, models: str) -> Iterator[None]:
        """Hold the folder for this process; the lock ends with the process, however that ends.

        Args:
            models: What identifies the models; results of different ones do not go into the same folder.

        Raises:
            OptionError: If another process works on the folder, or it belongs to other models.
        """
        with contextlib.ExitStack() as held:
            try:
                self.results.mkdir(parents=True, exist_ok=True)
                lock = held.enter_context(open(self.output / ".lock", "w"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OptionError(f"{self.output}: another process is writing results there; wait for it") from error
            except OSError as error:
                raise OptionError(
                    f"{self.output}: cannot write there ({error}); give a folder on shared storage"
                ) from error
            self._check_manifest(models)
            shutil.rmtree(self.parts, ignore_errors=True)
            yield
            shutil.rmtree(self.parts, ignore_errors=True)

    def done(self) -> set[str]:
        """Names of all images that have a result."""
        names: set[str] = set()
        decode = json.JSONDecoder().raw_decode
        for path in _files(self.output):
            with open(path, encoding="utf-8") as lines:
                names.update(decode(line, len(_PREFIX))[0] for line in lines)
        return names

    def write_part(self, results: Iterable[tuple[str, dict[str, Any]]]) -> str:
        """Write images' names and pages, in a worker; gives the part's name."""
        name = f"{uuid.uuid4().hex}.jsonl"
        self.parts.mkdir(parents=True, exist_ok=True)
        # A file's name need not be text: what of it is none becomes an escape of JSON, and the same name again.
        with open(self.parts / name, "w", encoding="utf-8", errors="backslashreplace") as file:
            for image, page in results:
                file.write(json.dumps({"image": image, **page}, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return name

    def commit(self, part: str) -> None:
        """Make a part a result, in the driver."""
        os.replace(self.parts / part, self.results / part)

    def _check_manifest(self, models: str) -> None:
        path = self.output / "manifest.json"
        manifest = json.dumps({"format": FORMAT, "models": models})
        if not path.exists():
            with replacing_file(path) as unfinished:
                unfinished.write_text(manifest, "utf-8")
        elif path.read_text("utf-8", errors="replace") != manifest:
            raise OptionError(
                f"{self.output} holds results of other models, or of another release of neuronkit; give a new folder"
            )


def _files(output: Path) -> list[Path]:
    return sorted((output / "results").glob("*.jsonl"))
