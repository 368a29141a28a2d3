"""InternVL in plain PyTorch, written from the paper and the published tensor names, to compare heddle with.

Nothing here is fast or general: each module is the shortest correct form, and `state_dict()` has the published names
(OpenGVLab/InternViT-6B-224px, OpenGVLab/InternVL-14B-224px).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Vision:
    width: int
    depth: int
    heads: int
    mlp: int
    image: int
    patch: int
    positions: int = 0


@dataclass
class Text:
    width: int
    depth: int
    heads: int
    mlp: int
    vocab: int
    epsilon: float = 1e-6
    rotary_base: float = 10000.0
    attention_bias: bool = False


class RMSNorm(nn.Module):
    def __init__(self, width, epsilon=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon))


class VisionAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads = c.heads
        self.qkv = nn.Linear(c.width, 3 * c.width, bias=False)
        self.q_norm = RMSNorm(c.width)
        self.k_norm = RMSNorm(c.width)
        self.proj = nn.Linear(c.width, c.width)

    def forward(self, x):
        b, t, w = x.shape
        q, k, v = self.qkv(x).split(w, dim=-1)
        q, k = self.q_norm(q), self.k_norm(k)  # over all heads at once
        q, k, v = (y.view(b, t, self.heads, w // self.heads).transpose(1, 2) for y in (q, k, v))
        weights = ((q * (w // self.heads) ** -0.5) @ k.transpose(-1, -2)).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, t, w))


class VisionMLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc1 = nn.Linear(c.width, c.mlp)
        self.fc2 = nn.Linear(c.mlp, c.width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class VisionLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm1 = RMSNorm(c.width)
        self.attn = VisionAttention(c)
        self.ls1 = nn.Parameter(0.1 * torch.ones(c.width))
        self.norm2 = RMSNorm(c.width)
        self.mlp = VisionMLP(c)
        self.ls2 = nn.Parameter(0.1 * torch.ones(c.width))

    def forward(self, x):
        x = x + self.attn(self.norm1(x)) * self.ls1
        return x + self.mlp(self.norm2(x)) * self.ls2


class VisionEmbeddings(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.stored = (c.positions or c.image) // c.patch
        self.class_embedding = nn.Parameter(torch.randn(1, 1, c.width))
        self.patch_embedding = nn.Conv2d(3, c.width, kernel_size=c.patch, stride=c.patch)
        self.position_embedding = nn.Parameter(torch.randn(1, self.stored**2 + 1, c.width))

    def forward(self, pixels):
        patches = self.patch_embedding(pixels)
        grid = patches.shape[-1]
        x = torch.cat([self.class_embedding.expand(len(pixels), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        position = self.position_embedding
        if grid != self.stored:
            old = position[:, 1:].reshape(1, self.stored, self.stored, -1).permute(0, 3, 1, 2)
            new = F.interpolate(old, size=(grid, grid), mode="bicubic", align_corners=False)
            position = torch.cat([position[:, :1], new.flatten(2).transpose(1, 2)], dim=1)
        return x + position


class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(c) for _ in range(c.depth))


class InternViT(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embeddings = VisionEmbeddings(c)
        self.encoder = Encoder(c)

    def forward(self, pixels):
        """depth + 1 hidden states, the embeddings first."""
        states = [self.embeddings(pixels)]
        for layer in self.encoder.layers:
            states.append(layer(states[-1]))
        return states


class PoolingAttention(nn.Module):
    def __init__(self, width, heads, out):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.q_bias, self.k_bias, self.v_bias = (nn.Parameter(torch.zeros(width)) for _ in range(3))
        self.proj = nn.Linear(width, out)

    def forward(self, q, k, v):
        b, t, w = k.shape
        split = lambda y: y.view(b, -1, self.heads, w // self.heads).transpose(1, 2)
        q = split(self.q(q) + self.q_bias)
        k = split(self.k(k) + self.k_bias)
        v = split(self.v(v) + self.v_bias)
        weights = (q @ k.transpose(-1, -2) * (w // self.heads) ** -0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, -1, w))


class AttentionPooling(nn.Module):
    def __init__(self, width, heads, out):
        super().__init__()
        self.norm1_q, self.norm1_k, self.norm1_v = (nn.LayerNorm(width, eps=1e-5) for _ in range(3))
        self.cross_attn = PoolingAttention(width, heads, out)

    def forward(self, x):
        q = x.mean(1, keepdim=True)
        return self.cross_attn(self.norm1_q(q), self.norm1_k(x), self.norm1_v(x)).squeeze(1)


def symmetric_loss(image, text, scale):
    """CLIP's loss of two lists of unit vectors; row i matches row i."""
    logits = scale * image @ text.T
    target = torch.arange(len(image))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def eos_feature(hidden, ids):
    return hidden[torch.arange(len(ids)), (ids > 0).sum(1) - 1]


def hf_llama(c):
    """The LLaMA of Hugging Face transformers."""
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(
        hidden_size=c.width,
        intermediate_size=c.mlp,
        num_hidden_layers=c.depth,
        num_attention_heads=c.heads,
        vocab_size=c.vocab,
        rms_norm_eps=c.epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": c.rotary_base},
        attention_bias=c.attention_bias,
        attn_implementation="eager",
        pad_token_id=0,
    )
    return LlamaModel(config)


class Contrastive(nn.Module):
    """InternVL-C with the text tower of transformers."""

    def __init__(self, vision, text, embed, heads):
        super().__init__()
        self.vision_model = InternViT(vision)
        self.clip_projector = AttentionPooling(vision.width, heads, embed)
        self.qllama = nn.Module()
        self.qllama.model = hf_llama(text)
        self.text_projection = nn.Parameter(torch.randn(text.width, embed))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, pixels, ids):
        tokens = self.vision_model(pixels)[-1]
        pooled = self.clip_projector(tokens)
        hidden = self.qllama.model(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state
        projected = eos_feature(hidden, ids) @ self.text_projection
        return {"tokens": tokens, "pooled": pooled, "hidden": hidden, "projected": projected}

    def loss(self, pixels, ids):
        out = self.forward(pixels, ids)
        unit = lambda x: x / x.norm(dim=-1, keepdim=True)
        scale = self.logit_scale.exp().clamp(max=100)
        return symmetric_loss(unit(out["pooled"]), unit(out["projected"]), scale)
