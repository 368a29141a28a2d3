"""What the scripts of families that classify pictures share: drawn weights, a step in float64, a checkpoint with a picture."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from fixture import gradient_digests, write

root = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "classifiers"


def classes(*names):
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}


def drawn(model, seed):
    """Draws every parameter and running statistic so that none keeps a value (0, 1) that would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(noise / p[0].numel() ** 0.5 if p.ndim > 1 else p + 0.2 * noise)
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.copy_(0.2 * torch.randn(b.shape, generator=generator))
            elif name.endswith("running_var"):
                b.copy_(0.7 + torch.rand(b.shape, generator=generator))
    return model.eval()


def statistics(model):
    return {n: b.clone() for n, b in model.named_buffers() if n.endswith(("running_mean", "running_var"))}


def hub_names(model):
    """Names in files by names in memory, which differ in transformers: tensors are told by their values."""
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        stored = load_file(Path(folder) / "model.safetensors")
    known = {t.numpy().tobytes(): n for n, t in stored.items()}
    return {n: known[p.detach().numpy().tobytes()] for n, p in model.named_parameters()}


class Renamed:
    """A module's parameters under the names that they have in files; what has none there, and no gradient, is left out."""

    def __init__(self, model, names):
        self.model, self.names = model, names

    def named_parameters(self):
        used = [(n, p) for n, p in self.model.named_parameters() if p.grad is not None]
        return [(self.names[n] if self.names else n, p) for n, p in used]


def parity(name, model, scores, facts, rows=3, names=None, smoothing=0):
    """Scores of a batch, then a training step of mean cross-entropy (`smoothing` of labels): loss, gradients, running statistics. In float64."""
    model.double().eval()
    generator = torch.Generator().manual_seed(7)
    pixels = torch.randn(rows, 3, facts["image"], facts["image"], generator=generator).half().double()
    label = torch.arange(rows) % facts["classes"]
    before = statistics(model)
    expected = {"scores": scores(pixels)}
    model.train()
    loss = torch.nn.functional.cross_entropy(scores(pixels), label, label_smoothing=smoothing)
    loss.backward()
    inputs = {"pixels": pixels.half(), "label": label}  # which they were drawn as
    inputs |= {f"before/{n}": b for n, b in before.items()}
    expected |= {f"after/{n}": b for n, b in statistics(model).items()}
    facts = {"config": facts, "smoothing": smoothing, "loss": loss.item(), "gradients": gradient_digests(Renamed(model, names))}
    write(name, Renamed(model, names), inputs, expected, facts)


def picture(path):
    draw = np.random.default_rng(3)
    small = Image.fromarray(draw.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    small.resize((75, 58), Image.BILINEAR).save(path)
    return Image.open(path).convert("RGB")


def published(name, model, processor):
    """A checkpoint as `save_pretrained` writes it, its processor, a picture, and the logits of that."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    processor.save_pretrained(folder)
    pixels = processor(picture(folder / "picture.png"), return_tensors="pt").pixel_values
    with torch.no_grad():
        logits = model(pixels).logits[0]
    model.save_pretrained(folder)
    facts = {"size": list(pixels.shape), "logits": [float(f"{v:.8g}") for v in logits.tolist()]}
    (folder / "expected.json").write_text(json.dumps(facts) + "\n")
    print(name, facts)
