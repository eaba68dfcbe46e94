"""Files of several frames that stay open from one page to the next: each frame of an animation is drawn on the last."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuronkit.ocr.images.decoding import NO_PAGES
from neuronkit.ocr.images.opening import open_image

if TYPE_CHECKING:
    from PIL import Image

# A pipeline opens two pages at once.
_MOST_OPEN = 2
# How an animated PNG says that a frame is to be taken away again.
_PREVIOUS = 2


@dataclass
class _Opened:
    """An open file, and the last frame that was read of it."""

    key: Any
    image: Image.Image
    frames: int
    closing: ExitStack
    index: int = -1


_idle: list[_Opened] = []
_taking = threading.Lock()


@contextlib.contextmanager
def open_for(source: Any, index: int) -> Iterator[Image.Image]:
    """Open an image file to read one frame: where an earlier frame of it was read last, that file, which is still open.

    Args:
        source: See `open_image`.
        index: The frame. The image need not be there yet.

    Raises:
        ImageError: If there is no such file, or Pillow does not read its format.
    """
    key = _key(source)
    if key is None:
        with open_image(source) as image:
            yield image
        return
    opened = _taken(key, index) or _newly_opened(source, key)
    try:
        yield opened.image
    except BaseException:
        # Which says what is wrong with the file.
        with opened.closing:
            raise
    opened.index = index
    if _can_go_on(opened):
        _give_back(opened)
    else:
        opened.closing.close()


def _key(source: Any) -> Any:
    """What two sources have in common that are the same file, unchanged; None for those that are always opened anew."""
    if isinstance(source, bytes):
        # Idle files hold their source: no other one has its id.
        return id(source)
    if not isinstance(source, (str, os.PathLike)):
        return None
    try:
        found = os.stat(source)
    except (OSError, ValueError):
        return None
    return os.path.abspath(source), found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns


def _taken(key: Any, index: int) -> _Opened | None:
    """The open file that is the least before a frame."""
    with _taking:
        before = [opened for opened in _idle if opened.key == key and opened.index < index]
        if not before:
            return None
        nearest = max(before, key=lambda opened: opened.index)
        _idle.remove(nearest)
        return nearest


def _newly_opened(source: Any, key: Any) -> _Opened:
    with ExitStack() as closing:
        image = closing.enter_context(open_image(source))
        # Counted at the first frame: from a later one, Pillow would go back to it.
        frames = 1 if image.format in NO_PAGES else getattr(image, "n_frames", 1)
        return _Opened(key, image, frames, closing.pop_all())


def _can_go_on(opened: _Opened) -> bool:
    """Whether frames are left, and Pillow gives them as if the file were opened anew."""
    # It loses the frame before, which is what is drawn on next, once this one's pixels were looked at.
    forgets = opened.image.format == "PNG" and getattr(opened.image, "dispose_op", None) == _PREVIOUS
    return opened.index + 1 < opened.frames and not forgets


def _give_back(opened: _Opened) -> None:
    """Keep a file open for its next frame, in place of the one that has waited longest."""
    with _taking:
        _idle.append(opened)
        surplus = [_idle.pop(0) for _ in range(len(_idle) - _MOST_OPEN)]
    for other in surplus:
        other.closing.close()


def close_idle() -> None:
    """Close all files that wait for another page."""
    with _taking:
        surplus = list(_idle)
        _idle.clear()
    for opened in surplus:
        opened.closing.close()


def _after_fork() -> None:
    # An open file has one place for parent and child: the child opens it anew.
    global _taking
    _taking = threading.Lock()
    close_idle()


atexit.register(close_idle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
