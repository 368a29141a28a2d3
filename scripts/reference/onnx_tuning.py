"""
A language model of one layer, its embedding table tied to its last product, as both exporters of torch.onnx write it,
and the losses with which PyTorch trains all of it, and all but the layer's first matrix. And two linear layers whose
inputs are quantized, some of them beyond the range, with PyTorch's losses through the straight-through estimator.

    python scripts/reference/onnx_tuning.py    writes test/fixtures/onnx-tuning.json, needs torch, onnx, onnxscript.
"""

import base64
import io
import json
from pathlib import Path

import onnx
import torch
from torch import nn

VOCAB, WIDTH, HIDDEN, STEPS, ROWS, TOKENS, RATE = 11, 4, 6, 20, 2, 3, 0.1
torch.set_num_threads(1)


class Writer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.block = nn.ModuleDict({"up": nn.Linear(WIDTH, HIDDEN), "down": nn.Linear(HIDDEN, WIDTH, bias=False)})
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCAB, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        x = self.embed(ids)
        return self.head(self.norm(x + self.block["down"](torch.tanh(self.block["up"](x)))))


def made():
    torch.manual_seed(1)
    return Writer()


def ids(step):
    """Ids of a step, and those that they are to be followed by."""
    row = torch.tensor([[(7 * step + 3 * b + 5 * t + step * b) % VOCAB for t in range(TOKENS)] for b in range(ROWS)])
    return row, (2 * row + 1) % VOCAB


def losses(frozen=()):
    model = made()
    optimizer = torch.optim.SGD([p for n, p in model.named_parameters() if n not in frozen], lr=RATE, momentum=0.9)
    found = []
    for step in range(STEPS):
        given, wanted = ids(step)
        loss = nn.functional.cross_entropy(model(given).reshape(-1, VOCAB), wanted.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def file(dynamo):
    """The exported file, of the metadata of its nodes only the scopes."""
    held = io.BytesIO()
    names = {"input_names": ["ids"], "output_names": ["logits"]}
    if dynamo:
        batch, token = torch.export.Dim("batch"), torch.export.Dim("token")
        program = torch.onnx.export(made(), (ids(0)[0],), dynamo=True, dynamic_shapes=({0: batch, 1: token},), **names)
        program.save(held, include_initializers=True)
    else:
        axes = {"ids": {0: "batch", 1: "token"}}
        torch.onnx.export(made(), (ids(0)[0],), held, dynamo=False, dynamic_axes=axes, opset_version=17, **names)
    model = onnx.load_from_string(held.getvalue())
    for node in model.graph.node:
        kept = [p for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    del model.graph.metadata_props[:], model.graph.value_info[:]
    return base64.b64encode(model.SerializeToString()).decode()


class Rounded(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, x):
        x = torch.fake_quantize_per_tensor_affine(x, 0.01, 3, -128, 127)
        return self.down(torch.fake_quantize_per_tensor_affine(torch.tanh(self.up(x)), 0.02, 128, 0, 255).relu())


def values(step):
    """Inputs of a step, of which some are out of range, and what they are to give."""
    x = torch.tensor([[1.6 * torch.sin(torch.tensor(1.0 + 5 * step + 3 * b + e)).item() for e in range(WIDTH)] for b in range(ROWS)])
    return x, x.sum(1, keepdim=True) / 3


def rounded():
    torch.manual_seed(2)
    return Rounded()


def rounded_losses():
    model = rounded()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    found = []
    for step in range(STEPS):
        given, wanted = values(step)
        loss = nn.functional.mse_loss(model(given), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def rounded_file():
    held = io.BytesIO()
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}}
    torch.onnx.export(rounded(), (values(0)[0],), held, dynamo=False, opset_version=17, **names)
    return base64.b64encode(held.getvalue()).decode()


fixture = {
    **{"steps": STEPS, "rows": ROWS, "tokens": TOKENS, "vocab": VOCAB, "rate": RATE},
    **{"dynamo": file(True), "torchscript": file(False)},
    **{"losses": losses(), "withoutUp": losses(["block.up.weight"])},
    **{"rounded": rounded_file(), "roundedLosses": rounded_losses()},
    **{"roundedSteps": [[t.flatten().tolist() for t in values(step)] for step in range(STEPS)]},
}
path = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "onnx-tuning.json"
path.write_text(json.dumps(fixture, indent=1) + "\n")
