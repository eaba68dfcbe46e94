"""One graph with several passes says which rows have settled, and goes on with those that have not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit import StaticPARSeq, estimate, static_greedy_decoder
from neuronkit.demo.render import render_word
from neuronkit.demo.weights import load_parseq
from neuronkit.ocr import ParseqProcessor
from neuronkit.static.decoding.loops import until_eos
from tests.adapters.parseq_models import images as random_images
from tests.adapters.parseq_models import lively

PASSES = 5


@pytest.mark.parametrize("refine_iters", [0, 1])
def test_unsettled_rows_go_on_where_they_were_and_free_places_take_others(refine_iters: int) -> None:
    model = lively(0, eos_bias=0.5, max_label_length=24, refine_iters=refine_iters)
    waiting = list(random_images(24, 2).split(1))
    with torch.no_grad():
        expected = [until_eos(model(image, 24), 0)[0] for image in waiting]
        fused, _ = StaticPARSeq(model, batch_size=4, method="fused").graphs()["fused"]
        batch: list[tuple[int, Tensor]] = []
        found, calls, carried = {}, 0, 0
        queue = [(i, torch.full((1, 25), -1, dtype=torch.int32)) for i in range(24)]
        while queue:
            batch, queue = queue[:4], queue[4:]
            images = torch.cat([waiting[i] for i, _ in batch] + [torch.zeros(4 - len(batch), 3, 32, 128)])
            start = torch.cat([row for _, row in batch] + [torch.full((4 - len(batch), 25), -1, dtype=torch.int32)])
            logits, tokens, settled = fused(images, start)
            assert (tokens.dtype, settled.dtype, tuple(settled.shape)) == (torch.int32, torch.int32, (4,))
            calls += 1
            for place, (i, _) in enumerate(batch):
                if settled[place]:
                    found[i] = until_eos(logits[place : place + 1], 0)[0]
                else:
                    carried += 1
                    queue.insert(0, (i, tokens[place : place + 1]))
            assert calls < 24 * 5
    assert [found[i] for i in range(24)] == expected
    assert carried > 3
    assert len(set(map(tuple, expected))) > 12


def test_words_are_read_as_the_dynamic_model_reads_them_nearly_all_in_one_call() -> None:
    model = load_parseq()
    crops = [render_word(np.random.default_rng([7, i]))[0] for i in range(64)]
    images = torch.from_numpy(ParseqProcessor(charset=model.charset).preprocess(crops))
    static = StaticPARSeq(model, batch_size=64, method="fused")
    with torch.no_grad():
        assert static.decoded(static(images)) == static.decoded(model(images))
        fused, _ = static.graphs()["fused"]
        settled = fused(images, torch.full((64, static.steps), -1, dtype=torch.int32))[2]
    assert settled.float().mean() > 0.95


def test_the_worst_case_takes_as_many_passes_as_positions() -> None:
    class Counter(nn.Module):
        """Each pass settles one position."""

        def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
            return nn.functional.one_hot((tokens.long() * 3 + 1) % 11, 11).float() + memory[:, :1, None]

    memory = torch.zeros(2, 1)
    fused, plain = (
        static_greedy_decoder(Counter(), max_length=20, bos_id=1, eos_id=3, memory=memory, method=method)
        for method in ("fused", "fixed_point")
    )
    assert fused.tokens(memory) == plain.tokens(memory)
    assert fused.passes(memory) == -(-21 // PASSES) * PASSES
    assert estimate(fused, target="inf2", passes="worst").executions == {"fused": 5}


def test_the_graph_holds_no_loop_and_only_operators_of_inf1() -> None:
    static = StaticPARSeq(lively(0, max_label_length=24, refine_iters=1), method="fused")
    report = neuronkit.analyze(static, target="inf1")
    assert report.unsupported == {}
    assert not {"prim::Loop", "prim::If"} & set(report.counts)
