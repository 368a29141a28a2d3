"""What the fixture scripts share: random weights, digests of gradients, and writing a fixture."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

folder = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "models"


def randomize(module, seed=1):
    """Draws every parameter so that none keeps a value (0, 1) that would hide a mistake; float32 values in float64."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            draw = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            if name in ("logit_scale", "temp"):
                value = p.double() + 0.1 * draw
            elif p.ndim == 1:
                base = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                value = (0.5 if name.endswith(("ls1", "ls2")) else base) + 0.2 * draw
            elif "embed" in name and p.ndim == 2 and name.endswith("weight"):
                value = draw
            else:
                value = draw / (p[0].numel() ** 0.5)
            p.data = value.float().double()
    return module.double()


def facts_of(text, context):
    """A text configuration under the names that heddle's TextConfig has."""
    return {
        "width": text.width,
        "depth": text.depth,
        "heads": text.heads,
        "mlp": text.mlp,
        "vocab": text.vocab,
        "context": context,
        "epsilon": text.epsilon,
        "attentionBias": text.attention_bias,
        "rotaryBase": text.rotary_base,
    }


def random_texts(generator, count, context, vocab, shortest=3):
    """Ids of `shortest` to `context` tokens: 1 first (BOS), 2 last (EOS), then 0 (padding)."""
    ids = torch.zeros(count, context, dtype=torch.long)
    for row in ids:
        length = int(torch.randint(shortest, context + 1, (), generator=generator))
        row[:length] = torch.randint(3, vocab, (length,), generator=generator)
        row[0], row[length - 1] = 1, 2
    return ids


def digest(tensor):
    """Two numbers that tell a tensor: its norm, and its product with cos(1), cos(2) ... in row-major order."""
    flat = tensor.detach().double().flatten()
    return [flat.norm().item(), (flat * torch.cos(torch.arange(1, len(flat) + 1, dtype=torch.float64))).sum().item()]


def gradient_digests(module):
    return {name: digest(p.grad) for name, p in module.named_parameters() if p.grad is not None}


def write(name, module, inputs, expected, facts, stored=torch.float32):
    """
    `facts` is JSON: configuration, losses, digests. Tensors keep f32 or i32, and f16 where that is what they are given as;
    expectations are told in f32.
    """
    tensors = {f"weights/{n}": p.detach().to(stored).contiguous().clone() for n, p in module.named_parameters()}
    for kind, group in (("inputs", inputs), ("expected", expected)):
        for n, t in group.items():
            kept = t.detach() if t.dtype == torch.float16 else t.detach().float() if t.is_floating_point() else t.int()
            tensors[f"{kind}/{n}"] = kept.contiguous().clone()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_file(tensors, path, metadata={"facts": json.dumps(facts)})
    print(f"{path.name}: {path.stat().st_size} bytes")
