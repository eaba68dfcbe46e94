"""Forms of answers, and what is answered where there is no page; light: the ingress loads no models and no torch."""

from __future__ import annotations

import contextlib
import json
from email.message import Message

TYPES = {
    "application/json": "json",
    "text/plain": "text",
    "text/markdown": "markdown",
    "text/csv": "csv",
    "text/html": "hocr",
    "text/vnd.hocr+html": "hocr",
    "application/xml": "alto",
    "application/alto+xml": "alto",
}
"""Media type → its name in `neuronkit.ocr.writers.page_text`; of equal preferences the first is served."""


def negotiate(accept: str) -> str | None:
    """Give the media type to answer with (RFC 9110, 12.5.1); None where the client takes none of `TYPES`.

    Args:
        accept: The header; "" stands for one that is not there.
    """
    ranges = [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    liked = {kind: _quality(kind, ranges) for kind in TYPES}
    best = max(liked, key=lambda kind: liked[kind])
    return best if liked[best] > 0 else None


def _range(part: str) -> tuple[str, float]:
    header = Message()
    header["Content-Type"] = part
    quality = 0.0
    with contextlib.suppress(ValueError):
        quality = float(str(header.get_param("q", "1")))
    return part.partition(";")[0].strip().lower(), quality


def _quality(kind: str, ranges: list[tuple[str, float]]) -> float:
    # The most specific range counts.
    for wanted in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        found = [quality for name, quality in ranges if name == wanted]
        if found:
            return found[0]
    return 0.0


def error_json(message: str) -> str:
    """The body of an answer that is not a page."""
    return json.dumps({"error": message}, ensure_ascii=False)
