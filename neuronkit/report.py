"""Report: results shown as text, as HTML in a notebook, and with colours under rich."""

from __future__ import annotations

import errno
import html
import os
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from neuronkit import checks
from neuronkit.errors import MissingDependencyError, OptionError
from neuronkit.shown import shown

# Columns of a terminal that a printed report stays within, as long as no single word is longer.
WIDTH = 100
_GAP = "  "


def new_figure(what: str, size: tuple[float, float]) -> Any:
    """An empty figure of matplotlib, of a size in inches.

    Args:
        what: What is drawn, as a message calls it.
        size: Width and height.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            f"drawing {what} needs matplotlib ({error}); pip install 'neuronkit[plot]'"
        ) from error
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Any) -> None:
    """Write a figure of matplotlib to a file, whose suffix decides the format.

    Raises:
        OptionError: If it is not the path of a picture, or cannot be written there.
    """
    file = checks.path("path", path)
    known = sorted(figure.canvas.get_supported_filetypes())
    if file.suffix.lower().lstrip(".") not in ("", *known):
        raise OptionError(f"got path={shown(file)}; expected a picture's suffix, one of {', '.join(known)}; change it")
    try:
        if os.path.lexists(file) and not file.is_file():
            raise FileExistsError(errno.EEXIST, f"{checks.file_kind(os.lstat(file).st_mode)} is there")
        figure.savefig(file, dpi=120)
    except OSError as error:
        raise OptionError(
            f"got path={shown(file)}, which cannot be written ({error.strerror}); expected a new file, or a picture to "
            "replace; give another path"
        ) from error


@dataclass(frozen=True)
class Grid:
    """Rows and columns of a report.

    Args:
        header: Title of each column.
        rows: The cells of each row, as many as the header has.
        numbers: Indices of the columns that are aligned to the right.
        marked: Indices of the rows to point out.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    marked: frozenset[int] = frozenset()


class Report(ABC):
    """A result that is shown as lines and grids; its `repr` is the first line.

    `print` gives text of at most 100 columns, a notebook shows tables, and ``rich.print`` adds colours.
    """

    @abstractmethod
    def parts(self) -> Iterable[str | Grid]:
        """The lines and grids, from top to bottom; the first is a line."""

    def __str__(self) -> str:
        return "\n".join(line for part in self.parts() for line in _text(part))

    def __repr__(self) -> str:
        headline = next(iter(self.parts()))
        return f"<{type(self).__name__}: {headline}>"

    def _repr_html_(self) -> str:
        return "".join(map(_html, self.parts()))

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        """Draw with rich, which calls this; nothing else needs it."""
        from rich.table import Table
        from rich.text import Text

        for part in self.parts():
            if isinstance(part, str):
                yield Text(part)
                continue
            table = Table(box=None, header_style="bold", pad_edge=False)
            for column, title in enumerate(part.header):
                table.add_column(Text(title), justify="right" if column in part.numbers else "left")
            for index, row in enumerate(part.rows):
                table.add_row(*map(Text, row), style="bold red" if index in part.marked else None)
            yield table


def headline(value: Any) -> str:
    """The first line of what one of the library's objects shows of itself; of any other object, its short form."""
    if type(value).__module__.partition(".")[0] == "neuronkit":
        return repr(value).partition("\n")[0]
    return shown(value)


def described(title: str, **fields: Iterable[str]) -> str:
    """A title and named fields below it, for the `repr` of objects with much inside; empty fields are left out.

    Examples:
        >>> print(described("A reader", takes=["images"], gives=["words"]))
        A reader
          takes  images
          gives  words
    """
    rows = [(name, ", ".join(values)) for name, values in fields.items()]
    width = max((len(name) for name, _ in rows), default=0) + 4
    lines = [
        line for name, value in rows if value for line in _wrapped(f"  {name:<{width - 2}}{value}", WIDTH, " " * width)
    ]
    return "\n".join([title, *lines])


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, separated thousands, and an exponent only if it is very large or small.

    Examples:
        >>> number(92417.3), number(0.03921), number(1.2e-7)
        ('92,417', '0.0392', '1.2e-07')
    """
    if value and not 1e-4 <= abs(value) < 1e12:
        return f"{value:.{digits}g}"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{float(f'{value:.{digits}g}'):.12g}"


def size(count: float) -> str:
    """A number of bytes in a decimal unit.

    Examples:
        >>> size(512), size(3_437_000), size(20_030_000_000)
        ('512 B', '3.44 MB', '20.0 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} B" if unit == "B" else f"{f'{count:#.3g}'.rstrip('.')} {unit}"
        count /= 1000
    return f"{number(count)} TB"


def _text(part: str | Grid) -> list[str]:
    if isinstance(part, str):
        return [line for paragraph in part.splitlines() or [""] for line in _wrapped(paragraph, WIDTH, "  ") or [""]]
    return _rows(part)


def _rows(grid: Grid) -> list[str]:
    """Columns two blanks apart; where they are too wide together, the last one is wrapped."""
    cells = [grid.header, *grid.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(grid.header))]
    before = 2 + sum(width + len(_GAP) for width in widths[:-1])
    widths[-1] = min(widths[-1], max(12, WIDTH - before))
    lines: list[str] = []
    for index, row in enumerate(cells, -1):
        padded = [
            cell.rjust(width) if column in grid.numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row[:-1], widths))
        ]
        first, *others = _wrapped(row[-1], widths[-1]) or [""]
        if len(row) - 1 in grid.numbers:
            first = first.rjust(widths[-1])
        mark = "! " if index in grid.marked else "  "
        lines.append(f"{mark}{_GAP.join([*padded, first])}".rstrip())
        lines += [" " * before + other for other in others]
    return lines


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _html(part: str | Grid) -> str:
    if isinstance(part, str):
        return f"<p>{html.escape(part)}</p>"
    head = _html_cells(part, "th", part.header)
    body = "".join(_html_row(part, index, row) for index, row in enumerate(part.rows))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _html_row(grid: Grid, index: int, row: Sequence[str]) -> str:
    marked = ' style="color:#b00020;font-weight:bold"' if index in grid.marked else ""
    return f"<tr{marked}>{_html_cells(grid, 'td', row)}</tr>"


def _html_cells(grid: Grid, tag: str, cells: Sequence[str]) -> str:
    sides = ["right" if column in grid.numbers else "left" for column in range(len(cells))]
    return "".join(f'<{tag} style="text-align:{side}">{html.escape(c)}</{tag}>' for side, c in zip(sides, cells))
