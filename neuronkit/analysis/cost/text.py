"""Tables and prices as text, for terminals and notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence

from neuronkit.analysis.cost.hardware import Instance

NO_PRICE = "no public price"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two blanks apart, the first to the left and the others to the right; empty without rows."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in (header, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as HTML."""
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def price_text(instance: Instance) -> str:
    """An hourly price, and whether it is the vendor's own."""
    if instance.usd_per_hour is None:
        return NO_PRICE
    return f"{instance.usd_per_hour:.4g}{'' if instance.official else ' (unofficial)'}"


def money(usd: float | None) -> str:
    """An amount to three digits, or that none is known."""
    return NO_PRICE if usd is None else f"{usd:.3g}"
