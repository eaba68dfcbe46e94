"""Which images a worker was reading when it died, so that an image that kills workers is found and given up."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path


class Journal:
    """Notes what is about to be read of a shard; a later attempt at the same shard reads where earlier ones ended.

    Args:
        folder: Where the notes lie.
        shard: Names of the shard's images.
    """

    def __init__(self, folder: Path, shard: Sequence[str]) -> None:
        key = hashlib.sha256(json.dumps(shard).encode()).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        self._earlier = sorted(folder.glob(f"{key}.*.journal"))
        self._deaths = Counter(name for attempt in self._earlier for name in _last(attempt))
        self._path = folder / f"{key}.{len(self._earlier)}.journal"

    def deaths(self, name: str) -> int:
        """How many attempts ended while this image was being read, alone or with others."""
        return self._deaths[name]

    def begin(self, names: Sequence[str]) -> None:
        """Note that these images are about to be read."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(names) + "\n")

    def close(self) -> None:
        """Forget the attempts: the shard has been read."""
        for path in (*self._earlier, self._path):
            path.unlink(missing_ok=True)


def _last(path: Path) -> list[str]:
    # A worker that died while writing a line had not begun to read.
    *lines, _ = path.read_text("utf-8").split("\n")
    names: list[str] = json.loads(lines[-1]) if lines else []
    return names
