"""What PyTorch computes with layers and options of theirs: the result, and gradients of a third of the sum of its cubes."""

import json
from pathlib import Path

import torch
from torch.nn import functional as F

generator = torch.Generator().manual_seed(11)


def draw(*shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64).float().double().requires_grad_()


def told(tensor):
    return {"shape": list(tensor.shape), "data": [round(v, 7) for v in tensor.detach().flatten().tolist()]}


def case(compute, **inputs):
    y = compute(**inputs)
    (y.pow(3).sum() / 3).backward()
    return {"inputs": {n: told(t) for n, t in inputs.items()}, "y": told(y), "gradients": {n: told(t.grad) for n, t in inputs.items()}}


def pooling(x, **options):
    return F.avg_pool2d(x, **options)


def attended(q, k, v, bias, mask=None):
    """q [heads, token, dim], k and v [heads, key, dim], bias [heads, token, key]; mask [token, key], true where seen."""
    logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    weights = logits.softmax(-1)
    return weights.nan_to_num(0.0) @ v if mask is None else torch.where(mask.any(-1)[:, None], weights.nan_to_num(0.0), 0.0) @ v


causal = torch.ones(5, 7, dtype=torch.bool).tril(2)
q = dict(q=(2, 5, 4), k=(2, 7, 4), v=(2, 7, 3), bias=(2, 5, 7))
cases = {
    "layer norm": case(lambda x: F.layer_norm(x, [6], eps=1e-3), x=draw(3, 6)),
    "layer norm with a scale": case(lambda x, weight: F.layer_norm(x, [6], weight, eps=1e-5), x=draw(3, 6), weight=draw(6)),
    "rms norm": case(lambda x: F.rms_norm(x, [6], eps=1e-6), x=draw(3, 6)),
    "average pooling": case(lambda x: pooling(x, kernel_size=2), x=draw(2, 6, 5)),
    "average pooling with zeros": case(lambda x: pooling(x, kernel_size=3, stride=2, padding=1), x=draw(2, 6, 5)),
    "average pooling without zeros": case(
        lambda x: pooling(x, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0), count_include_pad=False), x=draw(2, 6, 5)
    ),
    "max pooling": case(lambda x: F.max_pool2d(x, kernel_size=3, stride=2, padding=1), x=draw(2, 7, 6)),
    "transposed convolution": case(
        lambda x, weight, bias: F.conv_transpose2d(x[None], weight.permute(3, 0, 1, 2), bias, stride=(2, 3), padding=(1, 0), output_padding=(1, 2), dilation=(2, 1))[0],
        x=draw(2, 3, 4), weight=draw(3, 3, 2, 2), bias=draw(3),
    ),
    "transposed convolution in groups": case(
        lambda x, weight: F.conv_transpose2d(x[None], weight.permute(0, 4, 1, 2, 3).flatten(0, 1), stride=2, padding=1, groups=2)[0],
        x=draw(4, 3, 2), weight=draw(2, 3, 4, 4, 2),
    ),
    "transposed convolution of tiles": case(
        lambda x, weight, bias: F.conv_transpose2d(x[None], weight.permute(3, 0, 1, 2), bias, stride=(3, 2))[0],
        x=draw(2, 3, 2), weight=draw(4, 3, 2, 2), bias=draw(4),
    ),
    "resizing with aligned corners": case(
        lambda x: F.interpolate(x[None], size=(7, 2), mode="bilinear", align_corners=True)[0], x=draw(2, 4, 5)
    ),
    "resizing to one pixel with aligned corners": case(
        lambda x: F.interpolate(x[None], size=(1, 3), mode="bilinear", align_corners=True)[0], x=draw(2, 4, 1)
    ),
    "patch embedding": case(lambda image, weight: F.conv2d(image[None], weight, stride=2)[0], image=draw(3, 4, 6), weight=draw(5, 3, 2, 2)),
    "attention with a bias": case(attended, **{n: draw(*s) for n, s in q.items()}),
    "attention with a bias and a mask": case(lambda **t: attended(**t, mask=causal), **{n: draw(*s) for n, s in q.items()}),
}
path = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "models" / "layers.json"
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
print(f"{path.name}: {path.stat().st_size} bytes")
