"""PARSeq, the permuted autoregressive text recogniser (Bautista and Atienza, arXiv 2207.06966).

Parameter names and shapes, and so the state dict, are those of baudm/parseq with its timm encoder.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.errors import OptionError, SpecError
from neuronkit.models.parseq_decoder import Decoder, TokenEmbedding
from neuronkit.models.vision_transformer import VisionTransformer
from neuronkit.ocr.charset import Charset

# Beyond what any recogniser has; a mistyped size must not fill the memory.
_MOST, _MOST_PARAMETERS, _MOST_REFINEMENTS = 1 << 20, 500_000_000, 1000


class PARSeq(nn.Module):
    """Reads the word in an image crop; the dynamic model, as published.

    Args:
        charset: The characters it can write: a string, a `Charset`, or the size of a published one (36, 62, 94).
        max_label_length: Longest word, in characters.
        img_size: (height, width) of the input, in pixels.
        patch_size: (height, width) of an encoder patch, in pixels.
        embed_dim: Width of encoder and decoder.
        enc_num_heads: Attention heads of the encoder.
        enc_mlp_ratio: Hidden width of the encoder's MLPs, in units of `embed_dim`.
        enc_depth: Number of encoder blocks.
        dec_num_heads: Attention heads of the decoder.
        dec_mlp_ratio: Hidden width of the decoder's MLPs, in units of `embed_dim`.
        dec_depth: Number of decoder layers.
        decode_ar: Decode greedily, one character after the other; otherwise all at once, without context.
        refine_iters: Number of refinement passes over the whole word after decoding.
        dropout: Dropout rate of the decoder, in training.

    Raises:
        OptionError: If the charset is none, a number is not whole and positive, a patch does not divide the image, a
            number of heads does not divide the width, or the model would have more than 500 million parameters.

    Examples:
        >>> PARSeq("0123456789", embed_dim=192, enc_num_heads=3, dec_num_heads=6)(torch.zeros(1, 3, 32, 128)).shape
        torch.Size([1, 26, 11])
    """

    def __init__(
        self,
        charset: str | int | Charset,
        *,
        max_label_length: int = 25,
        img_size: tuple[int, int] = (32, 128),
        patch_size: tuple[int, int] = (4, 8),
        embed_dim: int = 384,
        enc_num_heads: int = 6,
        enc_mlp_ratio: int = 4,
        enc_depth: int = 12,
        dec_num_heads: int = 12,
        dec_mlp_ratio: int = 4,
        dec_depth: int = 1,
        decode_ar: bool = True,
        refine_iters: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.charset = Charset.named(charset)
        max_label_length = checks.integer("max_label_length", max_label_length, 1, _MOST)
        embed_dim = checks.integer("embed_dim", embed_dim, 1, _MOST)
        enc_depth = checks.integer("enc_depth", enc_depth, 1, _MOST)
        dec_depth = checks.integer("dec_depth", dec_depth, 1, _MOST)
        enc_mlp_ratio = checks.integer("enc_mlp_ratio", _whole(enc_mlp_ratio), 1, _MOST)
        dec_mlp_ratio = checks.integer("dec_mlp_ratio", _whole(dec_mlp_ratio), 1, _MOST)
        for name, heads in (("enc_num_heads", enc_num_heads), ("dec_num_heads", dec_num_heads)):
            if embed_dim % checks.integer(name, heads, 1, _MOST):
                raise OptionError(f"got {name}={heads}; expected a divisor of embed_dim={embed_dim}; choose one")
        img_size = checks.integers("img_size", img_size, 2, 1, _MOST)  # type: ignore[assignment]
        patch_size = checks.integers("patch_size", patch_size, 2, 1, _MOST)  # type: ignore[assignment]
        if any(size % patch for size, patch in zip(img_size, patch_size)):
            raise OptionError(f"got patch_size={patch_size}; expected divisors of img_size={img_size}; choose such")
        patches = math.prod(img_size) // math.prod(patch_size)
        _check_total(
            {
                "encoder": enc_depth * (4 + 2 * enc_mlp_ratio) * embed_dim**2,
                "decoder": dec_depth * (8 + 2 * dec_mlp_ratio) * embed_dim**2,
                "tokens": (2 * len(self.charset) + max_label_length + patches + 3 * math.prod(patch_size)) * embed_dim,
            }
        )
        self.max_label_length = max_label_length
        self.img_size = tuple(img_size)
        self.decode_ar = checks.flag("decode_ar", decode_ar)
        self.refine_iters = checks.integer("refine_iters", refine_iters, 0, _MOST_REFINEMENTS)
        dropout = checks.number("dropout", dropout, 0, 1)
        self.encoder = VisionTransformer(img_size, patch_size, embed_dim, enc_depth, enc_num_heads, enc_mlp_ratio)
        self.decoder = Decoder(embed_dim, dec_num_heads, embed_dim * dec_mlp_ratio, dropout, dec_depth)
        self.head = nn.Linear(embed_dim, self.charset.num_classes)
        self.text_embed = TokenEmbedding(self.charset.num_tokens, embed_dim)
        self.pos_queries = nn.Parameter(torch.empty(1, max_label_length + 1, embed_dim))
        self.dropout = nn.Dropout(dropout)
        self.apply(_init_weights)
        nn.init.trunc_normal_(self.pos_queries, std=0.02)
        nn.init.trunc_normal_(self.encoder.pos_embed, std=0.02)

    def encode(self, images: Tensor) -> Tensor:
        """Encode a batch of crops.

        Args:
            images: (N, 3, H, W) float32, RGB, in -1..1, of the size that the model was built for.

        Returns:
            Image tokens (N, S, D).

        Raises:
            SpecError: If the images are not a tensor of that kind.
        """
        return self.encoder(tensors.model_input("images", images, self, (None, 3, *self.img_size)))

    def decode(
        self,
        tokens: Tensor,
        memory: Tensor,
        content_mask: Tensor | None = None,
        padding_mask: Tensor | None = None,
        query: Tensor | None = None,
        query_mask: Tensor | None = None,
    ) -> Tensor:
        """Run the two-stream decoder.

        Args:
            tokens: (N, L) int64 context, BOS first.
            memory: (N, S, D) image tokens.
            content_mask: (L, L) bool; True hides key (column) from content position (row).
            padding_mask: (N, L) bool; True hides the token from everybody.
            query: (N, Q, D) position queries; None for those of the L context positions.
            query_mask: (Q, L) bool; True hides key (column) from query (row).

        Returns:
            (N, Q, D) decoded features, the head's input.

        Raises:
            SpecError: If one is not a tensor of that kind, or an id is outside the vocabulary.
        """
        if not (tensors.being_traced() or isinstance(tokens, torch.fx.Proxy)):
            self._check_context(tokens, memory, content_mask, padding_mask, query, query_mask)
        batch, length = tokens.shape
        # BOS is the null context: it alone carries no position.
        null_context = self.text_embed(tokens[:, :1])
        characters = self.pos_queries[:, : length - 1] + self.text_embed(tokens[:, 1:])
        content = self.dropout(torch.cat([null_context, characters], dim=1))
        if query is None:
            query = self.pos_queries[:, :length].expand(batch, -1, -1)
        return self.decoder(self.dropout(query), content, memory, query_mask, content_mask, padding_mask)

    def _check_context(
        self, tokens: Any, memory: Any, content_mask: Any, padding_mask: Any, query: Any, query_mask: Any
    ) -> None:
        places, width, data = *self.pos_queries.shape[1:], not self.pos_queries.is_meta
        tensors.tensor("tokens", tokens, shape=(None, None), dtype=("int64", "int32"), data=data)
        rows, length = tokens.shape
        if not 1 <= length <= places:
            raise SpecError(f"tokens: got {length} in a row; expected BOS and at most {places - 1} more; give those")
        if data:
            tensors.check_ids("tokens", tokens, (0, self.charset.num_tokens - 1))
        tensors.model_input("memory", memory, self, (rows, None, width))
        if query is not None:
            tensors.model_input("query", query, self, (rows, None, width))
        masks = {"content_mask": (content_mask, length), "padding_mask": (padding_mask, rows)}
        masks["query_mask"] = query_mask, length if query is None else query.shape[1]
        for name, (mask, first) in masks.items():
            if mask is not None:
                kinds = ("bool", tensors.dtype_name(self.pos_queries.dtype))
                tensors.tensor(name, mask, shape=(first, length), dtype=kinds, data=data)

    def forward(self, images: Tensor, max_length: int | None = None) -> Tensor:
        """Read a batch of crops.

        Args:
            images: (N, 3, H, W) float32, RGB, in -1..1, as `ParseqProcessor.preprocess` makes them.
            max_length: Decode exactly this many characters and EOS, at most `max_label_length`. With None
                decoding stops early, once every row has ended.

        Returns:
            Logits (N, T, C) float32; T is `max_length` + 1, or with neither `max_length` nor refinement
            the number of steps that ran; C is the charset's size + 1, class 0 ends the word.

        Raises:
            SpecError: If the images are not a tensor of that kind, or `max_length` is not a whole number of at least 0.
        """
        if max_length is not None and not tensors.being_traced():
            max_length = checks.integer("max_length", max_length, 0, error=SpecError)
        stop_early = max_length is None
        length = self.max_label_length if max_length is None else min(max_length, self.max_label_length)
        steps = length + 1
        memory = self.encode(images)
        queries = self.pos_queries[:, :steps].expand(len(images), -1, -1)
        # One tensor under two names, as published: opening it for refinement opens it for the content stream too.
        mask = torch.triu(torch.ones(steps, steps, dtype=torch.bool, device=images.device), 1)
        bos = torch.full((len(images), 1), self.charset.bos_id, dtype=torch.long, device=images.device)

        if self.decode_ar:
            logits = self._decode_greedily(memory, queries, mask, stop_early)
        else:
            logits = self.head(self.decode(bos, memory, query=queries))

        if self.refine_iters:
            mask[torch.triu(torch.ones_like(mask), 2)] = 0
        for _ in range(self.refine_iters):
            tokens = torch.cat([bos, logits[:, :-1].argmax(-1)], dim=1)
            ended = (tokens == self.charset.eos_id).int().cumsum(-1) > 0
            seen = slice(0, tokens.shape[1])
            logits = self.head(self.decode(tokens, memory, mask[seen, seen], ended, queries, mask[:, seen]))
        return logits

    def _decode_greedily(self, memory: Tensor, queries: Tensor, mask: Tensor, stop_early: bool) -> Tensor:
        batch, steps = queries.shape[:2]
        tokens = torch.full((batch, steps), self.charset.pad_id, dtype=torch.long, device=memory.device)
        tokens[:, 0] = self.charset.bos_id
        logits = []
        for i in range(steps):
            seen = slice(0, i + 1)
            features = self.decode(
                tokens[:, seen], memory, mask[seen, seen], query=queries[:, i : i + 1], query_mask=mask[i : i + 1, seen]
            )
            logits.append(self.head(features))
            if i + 1 < steps:
                tokens[:, i + 1] = logits[-1].squeeze().argmax(-1)
                if stop_early and bool((tokens == self.charset.eos_id).any(dim=-1).all()):
                    break
        return torch.cat(logits, dim=1)


def _whole(ratio: Any) -> Any:
    """timm, and so the configurations of others, give ratios as 4.0."""
    return int(ratio) if isinstance(ratio, float) and ratio.is_integer() else ratio


def _check_total(parameters: dict[str, int]) -> None:
    total = sum(parameters.values())
    if total > _MOST_PARAMETERS:
        most = max(parameters, key=lambda part: parameters[part])
        raise OptionError(
            f"got sizes that make {total} parameters, {parameters[most]} of them in the {most}; "
            f"expected at most {_MOST_PARAMETERS}; choose smaller ones"
        )


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
