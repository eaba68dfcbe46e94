"""Reading order: words to lines, lines from top to bottom, column by column, on pages that may be tilted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from neuronkit.ocr.geometry import TextBox, as_boxes, rotation, tilt

_SAME_LINE = 0.5

# Two stacks of lines are columns of text where each has at least three lines, and its lines are usually this many times
# as wide as high: prices beside their items are not.
_COLUMN_LINES, _COLUMN_WIDTH = 3, 6.0
# The space between columns, in heights of a word. The fewer lines it stands between, the wider it has to be: spaces
# between words lie above each other by chance.
_SPACE, _SPACE_OF_ONE_LINE = 0.6, 3.0


def reading_order(boxes: Sequence[TextBox]) -> list[list[int]]:
    """Group words into lines, and put them in order.

    The page's tilt is the median direction of its wide words. In the upright frame, a word belongs to the line whose
    last word it overlaps in height by more than half of the lower of the two. The page is cut recursively (XY cuts;
    Nagy and Seth 1984): rows that leave the same space free, from top to bottom, are columns if what stands on both
    sides is text of several lines; the left column is read before the right one.

    Args:
        boxes: B boxes of one page, in the same frame.

    Returns:
        Lines from top to bottom, each the indices of its words from left to right; those of a column together.

    Raises:
        SpecError: If `boxes` is not a list of `TextBox` objects.
    """
    boxes = as_boxes(boxes)
    if not boxes:
        return []
    return list(_Upright(boxes).read(list(range(len(boxes)))))


class _Upright:
    """The words' sides in the frame in which the page is not tilted."""

    def __init__(self, boxes: Sequence[TextBox]) -> None:
        quads = np.stack([box.quad for box in boxes]).astype(np.float64)
        corners = quads @ rotation(-tilt(quads)).T
        xs, ys = np.sort(corners[:, :, 0], axis=1), np.sort(corners[:, :, 1], axis=1)
        self.left, self.right = xs[:, 0].tolist(), xs[:, 3].tolist()
        # Corners rather than extremes, so that a word tilted against the page does not grow tall.
        self.top, self.bottom = ys[:, :2].mean(axis=1).tolist(), ys[:, 2:].mean(axis=1).tolist()
        self.height = float(np.median(np.subtract(self.bottom, self.top)))

    def read(self, words: list[int]) -> Iterator[list[int]]:
        """Give the lines of some words, column by column where they stand in columns."""
        rows = self._rows(words)
        start = begin = 0
        while begin < len(rows):
            count, columns = self._columns(rows[begin:])
            begin += count
            if columns:
                yield from self._lines([i for row in rows[start : begin - count] for i in row])
                for column in columns:
                    yield from self.read(column)
                start = begin
        yield from self._lines([i for row in rows[start:] for i in row])

    def _rows(self, words: list[int]) -> list[list[int]]:
        """Words that overlap in height, directly or through others, from top to bottom."""
        rows: list[list[int]] = []
        end = -np.inf
        for i in sorted(words, key=lambda i: self.top[i] + self.bottom[i]):
            # The inner half of a word: those of neighbouring lines may touch.
            quarter = (self.bottom[i] - self.top[i]) / 4
            if self.top[i] + quarter >= end:
                rows.append([])
            rows[-1].append(i)
            end = max(end, self.bottom[i] - quarter)
        return rows

    def _columns(self, rows: list[list[int]]) -> tuple[int, list[list[int]]]:
        """Look for two columns in the first rows: how many rows were looked at, and the columns if there are such."""
        taken: list[tuple[float, float]] = []
        words: list[int] = []
        count, widest, found = 1, (0.0, 0.0), 0
        for number, row in enumerate(rows, start=1):
            taken = _merged([*taken, *((self.left[i], self.right[i]) for i in row)])
            gaps = [(before[1], after[0]) for before, after in pairwise(taken)]
            gap = max(gaps, key=lambda gap: gap[1] - gap[0], default=(0.0, 0.0))
            words += row
            if gap[1] - gap[0] > _SPACE * self.height:
                count, widest, found = number, gap, len(words)
            elif found:
                break
        left = [i for i in words[:found] if self.right[i] <= widest[0]]
        right = [i for i in words[:found] if self.right[i] > widest[0]]
        lines = min(self._text_lines(left), self._text_lines(right))
        wide = lines and widest[1] - widest[0] > (_SPACE + _SPACE_OF_ONE_LINE / lines) * self.height
        return count, [left, right] if wide else []

    def _text_lines(self, words: list[int]) -> int:
        """How many lines of text some words are; 0 where they are too few, or numbers or the like."""
        lines = self._lines(words)
        widths = [self.right[line[-1]] - self.left[line[0]] for line in lines]
        is_text = len(lines) >= _COLUMN_LINES and float(np.median(widths)) >= _COLUMN_WIDTH * self.height
        return len(lines) if is_text else 0

    def _lines(self, words: list[int]) -> list[list[int]]:
        """Give the lines of words that stand in one column, from top to bottom."""
        top, bottom, left, right = self.top, self.bottom, self.left, self.right
        lines: list[list[int]] = []
        for i in sorted(words, key=lambda i: (left[i], i)):
            best, best_overlap = None, _SAME_LINE
            for line in lines:
                last = line[-1]
                shared = min(bottom[i], bottom[last]) - max(top[i], top[last])
                lower = max(min(bottom[i] - top[i], bottom[last] - top[last]), 1e-6)
                # A word that begins before the other's middle lies above or below it, not beside it.
                beside = left[i] >= (left[last] + right[last]) / 2
                if beside and shared / lower > best_overlap:
                    best, best_overlap = line, shared / lower
            if best is None:
                lines.append([i])
            else:
                best.append(i)
        return sorted(lines, key=lambda line: sum(top[i] + bottom[i] for i in line) / len(line))


def _merged(intervals: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join intervals that overlap or touch; from left to right."""
    joined: list[tuple[float, float]] = []
    for begin, end in sorted(intervals):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined
