"""The training recipe of the demo's PARSeq."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from neuronkit.demo.render import render_word
from neuronkit.models.parseq import PARSeq
from neuronkit.ocr.charset import Charset
from tools.demo.permutations import mask_targets, order_masks, sample_orders
from tools.demo.recipe import Batch, Recipe
from tools.demo.scenes.shards import Shards, vary


@dataclass(frozen=True)
class ParseqRecipe(Recipe):
    """PARSeq by permutation language modelling on single words.

    Attributes:
        orders: Reading orders in a step, even: forward, backward, and further pairs at random.
        hardening: Without shards, words become harder over so many steps.
        characters: 36 for small letters and digits, 94 for all of ASCII.
        shards: Crops rendered beforehand; None renders the package's own words as training goes.
        own_words: Whether every other batch is the package's own words beside shards, so that they are not unlearned.
    """

    name: str = "parseq"
    steps: int = 5500
    learning_rate: float = 1.2e-3
    warmup: int = 300
    batch_size: int = 128
    orders: int = 4
    hardening: int = 2000
    characters: int = 36
    shards: Shards | None = None
    own_words: bool = False

    @property
    def charset(self) -> Charset:
        """The characters that the model writes."""
        return Charset.named(self.characters)

    def hyper_parameters(self) -> dict[str, Any]:
        return {
            "charset": self.charset.characters,
            "embed_dim": 128,
            "enc_depth": 4,
            "enc_num_heads": 4,
            "dec_num_heads": 4,
            "patch_size": [8, 8],
            "max_label_length": 25,
            "refine_iters": 1,
        }

    def on_shards(self, shards: Shards, characters: int) -> ParseqRecipe:
        """Give the recipe for rendered crops: one pair of orders, which takes a third less time a step."""
        return replace(self, shards=shards, characters=characters, orders=2, learning_rate=1e-3, warmup=150)

    def build(self) -> PARSeq:
        return PARSeq(**self.hyper_parameters(), dropout=0.0)

    def identity(self) -> dict[str, Any]:
        # Where the shards lie does not matter.
        return {**super().identity(), "shards": self.shards and self.shards.count}

    def batch(self, seed: int, step: int) -> Batch:
        rng = np.random.default_rng([seed, step])
        charset = self.charset
        images, labels = self._crops(rng, seed, step)
        ids = charset.encode(labels)
        masks = order_masks(sample_orders(rng, ids.shape[1] - 1, self.orders))
        targets = mask_targets(ids[:, 1:], len(masks), eos_id=charset.eos_id, ignore=charset.pad_id)
        return {
            "images": images,
            "tokens": ids[:, :-1],
            "masks": masks,
            "targets": targets,
        }

    def _crops(self, rng: np.random.Generator, seed: int, step: int) -> tuple[NDArray[np.uint8], list[str]]:
        if self.shards is not None and not (self.own_words and step % 2 == 0):
            images, labels = self.shards.batch(seed, step, self.batch_size)
            return vary(rng, images), labels
        difficulty = 1.0 if self.shards else min(1.0, 0.1 + step / self.hardening)
        pairs = [render_word(rng, difficulty=difficulty) for _ in range(self.batch_size)]
        small = [Image.fromarray(image).resize((128, 32), Image.Resampling.BICUBIC) for image, _ in pairs]
        return np.stack([np.asarray(image) for image in small]), [label for _, label in pairs]

    def loss(self, model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        charset = self.charset
        images = (batch["images"].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        tokens, masks, targets = batch["tokens"], batch["masks"], batch["targets"]
        count, length, _ = masks.shape
        memory = model.encode(images)
        query = model.pos_queries[:, :length].repeat(len(images), count, 1)
        hidden = (tokens == charset.pad_id) | (tokens == charset.eos_id)
        features = model.decode(tokens, memory, padding_mask=hidden, query=query, query_mask=masks.flatten(0, 1))
        logits = model.head(features).float()
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=charset.pad_id)
        forward = logits[:, :length].argmax(-1)
        right = ((forward == targets[:, 0]) | (targets[:, 0] == charset.pad_id)).all(dim=1)
        return loss, right.float().mean()
