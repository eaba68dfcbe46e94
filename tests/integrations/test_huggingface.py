"""`generate` of an accelerated model gives the original's ids."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from neuronkit import HuggingFaceOptions, load
from neuronkit.errors import OptionError, SpecError
from neuronkit.integrations import huggingface
from tests.adapters.huggingface_models import donut, lively, marian, pix2struct, trocr
from tests.integrations.page import run_block

pytestmark = pytest.mark.peers

TEXTS = HuggingFaceOptions(source_length=9)


def texts(rows: int, length: int = 7) -> dict[str, Tensor]:
    """Texts of different lengths."""
    generator = torch.Generator().manual_seed(rows)
    ids = torch.randint(1, 60, (rows, length), generator=generator)
    mask = (torch.arange(length) < torch.randint(1, length + 1, (rows, 1), generator=generator)).long()
    return {"input_ids": torch.where(mask > 0, ids, 60), "attention_mask": mask}


def images(rows: int) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(rows, 3, 32, 32, generator=torch.Generator().manual_seed(rows))}


PROMPT = HuggingFaceOptions(prompt=(5, 17, 9))


def prompted(rows: int) -> dict[str, Tensor]:
    """Images, and what the decoder starts from."""
    return {**images(rows), "decoder_input_ids": torch.tensor([PROMPT.prompt] * rows)}


def patches(rows: int) -> dict[str, Tensor]:
    """Patches that begin with their row and column, and a mask in float32, as Pix2Struct's processor gives them."""
    given = torch.randn(rows, 6, 34, generator=torch.Generator().manual_seed(rows))
    given[..., 0], given[..., 1] = torch.arange(6) // 2 + 1, torch.arange(6) % 2 + 1
    mask = (torch.arange(6) < 6 - torch.arange(rows).unsqueeze(1) % 3).float()
    return {"flattened_patches": given * mask.unsqueeze(2), "attention_mask": mask}


def original(model: Any, **arguments: Any) -> Tensor:
    """What the model's class generates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return type(model).generate(model, **arguments)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("make", "inputs", "sizes"),
    [
        (lambda: lively(trocr(0), 2.0, 16.0), images, None),
        (lambda: lively(marian(1), 4.0, 8.0), texts, TEXTS),
        (lambda: lively(donut(0), 2.0, 8.0), prompted, PROMPT),
        (lambda: lively(pix2struct(0), 0.0, 8.0), patches, TEXTS),
    ],
    ids=["TrOCR", "Marian", "Donut", "Pix2Struct"],
)
def test_ids_are_those_of_the_original(make: Any, inputs: Any, sizes: HuggingFaceOptions | None) -> None:
    model = make()
    assert huggingface.accelerate(model, batch_size=3, sizes=sizes) is model
    sequences = set()
    for rows in (1, 3, 6, 7):
        given = inputs(rows)
        ids = model.generate(**given)
        assert ids.dtype == torch.int64
        assert torch.equal(ids, original(model, **given))
        sequences |= set(map(tuple, ids.tolist()))
    assert len(sequences) > 8
    assert huggingface.restore(model) is model
    assert "generate" not in vars(model)


def test_beams_are_searched_where_they_are_asked_for() -> None:
    model: Any = lively(marian(1), 4.0, 8.0)
    sizes = HuggingFaceOptions(source_length=9, num_beams=2)
    huggingface.accelerate(model, batch_size=3, sizes=sizes, verify=False)
    given, accelerated = texts(4), model.generate
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(model.generate(**given, num_beams=2), original(model, **given, num_beams=2))
    with pytest.warns(RuntimeWarning, match=r"called with \{'num_beams': 3\}"):
        assert torch.equal(model.generate(**given, num_beams=3), original(model, **given, num_beams=3))
    huggingface.accelerate(model, sizes=sizes, compiled=accelerated.compiled)
    accelerated = model.generate
    # What fails leaves the model as it was.
    for wrong, expected in ((TEXTS, "greedy"), (HuggingFaceOptions(source_length=9, num_beams=3), 'beams .*": 3')):
        with pytest.raises(
            OptionError, match=f'got compiled, a model of beams .*"num_beams": 2.*; expected {expected}'
        ):
            huggingface.accelerate(model, compiled=accelerated.compiled, sizes=wrong)
        assert model.generate is accelerated
    assert "generate" not in vars(huggingface.restore(model))


def test_texts_without_a_mask_and_inputs_in_order() -> None:
    model: Any = huggingface.accelerate(lively(marian(1), 4.0, 8.0), sizes=TEXTS, verify=False)
    ids = torch.randint(1, 60, (4, 7), generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.generate(ids), original(model, input_ids=ids))
    assert torch.equal(model.generate(inputs=ids, do_sample=False, num_beams=1), original(model, input_ids=ids))


def test_other_calls_go_to_the_original_and_say_why() -> None:
    model: Any = lively(marian(1), 4.0, 8.0)
    huggingface.accelerate(model, sizes=HuggingFaceOptions(source_length=9, max_length=5), verify=False)
    given = texts(2)
    assert torch.equal(model.generate(**given, max_new_tokens=5), original(model, **given, max_new_tokens=5))
    long = texts(1, 10)
    unmasked = {"input_ids": texts(3)["input_ids"]}
    outside = {"input_ids": torch.tensor([[61]])}
    for arguments, message in (
        (given, r"called with \{\}, and is compiled for \(max_new_tokens=5\)"),
        ({**given, "max_new_tokens": 4}, r"called with \{'max_new_tokens': 4\}"),
        ({**given, "max_new_tokens": 5, "num_beams": 2}, r"called with \{'num_beams': 2\}"),
        (
            {**given, "max_new_tokens": 5, "eos_token_id": torch.tensor([0, 7])},
            r"called with \{'eos_token_id': a Tensor \(2,\) int64\}",
        ),
        ({**unmasked, "max_new_tokens": 5}, "called with padding and no attention_mask"),
        ({**long, "max_new_tokens": 5}, r"input_ids: got \(1, 10\) int32; the graph takes at most"),
    ):
        with pytest.warns(RuntimeWarning, match=f"{message}.*the original network computes it, uncompiled"):
            ids = model.generate(**arguments)
        assert torch.equal(ids, original(model, **arguments))
    with pytest.warns(RuntimeWarning, match="got ids from 61 to 61"), pytest.raises(IndexError):
        model.generate(**outside, max_new_tokens=5)
    with pytest.warns(RuntimeWarning, match="called with no inputs"), pytest.raises(ValueError, match="input_ids"):
        model.generate(max_new_tokens=5)


def test_other_prompts_go_to_the_original() -> None:
    model: Any = huggingface.accelerate(lively(donut(0), 2.0, 8.0), sizes=PROMPT, verify=False)
    for ids in ([[5, 17, 9], [5, 17, 8]], [[5, 17], [5, 17]], None):
        given = {**images(2), **({} if ids is None else {"decoder_input_ids": torch.tensor(ids)})}
        with pytest.warns(RuntimeWarning, match=r"called with decoder_input_ids=.* and is compiled for \(5, 17, 9\)"):
            found = model.generate(**given)
        assert torch.equal(found, original(model, **given))
    model = huggingface.accelerate(lively(donut(0), 2.0, 8.0), verify=False)
    with pytest.warns(RuntimeWarning, match="and is compiled for None"):
        assert torch.equal(model.generate(**prompted(2)), original(model, **prompted(2)))


def test_a_model_compiled_before_is_taken(tmp_path: Path) -> None:
    model: Any = lively(trocr(0), 2.0, 16.0)
    saved = load(huggingface.accelerate(model, verify=False).generate.compiled.save(tmp_path / "m.pt"))
    huggingface.accelerate(model, compiled=saved)
    assert model.generate.compiled is saved
    assert torch.equal(model.generate(**images(2)), original(model, **images(2)))
    assert torch.equal(saved.generate(**images(2)), original(model, **images(2)))
    with pytest.raises(OptionError, match=r"a model of 12 tokens; expected .* and 5 tokens, as sizes say"):
        huggingface.accelerate(model, compiled=saved, sizes=HuggingFaceOptions(max_length=5))
    with pytest.raises(OptionError, match="compiled of other weights"):
        huggingface.accelerate(lively(trocr(1), 2.0, 16.0), compiled=saved)
    with pytest.raises(OptionError, match="got model='trocr'"):
        huggingface.accelerate("trocr")
    with pytest.raises(SpecError, match="got the name of an input='pixels'; expected one of 'pixel_values'"):
        saved.generate(pixels=images(1)["pixel_values"])
    with pytest.raises(SpecError, match=r"got 0 inputs in order and \[\]; expected pixel_values"):
        saved.generate()


def test_the_page_about_integrations_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = lively(trocr(0), 2.0, 16.0)
    monkeypatch.setattr("transformers.VisionEncoderDecoderModel.from_pretrained", lambda name: model)
    names = run_block("Hugging Face", **images(3))
    assert torch.equal(names["ids"], original(model, **images(3)))
