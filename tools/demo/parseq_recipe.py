"""The training recipe of the demo's PARSeq."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from neuronkit.demo.render import render_word
from neuronkit.models.parseq import PARSeq
from neuronkit.ocr.charset import Charset
from tools.demo.permutations import mask_targets, order_masks, sample_orders
from tools.demo.recipe import Batch, Recipe

_CHARSET = Charset.named(36)


@dataclass(frozen=True)
class ParseqRecipe(Recipe):
    """PARSeq by permutation language modelling on single words; the words become harder over the first steps."""

    name: str = "parseq"
    steps: int = 5500
    learning_rate: float = 1.2e-3
    warmup: int = 300
    batch_size: int = 128
    orders: int = 4
    hardening: int = 2000

    def hyper_parameters(self) -> dict[str, Any]:
        return {
            "charset": _CHARSET.characters,
            "embed_dim": 128,
            "enc_depth": 4,
            "enc_num_heads": 4,
            "dec_num_heads": 4,
            "patch_size": [8, 8],
            "max_label_length": 25,
            "refine_iters": 1,
        }

    def build(self) -> PARSeq:
        return PARSeq(**self.hyper_parameters(), dropout=0.0)

    def batch(self, seed: int, step: int) -> Batch:
        rng = np.random.default_rng([seed, step])
        difficulty = min(1.0, 0.1 + step / self.hardening)
        pairs = [render_word(rng, difficulty=difficulty) for _ in range(self.batch_size)]
        images = [Image.fromarray(image).resize((128, 32), Image.Resampling.BICUBIC) for image, _ in pairs]
        ids = _CHARSET.encode([label for _, label in pairs])
        masks = order_masks(sample_orders(rng, ids.shape[1] - 1, self.orders))
        targets = mask_targets(ids[:, 1:], len(masks), eos_id=_CHARSET.eos_id, ignore=_CHARSET.pad_id)
        return {
            "images": np.stack([np.asarray(image) for image in images]),
            "tokens": ids[:, :-1],
            "masks": masks,
            "targets": targets,
        }

    def loss(self, model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        images = (batch["images"].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        tokens, masks, targets = batch["tokens"], batch["masks"], batch["targets"]
        count, length, _ = masks.shape
        memory = model.encode(images)
        query = model.pos_queries[:, :length].repeat(len(images), count, 1)
        hidden = (tokens == _CHARSET.pad_id) | (tokens == _CHARSET.eos_id)
        features = model.decode(tokens, memory, padding_mask=hidden, query=query, query_mask=masks.flatten(0, 1))
        logits = model.head(features).float()
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=_CHARSET.pad_id)
        forward = logits[:, :length].argmax(-1)
        right = ((forward == targets[:, 0]) | (targets[:, 0] == _CHARSET.pad_id)).all(dim=1)
        return loss, right.float().mean()
