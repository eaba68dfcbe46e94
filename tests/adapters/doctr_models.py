"""docTR's recognition models at small random sizes. Imported by tests that have docTR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import neuronkit
from neuronkit.testing import AdapterConformance

VOCAB = "abcdefghijklmnopqrstuvwxyz0123456789"


def lively(model: nn.Module, eos: Callable[[Any], Tensor], *, scale: float = 3.0, eos_bias: float = 0.0) -> nn.Module:
    """Scale random weights up until what is read depends on image and context, and ends early, late or never."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "feat_extractor" not in name:
                parameter.mul_(scale)
        eos(model).add_(eos_bias)
    return model.eval()


def predictions(model: nn.Module, images: Tensor) -> list[Any]:
    """Text and confidence that the original gives."""
    with torch.no_grad():
        return model.eval()(images, return_preds=True)["preds"]


class Reads(AdapterConformance):
    """A recogniser reads what docTR reads."""

    def expected_results(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Any] | None:
        # The original takes no bytes: there its logits are decoded.
        raw = getattr(self.options, "raw_images", False)
        return None if raw else predictions(model, *inputs)


def check_published_size(model: nn.Module, rows: int) -> None:
    """A model of the published size, in train mode and left there, gives the original's logits."""
    static = neuronkit.make_static(model, batch_size=rows)
    images = static.example_inputs()
    with torch.no_grad():
        torch.testing.assert_close(static(*images), static.reference(*images), rtol=1e-4, atol=1e-4)
    assert model.training


def check_half_precision(model: nn.Module) -> None:
    """In half precision it reads what docTR reads in half precision."""
    static = neuronkit.make_static(model.half(), batch_size=6)
    inputs = [tensor.half() for tensor in static.example_inputs()]
    with torch.no_grad():
        logits = static(*inputs)
    assert logits.dtype == torch.float16
    texts, expected = ([text for text, _ in static.decoded(x)] for x in (logits, static.reference(*inputs)))
    assert texts == expected
    assert len(set(texts)) > 2


def vision_transformer(patch_size: tuple[int, int], width: int = 32) -> nn.Module:
    from doctr.models.classification.vit.pytorch import VisionTransformer
    from torchvision.models._utils import IntermediateLayerGetter

    sizes: dict[str, Any] = {"num_layers": 2, "num_heads": 2, "ffd_ratio": 2, "input_shape": (3, 32, 128)}
    body = VisionTransformer(width, patch_size=patch_size, include_top=False, **sizes)
    return IntermediateLayerGetter(body, {"1": "features"})


def parseq(seed: int, *, eos_bias: float = 0.0, patch_size: tuple[int, int] = (8, 16), **settings: Any) -> nn.Module:
    from doctr.models.recognition.parseq.pytorch import PARSeq

    torch.manual_seed(seed)
    sizes = {"embedding_units": 32, "max_length": 12, "dec_num_heads": 4, "dec_ff_dim": 32, "dec_ffd_ratio": 2}
    model = PARSeq(vision_transformer(patch_size), VOCAB, **{**sizes, **settings})
    with torch.no_grad():
        model.feat_extractor["0"].projection.weight.mul_(8)
        model.pos_queries.mul_(10)
        model.embed.embedding.weight.mul_(10)
        model.head.weight.mul_(10)
        for attention in (model.decoder.attention, model.decoder.cross_attention):
            for linear in (*attention.linear_layers, attention.output_linear):
                linear.weight.mul_(3)
    return lively(model, lambda m: m.head.bias[len(VOCAB)], eos_bias=eos_bias)


def master(seed: int, *, eos_bias: float = 0.0, **settings: Any) -> nn.Module:
    from doctr.models.recognition.master.pytorch import MASTER

    torch.manual_seed(seed)
    sizes = {"d_model": 32, "dff": 64, "num_heads": 4, "num_layers": 2, "max_length": 12}
    model = MASTER(residual_network(16, 32), VOCAB, **{**sizes, **settings})
    with torch.no_grad():
        model.decoder.embed.weight.mul_(0.1)
        for attention in model.decoder.source_attention:
            for linear in attention.linear_layers:
                linear.weight.mul_(2)
    return lively(model, lambda m: m.linear.bias[len(VOCAB)], eos_bias=eos_bias)


def residual_network(*widths: int) -> nn.Module:
    """A small one of MASTER's kind: residual blocks with attention to global context."""
    from functools import partial

    from doctr.models.classification.magc_resnet.pytorch import MAGC
    from doctr.models.classification.resnet.pytorch import ResNet
    from torchvision.models._utils import IntermediateLayerGetter

    body = ResNet(
        [1, 1],
        list(widths),
        [1, 1],
        [True, True],
        [(2, 2), (2, 1)],
        origin_stem=False,
        stem_channels=16,
        attn_module=partial(MAGC, headers=4, attn_scale=True),
        num_classes=2,
        include_top=False,
    )
    with torch.no_grad():
        for module in body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return IntermediateLayerGetter(body, {str(len(body) - 1): "features"})


def sar(seed: int, *, eos_bias: float = 0.0, **settings: Any) -> nn.Module:
    from doctr.models.recognition.sar.pytorch import SAR

    torch.manual_seed(seed)
    # The decoder takes features of 512 channels, and makes its first state of that size, whatever it is told.
    sizes = {"rnn_units": 512, "embedding_units": 512, "attention_units": 24, "max_length": 10}
    model = SAR(residual_network(16, 512), VOCAB, **{**sizes, **settings})
    return lively(model, lambda m: m.decoder.output_dense.bias[len(VOCAB)], eos_bias=eos_bias)


def vitstr(seed: int) -> nn.Module:
    from doctr.models.recognition.vitstr.pytorch import ViTSTR

    torch.manual_seed(seed)
    model = ViTSTR(vision_transformer((8, 16)), VOCAB, embedding_units=32, max_length=12)
    with torch.no_grad():
        model.feat_extractor["0"].projection.weight.mul_(8)
    return lively(model, lambda m: m.head.bias[len(VOCAB)], eos_bias=2.0)


def viptr(seed: int) -> nn.Module:
    from doctr.models.classification.vip.pytorch import VIPNet
    from doctr.models.recognition.viptr.pytorch import VIPTR
    from torchvision.models._utils import IntermediateLayerGetter

    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"embed_dims": [16, 32, 64], "depths": [1, 1, 1], "num_heads": [2, 4, 8]}
    sizes |= {"mlp_ratios": [2, 2, 2], "split_sizes": [1, 2, 4], "sr_ratios": [4, 2, 2], "input_shape": (3, 32, 128)}
    body = VIPNet(3, 48, include_top=False, **sizes)
    model: Any = VIPTR(IntermediateLayerGetter(body, {"5": "features"}), VOCAB).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and name != "head.weight":
                parameter.mul_(3)
        # What differs from place to place decides which character it is.
        features = model.feat_extractor(torch.randn(4, 3, 32, 128))["features"].flatten(0, 1)
        model.head.weight.mul_(3 / (features @ model.head.weight.T).std())
        model.head.bias.copy_(-(features @ model.head.weight.T).mean(0))
    return model
