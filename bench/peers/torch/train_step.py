"""A training step of InternVL-C in PyTorch, eager and compiled: the same weights, batch and update as heddle's.

Reads a JSON line {weights, batch, config, steps} from standard input: two safetensors files and the sizes. Writes {"loss": ...},
and for each further line a JSON line {mode: seconds per step}.
"""

import json
import math
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

given = json.loads(sys.stdin.readline())
c = given["config"]
vision, text, pool_heads = c["vision"], c["text"], c["poolingHeads"]
w = {n: t.float().requires_grad_(True) for n, t in load_file(given["weights"]).items()}
batch = load_file(given["batch"])
pixels, ids = batch["pixels"].float(), batch["ids"].long()


def rms(x, name, epsilon=1e-6):
    return F.rms_norm(x, (x.shape[-1],), w[f"{name}.weight"], epsilon)


def linear(x, name):
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def heads(x, count):
    b, t, width = x.shape
    return x.view(b, t, count, width // count).transpose(1, 2)


def joined(x):
    b, h, t, d = x.shape
    return x.transpose(1, 2).reshape(b, t, h * d)


def vision_tokens():
    at = "vision_model.embeddings."
    x = F.conv2d(pixels, w[at + "patch_embedding.weight"], w[at + "patch_embedding.bias"], stride=vision["patch"])
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([w[at + "class_embedding"].expand(x.shape[0], -1, -1), x], 1) + w[at + "position_embedding"]
    for i in range(vision["depth"]):
        p = f"vision_model.encoder.layers.{i}."
        q, k, v = linear(rms(x, p + "norm1"), p + "attn.qkv").chunk(3, -1)
        q, k = rms(q, p + "attn.q_norm"), rms(k, p + "attn.k_norm")
        mixed = F.scaled_dot_product_attention(*(heads(y, vision["heads"]) for y in (q, k, v)))
        x = x + w[p + "ls1"] * linear(joined(mixed), p + "attn.proj")
        x = x + w[p + "ls2"] * linear(F.gelu(linear(rms(x, p + "norm2"), p + "mlp.fc1")), p + "mlp.fc2")
    return x


def pooled(x):
    p = "clip_projector."
    norm = lambda y, n: F.layer_norm(y, (y.shape[-1],), w[f"{p}norm1_{n}.weight"], w[f"{p}norm1_{n}.bias"], 1e-5)
    project = lambda y, n: heads(
        F.linear(norm(y, n), w[f"{p}cross_attn.{n}.weight"], w[f"{p}cross_attn.{n}_bias"]), pool_heads
    )
    q, k, v = project(x.mean(1, keepdim=True), "q"), project(x, "k"), project(x, "v")
    return linear(joined(F.scaled_dot_product_attention(q, k, v)), p + "cross_attn.proj")[:, 0]


t = ids.shape[1]
half = text["width"] // text["heads"] // 2
angle = torch.arange(t).float()[:, None] * text["rotaryBase"] ** (-torch.arange(half).float() / half)
cos, sin = angle.cos(), angle.sin()
visible = torch.ones(t, t, dtype=torch.bool).tril()[None, None] & (ids > 0)[:, None, None, :]
last = (ids > 0).sum(1) - 1


def turned(x):
    low, high = x.chunk(2, -1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)


def text_vector():
    x = F.embedding(ids, w["qllama.model.embed_tokens.weight"])
    for i in range(text["depth"]):
        p = f"qllama.model.layers.{i}."
        y = rms(x, p + "input_layernorm", text["epsilon"])
        q, k, v = (heads(linear(y, f"{p}self_attn.{n}_proj"), text["heads"]) for n in "qkv")
        mixed = F.scaled_dot_product_attention(turned(q), turned(k), v, attn_mask=visible)
        x = x + linear(joined(mixed), p + "self_attn.o_proj")
        y = rms(x, p + "post_attention_layernorm", text["epsilon"])
        inner = F.silu(linear(y, p + "mlp.gate_proj")) * linear(y, p + "mlp.up_proj")
        x = x + linear(inner, p + "mlp.down_proj")
    x = rms(x, "qllama.model.norm", text["epsilon"])
    return x[torch.arange(len(x)), last] @ w["text_projection"]


def loss_of():
    a, b = F.normalize(pooled(vision_tokens()), dim=-1), F.normalize(text_vector(), dim=-1)
    logits = a @ b.T * w["logit_scale"].exp()
    same = torch.arange(len(logits))
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


print(json.dumps({"loss": loss_of().item()}), flush=True)
optimizer = torch.optim.AdamW(w.values(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.1, fused=True)


def step(forward):
    optimizer.zero_grad(set_to_none=True)
    forward().backward()
    torch.nn.utils.clip_grad_norm_(list(w.values()), 1.0)
    optimizer.step()
    with torch.no_grad():
        w["logit_scale"].clamp_(0, math.log(100))


modes = {"eager": loss_of, "compiled": torch.compile(loss_of)}
for forward in modes.values():
    for _ in range(3):
        step(forward)
for _ in sys.stdin:
    times = {}
    for mode, forward in modes.items():
        begun = time.perf_counter()
        for _ in range(given["steps"]):
            step(forward)
        times[mode] = (time.perf_counter() - begun) / given["steps"]
    print(json.dumps(times), flush=True)
