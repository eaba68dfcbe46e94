"""Runs the artifact that this file lies in, with NumPy and the artifact's runtime alone.

    from run import Model
    model = Model()
    outputs = model(images)   # arrays as neuronkit.json lists them under "inputs"; the outputs in order
    print(model.texts(outputs))

or ``python run.py images.npy``. Graphs, names, shapes and dtypes are in graphs.json; how the graphs are joined, and how
far the artifact agreed with the original model, are ``joining`` and ``parity`` in neuronkit.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# The kinds of passes of decoders that make several.
GUESS, CAUSAL, REFINE = 0, 1, 2
Graph = Callable[..., list[Any]]


class Model:
    """The artifact of a directory.

    Args:
        directory: Where it lies; None: where this file does.
        threads: Threads that compute a batch; None: what the artifact says, or as many as the runtime takes.
    """

    def __init__(self, directory: str | Path | None = None, threads: int | None = None) -> None:
        folder = Path(__file__).parent if directory is None else Path(directory)
        self.manifest = json.loads((folder / "neuronkit.json").read_text(encoding="utf-8"))
        described = json.loads((folder / "graphs.json").read_text(encoding="utf-8"))
        settings = described["settings"]
        threads = threads or settings["threads"]
        opened = {"onnx": open_onnx, "openvino": open_openvino}[self.manifest["target"]]
        self.graphs = {
            name: opened(folder / graph["file"], graph, threads, settings["precision"])
            for name, graph in described["graphs"].items()
        }

    def __call__(self, *inputs: Any) -> list[Any]:
        """Arrays as the manifest lists them → its outputs in order."""
        joining = self.manifest["joining"]
        if joining is None:
            (graph,) = self.graphs.values()
            return graph(*inputs)
        method = joining.get("method")
        if method == "stepwise" and joining.get("prefix") is not None:
            method = "cached"
        if joining.get("kind") != "decoding" or method not in METHODS:
            raise NotImplementedError(
                f"got graphs joined as {joining}; this page joins {', '.join(METHODS)}; call them"
            )
        return METHODS[method](self.graphs, joining, inputs)

    def texts(self, outputs: Sequence[Any]) -> list[str]:
        """The texts that a recogniser's outputs say."""
        tokens, characters = self.manifest["tokens"], self.manifest["characters"]
        ids = outputs[0].argmax(-1) if outputs[0].ndim == 3 else outputs[0]
        special = set(tokens.values())
        classes = [i for i in range(len(characters) + len(special)) if i not in special]
        letters = dict(zip(classes, characters))
        rows = [row[: row.index(tokens["eos"])] if tokens["eos"] in row else row for row in ids.tolist()]
        return ["".join(letters.get(i, "") for i in row) for row in rows]


def open_onnx(path: Path, graph: Mapping[str, Any], threads: int | None, precision: str) -> Graph:
    """A graph in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [spec["name"] for spec in graph["inputs"]]
    return lambda *inputs: list(session.run(None, dict(zip(names, inputs))))


def open_openvino(path: Path, graph: Mapping[str, Any], threads: int | None, precision: str) -> Graph:
    """A graph in OpenVINO, which would choose a narrower type by itself on some processors."""
    import openvino

    hint = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[precision]
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads or 0}
    request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
    names = [spec["name"] for spec in graph["inputs"]]

    def run(*inputs: Any) -> list[Any]:
        results = request.infer(dict(zip(names, inputs)))
        return [results[i] for i in range(len(results))]

    return run


def is_end(ids: Any, joining: Mapping[str, Any]) -> Any:
    """Where ids end a row."""
    return np.isin(ids, [joining["eos_id"], *joining.get("further_ends", ())])


def after_end(ids: Any, joining: Mapping[str, Any]) -> Any:
    """(N, T) bool, False up to and including the first end of each row."""
    ends = is_end(ids, joining)
    return ends.cumsum(-1) - ends > 0


def behind(ids: Any, bos: int) -> Any:
    """A decoder's input: the token that begins a row, then all predictions but the last."""
    return np.concatenate([np.full_like(ids[:, :1], bos), ids[:, :-1]], axis=1).astype(np.int32)


def predict(graphs: Mapping[str, Graph], joining: Mapping[str, Any], tokens: Any, memory: Any, kind: int) -> Any:
    """A pass over all positions: values (logits or probabilities) and the ids (N, T) that it predicts."""
    kinds = (np.full((1,), kind, np.int32),) if joining["takes_kind"] else ()
    given = graphs["decode"](tokens, *kinds, memory)
    return (given[1], given[0]) if joining["outputs"] == "tokens" else (given[0], given[0].argmax(-1).astype(np.int32))


def fixed_point(graphs: Mapping[str, Graph], joining: Mapping[str, Any], inputs: Sequence[Any]) -> list[Any]:
    """All positions at once, until they stop changing."""
    memory = encode(graphs, inputs)
    bos, eos, steps = joining["bos_id"], joining["eos_id"], joining["steps"]
    ids = np.full((len(inputs[0]), steps), eos, np.int32)
    if joining["takes_kind"]:
        values, ids = predict(graphs, joining, np.full_like(ids, bos), memory, GUESS)
    if joining["causal"] or not joining["takes_kind"]:
        for _ in range(steps):
            before = ids
            values, ids = predict(graphs, joining, behind(before, bos), memory, CAUSAL)
            if ((ids == before) | after_end(ids, joining)).all():
                break
    return finish(graphs, joining, values, ids, memory)


def stepwise(graphs: Mapping[str, Graph], joining: Mapping[str, Any], inputs: Sequence[Any]) -> list[Any]:
    """One position after the other, until every row has ended."""
    memory, rows = encode(graphs, inputs), len(inputs[0])
    if joining["state"] is None:
        (state,) = graphs["start"](memory)
    else:
        state = np.zeros((rows, *joining["state"]["shape"]), joining["state"]["dtype"])
        state[:, 0] = 1
    stops = joining["stops_at_eos"]
    token, ended = np.full(rows, joining["bos_id"], np.int32), np.zeros(rows, bool)
    found: list[Any] = []
    ids: list[Any] = []
    while len(ids) < joining["steps"] and not (ids and ended.all()):
        if joining["outputs"] == "tokens":
            token, value, state = graphs["step"](token, state, memory)
        else:
            value, state = graphs["step"](token, state, memory)
            token = value.argmax(-1).astype(np.int32)
        found.append(value)
        ids.append(token)
        ended = ended | (stops & is_end(token, joining))
    missing = joining["steps"] - len(ids)
    values = np.stack(found + [np.zeros_like(value)] * missing, axis=1)
    return finish(graphs, joining, values, np.stack(ids + [np.zeros_like(token)] * missing, axis=1), memory)


def cached(graphs: Mapping[str, Graph], joining: Mapping[str, Any], inputs: Sequence[Any]) -> list[Any]:
    """`stepwise`, with what earlier positions gave kept in a buffer."""
    memory, rows, steps, prefix = encode(graphs, inputs), len(inputs[0]), joining["steps"], joining["prefix"]
    entries = max(1, steps - 1 + prefix)
    context, first = graphs["start"](memory)
    buffer = np.zeros((rows, entries + steps, first.shape[2]), first.dtype)
    buffer[:, entries - prefix : entries] = first[:, :prefix]
    stops = joining["stops_at_eos"]
    tokens, ended = np.full((rows, 1), joining["bos_id"], np.int32), np.zeros((rows, 1), bool)
    found: list[Any] = []
    text = np.zeros((rows, steps + 1), np.int32)
    text[:, :1] = tokens
    while len(found) < steps and not (found and ended.all()):
        done = len(found)
        cache = np.ascontiguousarray(buffer[:, done : done + entries])
        position = np.full(rows, done, np.int32)
        tokens, value, written = advance(graphs["step"], joining, tokens, text, position, cache, context)
        buffer[:, entries + done : entries + done + 1] = written
        found.append(value)
        text[:, done + 1 : done + 2] = tokens
        ended = ended | (stops & is_end(tokens, joining))
    values = np.concatenate(found + [np.zeros_like(value)] * (steps - len(found)), axis=1)
    return finish(graphs, joining, values, text[:, 1:], memory)


def advance(step: Graph, joining: Mapping[str, Any], tokens: Any, text: Any, *others: Any) -> Any:
    """A call of a decoder with caches: the ids that it predicts, values, and what to keep."""
    given = step(text[:, :-1].copy() if joining.get("looks_back") else tokens, *others)
    if joining["outputs"] == "tokens":
        return given
    return [given[0].argmax(-1).astype(np.int32), *given]


def windowed(graphs: Mapping[str, Graph], joining: Mapping[str, Any], inputs: Sequence[Any]) -> list[Any]:
    """A window of positions a call, from the first token of each row that is not known."""
    memory, rows, steps, prefix = encode(graphs, inputs), len(inputs[0]), joining["steps"], joining["prefix"]
    window, lengths = joining["window"], joining["caches"]
    context, before = graphs["start"](memory)
    # Room behind the last place takes what is known already.
    buffer = np.zeros((rows, lengths[-1] + steps + window, before.shape[2]), before.dtype)
    buffer[:, lengths[-1] - prefix : lengths[-1]] = before[:, :prefix]
    text = np.full((rows, steps + 1), joining["eos_id"] if joining["stops_at_eos"] else 0, np.int32)
    text[:, 0] = joining["bos_id"]
    known, ended = np.zeros(rows, np.int64), np.zeros(rows, bool)
    values: Any = None
    while not ended.all():
        first = np.minimum(known, steps - window)
        tokens = np.stack([row[i : i + window] for row, i in zip(text, first)])
        length = next(length for length in lengths if length >= prefix + first.max())
        ends = first + lengths[-1]
        cache = np.stack([row[end - length : end] for row, end in zip(buffer, ends)])
        step, position = graphs[f"step_{length}"], first.astype(np.int32)
        ids, value, written = advance(step, joining, tokens, text, position, cache, context)
        if values is None:
            values = np.zeros((rows, steps, *value.shape[2:]), value.dtype)
        for row in np.flatnonzero(~ended):
            start, old = first[row], known[row] - first[row]
            buffer[row, lengths[-1] + known[row] :][: window - old] = written[row, old:]
            values[row, known[row] : start + window] = value[row, old:]
            right = (ids[row, :-1] == tokens[row, 1:]) | (np.arange(1, window) <= old)
            taken = 1 + int(np.cumprod(right).sum())
            text[row, known[row] + 1 : start + window + 1] = ids[row, old:]
            known[row] = start + taken
            ended[row] = (joining["stops_at_eos"] and is_end(ids[row, old:taken], joining).any()) or known[row] >= steps
            if not ended[row]:
                redraft(text[row], known[row])
    return finish(graphs, joining, values, text[:, 1:], memory)


def redraft(text: Any, known: int, fewest: int = 2, most: int = 4) -> None:
    """Let a text go on behind its known part as it did where it last said the same."""
    same, count = np.ones(known, bool), np.zeros(known, np.int64)
    for back in range(min(most, known)):
        same[:back] = False
        same[back:] &= text[: known - back] == text[known - back]
        count += same
    if count.max(initial=0) >= fewest:
        lag = known - int(np.flatnonzero(count == count.max())[-1])
        text[known + 1 :] = text[known + 1 - lag + np.arange(len(text) - known - 1) % lag]


def fused(graphs: Mapping[str, Graph], joining: Mapping[str, Any], inputs: Sequence[Any]) -> list[Any]:
    """One graph that makes several passes, until every row has settled."""
    gives_tokens, start = joining["outputs"] == "tokens", np.full((len(inputs[0]), joining["steps"]), -1, np.int32)
    # A pass settles one position at least, and one more finds that nothing has changed.
    for _ in range(-(-(joining["steps"] + 1) // joining["passes"])):
        first, second, settled = graphs["fused"](*inputs, start)
        start = first if gives_tokens else second
        if (settled > 0).all():
            break
    return [first, second] if gives_tokens else [first]


def unrolled(graphs: Mapping[str, Graph], joining: Mapping[str, Any], inputs: Sequence[Any]) -> list[Any]:
    """All steps in one graph."""
    (graph,) = graphs.values()
    return graph(*inputs)


def encode(graphs: Mapping[str, Graph], inputs: Sequence[Any]) -> Any:
    """What the decoder attends to: the encoder's output, or the input itself."""
    return graphs["encode"](*inputs)[0] if "encode" in graphs else inputs[0]


def finish(graphs: Mapping[str, Graph], joining: Mapping[str, Any], values: Any, ids: Any, memory: Any) -> list[Any]:
    """Refine, and zero what has no meaning."""
    for _ in range(joining["refine_iters"]):
        values, ids = predict(graphs, joining, behind(ids, joining["bos_id"]), memory, REFINE)
    gives_tokens = joining["outputs"] == "tokens"
    if joining["stops_at_eos"] and (gives_tokens or (joining["causal"] and not joining["refine_iters"])):
        after = after_end(ids, joining)
        values, ids = np.where(after[..., None] if values.ndim > 2 else after, 0, values), np.where(after, 0, ids)
    return [ids, values] if gives_tokens else [values]


METHODS = {
    "fixed_point": fixed_point,
    "stepwise": stepwise,
    "cached": cached,
    "fused": fused,
    "unrolled": unrolled,
    "windowed": windowed,
}

if __name__ == "__main__":
    here = Model()
    made = here(*(np.load(path) for path in sys.argv[1:]))
    if here.manifest["role"] == "recognizer" and here.manifest["characters"]:
        print("\n".join(here.texts(made)))
    for described, array in zip(here.manifest["outputs"], made):
        print(described["name"], array.shape, array.dtype)
