"""Writes `encoder.onnx`: the published int8 file, with a tuned copy of its last layers beside them.

Both share what lies below. The first output is the tuned one, `base` is the model as published: `mcp-hub eval` calls
tools alike by that, whatever was tuned. Weights are int8 with a scale for each column, as in the published file.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

OURS = {
    "attention.self.query": "query", "attention.self.key": "key", "attention.self.value": "value", "attention.output.dense": "out",
    "attention.output.LayerNorm": "attention_norm", "intermediate.dense": "up", "output.dense": "down", "output.LayerNorm": "norm",
}
PREFIX = "inner.encoder.layer."


def quantised(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.maximum(np.abs(weight).max(axis=0, keepdims=True), 1e-12) / 127.0
    return np.round(weight / scale).astype(np.int8), scale.astype(np.float32)


def ours(name: str, first: int) -> str:
    """`inner.encoder.layer.5.output.dense.bias` -> `1.down.bias`, counted from the first tuned layer."""
    at, rest = name.removeprefix(PREFIX).split(".", 1)
    module, kind = rest.rsplit(".", 1)
    return f"{int(at) - first}.{OURS[module]}.{kind}"


def read_rows(graph: onnx.GraphProto) -> None:
    """Tables of embeddings stay int8: rows are made floats when they are read. The runtime would else keep 47 MB of floats."""
    made_by = {output: node for node in graph.node for output in node.output}
    for gather in [node for node in graph.node if node.op_type == "Gather"]:
        times = made_by.get(gather.input[0])
        if times is None or times.op_type != "Mul":
            continue
        cast, at = made_by[times.input[0]], gather.input[1]
        rows = [
            helper.make_node("Gather", [cast.input[0], at], [f"{gather.output[0]}_q"], f"{gather.name}_q"),
            helper.make_node("Gather", [times.input[1], at], [f"{gather.output[0]}_scale"], f"{gather.name}_scale"),
            helper.make_node("Cast", [f"{gather.output[0]}_q"], [f"{gather.output[0]}_f"], f"{gather.name}_f", to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [f"{gather.output[0]}_f", f"{gather.output[0]}_scale"], gather.output, gather.name),
        ]
        place = list(graph.node).index(gather)
        for old in (gather, times, cast):
            graph.node.remove(old)
        for node in reversed(rows):
            graph.node.insert(place - 2, node)


def write(published: Path, state: dict[str, np.ndarray], first: int, out: Path) -> None:
    """`state` holds the tuned layers from `first` on, by their names in `encoder.py`."""
    model = onnx.load(published)
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    below = next(n.output[0] for n in graph.node if f"{PREFIX}{first - 1}.output.LayerNorm.weight" in n.input)
    above = {below}
    tuned, weights = [], {}
    for node in graph.node:
        if any(name in above for name in node.input):
            above.update(node.output)
            tuned.append(node)
    for node in tuned:
        if node.op_type != "MatMul" or node.input[1] in above:
            continue
        bias = next(name for n in tuned if node.output[0] in n.input for name in n.input if name.endswith(".bias"))
        weights[node.input[1]] = ours(bias, first).replace(".bias", ".weight")
    added, renamed = [], {name: f"{name}_tuned" for name in above - {below}}

    def put(name: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    for dequantised, name in weights.items():  # Cast(int8), then Mul(scale)
        values, scale = quantised(state[name].T)
        times = made_by[dequantised]
        cast = made_by[times.input[0]]
        renamed[dequantised] = f"{dequantised}_tuned"
        held = put(f"{cast.input[0]}_tuned", values), put(f"{times.input[1]}_tuned", scale)
        added.append(helper.make_node("Cast", held[:1], [f"{cast.output[0]}_tuned"], f"{cast.name}_tuned", to=onnx.TensorProto.FLOAT))
        added.append(helper.make_node("Mul", [f"{cast.output[0]}_tuned", held[1]], [renamed[dequantised]], f"{times.name}_tuned"))
    for original in tuned:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        node.name = f"{node.name}_tuned"
        for at, name in enumerate(node.input):
            if name.startswith(PREFIX) and name not in renamed:
                renamed[name] = put(f"{name}_tuned", state[ours(name, first)])
            node.input[at] = renamed.get(name, name)
        for at, name in enumerate(node.output):
            node.output[at] = renamed[name]
        added.append(node)
    graph.node.extend(added)
    output = graph.output[0]
    names = {output.name: "base", renamed[output.name]: output.name}
    for node in graph.node:
        for names_of in (node.input, node.output):
            for at, name in enumerate(names_of):
                names_of[at] = names.get(name, name)
    base = onnx.ValueInfoProto()
    base.CopyFrom(output)
    base.name = "base"
    graph.output.append(base)
    read_rows(graph)
    onnx.checker.check_model(model)
    onnx.save(model, out)
