"""Train the demo's models on rendered text: ``python -m tools.demo.train --model all``.

A run depends on seed and steps alone. It saves a checkpoint now and then, and goes on from it when started again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from neuronkit.errors import CheckpointError
from neuronkit.models.checkpoint import load_checkpoint
from tools.demo.craft_recipe import CraftRecipe
from tools.demo.curve import draw_curve
from tools.demo.files import save_weights, write_whole
from tools.demo.parseq_recipe import ParseqRecipe
from tools.demo.recipe import Recipe
from tools.demo.scenes.shards import Shards
from tools.demo.scenes.words import Scenery

RECIPES: dict[str, Recipe] = {"parseq": ParseqRecipe(), "craft": CraftRecipe()}
_DECAY = 0.3
_CLIP = 1.0


@dataclass
class Run:
    """The state of a training run.

    Attributes:
        step: Number of steps done.
        history: For every step, loss, accuracy.
    """

    recipe: Recipe
    seed: int
    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    history: list[list[float]] = field(default_factory=list)

    @classmethod
    def begin(cls, recipe: Recipe, seed: int, start: Path | None = None) -> Run:
        """Start with an untrained model, whose weights depend on the seed alone, or with those of a file."""
        torch.manual_seed(seed)
        model = recipe.build()
        if start is not None:
            model.load_state_dict(load_checkpoint(type(model), start).state_dict())
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.02, betas=(0.9, 0.98))
        return cls(recipe, seed, model, optimizer)

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            "recipe": self.recipe.identity(),
            "seed": self.seed,
            "step": self.step,
            "history": self.history,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_whole(path, state)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            CheckpointError: If it is of another recipe or seed.
        """
        state = torch.load(path, map_location="cpu")
        mine = {"recipe": self.recipe.identity(), "seed": self.seed}
        differing = [key for key in mine if state.get(key) != mine[key]]
        if differing:
            raise CheckpointError(
                f"{path} is of a run with another {' and '.join(differing)}; "
                "give the same ones, or another --out to begin anew"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.history = state["step"], state["history"]

    def advance(self, batch: dict[str, torch.Tensor], steps: int, *, bf16: bool) -> None:
        """Do one step of a schedule of `steps`."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * schedule(self.step, steps, self.recipe.warmup)
        self.model.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss, accuracy = self.recipe.loss(self.model, batch)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
        self.optimizer.step()
        self.step += 1
        self.history.append([loss.item(), accuracy.item()])


def schedule(step: int, steps: int, warmup: int) -> float:
    """Learning rate as a share of its peak: a rise, a plateau, and a fall to zero over the last steps.

    Up to the fall it does not depend on `steps`, so a run may be resumed with more steps than it was begun with.
    """
    fall = max(1.0, steps * _DECAY)
    return min(1.0, (step + 1) / warmup, (steps - step) / fall)


def train(
    recipe: Recipe,
    *,
    out: Path,
    steps: int | None = None,
    seed: int = 0,
    workers: int = 1,
    bf16: bool = False,
    save_every: int = 250,
    stop_after: int | None = None,
    start: Path | None = None,
) -> Run:
    """Train one model, resuming from `out` if it holds a checkpoint.

    Args:
        recipe: What to train.
        out: Folder for the checkpoint ``NAME.ckpt``, the curve ``NAME.png`` and the weights ``NAME.pt``.
        steps: Length of the schedule; None for the recipe's own.
        seed: Initial weights and every batch follow from it.
        workers: Processes that render; 0 renders in this one.
        bf16: Compute in bfloat16 where autocast deems it safe; twice as fast on CPUs with instructions for it.
        save_every: Steps between checkpoints.
        start: Weights to begin with, of the same model; None for untrained ones.
        stop_after: Stop at this step, as if interrupted; the schedule stays that of `steps`.

    Returns:
        The run, at its last step.

    Raises:
        CheckpointError: If `out` holds a checkpoint of another recipe or seed.
    """
    steps = recipe.steps if steps is None else steps
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / f"{recipe.name}.ckpt"
    run = Run.begin(recipe, seed, start)
    if checkpoint.exists():
        run.resume(checkpoint)
    last = steps if stop_after is None else min(steps, stop_after)
    with tqdm(total=steps, initial=run.step, desc=recipe.name, unit="step", mininterval=5) as bar:
        for batch in _batches(recipe, seed, range(run.step, last), workers):
            run.advance(batch, steps, bf16=bf16)
            bar.update()
            if run.step % save_every == 0 or run.step == last:
                run.save(checkpoint)
                loss, accuracy = np.mean(run.history[-100:], axis=0)
                bar.set_postfix(loss=f"{loss:.4f}", accuracy=f"{accuracy:.3f}")
                draw_curve(out / f"{recipe.name}.png", recipe.name, run.history)
    if run.step >= steps:
        save_weights(out / f"{recipe.name}.pt", run.model, recipe.hyper_parameters())
    return run


class _Batches(Dataset[dict[str, torch.Tensor]]):
    """The batch of each step, so that a worker can render ahead."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self.recipe, self.seed = recipe, seed

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        return {key: torch.from_numpy(value) for key, value in self.recipe.batch(self.seed, step).items()}


def _batches(recipe: Recipe, seed: int, steps: range, workers: int) -> DataLoader[dict[str, torch.Tensor]]:
    return DataLoader(
        _Batches(recipe, seed),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        # A process forked after OpenMP has run may hang.
        multiprocessing_context="spawn" if workers else None,
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo.train", description=__doc__)
    parser.add_argument("--model", choices=[*RECIPES, "all"], default="all")
    parser.add_argument("--steps", type=int, help="length of the schedule; each recipe has its own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="checkpoint, curve and weights go here")
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--shards", type=Path, help="train the recogniser on the crops of tools.demo.scenes.shards")
    parser.add_argument("--shard-count", type=int, default=40, help="how many of them")
    parser.add_argument("--own-words", action="store_true", help="beside shards, every other batch")
    parser.add_argument("--scenes", action="store_true", help="train the detector on scenes; needs make fonts")
    parser.add_argument("--characters", type=int, choices=(36, 94), default=36, help="of the shards")
    parser.add_argument("--start", type=Path, help="folder of weights NAME.pt to begin with")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 where safe; faster on CPUs that have it")
    parser.add_argument("--threads", type=int, help="threads of torch")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    for name in RECIPES if given.model == "all" else [given.model]:
        recipe = RECIPES[name]
        if isinstance(recipe, ParseqRecipe) and given.shards is not None:
            recipe = recipe.on_shards(Shards(given.shards, given.shard_count), given.characters)
            recipe = replace(recipe, own_words=given.own_words)
        if isinstance(recipe, CraftRecipe) and given.scenes:
            recipe = replace(recipe, scenery=Scenery.installed())
        train(
            recipe,
            out=given.out,
            steps=given.steps,
            seed=given.seed,
            workers=given.workers,
            bf16=given.bf16,
            start=given.start and given.start / f"{name}.pt",
        )


if __name__ == "__main__":
    main()
