"""A tiny Flamingo after the paper's appendix A.1, its language model the GPT-2 of transformers: scores, loss and every gradient.

Norms are where the ports have them (lucidrains, OpenFlamingo): the paper's pseudo-code shows none.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from fixture import digest, randomize, write

width, latents, places, times, media, vocab, image = 8, 3, 4, 2, 2, 23, 20
text = {"width": 12, "depth": 3, "heads": 3, "mlp": 20, "vocab": vocab, "positions": 16, "epsilon": 1e-5}
resampler = {"depth": 2, "heads": 2, "headDim": 3, "mlp": 14}
gated = {"every": 2, "heads": 2, "headDim": 5, "mlp": 10}


def attention(q, k, v, heads, visible=None):
    """Row by row and head by head, as a definition: a token that sees nothing gets zeros."""
    d = q.shape[-1] // heads
    rows = []
    for h in range(heads):
        part = slice(h * d, (h + 1) * d)
        scores = q[..., part] @ k[..., part].transpose(-1, -2) / d**0.5
        if visible is not None:
            scores = scores.masked_fill(~visible, -torch.inf)
            weights = torch.where(visible.any(-1, keepdim=True), scores, 0.0).softmax(-1)
            weights = weights * visible.any(-1, keepdim=True)
        else:
            weights = scores.softmax(-1)
        rows.append(weights @ v[..., part])
    return torch.cat(rows, -1)


class Attention(nn.Module):
    def __init__(self, dim, seen, heads, head_dim):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, heads * head_dim, bias=False)
        # Checkpoints have these in one tensor, to_kv: here each has a digest of its gradient.
        self.to_k = nn.Linear(seen, heads * head_dim, bias=False)
        self.to_v = nn.Linear(seen, heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(self, x, seen, visible=None):
        return self.to_out(attention(self.to_q(x), self.to_k(seen), self.to_v(seen), self.heads, visible))


class SquaredRelu(nn.Module):
    def forward(self, x):
        return F.relu(x) ** 2


def feed_forward(dim, inner):
    return nn.Sequential(
        nn.LayerNorm(dim), nn.Linear(dim, inner, bias=False), SquaredRelu(), nn.Linear(inner, dim, bias=False)
    )


class ResamplerAttention(Attention):
    def __init__(self):
        super().__init__(width, width, resampler["heads"], resampler["headDim"])
        self.norm_media, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, z, x):
        z, x = self.norm_latents(z), self.norm_media(x)
        return super().forward(z, torch.cat([x, z], -2))


class Resampler(nn.Module):
    def __init__(self):
        super().__init__()
        self.latents = nn.Parameter(torch.zeros(latents, width))
        self.frame_embs = nn.Parameter(torch.zeros(times, width))
        self.layers = nn.ModuleList(
            nn.ModuleList([ResamplerAttention(), feed_forward(width, resampler["mlp"])])
            for _ in range(resampler["depth"])
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, features):
        """[batch, media, frame, place, width]"""
        frames = features.shape[2]
        if frames <= times:
            time = self.frame_embs[:frames]
        else:
            time = F.interpolate(self.frame_embs.T[None], size=frames, mode="linear", align_corners=False)[0].T
        x = (features + time[:, None]).flatten(2, 3)
        z = self.latents.expand(*x.shape[:2], -1, -1)
        for attend, feed in self.layers:
            z = z + attend(z, x)
            z = z + feed(z)
        return self.norm(z)


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = Attention(text["width"], width, gated["heads"], gated["headDim"])
        self.attn.norm = nn.LayerNorm(text["width"])
        self.ff = feed_forward(text["width"], gated["mlp"])
        self.attn_gate, self.ff_gate = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, y, seen, visible):
        y = y + torch.tanh(self.attn_gate) * self.attn(self.attn.norm(y), seen, visible)
        return y + torch.tanh(self.ff_gate) * self.ff(y)


class Flamingo(nn.Module):
    def __init__(self):
        super().__init__()
        self.perceiver = Resampler()
        config = GPT2Config(
            vocab_size=vocab,
            n_embd=text["width"],
            n_layer=text["depth"],
            n_head=text["heads"],
            n_inner=text["mlp"],
            n_positions=text["positions"],
        )
        lm = GPT2LMHeadModel(config)
        self.lang_encoder = nn.Module()
        self.lang_encoder.transformer = lm.transformer
        count = -(-text["depth"] // gated["every"])
        self.lang_encoder.gated_cross_attn_layers = nn.ModuleList(Gated() for _ in range(count))
        self.lm = [lm]

    def forward(self, features, ids):
        """A hook before each block of the language model puts the gated layers in."""
        seen = self.perceiver(features)
        owner = torch.arange(1, seen.shape[1] + 1).repeat_interleave(latents)
        visible = (ids == image).cumsum(1)[:, :, None] == owner
        flat = seen.flatten(1, 2)
        hooks = []
        for i, block in enumerate(self.lang_encoder.transformer.h):
            if i % gated["every"] == 0:
                layer = self.lang_encoder.gated_cross_attn_layers[i // gated["every"]]
                hooks.append(
                    block.register_forward_pre_hook(
                        lambda _, args, layer=layer: (layer(args[0], flat, visible), *args[1:])
                    )
                )
        out = self.lm[0](input_ids=ids).logits
        for hook in hooks:
            hook.remove()
        return out


if __name__ == "__main__":
    model = randomize(Flamingo().eval(), 9)
    ids = torch.tensor([[5, image, 3, 9, image, 7, 8], [image, 4, 6, 2, 11, 12, 0]])
    labels = ids.clone()
    labels[ids == image] = -100
    labels[1, 6] = -100
    generator = torch.Generator().manual_seed(10)
    clip = torch.randn(2, media, 2, places, width, generator=generator)
    logits = model(clip.double(), ids)
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    loss.backward()
    long = torch.randn(2, media, 5, places, width, generator=generator)
    facts = {
        "config": {
            "visionWidth": width,
            "places": places,
            "frames": 2,
            "times": times,
            "latents": latents,
            "resampler": resampler,
            "gated": gated,
            "text": text,
            "imageToken": image,
        },
        "loss": loss.item(),
        "gradients": {n: digest(p.grad) for n, p in model.named_parameters() if p.grad is not None},
    }
    expected = {"logits": logits, "long": model(long.double(), ids)}
    write("flamingo", model, {"vision": clip, "long": long, "ids": ids, "labels": labels}, expected, facts)
    print(loss.item())
