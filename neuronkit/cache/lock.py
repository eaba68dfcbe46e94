"""A lock between processes, by flock: the kernel releases it when its holder ends, in whatever way."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from pathlib import Path

_LOGGER = logging.getLogger("neuronkit.cache")


class KeyLock:
    """The lock file of one key: shared by those who read the entry, exclusive to the one who writes it.

    A lock file is never removed: a process could be waiting for it while another makes and locks a new one.

    Args:
        path: The file. Where it can neither be made nor opened, as in a read-only directory, every lock is granted:
            entries are written whole, by a rename, so that the worst is that one is built twice.
    """

    def __init__(self, path: Path) -> None:
        self._file = _open(path)

    def acquire(self, *, shared: bool) -> bool:
        """Take the lock, or change its kind, without waiting.

        Returns:
            Whether it is held now. A change that fails also loses what was held.
        """
        import fcntl

        if self._file is None:
            return True
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            _LOGGER.warning("this file system has no locks (%s); builders do not wait for one another", error)
        return True

    def release(self) -> None:
        """Release the lock; it can be acquired again."""
        import fcntl

        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def __enter__(self) -> KeyLock:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            # A process forked meanwhile has the file too, and with it the lock unless it is released.
            with contextlib.suppress(OSError):
                self.release()
            os.close(self._file)


def _open(path: Path) -> int | None:
    # Without O_RDWR, NFS gives no exclusive lock; another user's file can often be opened for reading alone.
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        try:
            return os.open(path, flags | os.O_CLOEXEC, 0o666)
        except OSError:
            continue
    return None
