"""Tiny random Hugging Face encoder–decoders, whose tokens depend on the input and on the tokens before them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

VOCABULARY = 61
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 24,
}
T5_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}


def lively(model: Any, eos_bias: float = 0.0, scale: float = 4.0) -> nn.Module:
    """Scale random weights up until tokens depend on the input and on the tokens before them."""
    model.generation_config.max_length = 13
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
        head = model.get_output_embeddings()
        # A head of its own, so that it does not repeat what went in.
        head.weight = nn.Parameter(torch.randn(head.weight.shape, generator=generator) * 0.3)
        row = head.weight[model.generation_config.eos_token_id]
        row.mul_(1 + eos_bias)
    return model.eval()


def trocr(seed: int, **settings: Any) -> Any:
    from transformers import TrOCRConfig

    decoder = TrOCRConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=64,
        **{"max_position_embeddings": 24, "cross_attention_hidden_size": 32, **settings},
    )
    return vision(seed, decoder)


_BERT_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 24,
    "is_decoder": True,
    "add_cross_attention": True,
}


def roberta(seed: int) -> Any:
    """A ViT and RoBERTa, whose table of 24 positions serves 22."""
    from transformers import RobertaConfig

    return vision(seed, RobertaConfig(**_BERT_SIZES))


def bert(seed: int) -> Any:
    """A ViT and BERT, as manga-ocr is made of."""
    from transformers import BertConfig

    return vision(seed, BertConfig(**_BERT_SIZES))


def gpt2(seed: int) -> Any:
    from transformers import GPT2Config

    sizes = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 24}
    return vision(seed, GPT2Config(**sizes, add_cross_attention=True, bos_token_id=0, eos_token_id=2))


def xglm(seed: int) -> Any:
    from transformers import XGLMConfig

    sizes = {"vocab_size": VOCABULARY, "d_model": 32, "num_layers": 2, "attention_heads": 2, "ffn_dim": 64}
    return vision(seed, XGLMConfig(**sizes, max_position_embeddings=24, is_decoder=True, add_cross_attention=True))


def pix2struct(seed: int) -> Any:
    from transformers import Pix2StructConfig, Pix2StructForConditionalGeneration

    torch.manual_seed(seed)
    own = {"hidden_size": 32, "d_kv": 16, "d_ff": 64, "num_heads": 2, "num_layers": 2, "vocab_size": VOCABULARY}
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "seq_len": 12, "patch_size": 4}
    vision_config = {**own, **sizes, "patch_embed_hidden_size": 32}
    model: Any = Pix2StructForConditionalGeneration(Pix2StructConfig(text_config=own, vision_config=vision_config))
    generation = model.generation_config
    generation.decoder_start_token_id, generation.pad_token_id, generation.eos_token_id = 0, 0, 1
    return model


def whisper(seed: int) -> Any:
    """Fed with two seconds in place of thirty; language and task are fixed, and there are no timestamps."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(seed)
    sizes = {name: value for name, value in SIZES.items() if name != "max_position_embeddings"}
    config = WhisperConfig(
        **sizes, num_mel_bins=8, max_source_positions=100, max_target_positions=32, pad_token_id=2, bos_token_id=2,
        eos_token_id=2, decoder_start_token_id=50, suppress_tokens=[5, 6], begin_suppress_tokens=[7, 2],
    )  # fmt: skip
    model: Any = WhisperForConditionalGeneration(config)
    generation = model.generation_config
    generation.lang_to_id, generation.task_to_id = {"<|en|>": 51, "<|de|>": 52}, {"transcribe": 53, "translate": 54}
    generation.language, generation.task, generation.is_multilingual = "de", "transcribe", True
    generation.no_timestamps_token_id, generation.return_timestamps = VOCABULARY - 1, False
    return model


def vision(seed: int, decoder: Any) -> Any:
    from transformers import VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

    torch.manual_seed(seed)
    encoder = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 2, 1, 2
    return VisionEncoderDecoderModel(config=config)


def marian(seed: int) -> Any:
    from transformers import MarianConfig, MarianMTModel

    torch.manual_seed(seed)
    model = MarianMTModel(MarianConfig(**SIZES, pad_token_id=60, eos_token_id=0, decoder_start_token_id=60))
    # As published, but for the beams: padding is never given, and the last token is EOS.
    model.generation_config.bad_words_ids = [[60]]
    model.generation_config.forced_eos_token_id = 0
    return model


def bart(seed: int) -> Any:
    from transformers import BartConfig, BartForConditionalGeneration

    torch.manual_seed(seed)
    model = BartForConditionalGeneration(BartConfig(**SIZES))
    model.generation_config.forced_bos_token_id = 0
    return model


def text_model(name: str, seed: int = 0, **settings: Any) -> Any:
    """A model of one of the text families, by the name that its classes begin with."""
    import transformers

    config = getattr(transformers, f"{name}Config")
    torch.manual_seed(seed)
    sizes = T5_SIZES if name.endswith("T5") or name == "SwitchTransformers" else SIZES
    special = {
        "LED": {"max_encoder_position_embeddings": 24, "max_decoder_position_embeddings": 24, "attention_window": 4},
        "BigBirdPegasus": {"attention_type": "original_full"},
        "PegasusX": {"block_size": 4, "num_global_tokens": 2, "stagger_local_blocks": True},
        "SwitchTransformers": {
            "num_decoder_layers": 2,
            "num_sparse_encoder_layers": 1,
            "num_sparse_decoder_layers": 1,
            "num_experts": 4,
        },
        "NllbMoe": {"num_experts": 4, "encoder_sparse_step": 2, "decoder_sparse_step": 2},
        "LongT5": {"local_radius": 3, "encoder_attention_type": "local"},
    }.get(name, {})
    made: Any = config(**(sizes | special | settings))
    model = getattr(transformers, f"{name}ForConditionalGeneration")(made)
    generation = model.generation_config
    if generation.decoder_start_token_id is None:
        generation.decoder_start_token_id = 2
    generation.forced_eos_token_id = None
    return model


def generated(model: Any, inputs: tuple[Tensor, ...], **arguments: Any) -> list[list[int]]:
    """What the model generates as its users call it, without the start and up to EOS."""
    names = (model.main_input_name, "attention_mask")
    values = [x if x.is_floating_point() else x.long() for x in inputs]
    sequences = model.generate(**dict(zip(names, values)), **arguments).tolist()
    end = model.generation_config.eos_token_id
    ends = end if isinstance(end, list) else [end]
    # Whisper gives what follows its prompt.
    first = 0 if names[0] == "input_features" else 1
    return [
        ids[first : next((i for i, token in enumerate(ids) if i >= first and token in ends), None)] for ids in sequences
    ]


def nougat(seed: int) -> Any:
    """As Donut, on pages that are not square, with the published decoder's scaled embeddings and last norm."""
    return donut(seed, [48, 32], scale_embedding=True, add_final_layer_norm=True)


def donut(seed: int, image_size: Any = 32, **settings: Any) -> Any:
    """A Swin encoder and mBART, as Donut is made of."""
    from transformers import DonutSwinConfig, MBartConfig, VisionEncoderDecoderConfig, VisionEncoderDecoderModel

    torch.manual_seed(seed)
    encoder = DonutSwinConfig(
        image_size=image_size, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
    )
    decoder = MBartConfig(**SIZES, **settings, is_decoder=True, add_cross_attention=True, is_encoder_decoder=False)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 2, 1, 2
    return VisionEncoderDecoderModel(config=config)
