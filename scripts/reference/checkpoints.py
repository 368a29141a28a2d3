"""What scripts of families share: a tiny checkpoint as transformers writes it, with what PyTorch computes from it in float64."""

import json
from pathlib import Path

import torch

from fixture import digest

root = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "families"


def drawn(model, seed):
    """Draws every parameter, exact in f16, so that none keeps a value (0, 1) that would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape, generator=generator)
            value = noise / p[0].numel() ** 0.5 if p.ndim > 1 else p + 0.2 * noise
            p.copy_(value.half().float())
    return model.eval()


def save(name, model, facts):
    """The folder of a checkpoint in f16, and beside it what is expected of it. Leaves the model in float64."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "expected.json").write_text(json.dumps(facts) + "\n")
    print(name, sum(f.stat().st_size for f in folder.iterdir()), "bytes")


def rounded(tensor):
    return [float(f"{v:.9g}") for v in tensor.detach().double().flatten().tolist()]


def gradients(model, names=lambda name: name):
    """Digests of all gradients by the names of stored tensors."""
    return {names(n): digest(p.grad) for n, p in model.named_parameters() if p.grad is not None}
