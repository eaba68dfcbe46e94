"""Read the demo's receipt and sign with dynamic, static and compiled models: ``python -m neuronkit.demo``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from neuronkit.demo import picture
from neuronkit.demo.picture import Truth
from neuronkit.demo.reading import Models, disagreements, match_words
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.errors import ParityError
from neuronkit.ocr.images import load_image
from neuronkit.ocr.page import Page, Word

REQUIRED = 0.9
"""Share of the words that must be read right."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status, 1 below `REQUIRED` or on any disagreement."""
    parser = argparse.ArgumentParser(prog="python -m neuronkit.demo", description=__doc__)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/demo.png"),
        help="annotated receipt; the sign and the artifacts go beside",
    )
    out: Path = parser.parse_args(arguments).out
    out.parent.mkdir(parents=True, exist_ok=True)
    _tell("1/4 small models that find and read words")
    craft, parseq = load_craft(), load_parseq()
    _tell("2/4 making static graphs of both, compiling them for the CPU, saving and loading them")
    models = Models.prepare(craft, parseq, out.parent)
    problems = _read(models, picture.IMAGE, out)
    problems += _read(models, picture.SIGN, out.with_name(f"{out.stem}-sign{out.suffix}"))
    print(f"artifacts: {out.parent / 'craft.pt'}, {out.parent / 'parseq.pt'}")
    print("\n".join(problems) or "dynamic, static and reloaded models read the same")
    return 1 if problems else 0


def _read(models: Models, path: Path, out: Path) -> list[str]:
    """Read a picture, print its words, draw them into another; return what is wrong."""
    image, truth = load_image(path), picture.load_truth(path)
    _tell(f"3/4 reading a picture of {len(truth)} words ({path.name}) with the dynamic, static and compiled models")
    pages = models.read(image)
    page = pages["reloaded"]
    share = _print_words(truth, page)
    problems = disagreements(pages)
    _tell("4/4 comparing their numbers with those of the dynamic models")
    try:
        for name, report in models.parity(image, pages["dynamic"]).items():
            print(f"{name} against dynamic: {report}")
    except ParityError as error:
        problems.append(str(error))
    Image.fromarray(page.draw(image)).save(out)
    print(f"annotated picture: {out}\n")
    if share < REQUIRED:
        problems.append(f"{path.name}: {share:.1%} of the words were read right, {REQUIRED:.0%} are required")
    return problems


def _tell(step: str) -> None:
    print(step, flush=True)


def _print_words(truth: Sequence[Truth], page: Page) -> float:
    """Print the words beside the truth; return the share read correctly. Words that are not there count as errors."""
    matches = match_words(truth, page.words)
    right = sum(_text(match) == true.text for true, match in zip(truth, matches, strict=True))
    print(f"{'truth':>12}   read")
    for true, match in zip(truth, matches, strict=True):
        read = "(not found)" if match is None else match.text
        confidence = "" if match is None else f"{match.confidence:.2f}"
        print(f"{true.text:>12}   {read:<12} {confidence:>5} {'' if read == true.text else '  wrong'}")
    extra = len(page.words) - sum(match is not None for match in matches)
    share = right / (len(truth) + extra)
    print(f"{right} of {len(truth)} words right, {extra} that are not there: {share:.1%}")
    return share


def _text(word: Word | None) -> str | None:
    return None if word is None else word.text


if __name__ == "__main__":
    sys.exit(main())
