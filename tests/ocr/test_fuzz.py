"""Whatever the public functions are given: a result, or an error that neuronkit documents."""

from __future__ import annotations

import inspect
import json
import tempfile
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import neuronkit.ocr
from neuronkit.errors import NeuronKitError
from neuronkit.ocr import (
    Charset,
    CraftProcessor,
    CtcProcessor,
    DoctrProcessor,
    ImagePage,
    Letterbox,
    Line,
    OCRPipeline,
    Page,
    ParseqProcessor,
    TextBox,
    Word,
    crop_words,
    find_boxes,
    fold_normalization,
    image_pages,
    load_image,
    load_images,
    page_stream,
    processor_from_dict,
    save_pages,
)
from neuronkit.ocr.layout import reading_order
from neuronkit.ocr.metrics import box_f1, quad_iou, text_accuracy
from neuronkit.ocr.writers import page_text

from .toys import CHARSET, detect, recognize

pytestmark = pytest.mark.tooling

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-3, 40),
    st.floats(),
    st.sampled_from([0, -0.0, 1e-320, 1e308, np.float32(0.5), np.int64(3), np.bool_(True), True, 1j]),
)
SHAPES = st.lists(st.integers(0, 9), max_size=4).map(tuple)
DTYPES = st.sampled_from(["?", "u1", "i2", "u2", "i8", "f2", "f4", "f8", "c8"])
ARRAYS = DTYPES.flatmap(lambda dtype: arrays(dtype, SHAPES))
THINGS = st.recursive(
    st.one_of(st.none(), NUMBERS, st.text(max_size=4), st.binary(max_size=8), ARRAYS, st.just(object())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(
            st.one_of(st.sampled_from(["kind", "charset", "canvas"]), st.text(max_size=3)), inner, max_size=3
        ),
    ),
    max_leaves=6,
)
CLASSES = [CraftProcessor, ParseqProcessor, CtcProcessor, DoctrProcessor, Letterbox, TextBox, Charset]
BOXES = st.lists(arrays("f4", (4, 2), elements=st.floats(-1e5, 1e5, width=32)).map(TextBox), max_size=4)


def documented(function, *args, **kwargs):
    """Call; give None for an error of neuronkit that fits on a screen, and let any other pass."""
    try:
        return function(*args, **kwargs)
    except NeuronKitError as error:
        message = str(error)
    assert 10 < len(message) < 2000
    return None


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_settings_of_any_kind(cls, data) -> None:
    parameters = inspect.signature(cls).parameters.values()
    required = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    names = data.draw(st.sets(st.sampled_from([p.name for p in parameters])).map(lambda s: s | set(required)))
    made = documented(cls, **{name: data.draw(THINGS) for name in sorted(names)})
    if made is not None and hasattr(made, "to_dict") and hasattr(cls, "from_dict"):
        assert processor_from_dict(made.to_dict()) == made


@given(THINGS, THINGS)
@settings(max_examples=300, deadline=None)
def test_anything_as_an_image(thing, other) -> None:
    image = documented(load_image, thing)
    documented(load_images, thing)
    documented(image_pages, thing)
    documented(lambda: load_image(ImagePage(thing, other)))
    documented(load_image, np.zeros((2, 3, 4), np.uint8), background=thing, max_pixels=other)
    assert image is None or (image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8)


@given(THINGS)
@settings(max_examples=200, deadline=None)
def test_anything_as_a_batch(thing) -> None:
    documented(CraftProcessor(canvas=(32, 64)).preprocess, thing)
    documented(ParseqProcessor().preprocess, thing)
    documented(DoctrProcessor("ab").preprocess, thing)


@given(THINGS, THINGS, THINGS)
@settings(max_examples=300, deadline=None)
def test_anything_as_score_maps_and_logits(maps, others, threshold) -> None:
    documented(find_boxes, maps, others)
    documented(find_boxes, np.zeros((4, 4)), np.zeros((4, 4)), low_text=threshold)
    documented(CraftProcessor().postprocess, maps, others)
    documented(CraftProcessor().postprocess, maps, [Letterbox((4, 4), (4, 4), (32, 32), 1.0)])
    documented(ParseqProcessor("ab").postprocess, maps)
    documented(CtcProcessor("ab").postprocess, maps)
    documented(DoctrProcessor("ab").postprocess, maps)


@given(arrays("f4", st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.floats(0, 1, width=32)), st.data())
@settings(max_examples=200, deadline=None)
def test_any_map_gives_boxes_inside_it(region, data) -> None:
    affinity = data.draw(arrays("f4", region.shape, elements=st.floats(0, 1, width=32)))
    for box in find_boxes(region, affinity, polygons=True, count_characters=True, min_area=1, min_polygon_side=1):
        assert np.isfinite(box.outline).all()
        assert np.float32(0.7) <= box.confidence <= 1
        assert box.characters >= 0
        # A rotated rectangle may reach over the border, by no more than the map's diagonal.
        assert np.abs(box.quad).max() <= 2 * np.hypot(*region.shape) + 2


@given(BOXES, THINGS)
@settings(max_examples=200, deadline=None)
def test_any_boxes_are_ordered_and_cut(boxes, thing) -> None:
    lines = reading_order(boxes)
    assert sorted(i for line in lines for i in line) == list(range(len(boxes)))
    crops = crop_words(np.zeros((9, 7, 3), np.uint8), boxes)
    assert all(crop.size for crop in crops)
    documented(crop_words, np.zeros((9, 7, 3), np.uint8), boxes, vertical_ratio=thing)
    documented(crop_words, thing, boxes)
    documented(crop_words, np.zeros((9, 7, 3), np.uint8), thing)


@given(THINGS, THINGS)
@settings(max_examples=200, deadline=None)
def test_letterboxes_of_anything(thing, other) -> None:
    documented(Letterbox.fit, thing)
    documented(Letterbox.fit, (30, 40), canvas_size=thing, mag_ratio=other)
    documented(Letterbox.fit, (30, 40), canvas=thing)
    documented(Letterbox.fit((30, 40)).to_source, thing)
    documented(Letterbox.fit((30, 40)).to_canvas, thing, stride=other)
    documented(CraftProcessor().letterbox, thing)


@given(THINGS, THINGS)
@settings(max_examples=200, deadline=None)
def test_charsets_settings_and_origins_of_anything(thing, other) -> None:
    documented(Charset.named, thing)
    documented(Charset("abc").encode, thing)
    documented(Charset("abc").adapt, thing)
    documented(Charset("abc").decode, thing)
    documented(processor_from_dict, thing)
    documented(CraftProcessor.from_dict, thing)
    documented(CraftProcessor.like, thing)
    documented(CraftProcessor.like, "easyocr", low_text=other)


OPTIONS = ["recognizer_batch_size", "vertical_ratio", "max_pixels", "keep_scores", "progress", "detector_processor"]
OPTIONS += ["background", "min_scale", "rotations"]


@given(st.dictionaries(st.sampled_from(OPTIONS), THINGS), THINGS)
@settings(max_examples=150, deadline=None)
def test_readers_of_anything(options, thing) -> None:
    processors = {"detector_processor": CraftProcessor(), "recognizer_processor": ParseqProcessor(CHARSET)}
    documented(OCRPipeline, detect, recognize, **{**processors, **options})
    documented(OCRPipeline, thing, recognize, **processors)
    documented(fold_normalization, thing, CraftProcessor(raw_images=True))
    documented(fold_normalization, thing, thing)


@given(THINGS)
@settings(max_examples=100, deadline=None)
def test_anything_is_read_or_refused(thing) -> None:
    reader = OCRPipeline(
        detect,
        recognize,
        detector_processor=CraftProcessor(canvas=(32, 64)),
        recognizer_processor=ParseqProcessor(CHARSET),
    )
    found = documented(reader, thing)
    if isinstance(thing, (list, tuple)):
        assert len(found) == len(thing)


@given(THINGS, THINGS, st.one_of(THINGS, st.sampled_from(["", "/*", "../*", "a**b", "**/*", "[", "\0"])))
@settings(max_examples=100, deadline=None)
def test_folders_of_anything(thing, other, pattern) -> None:
    reader = OCRPipeline(
        detect, recognize, detector_processor=CraftProcessor(), recognizer_processor=ParseqProcessor(CHARSET)
    )
    documented(lambda: list(reader.read(thing)))
    with tempfile.TemporaryDirectory() as folder:
        documented(reader.read_folder, thing, folder)
        documented(reader.read_folder, folder, f"{folder}/out", pattern=pattern)
        # Not any text: what is given as output is made.
        documented(reader.read_folder, folder, other if not isinstance(other, str) else f"{folder}/{other}")


FAR = arrays("f4", (4, 2), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)).map(TextBox)
TEXTS = st.text(max_size=4) | st.sampled_from(["\ud800", "\0\uffff", "a\nb"])


@given(THINGS, THINGS, THINGS)
@settings(max_examples=150, deadline=None)
def test_pages_of_anything(thing, other, third) -> None:
    box = TextBox([[0, 0], [4, 0], [4, 4], [0, 4]])
    documented(lambda: json.dumps(Word(thing, other, box, third).to_dict()))
    documented(lambda: json.dumps(Word("a", thing, box, other).to_dict()))
    documented(Word, "a", 0.5, thing)
    documented(Line, thing)
    documented(lambda: Page(thing, other, third).to_json())
    documented(Page((4, 4), ()).to_json, indent=thing)
    page = Page((4, 4), (), np.zeros((4, 4, 3), np.uint8), None, thing, other)
    documented(page.draw, heat_map=True)
    documented(Page((4, 4), (), thing, None, other, Letterbox.fit((4, 4))).draw, heat_map=True)
    documented(Page((4, 4), (), thing)._repr_html_)


WORDS = st.builds(Word, TEXTS, st.floats(0, 1), FAR)


@pytest.mark.filterwarnings("ignore::neuronkit.ocr.images.types.ImageWarning")
@given(st.lists(st.lists(WORDS, max_size=3).map(tuple).map(Line), max_size=3), THINGS)
@settings(max_examples=100, deadline=None)
def test_any_page_is_shown_and_written(lines, thing) -> None:
    page = Page((9, 7), tuple(lines), np.zeros((9, 7, 3), np.uint8))
    for kind in ("hocr", "alto"):
        ElementTree.fromstring("".join(page_text([page], kind)).encode())
    for kind in ("text", "markdown", "csv", "jsonl"):
        "".join(page_text([page], kind))
    str(page)
    assert json.loads(page.to_json()) == page.to_dict()
    assert page.draw().shape == (9, 7, 3)
    assert page._repr_png_().startswith(b"\x89PNG")
    assert page._repr_html_().startswith("<div><img")
    documented(page.draw, thing)
    documented(lambda: list(page_stream([thing], pages=thing)))
    documented(save_pages, thing, f"{tempfile.gettempdir()}/nowhere/page.txt")
    documented(save_pages, [thing], "page.json", format=thing)
    documented(page.draw, boxes=False, text=False, heat_map=True)
    boxes = [word.box for word in page.words]
    assert sorted(i for line in reading_order(boxes) for i in line) == list(range(len(boxes)))


HUGE = [
    np.broadcast_to(np.float32(0.5), (1 << 20, 1 << 20)),
    np.broadcast_to(np.uint8(7), (1 << 20, 1 << 20, 3)),
    np.zeros((20_000, 30, 3), np.uint8),
    np.zeros((1, 100_000), np.float64),
]


@given(THINGS, THINGS, BOXES, NUMBERS)
def test_agreement_of_anything(thing, other, boxes, least) -> None:
    documented(quad_iou, thing, other)
    documented(box_f1, boxes, boxes[::-1], min_iou=least)
    documented(box_f1, boxes, [thing])
    documented(box_f1, thing, other)
    documented(text_accuracy, thing, other)
    documented(reading_order, thing)
    for first in boxes:
        assert all(0 <= quad_iou(first.quad, second.quad) <= 1 for second in boxes)


@pytest.mark.parametrize("huge", HUGE, ids=lambda array: str(array.shape))
def test_huge_inputs(huge) -> None:
    documented(find_boxes, huge, huge)
    documented(load_image, huge)
    for processor in (CraftProcessor(), ParseqProcessor(), DoctrProcessor("ab")):
        documented(processor.preprocess, [huge])
        documented(processor.postprocess, huge, *([[]] if isinstance(processor, CraftProcessor) else []))
    documented(crop_words, huge, [TextBox(np.array([[0, 0], [1e30, 0], [1e30, 1e30], [0, 1e30]]))])


def test_every_public_function_is_tried_here() -> None:
    with open(__file__) as file:
        text = file.read()
    # A warning, and what holds a result and does nothing.
    assert [
        name for name in neuronkit.ocr.__all__ if name not in ("ImageWarning", "Recognition") and text.count(name) < 2
    ] == []
