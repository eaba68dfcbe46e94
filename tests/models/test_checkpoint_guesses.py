"""What a file does not say is assumed aloud, taken from the arguments, or asked for; sizes come from its tensors."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from neuronkit.errors import AssumptionWarning, CheckpointError, OptionError
from neuronkit.models import CRAFT, PARSeq, load_checkpoint
from neuronkit.ocr.charset import CHARSET_36, Charset

CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя0123"
SIZES: dict[str, Any] = {"embed_dim": 128, "enc_depth": 1, "enc_num_heads": 4, "dec_num_heads": 8}


def save(path: Path, model: nn.Module, **settings: Any) -> Path:
    contents = {"state_dict": model.state_dict(), "hyper_parameters": settings} if settings else model.state_dict()
    torch.save(contents, path)
    return path


def heads(model: PARSeq) -> tuple[int, int]:
    block: Any = model.encoder.blocks[0]
    layer: Any = model.decoder.layers[0]
    return block.attn.num_heads, layer.self_attn.num_heads


def assert_same(model: nn.Module, other: nn.Module) -> None:
    for one, two in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_assumed_characters_and_heads_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pt", PARSeq(CYRILLIC, **SIZES))
    with pytest.warns(AssumptionWarning) as caught:
        load_checkpoint(PARSeq, path)
    (warning,) = caught
    assert os.path.basename(warning.filename) == os.path.basename(__file__)
    assert f"assumed the 36 characters '{CHARSET_36}', heads: 2 in the encoder and 4 in the decoder" in str(
        warning.message
    )
    assert "where this is wrong, pass charset=, heads=" in str(warning.message)


@pytest.mark.parametrize("charset", [CYRILLIC, list(CYRILLIC), Charset(CYRILLIC)])
def test_what_the_arguments_say_is_not_assumed(charset: Any, tmp_path: Path) -> None:
    model = PARSeq(CYRILLIC, **SIZES).eval()
    loaded = load_checkpoint(PARSeq, save(tmp_path / "x.pt", model), charset=charset, heads=(4, 8))
    assert (loaded.charset.characters, heads(loaded)) == (CYRILLIC, (4, 8))
    images = torch.randn(2, 3, 32, 128)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))


def test_what_the_file_says_is_not_assumed(tmp_path: Path) -> None:
    model = PARSeq(CYRILLIC, **SIZES)
    path = save(tmp_path / "x.pt", model, charset_train=CYRILLIC, enc_num_heads=4, dec_num_heads=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert heads(load_checkpoint(PARSeq, path)) == (4, 8)
    assert heads(load_checkpoint(PARSeq, path, charset=CYRILLIC, heads=(4, 8))) == (4, 8)


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({"charset": CYRILLIC}, {"charset": 36}, r"got charset='0123.*; expected 'абв.*; leave charset= out"),
        (
            {"charset": CYRILLIC[1:]},
            {},
            "got 35 characters from its settings; expected 36, as many as its head has classes for",
        ),
        ({}, {"charset": "abc", "heads": (1, 1)}, "got 3 characters from charset=; expected 36"),
        ({"enc_num_heads": 4}, {"heads": (2, 8), "charset": 36}, r"got heads=\(2, 8\); expected enc_num_heads=4"),
        ({"enc_depth": 10**9}, {}, "got enc_depth=1000000000 in its settings and 1 in its tensors"),
        ({"embed_dim": 10**600}, {}, "got embed_dim=a whole number of .* bits in its settings and 128 in its tensors"),
        ({"patch_size": "x"}, {}, "got patch_size='x' in its settings"),
        (
            {"charset": ["ab", "c"]},
            {},
            r"got the charset \['ab', 'c'\]; expected a text, or a list of single characters",
        ),
        ({"charset": 1.5}, {}, r"got the charset 1\.5; expected a text"),
        (
            {"charset": 36, "heads": 1, "refine_iters": 10**9},
            {"heads": (4, 8)},
            "settings do not make a PARSeq: .*refine",
        ),
        ({"charset": 36, "dropout": "x"}, {"heads": (4, 8)}, "settings do not make a PARSeq: got dropout='x'"),
        (
            {"charset": 36, "img_size": [32, 64]},
            {"heads": (4, 8)},
            r"got img_size=\[32, 64\].*; expected a size of 128 pat",
        ),
        ({"charset": 36, "enc_num_heads": 5}, {"heads": None}, "settings do not make a PARSeq: got enc_num_heads=5"),
    ],
)
def test_what_contradicts_is_refused(settings: Any, arguments: Any, message: str, tmp_path: Path) -> None:
    path = save(tmp_path / "x.pt", PARSeq(36, **SIZES), **settings)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(PARSeq, path, **arguments)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (CRAFT, {"charset": 36}, "got charset= or heads= for CRAFT; expected them with the class PARSeq"),
        (PARSeq(36, **SIZES), {"heads": (4, 8)}, "got charset= or heads= for a model"),
        (PARSeq, {"heads": 4}, "got heads=4; expected 2 whole numbers"),
        (PARSeq, {"charset": "aa"}, "charset repeats 'a'"),
        (nn.Linear, {}, "got the class Linear; expected CRAFT, LinkRefiner, PARSeq, or a model"),
        ("parseq", {}, "got model_or_class='parseq'"),
    ],
)
def test_arguments_that_do_not_belong(model: Any, arguments: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        load_checkpoint(model, save(tmp_path / "x.pt", PARSeq(36, **SIZES)), **arguments)


@pytest.mark.parametrize("width", [*(i / 64 + 0.001 * i for i in range(1, 15)), 0.3, 1 / 3, 0.15625, 0.0205, 1e-9])
def test_craft_of_every_width(width: float, tmp_path: Path) -> None:
    model = CRAFT(width=width)
    assert_same(load_checkpoint(CRAFT, save(tmp_path / "x.pt", model)), model)


def test_channels_of_no_one_width(tmp_path: Path) -> None:
    model = CRAFT(width=0.125)
    model.basenet.slice1[0] = nn.Conv2d(3, 11, 3)
    with pytest.raises(CheckpointError, match=r"got channels of 2, 4, 11, 16, 32, 64, 128; expected those of the publ"):
        load_checkpoint(CRAFT, save(tmp_path / "x.pt", model))


class System(nn.Module):
    """As those of baudm/parseq since 2024."""

    def __init__(self, model: PARSeq) -> None:
        super().__init__()
        self.model = model
        self.hparams = {"charset_train": model.charset.characters}


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "System": System,  # type: ignore[dict-item]
    "both": lambda model: nn.DataParallel(System(model)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("stored", ["", "model.", "module.model."])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrapped_models_are_loaded_into(wrapper: str, stored: str, tmp_path: Path) -> None:
    model, other = PARSeq(36, **SIZES), PARSeq(36, **SIZES)
    torch.save({stored + name: value for name, value in model.state_dict().items()}, tmp_path / "x.pt")
    wrapped = WRAPPERS[wrapper](other)
    assert load_checkpoint(wrapped, tmp_path / "x.pt") is wrapped
    assert_same(other, model)


@pytest.mark.torch2
def test_a_compiled_model_is_loaded_into(tmp_path: Path) -> None:
    model, other = PARSeq(36, **SIZES), PARSeq(36, **SIZES)
    load_checkpoint(torch.compile(other), save(tmp_path / "x.pt", model))
    assert_same(other, model)


def test_a_distributed_model_is_loaded_into(tmp_path: Path) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        model, other = PARSeq(36, **SIZES), PARSeq(36, **SIZES)
        load_checkpoint(nn.parallel.DistributedDataParallel(other), save(tmp_path / "x.pt", model))
        assert_same(other, model)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("wrapper", ["DataParallel", "System", "both"])
def test_the_charset_of_a_wrapped_model_counts(wrapper: str, tmp_path: Path) -> None:
    path = save(tmp_path / "x.pt", PARSeq(36, **SIZES), charset_train=CYRILLIC)
    with pytest.raises(CheckpointError, match=r"got weights trained on charset 'абв.*; expected '0123"):
        load_checkpoint(WRAPPERS[wrapper](PARSeq(36, **SIZES)), path)


class Published(nn.Module):
    """A network with the tensors of PARSeq, which does not know its characters itself."""

    def __init__(self) -> None:
        super().__init__()
        model = PARSeq(36, **SIZES)
        self.pos_queries = model.pos_queries
        for name, child in model.named_children():
            self.add_module(name, child)


@pytest.mark.parametrize("wrap", [lambda system: system, nn.DataParallel], ids=["alone", "DataParallel"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"hparams": {"charset_train": CHARSET_36}},
        {"hparams": {"charset_train": list(CHARSET_36)}},
        {"hparams": SimpleNamespace(charset_train=CHARSET_36)},
        {"tokenizer": SimpleNamespace(_itos=("[E]", *CHARSET_36, "[B]", "[P]"))},
    ],
    ids=["text", "list", "namespace", "tokenizer"],
)
def test_the_charset_of_a_training_system_counts(attributes: dict[str, Any], wrap: Any, tmp_path: Path) -> None:
    system = nn.Module()
    system.model = Published()
    vars(system).update(attributes)
    model = PARSeq(36, **SIZES)
    load_checkpoint(wrap(system), save(tmp_path / "same.pt", model, charset_train=CHARSET_36))
    with pytest.raises(CheckpointError, match=r"got weights trained on charset 'zyxw.*; expected '0123"):
        load_checkpoint(wrap(system), save(tmp_path / "other.pt", model, charset_train=CHARSET_36[::-1]))


def test_the_average_of_torch_is_read(tmp_path: Path) -> None:
    model = CRAFT(width=1 / 64)
    average = torch.optim.swa_utils.AveragedModel(model)
    assert_same(load_checkpoint(CRAFT, save(tmp_path / "x.pt", average)), model)
