"""The picture of `ocr.py`: how many times as fast as each peer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.ticker import LogLocator, NullFormatter
from plotting import subplots


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw the ratio of each comparison, with what the quartiles of both sides span, on a logarithmic axis."""
    figure, axis = subplots(size=(9, 1 + 0.28 * len(results)))
    for peer in dict.fromkeys(result["peer"] for result in results):
        rows = [(i, result) for i, result in enumerate(results) if result["peer"] == peer]
        ratios = [result["ratio"] for _, result in rows]
        spans = [_span(result) for _, result in rows]
        reach = [
            [max(0.0, r - low) for r, (low, _) in zip(ratios, spans)],
            [max(0.0, high - r) for r, (_, high) in zip(ratios, spans)],
        ]
        axis.barh([i for i, _ in rows], ratios, xerr=reach, capsize=2, label=peer)
    for i, result in enumerate(results):
        at, ratio = (_span(result)[1], i), f"{result['ratio']:.2f}"
        axis.annotate(ratio, at, (4, 0), textcoords="offset points", va="center", fontsize=8).set_bbox(
            {"color": "white", "pad": 0.5}
        )
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_yticks(range(len(results)), [result["name"] for result in results])
    axis.invert_yaxis()
    axis.margins(x=0.2, y=0.01)
    axis.set(xlabel="time of the peer / time of neuronkit\n(median; whiskers: quartiles of both)")
    figure.legend(title="peer", loc="outside right upper")
    figure.savefig(path, dpi=120)


def _span(result: dict[str, Any]) -> tuple[float, float]:
    """The least and the largest ratio that the quartiles of both sides allow."""
    theirs, ours = result["theirs_ms"], result["ours_ms"]
    return theirs[0] / ours[2], theirs[2] / ours[0]
