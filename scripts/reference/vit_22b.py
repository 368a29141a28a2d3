"""ViT-22B written a second time, in PyTorch, from the paper (arXiv:2302.05442, section 2): no code of it was published.

python scripts/reference/vit_22b.py    writes test/fixtures/models/vit-22b-*.safetensors, and prints the full model's parameters.
"""

import torch
from torch import nn
from torch.nn import functional as F

from classifiers import drawn, parity


class Scale(nn.Module):
    """A norm without a bias: with centring (LayerNorm) or without (RMSNorm)."""

    def __init__(self, width, centred):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.centred = centred

    def forward(self, x):
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * self.weight


class Mlp(nn.Module):
    def __init__(self, width, inner, approximate):
        super().__init__()
        self.fc1, self.fc2, self.approximate = nn.Linear(width, inner), nn.Linear(inner, width), approximate

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate=self.approximate))


class Attention(nn.Module):
    def __init__(self, width, heads, bias, out_bias, centred=None):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width, bias=bias) for _ in range(3))
        self.out = nn.Linear(width, width, bias=out_bias)
        self.heads = heads
        if centred is not None:
            self.q_norm, self.k_norm = (Scale(width // heads, centred) for _ in range(2))
        self.normed = centred is not None

    def forward(self, x, seen):
        q, k, v = (m(y).unflatten(-1, (self.heads, -1)) for m, y in ((self.q, x), (self.k, seen), (self.v, seen)))
        if self.normed:
            q, k = self.q_norm(q), self.k_norm(k)
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
        return self.out(torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(-2))


class Block(nn.Module):
    def __init__(self, c, centred, approximate):
        super().__init__()
        self.norm = Scale(c["width"], centred)
        self.attn = Attention(c["width"], c["heads"], False, c["outBias"], centred)
        self.mlp = Mlp(c["width"], c["mlp"], approximate)

    def forward(self, x):
        u = self.norm(x)
        return x + self.mlp(u) + self.attn(u, u)


class Pool(nn.Module):
    """Attention pooling of Zhai et al. 2022: one learned query, then an MLP."""

    def __init__(self, c, centred, approximate):
        super().__init__()
        self.probe = nn.Parameter(torch.zeros(1, c["width"]))
        self.attn = Attention(c["width"], c["heads"], True, True)
        self.norm = Scale(c["width"], centred)
        self.mlp = Mlp(c["width"], c["mlp"], approximate)

    def forward(self, x):
        z = self.attn(self.probe.expand(len(x), 1, -1), x)
        return (z + self.mlp(self.norm(z)))[:, 0]


class Vit22b(nn.Module):
    def __init__(self, c):
        super().__init__()
        kind = (c["norm"] == "layer", {"tanh": "tanh", "exact": "none"}[c["gelu"]])
        self.patch_embed = nn.Conv2d(3, c["width"], c["patch"], c["patch"])
        self.positions = nn.Parameter(torch.zeros((c["image"] // c["patch"]) ** 2, c["width"]))
        self.blocks = nn.ModuleList(Block(c, *kind) for _ in range(c["depth"]))
        self.norm = Scale(c["width"], kind[0])
        self.pool = Pool(c, *kind)
        self.head = nn.Linear(c["width"], c["classes"]) if c["classes"] else nn.Identity()

    def forward(self, pixels):
        x = self.patch_embed(pixels).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(self.norm(x)))


if __name__ == "__main__":
    torch.manual_seed(0)
    tiny = {"width": 6, "depth": 2, "heads": 2, "mlp": 10, "image": 15, "patch": 5, "classes": 3}
    for name, more in {
        "vit-22b-rms": {"norm": "rms", "gelu": "tanh", "outBias": True},
        "vit-22b-layer": {"norm": "layer", "gelu": "exact", "outBias": False},
    }.items():
        facts = {**tiny, **more}
        model = drawn(Vit22b(facts), 11)
        parity(name, model, model, facts)
    full = {"width": 6144, "depth": 48, "heads": 48, "mlp": 24576, "image": 224, "patch": 14, "classes": 0}
    with torch.device("meta"):
        model = Vit22b({**full, "norm": "rms", "gelu": "tanh", "outBias": True})
    print(sum(p.numel() for p in model.parameters()), sum(p.numel() for p in model.blocks.parameters()))
