"""Writes `encoder.onnx`: MiniLM with int8 weights, and the low-rank tuning beside them.

    write(state, out)                         # as published
    write(state, out, {"3.query": (a, b)})    # tuned: adds x @ a @ b

`state` is `MiniLm.state_dict()` as published. The input `tuned` is 1 for the tuned model and 0 for the published one. Both use the same
nodes, because readers pack the weights of each node. The int8 weights are one block of the file, which a reader need not copy: it is
external data of ONNX that refers to this same file.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from encoder import CLS, HEADS, LAYERS, SEP, WIDTH, MiniLm

# The tokens of texts laid out one after the other, the position of each in its text, and the number of the text. The scale of the tuning.
INPUTS, TUNED = ("input_ids", "positions", "texts"), "tuned"
NAME, OUTPUT = "encoder.onnx_data", "last_hidden_state"
# Linears that read the same input are one product.
TOGETHER = {"query": ("query", "key", "value"), "out": ("out",), "up": ("up",), "down": ("down",)}
# Texts are truncated at 64 tokens.
PLACES = 128
# Added to the attention score of a token of another text.
SILENCE = -1e4
# A field of the outermost message that ONNX does not have. Readers skip it.
BLOCK_FIELD = 1000


def by_rows(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12) / 127.0
    return np.round(table / scale).astype(np.int8), scale.astype(np.float32)


def by_columns(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`weight` is [in, out]. x86 without VNNI adds two products of u8 and i8 in 16 bits with saturation. So two weights that lie side by side
    in a column are together at most 128 (255 * 128 < 2^15), and every CPU computes the same."""

    def pairs(of: np.ndarray) -> np.ndarray:
        return np.abs(of).reshape(-1, 2, of.shape[1]).sum(1).max(0)

    scale = np.maximum(np.maximum(pairs(weight) / 128.0, np.abs(weight).max(0) / 127.0), 1e-12)
    while True:
        whole = np.round(weight / scale)
        over = (pairs(whole) > 128) | (np.abs(whole).max(0) > 127)
        if not over.any():
            return whole.astype(np.int8), scale.astype(np.float32)
        scale = np.where(over, scale * 1.002, scale)


@torch.inference_mode()
def smoothing(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The factor by which each column of an input is divided and its row of weights is multiplied. Some columns are fifty times as large as
    others and would determine the int8 scale. Measured on the texts of `tokens.json`."""
    model = MiniLm()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    model.eval()
    largest: dict[str, torch.Tensor] = {}

    def see(key: str):
        def hook(_, inputs):
            found = inputs[0].abs().flatten(0, -2).amax(0)
            largest[key] = torch.maximum(largest.get(key, found), found)
        return hook

    for at, layer in enumerate(model.layers):
        for name in ("query", "out", "up"):
            getattr(layer, name).register_forward_pre_hook(see(f"{at}.{name}"))
    for _, ids in json.loads((Path(__file__).parent / "tokens.json").read_text()):
        tokens = torch.tensor([[CLS, *ids, SEP]])
        model(tokens, torch.ones_like(tokens))
    out = {}
    for key, found in largest.items():
        at, name = key.split(".")
        weight = np.abs([state[f"layers.{at}.{each}.weight"] for each in TOGETHER[name]]).max((0, 1))
        ratio = np.sqrt(np.maximum(found.numpy(), 1e-5) / np.maximum(weight, 1e-5))
        out[key] = (ratio / np.exp(np.log(ratio).mean())).astype(np.float32)
    return out


class Writer:
    def __init__(self, state, low_rank):
        self.state, self.low_rank = state, low_rank
        self.smooth = smoothing(state)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}
        self.block = bytearray()

    def add(self, kind: str, inputs: list[str], name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def put(self, name: str, value, kind=np.float32) -> str:
        """Adds a weight. The same name means the same weight."""
        if name not in self.weights:
            self.weights[name] = numpy_helper.from_array(np.asarray(value, kind, order="C"), name)
        return name

    def put_apart(self, name: str, value: np.ndarray) -> str:
        """Adds an int8 weight to the block."""
        if name not in self.weights:
            tensor = numpy_helper.from_array(np.asarray(value, np.int8, order="C"), name)
            set_external_data(tensor, NAME, len(self.block), len(tensor.raw_data))
            self.block += tensor.raw_data
            tensor.ClearField("raw_data")
            self.weights[name] = tensor
        return name

    def half(self, name: str, value: np.ndarray) -> str:
        """Adds a small matrix as fp16. It is converted to floats when it is loaded."""
        return self.add("Cast", [self.put(f"{name}.half", value, np.float16)], name, to=TensorProto.FLOAT)

    def quantised(self, key: str, x: str) -> tuple[str, str, float, str]:
        """Quantizes an input: bytes, zero point, and scale relative to the largest value of each row. So one text does not change the scale of
        another."""
        axis = self.put("last", [-1], np.int64)
        if key.endswith("down"):  # GELU is never below -0.17
            most = self.add("ReduceMax", [x, axis], f"{key}.most", keepdims=1)
            size, zero, step = self.add("Max", [most, self.put("least", 2.0)], f"{key}.size"), 20, 1 / 235
        else:
            if not key.endswith("out"):  # the weights of "value" have divided its input already
                x = self.add("Mul", [x, self.put(f"{key}.smooth", 1 / self.smooth[key])], f"{key}.smoothed")
            size, zero, step = self.add("ReduceMax", [self.add("Abs", [x], f"{key}.abs"), axis], f"{key}.size", keepdims=1), 128, 1 / 127
        unit, middle = self.add("Div", [x, size], f"{key}.unit"), self.put(f"zero.{zero}", zero, np.uint8)
        return self.add("QuantizeLinear", [unit, self.put(f"step.{zero}", step), middle], f"{key}.bytes"), middle, step, size

    def times(self, layer: int, name: str) -> np.ndarray | float:
        """The factors for the columns of a linear, for the next layer that reads them."""
        if name == "query":
            return 1 / math.sqrt(WIDTH // HEADS)
        return 1 / self.smooth[f"{layer}.out"] if name == "value" else 1.0

    def linear(self, layer: int, first: str, x: str) -> str:
        key, names = f"{layer}.{first}", TOGETHER[first]
        times = [self.times(layer, name) for name in names]
        smooth = self.smooth.get(key, np.ones(1))[:, None]
        weights = [self.state[f"layers.{layer}.{name}.weight"].T * t for name, t in zip(names, times)]
        whole, scale = by_columns(np.concatenate(weights, 1) * smooth)
        read, zero, step, size = self.quantised(key, x)
        product = [read, self.put_apart(f"{key}.weight", whole), zero, self.put("zero", 0, np.int8)]
        y = self.add("Cast", [self.add("MatMulInteger", product, f"{key}.product")], f"{key}.float", to=TensorProto.FLOAT)
        y = self.add("Mul", [y, self.put(f"{key}.scale", scale * step)], f"{key}.scaled")
        y = self.add("Mul", [y, size], f"{key}.sized")
        more = self.put(f"{key}.bias", np.concatenate([self.state[f"layers.{layer}.{name}.bias"] * t for name, t in zip(names, times)]))
        if any(f"{layer}.{name}" in self.low_rank for name in names):
            narrow, wide = [], []
            for name, t, weight in zip(names, times, weights):
                a, b = self.low_rank.get(f"{layer}.{name}", (np.zeros((len(weight), 0)), np.zeros((0, weight.shape[1]))))
                narrow.append(a * smooth if first == "out" else a)
                wide.append(b * t)
            inner = self.add("MatMul", [x, self.half(f"{key}.a", np.concatenate(narrow, 1))], f"{key}.inner")
            inner = self.add("Mul", [inner, TUNED], f"{key}.tuned")
            low = self.add("MatMul", [inner, self.half(f"{key}.b", diagonal(wide))], f"{key}.low")
            more = self.add("Add", [low, more], f"{key}.more")
        return self.add("Add", [y, more], key)

    def norm(self, name: str, x: str, y: str) -> str:
        own = [self.put(f"{name}.{kind}", self.state[f"layers.{name}.{kind}"]) for kind in ("weight", "bias")]
        return self.add("LayerNormalization", [self.add("Add", [x, y], f"{name}.sum"), *own], name, axis=-1, epsilon=1e-12)

    def layer(self, layer: int, x: str, mask: str) -> str:
        shape = self.put("heads", [0, 0, 3 * HEADS, WIDTH // HEADS], np.int64)
        three = self.add("Reshape", [self.linear(layer, "query", x), shape], f"{layer}.three")
        three = self.add("Transpose", [three], f"{layer}.heads", perm=[0, 2, 1, 3])
        q, k, v = (f"{layer}.{name}" for name in "qkv")
        self.nodes.append(helper.make_node("Split", [three], [q, k, v], f"{layer}.split", axis=1, num_outputs=3))
        scores = self.add("MatMul", [q, self.add("Transpose", [k], f"{layer}.turned", perm=[0, 1, 3, 2])], f"{layer}.scores")
        shares = self.add("Softmax", [self.add("Add", [scores, mask], f"{layer}.masked")], f"{layer}.shares", axis=-1)
        mixed = self.add("Transpose", [self.add("MatMul", [shares, v], f"{layer}.mixed")], f"{layer}.back", perm=[0, 2, 1, 3])
        mixed = self.add("Reshape", [mixed, self.put("width", [0, 0, WIDTH], np.int64)], f"{layer}.whole")
        x = self.norm(f"{layer}.attention_norm", x, self.linear(layer, "out", mixed))
        up = self.add("Gelu", [self.linear(layer, "up", x)], f"{layer}.gelu")
        return self.norm(f"{layer}.norm", x, self.linear(layer, "down", up))

    def embedded(self) -> str:
        words, scale = by_rows(self.state["words.weight"])
        x = self.add("Gather", [self.put_apart("words", words), "input_ids"], "words.bytes")
        x = self.add("Cast", [x], "words.float", to=TensorProto.FLOAT)
        x = self.add("Mul", [x, self.add("Gather", [self.put("words.scale", scale), "input_ids"], "words.by")], "words.read")
        places = self.put("places", self.state["places.weight"][:PLACES] + self.state["kind"])
        x = self.add("Add", [x, self.add("Gather", [places, "positions"], "places.read")], "embedded")
        own = [self.put(f"norm.{kind}", self.state[f"norm.{kind}"]) for kind in ("weight", "bias")]
        return self.add("LayerNormalization", [x, *own], "norm", axis=-1, epsilon=1e-12)

    def mask(self) -> str:
        """The attention mask: a token attends only to tokens of its own text."""
        told = self.add("Cast", ["texts"], "texts.float", to=TensorProto.FLOAT)
        down = self.add("Unsqueeze", [told, self.put("down.axes", [1, 3], np.int64)], "texts.down")
        across = self.add("Unsqueeze", [told, self.put("across.axes", [1, 2], np.int64)], "texts.across")
        other = self.add("Abs", [self.add("Sub", [down, across], "texts.apart")], "texts.other")
        return self.add("Mul", [other, self.put("silence", SILENCE)], "mask")

    def model(self) -> onnx.ModelProto:
        mask, x = self.mask(), self.embedded()
        for layer in range(LAYERS):
            x = self.layer(layer, x, mask)
        self.nodes[-1].output[0] = OUTPUT
        info = helper.make_tensor_value_info
        rows = [info(name, TensorProto.INT64, [1, "length"]) for name in INPUTS]
        graph = helper.make_graph(
            self.nodes, "encoder",
            [*rows, info(TUNED, TensorProto.FLOAT, [1])],
            [info(OUTPUT, TensorProto.FLOAT, [1, "length", WIDTH])],
            list(self.weights.values()),
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9, producer_name="mcphub")


def diagonal(parts: list[np.ndarray]) -> np.ndarray:
    out = np.zeros((sum(len(part) for part in parts), sum(part.shape[1] for part in parts)))
    row = column = 0
    for part in parts:
        out[row : row + len(part), column : column + part.shape[1]] = part
        row, column = row + len(part), column + part.shape[1]
    return out


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def save(model: onnx.ModelProto, block: bytes, out: Path) -> None:
    """Writes the block first, so that its offset does not depend on what refers to it."""
    head = varint(BLOCK_FIELD << 3 | 2) + varint(len(block))
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "offset":
                entry.value = str(int(entry.value) + len(head))
    out.write_bytes(head + block + model.SerializeToString(deterministic=True))


def write(state, out: Path, low_rank=None) -> None:
    """`low_rank` maps `<layer>.<linear>` to (a [in, r], b [r, out]), with all scales multiplied in."""
    state = {name: np.asarray(value, np.float32) for name, value in state.items()}
    low_rank = {name: tuple(np.asarray(part, np.float32) for part in parts) for name, parts in (low_rank or {}).items()}
    for name, (a, b) in low_rank.items():
        wide, narrow = state[f"layers.{name}.weight"].shape
        assert a.shape == (narrow, len(b)) and b.shape[1] == wide, f"{name}: {a.shape}, {b.shape}"
    writer = Writer(state, low_rank)
    save(writer.model(), bytes(writer.block), out)


def main() -> None:
    """Writes the model as published."""
    options = argparse.ArgumentParser()
    options.add_argument("--mini", type=Path, required=True, help="folder of MiniLM's weights and tokenizer")
    options.add_argument("--out", type=Path, required=True)
    told = options.parse_args()
    write(MiniLm.load(told.mini / "model.safetensors").state_dict(), told.out)


if __name__ == "__main__":
    main()
