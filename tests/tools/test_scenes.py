"""Rendered scenes: seeded, labelled as printed, in every charset; words that training keeps out; shards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronkit.demo.glyphs import FONTS, _folder
from neuronkit.demo.picture import SIGN, load_truth
from neuronkit.errors import MissingDependencyError, OptionError
from neuronkit.ocr.charset import CHARSET_36, CHARSET_94
from neuronkit.ocr.images import load_image
from tools.demo.craft_recipe import CraftRecipe
from tools.demo.parseq_recipe import ParseqRecipe
from tools.demo.public_sets import read_sets
from tools.demo.scenes.faces import PACKAGES, Faces
from tools.demo.scenes.grounds import Grounds
from tools.demo.scenes.pages import render_scene
from tools.demo.scenes.shards import Shards, vary, write_shard
from tools.demo.scenes.sign import render_sign
from tools.demo.scenes.texts import (
    MAX_LENGTH,
    dictionary,
    held_out,
    sample_label,
    sample_receipt_text,
    sample_text,
    simple_text,
)
from tools.demo.scenes.words import Scenery, render_crop

pytestmark = pytest.mark.tooling

WORDS = ("Lemon", "lemonade", "quartz", "Oslo", "vexing", "jumpy", "wharf", "backdoor", "sphinx", "Uganda", "zebra")
UNSEEN = tuple(
    filter(
        held_out,
        (a + b for a in ("lem", "bri", "cal", "dro", "fen", "gos", "hul") for b in ("ar", "el", "ing", "ond", "us")),
    )
)
seeds = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def scenery():
    photograph = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    faces = Faces.of([_folder() / font for font in FONTS])
    return Scenery(faces, Grounds((cv2.GaussianBlur(photograph, (0, 0), 3),)), WORDS)


@given(seed=seeds, characters=st.sampled_from([36, 94]))
@settings(max_examples=60, deadline=None)
def test_a_seed_stands_for_a_crop_with_a_label_of_the_charset(scenery, seed, characters):
    image, label = render_crop(np.random.default_rng(seed), scenery, characters=characters)
    again, same = render_crop(np.random.default_rng(seed), scenery, characters=characters)
    assert label == same
    np.testing.assert_array_equal(image, again)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert image.std() > 0
    assert 1 <= len(label) <= MAX_LENGTH
    assert set(label) <= set(CHARSET_36 if characters == 36 else CHARSET_94)


def test_texts_hold_every_character_of_ascii_and_few_are_alike():
    texts = [sample_text(np.random.default_rng([1, i]), WORDS) for i in range(3000)]
    assert {c for text in texts for c in text} >= set(CHARSET_94)
    receipts = [sample_receipt_text(np.random.default_rng([2, i]), WORDS) for i in range(1000)]
    assert all(1 <= len(text) <= MAX_LENGTH for text in receipts)
    assert sum("." in text for text in receipts) > 250
    assert sum(" " in text for text in receipts) > 150
    for pattern in (str.isdigit, str.isupper, str.islower, str.istitle, lambda t: "." in t and t[-1].isdigit()):
        assert sum(map(pattern, texts)) > 60
    assert len(set(texts)) > 1500


def test_the_36_characters_leave_case_and_punctuation_out():
    assert simple_text("$3.50 Café-Bar!") == "350cafbar"
    for seed in range(200):
        text, label = sample_label(np.random.default_rng(seed), WORDS, characters=36)
        assert label == simple_text(text)
        assert label
        text, label = sample_label(np.random.default_rng(seed), WORDS, characters=94)
        assert label == text.replace(" ", "")


def test_words_are_kept_from_training_and_read_in_evaluation():
    assert UNSEEN
    words = (*WORDS, *UNSEEN)
    for seed in range(60):
        text, _ = sample_label(np.random.default_rng(seed), words, characters=36, unseen=True)
        assert any(word.lower() in text.lower() for word in UNSEEN)
    seen = [simple_text(sample_text(np.random.default_rng(seed), words)) for seed in range(600)]
    assert not set(seen) & {word.lower() for word in UNSEEN}


def test_the_dictionary_is_read_without_possessives(tmp_path):
    path = tmp_path / "words"
    path.write_text("Oslo\nOslo's\ncafé\nplum\n", encoding="utf-8")
    assert dictionary(path) == ("Oslo", "plum")
    with pytest.raises(MissingDependencyError, match="wamerican"):
        dictionary(tmp_path / "none")


def test_too_few_faces_are_refused_and_faces_without_ascii_left_out(tmp_path):
    with pytest.raises(MissingDependencyError, match="got 0 faces"):
        Faces.installed((tmp_path,))
    for font in FONTS[:3]:
        (tmp_path / font).write_bytes((_folder() / font).read_bytes())
    (tmp_path / "Broken.ttf").write_bytes(b"no font")
    # A face of brackets alone.
    (tmp_path / "Signs.ttf").write_bytes((_folder() / "STIXSizFiveSymReg.ttf").read_bytes())
    assert len(Faces.installed((tmp_path,), least=3)) == 3
    with pytest.raises(MissingDependencyError, match="expected 4 or more"):
        Faces.installed((tmp_path,), least=4)


def test_each_face_is_drawn(scenery):
    rng = np.random.default_rng(0)
    drawn = {scenery.faces.choose(rng).name for _ in range(300)}
    assert drawn == set(FONTS)
    assert {path.name for path in scenery.faces.monospaced} == {font for font in FONTS if "Mono" in font}
    assert len(scenery.faces) == len(FONTS)


def test_packages_are_listed_with_their_licences():
    lines = [line.split(maxsplit=1) for line in PACKAGES.read_text().splitlines()]
    assert len(lines) > 100
    assert all(len(line) == 2 and line[0].islower() for line in lines)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_words_of_a_scene_lie_within_it_and_where_their_ink_is(scenery, seed):
    size = (192, 256)
    made = render_scene(np.random.default_rng(seed), size, scenery)
    again = render_scene(np.random.default_rng(seed), size, scenery)
    np.testing.assert_array_equal(made.image, again.image)
    assert made.image.shape == (*size, 3)
    for word in made.words:
        assert word.characters.shape == (len(word.text), 4, 2)
        for quad in (word.quad, *word.characters):
            assert cv2.contourArea(quad.astype(np.float32), oriented=True) > 0
        assert (word.quad > 0).all()
        assert (word.quad < size[::-1]).all()


def test_scenes_differ_in_the_number_of_their_words(scenery):
    counts = [len(render_scene(np.random.default_rng(i), (320, 320), scenery).words) for i in range(40)]
    assert sum(1 <= count <= 4 for count in counts) > 8
    assert sum(count > 15 for count in counts) > 5


def test_shards_are_written_once_and_read_in_batches(scenery, tmp_path):
    for index in range(2):
        write_shard(tmp_path, index, scenery=scenery, characters=36, count=10)
    first = (tmp_path / "00000.npy").read_bytes()
    write_shard(tmp_path, 0, scenery=scenery, characters=36, seed=9, count=10)
    assert (tmp_path / "00000.npy").read_bytes() == first
    labels = [json.loads((tmp_path / f"0000{i}.json").read_text()) for i in range(2)]
    shards = Shards(tmp_path, 2)
    images, read = shards.batch(3, 0, 5)
    assert images.shape == (5, 32, 128, 3)
    assert sorted(read + shards.batch(3, 1, 5)[1]) == sorted(labels[0])
    assert sorted(shards.batch(3, 2, 5)[1] + shards.batch(3, 3, 5)[1]) == sorted(labels[1])
    # The third visit is to the first shard again, in another order.
    assert sorted(shards.batch(3, 4, 5)[1] + shards.batch(3, 5, 5)[1]) == sorted(labels[0])
    assert not np.array_equal(shards.batch(3, 4, 5)[0], images)
    with pytest.raises(OptionError, match="00002"):
        Shards(tmp_path, 3).batch(3, 4, 5)
    with pytest.raises(OptionError, match="render larger shards"):
        shards.batch(3, 0, 11)
    batch = ParseqRecipe(batch_size=5).on_shards(shards, 36).batch(3, 0)
    assert batch["images"].shape == (5, 32, 128, 3)
    assert len(batch["masks"]) == 3
    both = replace(ParseqRecipe(batch_size=5).on_shards(shards, 36), own_words=True)
    same = [
        np.array_equal(both.batch(3, step)["images"], replace(both, own_words=False).batch(3, step)["images"])
        for step in range(4)
    ]
    assert same == [False, True, False, True]


def test_varied_crops_keep_their_shape_and_are_never_the_same():
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 128, 3), dtype=np.uint8)
    one, two = (vary(np.random.default_rng(i), images) for i in range(2))
    assert one.shape == images.shape
    assert one.dtype == np.uint8
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(one, vary(np.random.default_rng(0), images))


def test_the_detector_trains_on_scenes(scenery):
    recipe = CraftRecipe(batch_size=4, page_size=96)
    with_scenes = CraftRecipe(batch_size=4, page_size=96, scenery=scenery)
    plain, scenes = recipe.batch(0, 0), with_scenes.batch(0, 0)
    assert scenes["images"].shape == plain["images"].shape
    assert scenes["maps"].shape == plain["maps"].shape
    assert not np.array_equal(scenes["images"], plain["images"])
    assert recipe.identity() != with_scenes.identity()


def test_public_sets_are_read_from_clones(tmp_path):
    def picture(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((40, 90, 3), 200, np.uint8))

    for name in ("art-01107.jpg", "coco-1166773.jpg", "cute-184.jpg", "uber-27491.jpg"):
        picture(tmp_path / "parseq" / "demo_images" / name)
    for name in ("ic13_word_256.png", "ic15_word_26.png"):
        picture(tmp_path / "parseq" / "demo_images" / name)
    for i in range(1, 11):
        picture(tmp_path / "deep-text-recognition-benchmark" / "demo_image" / f"demo_{i}.png")
    data = tmp_path / "mmocr" / "tests" / "data"
    picture(data / "rec_toy_dataset" / "imgs" / "1.jpg")
    words = {"data_list": [{"img_path": "1.jpg", "instances": [{"text": "GRAND"}]}]}
    (data / "rec_toy_dataset" / "labels.json").write_text(json.dumps(words))
    lines = []
    for name in ("1.jpeg", "2.jpeg"):
        picture(data / "kie_toy_dataset" / "wildreceipt" / name)
        box = [10, 30, 50, 30, 50, 5, 10, 5]
        texts = ("$3.50", "", "-", "x" * 30)
        lines.append(json.dumps({"file_name": f"a/{name}", "annotations": [{"box": box, "text": t} for t in texts]}))
    (data / "kie_toy_dataset" / "wildreceipt" / "data.txt").write_text("\n".join(lines), encoding="utf-8")
    sets = read_sets(tmp_path)
    assert [len(crops) for crops in sets.values()] == [6, 10, 1, 1, 1]
    image, label = sets["WildReceipt, a scan"][0]
    assert image.shape == (25, 40, 3)
    assert label == "$3.50"


def test_the_committed_sign_is_the_rendered_one():
    rendered, truth = render_sign(), load_truth(SIGN)
    assert [word.text for word in rendered.words] == [word.text for word in truth]
    for made, true in zip(rendered.words, truth):
        np.testing.assert_allclose(made.quad, true.quad, atol=1.5)
    image = load_image(SIGN)
    assert np.abs(image.astype(float) - rendered.image).mean() < 8
