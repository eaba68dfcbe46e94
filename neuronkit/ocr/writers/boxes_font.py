"""A font for text that is not drawn: every character is a box of the same size (ISO 32000-1, 9.7)."""

from __future__ import annotations

import io
from itertools import islice

from neuronkit.errors import SpecError
from neuronkit.ocr.writers.pdf_file import PDFFile

_EM, _ADVANCE, _DESCENT = 1000, 500, 200
_MOST = 0xFFFF
_RANGES = 100
"""Entries that a list of a character map may have (9.10.3)."""

_MAP = """/CIDInit /ProcSet findresource begin 12 dict begin begincmap
/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def
/CMapName /Adobe-Identity-UCS def /CMapType 2 def
1 begincodespacerange <0000> <FFFF> endcodespacerange
{lists}
endcmap CMapName currentdict /CMap defineresource pop end end"""


class BoxesFont:
    """A font that gets its characters while pages are written, and is written behind them.

    Attributes:
        number: Of its object in the file.
    """

    ADVANCE = _ADVANCE / _EM
    """Width of every character, as a share of the size."""
    DESCENT = _DESCENT / _EM
    """What of a box is below the base line, as a share of the size."""

    def __init__(self, file: PDFFile) -> None:
        self._file = file
        self._codes: dict[str, int] = {}
        self.number = file.reserve()

    def encode(self, text: str) -> str:
        """Give text as the hexadecimal codes of this font.

        Raises:
            SpecError: If the file has more different characters than a font can hold.
        """
        codes = [self._codes.setdefault(character, len(self._codes) + 1) for character in text]
        if len(self._codes) > _MOST:
            raise SpecError(
                f"got more than {_MOST:,} different characters; expected no more in one PDF; write several files"
            )
        return "".join(f"{code:04X}" for code in codes)

    def write(self) -> None:
        """Write the font, with every character that was encoded."""
        file = self._file
        program = file.add_stream("", _program())
        height = f"/Ascent {_EM - _DESCENT} /Descent {-_DESCENT} /CapHeight {_EM - _DESCENT}"
        descriptor = file.add(
            f"<< /Type /FontDescriptor /FontName /Boxes /Flags 4 /ItalicAngle 0 /StemV 80 {height} "
            f"/FontBBox [0 {-_DESCENT} {_ADVANCE} {_EM - _DESCENT}] /FontFile2 {program} 0 R >>"
        )
        glyphs = file.add_stream("", b"\0\0" + b"\0\1" * len(self._codes))
        drawn = file.add(
            "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Boxes "
            "/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> "
            f"/FontDescriptor {descriptor} 0 R /DW {_ADVANCE} /CIDToGIDMap {glyphs} 0 R >>"
        )
        characters = file.add_stream("", self._map().encode("ascii"))
        file.add(
            "<< /Type /Font /Subtype /Type0 /BaseFont /Boxes /Encoding /Identity-H "
            f"/DescendantFonts [{drawn} 0 R] /ToUnicode {characters} 0 R >>",
            self.number,
        )

    def _map(self) -> str:
        """Say which character a code stands for."""
        entries = iter([f"<{code:04X}> <{c.encode('utf-16-be').hex().upper()}>" for c, code in self._codes.items()])
        lists = []
        while part := list(islice(entries, _RANGES)):
            lists.append("\n".join([f"{len(part)} beginbfchar", *part, "endbfchar"]))
        return _MAP.format(lists="\n".join(lists))


def _program() -> bytes:
    """Make a TrueType font of one box; not of nothing, because pdfium leaves out upright text without any extent."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, -_DESCENT))
    for corner in ((0, _EM - _DESCENT), (_ADVANCE, _EM - _DESCENT), (_ADVANCE, -_DESCENT)):
        pen.lineTo(corner)
    pen.closePath()
    box, order = pen.glyph(), [".notdef", "box"]
    font = FontBuilder(_EM, isTTF=True)
    font.setupGlyphOrder(order)
    font.setupCharacterMap({0x25A1: "box"})
    font.setupGlyf(dict.fromkeys(order, box))
    font.setupHorizontalMetrics(dict.fromkeys(order, (_ADVANCE, 0)))
    font.setupHorizontalHeader(ascent=_EM - _DESCENT, descent=-_DESCENT)
    font.setupNameTable({"familyName": "Boxes", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=_EM - _DESCENT, sTypoDescender=-_DESCENT)
    font.setupPost()
    out = io.BytesIO()
    font.save(out)
    return out.getvalue()
