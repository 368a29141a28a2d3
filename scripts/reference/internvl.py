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

    def forward(self, x, drop=(1, 1)):
        x = x + self.attn(self.norm1(x)) * self.ls1 * drop[0]
        return x + self.mlp(self.norm2(x)) * self.ls2 * drop[1]


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

    def forward(self, pixels, keep=None, drop=None):
        """depth + 1 hidden states, the embeddings first. `keep` [batch, kept] are the patches that are kept, by number;
        `drop` has a factor for each branch of each block."""
        x = self.embeddings(pixels)
        if keep is not None:
            x = torch.cat([x[:, :1], x[:, 1:].gather(1, keep[..., None].expand(-1, -1, x.shape[-1]))], dim=1)
        states = [x]
        for i, layer in enumerate(self.encoder.layers):
            states.append(layer(states[-1], drop[i] if drop else (1, 1)))
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


def hf_llama(c, causal=False):
    """The LLaMA of Hugging Face transformers; with its output matrix where it is to write."""
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel

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
    return LlamaForCausalLM(config) if causal else LlamaModel(config)


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

    def forward(self, pixels, ids, **seen):
        tokens = self.vision_model(pixels, **seen)[-1]
        pooled = self.clip_projector(tokens)
        hidden = self.qllama.model(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state
        projected = eos_feature(hidden, ids) @ self.text_projection
        return {"tokens": tokens, "pooled": pooled, "hidden": hidden, "projected": projected}

    def loss(self, pixels, ids, **seen):
        out = self.forward(pixels, ids, **seen)
        unit = lambda x: x / x.norm(dim=-1, keepdim=True)
        scale = self.logit_scale.exp()
        return symmetric_loss(unit(out["pooled"]), unit(out["projected"]), scale)


def rotate(x, position, base):
    """Rotary position embedding, half-split layout. x [..., token, dim], position [token]."""
    half = x.shape[-1] // 2
    frequency = base ** (-torch.arange(half, dtype=x.dtype) / half)
    angle = position.to(x.dtype)[:, None] * frequency
    cos, sin = angle.cos(), angle.sin()
    low, high = x[..., :half], x[..., half:]
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.base = c.heads, c.rotary_base
        for name in "qkvo":
            setattr(self, f"{name}_proj", nn.Linear(c.width, c.width, bias=c.attention_bias))

    def forward(self, x, visible):
        b, t, w = x.shape
        split = lambda y: y.view(b, t, self.heads, w // self.heads).transpose(1, 2)
        place = torch.arange(t)
        q = rotate(split(self.q_proj(x)), place, self.base)
        k = rotate(split(self.k_proj(x)), place, self.base)
        logits = q @ k.transpose(-1, -2) / math.sqrt(w // self.heads)
        weights = logits.masked_fill(~visible[:, None], -1e30).softmax(-1)
        return self.o_proj((weights @ split(self.v_proj(x))).transpose(1, 2).reshape(b, t, w))


class CrossAttention(nn.Module):
    def __init__(self, c, vision_width):
        super().__init__()
        self.heads = c.heads
        self.norm1 = RMSNorm(c.width, c.epsilon)
        self.norm2 = RMSNorm(vision_width, c.epsilon)
        self.q_proj = nn.Linear(c.width, c.width, bias=False)
        self.k_proj = nn.Linear(vision_width, c.width, bias=False)
        self.v_proj = nn.Linear(vision_width, c.width, bias=False)
        self.o_proj = nn.Linear(c.width, c.width, bias=False)

    def forward(self, x, vision):
        b, t, w = x.shape
        split = lambda y: y.view(b, -1, self.heads, w // self.heads).transpose(1, 2)
        image = self.norm2(vision)
        q, k, v = split(self.q_proj(self.norm1(x))), split(self.k_proj(image)), split(self.v_proj(image))
        weights = (q @ k.transpose(-1, -2) / math.sqrt(w // self.heads)).softmax(-1)
        return self.o_proj((weights @ v).transpose(1, 2).reshape(b, t, w))


class SwiGLU(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c.width, c.mlp, bias=False)
        self.up_proj = nn.Linear(c.width, c.mlp, bias=False)
        self.down_proj = nn.Linear(c.mlp, c.width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    def __init__(self, c, vision_width, crosses):
        super().__init__()
        self.self_attn = Attention(c)
        if crosses:
            self.cross_attn = CrossAttention(c, vision_width)
        self.mlp = SwiGLU(c)
        self.input_layernorm = RMSNorm(c.width, c.epsilon)
        self.post_attention_layernorm = RMSNorm(c.width, c.epsilon)

    def forward(self, x, visible, vision, queries):
        x = x + self.self_attn(self.input_layernorm(x), visible)
        if vision is not None and hasattr(self, "cross_attn"):
            asked = x[:, :queries]
            x = torch.cat([asked + self.cross_attn(asked, vision), x[:, queries:]], dim=1)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """LLaMA, or QLLaMA where `cross_every` is not 0."""

    def __init__(self, c, vision_width=0, cross_every=0):
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab, c.width)
        self.layers = nn.ModuleList(
            DecoderLayer(c, vision_width, cross_every > 0 and i % cross_every == 0) for i in range(c.depth)
        )
        self.norm = RMSNorm(c.width, c.epsilon)

    def forward(self, x, visible, vision=None, queries=0):
        for layer in self.layers:
            x = layer(x, visible, vision, queries)
        return self.norm(x)


def causal_visible(ids):
    """bool [batch, token, key]: causal, and never at padding."""
    t = ids.shape[1]
    return torch.ones(t, t, dtype=torch.bool).tril()[None] & (ids > 0)[:, None]


def pass_visible(kind, ids, queries):
    """The masks of QLLaMA's three passes over [queries; text]: bool [batch, token, key]."""
    real = torch.cat([torch.ones(len(ids), queries, dtype=torch.bool), ids > 0], dim=1)
    t = real.shape[1]
    visible = torch.ones(t, t, dtype=torch.bool)
    if kind == "contrastive":
        visible[:queries, queries:] = False
        visible[queries:, :queries] = False
        visible[queries:, queries:] = torch.ones(t - queries, t - queries, dtype=torch.bool).tril()
    if kind == "generative":
        visible = visible.tril()
        visible[:queries, :queries] = True
    return visible[None] & real[:, None]


class Generative(nn.Module):
    """InternVL-G, whole."""

    def __init__(self, vision, text, queries, cross_every, embed, heads):
        super().__init__()
        self.queries = queries
        self.vision_model = InternViT(vision)
        self.clip_projector = AttentionPooling(vision.width, heads, embed)
        self.clip_projector2 = AttentionPooling(text.width, heads, embed)
        self.qllama = nn.Module()
        self.qllama.model = Decoder(text, vision.width, cross_every)
        self.qllama.lm_head = nn.Linear(text.width, text.vocab, bias=False)
        self.query_tokens = nn.Parameter(torch.randn(1, queries, text.width))
        self.text_projection = nn.Parameter(torch.randn(text.width, embed))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.itm_head = nn.Linear(text.width, 2)

    def text_only(self, ids):
        return self.qllama.model(self.qllama.model.embed_tokens(ids), causal_visible(ids))

    def query_only(self, vision):
        queries = self.query_tokens.repeat(len(vision), 1, 1)
        visible = torch.ones(len(vision), self.queries, self.queries, dtype=torch.bool)
        return self.qllama.model(queries, visible, vision, self.queries)

    def joint(self, vision, passes):
        """Passes {kind: ids} as one batch, as the released code runs them: {kind: (queries, text)}."""
        ids = torch.cat(list(passes.values()))
        visible = torch.cat([pass_visible(kind, x, self.queries) for kind, x in passes.items()])
        queries = self.query_tokens.repeat(len(ids), 1, 1)
        both = torch.cat([queries, self.qllama.model.embed_tokens(ids)], dim=1)
        out = self.qllama.model(both, visible, vision.repeat(len(passes), 1, 1), self.queries)
        parts = out.chunk(len(passes))
        return {kind: (x[:, : self.queries], x[:, self.queries :]) for kind, x in zip(passes, parts)}

    def embed_text(self, ids):
        return unit(eos_feature(self.text_only(ids), ids) @ self.text_projection)

    def embed_image(self, pixels):
        vision = self.vision_model(pixels)[-1]
        return unit(unit(self.clip_projector(vision)) + unit(self.clip_projector2(self.query_only(vision))))

    def stage_two(
        self, pixels, ids, matching_ids, matches, caption_ids, caption_prompt, released=True, smoothing=0.0, mined=None
    ):
        """The three losses; the label rules are those of the released code. `mined`: groups, and numbers for two draws;
        then matching_ids are the images' own, and there are no `matches`."""
        vision = self.vision_model(pixels)[-1]
        passes = {} if mined else {"matching": matching_ids}
        out = self.joint(vision, passes | {"contrastive": ids, "generative": caption_ids})
        image = unit(self.clip_projector2(out["contrastive"][0]))
        text = unit(eos_feature(out["contrastive"][1], ids) @ self.text_projection)
        logits = self.logit_scale.exp() * image @ text.T
        targets = torch.arange(len(ids))
        targets[(ids > 0).sum(1) - 1 == 4] = -100
        each = lambda x: F.cross_entropy(x, targets, label_smoothing=smoothing)
        contrastive = (each(logits) + each(logits.T)) / 2

        if mined:
            matching = self.mined_matching(vision, matching_ids, logits.detach(), *mined)
        else:
            labels = matches.clone().long()
            labels[(matching_ids > 0).sum(1) - 1 == 1] = -100
            matching = F.cross_entropy(self.itm_head(out["matching"][0]).mean(1), labels)

        words = caption_ids.clone().long()
        words[torch.arange(words.shape[1]) < caption_prompt[:, None] - int(released)] = -100
        words[caption_ids == 0] = -100
        scores = self.qllama.lm_head(out["generative"][1])[:, :-1]
        generative = F.cross_entropy(scores.flatten(0, 1), words[:, 1:].flatten())
        return matching, contrastive, generative, out

    def mined_matching(self, vision, ids, logits, group, for_image, for_text):
        """As LAVIS's blip2_qformer.py: softmax + 1e-4, nothing for the own group, one draw for each image and each text;
        the draws by Gumbel's trick, from numbers in (0, 1) [image, text]."""
        own = group[:, None] == group[None]

        def draw(similar, numbers):
            weights = (similar.softmax(1) + 1e-4).masked_fill(own, 0)
            return (weights.log() - (-numbers.log()).log()).argmax(1)

        texts, images = draw(logits, for_image), draw(logits.T, for_text.T)
        every, others = torch.cat([ids, ids, ids[texts]]), torch.cat([vision, vision[images], vision])
        labels = torch.tensor([1, 0, 0]).repeat_interleave(len(ids))
        labels[len(ids) :][own.all(1).repeat(2)] = -100
        labels[(every > 0).sum(1) - 1 == 1] = -100
        scores = self.itm_head(self.joint(others, {"matching": every})["matching"][0]).mean(1)
        return F.cross_entropy(scores, labels)

    def retrieval(self, pixels, ids, matching_ids, other_ids, image_id, **seen):
        vision = self.vision_model(pixels, **seen)[-1]
        scores = torch.cat(
            [
                self.itm_head(self.joint(vision, {"matching": other_ids})["matching"][0]).mean(1),
                self.itm_head(self.joint(vision, {"matching": matching_ids})["matching"][0]).mean(1),
            ]
        )
        labels = torch.cat([torch.zeros(len(ids)), torch.ones(len(ids))]).long()
        matching = F.cross_entropy(scores, labels)
        text = self.embed_text(ids)
        target = (image_id[:, None] == image_id[None]).to(vision.dtype)
        target = target / target.sum(1, keepdim=True)
        soft = lambda logits: -(logits.log_softmax(1) * target).sum(1).mean()
        contrastive = 0
        for image in (unit(self.clip_projector2(self.query_only(vision))), unit(self.clip_projector(vision))):
            logits = self.logit_scale.exp() * image @ text.T
            contrastive = contrastive + (soft(logits) + soft(logits.T)) / 2
        return matching, contrastive


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


class Projector(nn.Sequential):
    def __init__(self, width, out):
        super().__init__(nn.Linear(width, out), nn.GELU(), nn.Linear(out, out))


class Chat(nn.Module):
    """InternVL-Chat with the causal language model of transformers; path B where `qllama` is given."""

    def __init__(self, vision, text, features, qllama=None, queries=0, cross_every=0):
        super().__init__()
        self.features, self.queries = features, queries
        self.vision_model = InternViT(vision)
        llm = hf_llama(text, causal=True)
        self.model, self.lm_head = llm.model, llm.lm_head
        self.llm = [llm]  # in a list, so that its parameters are not told twice
        if qllama is None:
            self.model.mm_projector = Projector(vision.width, text.width)
            return
        self.model.mm_projector = nn.Module()
        self.model.mm_projector.mlp1 = Projector(vision.width, text.width)
        self.model.mm_projector.mlp2 = Projector(qllama.width, text.width)
        self.qllama = nn.Module()
        self.qllama.model = Decoder(qllama, vision.width, cross_every)
        del self.qllama.model.embed_tokens  # path B gives QLLaMA no text
        self.query_tokens = nn.Parameter(torch.randn(1, queries, qllama.width))

    def visual(self, pixels):
        states = self.vision_model(pixels)
        patches = states[self.features][:, 1:]
        if not self.queries:
            return self.model.mm_projector(patches)
        asked = self.query_tokens.repeat(len(pixels), 1, 1)
        visible = torch.ones(len(pixels), self.queries, self.queries, dtype=torch.bool)
        queries = self.qllama.model(asked, visible, states[-1], self.queries)
        return torch.cat([self.model.mm_projector.mlp2(queries), self.model.mm_projector.mlp1(patches)], dim=1)

    def embed(self, pixels, ids):
        """Token embeddings, with the image's tokens where the id is -200."""
        x = self.model.embed_tokens(ids.clamp(min=0))
        x[ids == -200] = self.visual(pixels)[(ids == -200).any(1)].flatten(0, 1)
        return x

    def forward(self, pixels, ids, labels):
        return self.llm[0](
            inputs_embeds=self.embed(pixels, ids), attention_mask=(ids != 0).long(), labels=labels
        )
