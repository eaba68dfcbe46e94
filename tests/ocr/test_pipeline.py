"""OCRPipeline: any detector, any recogniser, one call."""

from __future__ import annotations

import functools
import io
import json
import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from neuronkit import Buckets, FixedShape, compile_for_inferentia, make_static
from neuronkit.adapters.craft import CRAFTOptions
from neuronkit.errors import ImageError, OptionError, SpecError
from neuronkit.models import CRAFT, PARSeq
from neuronkit.ocr import CraftProcessor, OCRPipeline, ParseqProcessor

from .toys import CHARSET, Detector, Recognizer, Spec, detect, draw_page, grid, recognize


def reader(detector=detect, recognizer=recognize, **options):
    options.setdefault("detector_processor", CraftProcessor())
    options.setdefault("recognizer_processor", ParseqProcessor(CHARSET))
    return OCRPipeline(detector, recognizer, **options)


def test_a_page_is_read_in_order() -> None:
    page = reader()(grid("hgfedcba"))
    assert page.text == "h g f e\nd c b a"
    assert [word.text for word in page.words] == list("hgfedcba")
    assert page.size == (120, 340)
    assert page.error is None
    assert all(0.99 < word.confidence <= 1 for word in page.words)


def test_boxes_lie_on_the_words() -> None:
    page = reader()(draw_page([("c", 100, 60, 80, 30)]))
    (word,) = page.words
    left, top, right, bottom = word.box.bounds
    np.testing.assert_allclose([left, top, right, bottom], [100, 60, 180, 90], atol=8)


def test_every_kind_of_image_is_read() -> None:
    array = grid()
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    for image in (array, Image.fromarray(array), file.getvalue(), file):
        file.seek(0)
        assert reader()(image).text == "a b c d\ne f g h"


def test_fixed_shapes_are_filled_and_cut() -> None:
    recognizer = Recognizer(batch=3)
    detector = Detector(batch=2)
    page = reader(detector, recognizer)(grid("abcdefgh"))
    assert page.text == "a b c d\ne f g h"
    assert recognizer.batches == 3
    # 120 x 340 by 480 / 340 is 169 x 480, on a canvas of whole 32s.
    assert detector.calls == [[[192, 480], [192, 480]]]


def test_a_detector_without_valid_size_gets_images_alone() -> None:
    assert reader(Detector(valid=False))(grid()).text == "a b c d\ne f g h"


def test_processors_of_the_models_are_used() -> None:
    assert OCRPipeline(detect, Recognizer(4), detector_processor=CraftProcessor())(grid()).text == "a b c d\ne f g h"


def test_a_page_without_words_is_empty() -> None:
    calls = []

    def never(images):
        calls.append(images)
        return recognize(images)

    page = reader(recognizer=never)(np.full((50, 80, 3), 255, np.uint8))
    assert (page.text, page.words, page.lines) == ("", [], ())
    assert calls == []


def test_one_bad_image_does_not_lose_the_others() -> None:
    pages = reader()([grid("abcd"), b"no image", grid("efgh")])
    assert [page.text for page in pages] == ["a b c d", "", "e f g h"]
    assert isinstance(pages[1].error, ImageError)
    assert "cannot be read" in pages[1].to_dict()["error"]
    with pytest.raises(ImageError):
        reader()(b"no image")


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2000, 3)])
def test_extreme_sizes_are_read(size) -> None:
    for detector in (detect, Detector()):
        assert reader(detector)(np.zeros((*size, 3), np.uint8)).error is None


def test_vertical_words_are_turned() -> None:
    seen = []

    def spy(images):
        seen.append(images)
        return recognize(images)

    page = draw_page([("a", 50, 20, 16, 80)])
    page[20:60, 50:66] = 0  # the upper half is black
    reader(recognizer=spy, detector_processor=CraftProcessor(low_text=0.2))(page)
    (image,) = torch.cat(seen)
    # Turned counter-clockwise, what was above lies to the left.
    assert image[:, :, 20:50].mean() < image[:, :, 80:110].mean()


def test_pages_turn_into_json() -> None:
    page = reader()(grid("ab"))
    found = json.loads(page.to_json())
    assert found == json.loads(json.dumps(page.to_dict()))
    assert found["text"] == "a b"
    assert found["lines"][0]["words"][1]["text"] == "b"
    assert np.array(found["lines"][0]["words"][1]["box"]["quad"]).shape == (4, 2)


def test_drawing_leaves_the_image_as_it_was() -> None:
    image = grid("ab")
    before = image.copy()
    drawn = reader()(image).draw()
    np.testing.assert_array_equal(image, before)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert not np.array_equal(drawn, image)


def test_missing_processors_are_asked_for() -> None:
    with pytest.raises(OptionError, match="give detector_processor=CraftProcessor"):
        OCRPipeline(detect, recognize)
    with pytest.raises(OptionError, match="give recognizer_processor=ParseqProcessor"):
        OCRPipeline(detect, recognize, detector_processor=CraftProcessor())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detector": None}, "got detector=None"),
        ({"detector_processor": "craft"}, "got detector_processor='craft' without preprocess and postprocess"),
        ({"recognizer_batch_size": 0}, "recognizer_batch_size=0"),
        ({"vertical_ratio": 0.1}, "vertical_ratio=0.1"),
        (
            {"detector": Detector(canvas=(64, 64)), "detector_processor": CraftProcessor(canvas=(32, 64))},
            r"got canvas=\(32, 64\).*expected \(64, 64\)",
        ),
        (
            {"recognizer": Recognizer(4), "recognizer_processor": ParseqProcessor(image_size=(48, 160))},
            r"got image_size=\(48, 160\).*expected \(32, 128\)",
        ),
    ],
)
def test_options_are_checked(options, message) -> None:
    with pytest.raises(OptionError, match=message):
        reader(**options)


def test_models_that_give_the_wrong_number_of_rows_are_named() -> None:
    with pytest.raises(SpecError, match="from the recognizer for 8 inputs"):
        reader(recognizer=lambda images: recognize(images)[:1])(grid())
    with pytest.raises(SpecError, match="do not belong"):
        reader(detector=lambda images: detect(images)[0][:, ::2])(grid())


def test_specs_of_a_strange_shape_are_refused() -> None:
    detector = Detector()
    detector.specs = [Spec("images", (3, 32))]
    with pytest.raises(SpecError, match="first input"):
        reader(detector)


# Models and processors that do not belong together


def word_model(charset=CHARSET):
    torch.manual_seed(0)
    sizes = {"embed_dim": 32, "enc_num_heads": 2, "dec_num_heads": 2, "enc_depth": 1, "dec_depth": 1}
    return PARSeq(charset, max_label_length=5, patch_size=(8, 16), **sizes).eval()


def page_model():
    torch.manual_seed(0)
    return CRAFT(width=1 / 16).eval()


@pytest.fixture(scope="module")
def forms():
    """A detector and a recogniser in each form that they come in."""
    craft, parseq = page_model(), word_model()
    static = make_static(craft, options=CRAFTOptions(64, 96)), make_static(parseq)
    processors = CraftProcessor(canvas=(64, 96)), ParseqProcessor(CHARSET)
    compiled = tuple(compile_for_inferentia(s, target="cpu", processor=p) for s, p in zip(static, processors))
    wrapped = {
        "copies": lambda model: model.replicate(2),
        "any size": FixedShape,
        "one of several": lambda model: Buckets({model.specs[0].shape: model}),
        "method": lambda model: model.forward,
        "partial": lambda model: functools.partial(FixedShape(model)),
    }
    found = {name: tuple(map(wrap, compiled)) for name, wrap in wrapped.items()}
    return {"dynamic": (craft, parseq), "static": static, "compiled": compiled, **found}


FORMS = ["dynamic", "static", "compiled", "copies", "any size", "one of several", "method", "partial"]


@pytest.mark.parametrize("form", FORMS)
def test_exchanged_models_are_named(forms, form) -> None:
    detector, recognizer = forms[form]
    reader(detector, recognizer)
    with pytest.raises(OptionError, match="got a recognizer as the detector; expected a detector"):
        reader(recognizer, detector)
    with pytest.raises(OptionError, match="got a detector as the recognizer; expected a recognizer"):
        reader(detector, detector)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("charset", "said"),
    [
        (CHARSET[::-1], "the same characters in another order"),
        (36, "36 characters for a model of 8"),
        ("ABCDEFGH", "other characters"),
    ],
)
def test_characters_are_compared(forms, form, charset, said) -> None:
    with pytest.raises(OptionError, match=f"{said}.*expected 'abcdefgh'"):
        reader(forms[form][0], forms[form][1], recognizer_processor=ParseqProcessor(charset))


def test_exchanged_processors_are_named(forms) -> None:
    exchanged = {"detector_processor": ParseqProcessor(CHARSET), "recognizer_processor": CraftProcessor()}
    for detector, recognizer in (*forms.values(), (detect, recognize)):
        with pytest.raises(OptionError, match="got a ParseqProcessor for a detector; expected a CraftProcessor"):
            reader(detector, recognizer, **exchanged)
        with pytest.raises(OptionError, match="got a CraftProcessor for a recognizer; expected a ParseqProcessor"):
            reader(detector, recognizer, recognizer_processor=CraftProcessor())


def test_sizes_are_compared(forms) -> None:
    for form in ("static", "compiled"):
        with pytest.raises(OptionError, match=r"got canvas=\(64, 64\).*expected \(64, 96\)"):
            reader(*forms[form], detector_processor=CraftProcessor(canvas=(64, 64)))
        with pytest.raises(OptionError, match=r"got image_size=\(48, 160\).*expected \(32, 128\)"):
            reader(*forms[form], recognizer_processor=ParseqProcessor(CHARSET, image_size=(48, 160)))


def test_processors_of_ones_own_are_taken() -> None:
    class Own:
        def preprocess(self, crops):
            return ParseqProcessor(CHARSET).preprocess(crops)

        def postprocess(self, logits):
            return ParseqProcessor(CHARSET).postprocess(logits)

    assert reader(recognizer_processor=Own())(grid("ab")).text == "a b"


# Pickling


def test_pipelines_pickle_where_their_models_do() -> None:
    found = pickle.loads(pickle.dumps(reader(rotations=(90,), keep_scores=True)))
    assert found(grid("abc")).text == "a b c"
    with pytest.raises(SpecError, match=r"got a OCRPipeline to pickle with recognizer="):
        pickle.dumps(reader(recognizer=lambda images: recognize(images)))


def test_models_that_give_tokens_are_read() -> None:
    def tokens(images):
        probabilities, ids = recognize(images).softmax(dim=2).max(dim=2)
        return ids.int(), probabilities

    expected = reader()(grid("hgfedcba"))
    for function in (tokens, Fixed(tokens)):
        page = reader(recognizer=function)(grid("hgfedcba"))
        assert page.text == expected.text
        assert [word.confidence for word in page.words] == pytest.approx([word.confidence for word in expected.words])


class Fixed:
    """A function with a fixed batch."""

    def __init__(self, function) -> None:
        self.function, self.specs = function, [Spec("images", (3, 3, 32, 128))]

    def __call__(self, images):
        return self.function(images)


def test_a_picture_passes_the_pipelines_file_once() -> None:
    read, walk = reader(), []

    def note(frame, event, _) -> None:
        if event == "call" and "neuronkit" in frame.f_code.co_filename:
            walk.append(frame.f_code.co_filename.endswith("reader.py"))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        read(grid("ab"))
    finally:
        sys.setprofile(before)
    assert sum(walk) == 1
    assert len(walk) > 20
