"""A PDF file written from its beginning to its end: of what is written, only places stay in memory.

Libraries that write PDF keep the whole file until it is saved, which for scans is gigabytes. ISO 32000-1 is cited.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import BinaryIO


class PDFFile:
    """Objects in an open file (7.5); numbers of objects are reserved where others name them before they are written.

    Args:
        out: A new file, open for writing.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._at = 0
        self._places: list[int] = []
        # The comment says that the file holds bytes above 127.
        self._write(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")

    def reserve(self) -> int:
        """Give the number of an object that is written later."""
        self._places.append(0)
        return len(self._places)

    def add(self, content: str, number: int | None = None) -> int:
        """Write an object; give its number."""
        return self._object(content.encode("ascii"), number)

    def add_stream(self, entries: str, data: bytes, number: int | None = None, *, compress: bool = True) -> int:
        """Write a stream, whose dictionary has `entries` besides length and filter; give its number."""
        if compress:
            entries, data = f"{entries} /Filter /FlateDecode", zlib.compress(data)
        head = f"<< {entries} /Length {len(data)} >>\nstream\n".encode("ascii")
        return self._object(head + data + b"\nendstream", number)

    def finish(self, root: int) -> None:
        """Write where the objects are, and which is the document's catalogue."""
        start = self._at
        table = "".join(f"{place:010} 00000 n \n" for place in self._places)
        count = len(self._places) + 1
        self._write(f"xref\n0 {count}\n0000000000 65535 f \n{table}".encode("ascii"))
        self._write(f"trailer\n<< /Size {count} /Root {root} 0 R >>\nstartxref\n{start}\n%%EOF\n".encode("ascii"))

    def _object(self, content: bytes, number: int | None) -> int:
        number = self.reserve() if number is None else number
        self._places[number - 1] = self._at
        self._write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
        return number

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self._at += len(data)


def numbers(*values: float) -> str:
    """Write numbers without exponents, which PDF does not have (7.3.3)."""
    return " ".join(f"{value:.4f}".rstrip("0").rstrip(".") for value in values)


def references(objects: Iterable[int]) -> str:
    """Write an array of references to objects."""
    return f"[{' '.join(f'{number} 0 R' for number in objects)}]"
