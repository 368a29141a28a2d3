"""Tiny language models whose queries share keys and values: LLaMA by transformers, and InternLM2 by a module of its own.

InternLM2 is written from its published description, and then computes the same as LLaMA with its joined matrix split.
"""

import json

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from checkpoints import drawn, gradients, root, rounded, save

PROMPT = "so it"


def given(vocab):
    ids = torch.randint(3, vocab, (2, 7), generator=torch.Generator().manual_seed(2))
    ids[:, 0] = 1
    labels = ids.clone()
    labels[1, 5:] = -100
    # BOS and bytes + 3, as heddle's byte tokenizer has them.
    begun = torch.tensor([[1, *(b + 3 for b in PROMPT.encode())]])
    return ids, labels, begun


def facts_of(scores, loss, model, ids, labels, tokens):
    return {
        "ids": ids.tolist(),
        "labels": labels.tolist(),
        "logits": rounded(scores[:, [2, 6]]),  # at two places
        "loss": loss.item(),
        "gradients": gradients(model),
        "prompt": PROMPT,
        "tokens": tokens,
    }


def llama():
    config = LlamaConfig(
        vocab_size=264,
        hidden_size=12,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=4,
        rms_norm_eps=1e-5,
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )
    model = drawn(LlamaForCausalLM(config), 21).double()
    ids, labels, begun = given(config.vocab_size)
    out = model(input_ids=ids, labels=labels)
    out.loss.backward()
    with torch.no_grad():
        made = model.generate(begun, max_new_tokens=10, do_sample=False, eos_token_id=None, pad_token_id=0)
    facts = facts_of(out.logits, out.loss, model, ids, labels, made[0, begun.shape[1] :].tolist())
    save("llama-grouped", model, facts)


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * self.weight


class Attention(nn.Module):
    """One matrix for all: of each head of keys its queries, then its key, then its value."""

    def __init__(self, width, heads, key_heads):
        super().__init__()
        self.dim, self.key_heads, self.group = width // heads, key_heads, heads // key_heads
        self.wqkv = nn.Linear(width, (heads + 2 * key_heads) * self.dim, bias=False)
        self.wo = nn.Linear(width, width, bias=False)

    def forward(self, x, base):
        batch, tokens, width = x.shape
        slots = self.wqkv(x).view(batch, tokens, self.key_heads, self.group + 2, self.dim)
        turned = turn(slots[..., :-1, :], base)
        q, k, v = turned[..., :-1, :], turned[..., -1, :], slots[..., -1, :]
        logits = torch.einsum("bthgd,bshd->bhgts", q, k) / self.dim**0.5
        later = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
        weights = logits.masked_fill(later, float("-inf")).softmax(-1)
        mixed = torch.einsum("bhgts,bshd->bthgd", weights, v)
        return self.wo(mixed.reshape(batch, tokens, width))


def turn(x, base):
    """Element i of a head and i + dim / 2 turned by position · base^(-2i / dim). x [batch, token, ..., dim]"""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[1])[:, None].double() * base ** (-torch.arange(half).double() / half)
    angle = angle.view(1, x.shape[1], *[1] * (x.ndim - 3), half)
    low, high = x[..., :half], x[..., half:]
    return torch.cat([low * angle.cos() - high * angle.sin(), high * angle.cos() + low * angle.sin()], -1)


class FeedForward(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.w1, self.w3 = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.w2 = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        width = c["hidden_size"]
        self.attention = Attention(width, c["num_attention_heads"], c["num_key_value_heads"])
        self.feed_forward = FeedForward(width, c["intermediate_size"])
        self.attention_norm, self.ffn_norm = Norm(width), Norm(width)

    def forward(self, x, base):
        x = x + self.attention(self.attention_norm(x), base)
        return x + self.feed_forward(self.ffn_norm(x))


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.tok_embeddings = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = Norm(c["hidden_size"])


class InternLM2(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.model = Decoder(c)
        self.output = nn.Linear(c["hidden_size"], c["vocab_size"], bias=False)
        self.base = c["rope_theta"]

    def forward(self, ids=None, embedded=None):
        x = self.model.tok_embeddings(ids) if embedded is None else embedded
        for layer in self.model.layers:
            x = layer(x, self.base)
        return self.output(self.model.norm(x))


def as_llama(model, c):
    """The same weights in transformers' LLaMA."""
    plain = {k: v for k, v in c.items() if k not in ("model_type", "architectures", "rope_scaling", "bias")}
    same = LlamaForCausalLM(LlamaConfig(**plain, attention_bias=False)).double()
    group = c["num_attention_heads"] // c["num_key_value_heads"]
    words = {
        "tok_embeddings": "embed_tokens",
        "output.": "lm_head.",
        "attention.wo": "self_attn.o_proj",
        "attention_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "feed_forward.w1": "mlp.gate_proj",
        "feed_forward.w3": "mlp.up_proj",
        "feed_forward.w2": "mlp.down_proj",
    }
    tensors = {}
    for name, value in model.state_dict().items():
        if name.endswith("wqkv.weight"):
            slots = value.view(c["num_key_value_heads"], group + 2, -1, value.shape[-1])
            place = name.replace("attention.wqkv.weight", "self_attn.{}_proj.weight")
            parts = {"q": slots[:, :group], "k": slots[:, group], "v": slots[:, group + 1]}
            tensors |= {place.format(x): p.reshape(-1, value.shape[-1]) for x, p in parts.items()}
        else:
            for ours, theirs in words.items():
                name = name.replace(ours, theirs)
            tensors[name] = value
    same.load_state_dict(tensors)
    return same.eval()


def internlm2():
    config = {
        "architectures": ["InternLM2ForCausalLM"],
        "model_type": "internlm2",
        "bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 16,
        "intermediate_size": 20,
        "max_position_embeddings": 32768,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {"factor": 3.0, "type": "dynamic"},
        "rope_theta": 1000.0,
        "tie_word_embeddings": False,
        "vocab_size": 264,
    }
    model = drawn(InternLM2(config), 22).double()
    ids, labels, begun = given(config["vocab_size"])
    scores = model(ids)
    loss = F.cross_entropy(scores[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    loss.backward()
    same = as_llama(model, config)
    with torch.no_grad():
        assert (same(ids).logits - scores).abs().max() < 1e-5  # transformers turns positions in float32
        text = begun
        for _ in range(10):
            text = torch.cat([text, model(text)[:, -1:].argmax(-1)], 1)
    facts = facts_of(scores, loss, model, ids, labels, text[0, begun.shape[1] :].tolist())
    folder = root / "internlm2"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "expected.json").write_text(json.dumps(facts) + "\n")
    tensors = {n: p.detach().half().contiguous() for n, p in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    print("internlm2", sum(f.stat().st_size for f in folder.iterdir()), "bytes", loss.item(), facts["tokens"])


if __name__ == "__main__":
    llama()
    internlm2()
