"""Fifty steps of a published stage at a configuration that a seed draws: losses, gradients, weights afterwards.

    python stages.py 2 17 FOLDER      stage 2, seed 17 -> FOLDER/2-17.json

Schedules, decay, rates by layer and clamps are written here again, from the paper and the released scripts. `numbers.py`
draws weights, pixels and what a step draws at random, on both sides alike. All is in float64; `float32` of a file tells how
far PyTorch's own float32 is from that, which bounds what can be asked of anybody's.
"""

import json
import math
import random
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from fixture import digest, facts_of
from heads import Probe, Segmenter
from internvl import Chat, Contrastive, Generative, Text, Vision
from numbers_alike import spread, uniform

STEPS, BATCHES = 50, 3
torch.set_num_threads(1)


class Case:
    """What both sides are told, and how this one computes a step: `loss(t)` gives the loss and its parts."""

    def __init__(self, stage, seed, dtype):
        self.stage, self.seed, self.dtype, self.pick = stage, seed, dtype, random.Random(f"{stage}/{seed}")
        self.inputs = [{} for _ in range(BATCHES)]
        self.clip = None
        self.given = {"steps": STEPS, "rate": round(10 ** self.pick.uniform(-3.5, -2), 6)}

    def any(self, *values):
        return self.pick.choice(values)

    def vision(self, depth=1, grids=(1, 2, 3, 4)):
        heads, patch, grid = self.any(1, 2, 3, 5), self.any(1, 2, 3), self.any(*grids)
        return Vision(heads * self.any(2, 3, 4), self.any(depth, depth + 1), heads, self.any(5, 8, 13), grid * patch, patch)

    def text(self, biased=True):
        heads = self.any(1, 2, 3)
        return Text(
            width=heads * self.any(2, 4, 6),
            depth=self.any(1, 2, 3),
            heads=heads,
            mlp=self.any(5, 9, 14),
            vocab=self.any(13, 19, 31),
            epsilon=self.any(1e-5, 1e-6),
            rotary_base=self.any(500.0, 10000.0),
            attention_bias=biased and self.any(True, False),
        )

    def common(self, *widths):
        """Heads of a pooling that divide the widths, and what it pools into."""
        fits = [h for h in (1, 2, 3, 4, 5, 6) if all(w % h == 0 for w in widths)]
        return self.any(*fits), self.any(3, 5, 8)

    def rows(self, fewest=2):
        self.given["batch"] = self.any(*range(fewest, 7))
        return self.given["batch"]

    def texts(self, rows, context, vocab, prefix=(), empty=False, shortest=1):
        """BOS, a prefix, words, EOS, padding; at most one row without words where that may be."""
        ids = [[0] * context for _ in range(rows)]
        for i, row in enumerate(ids):
            words = self.pick.randint(shortest, context - 2 - len(prefix))
            if empty and i == rows - 1 and self.any(True, False):
                words = 0
            text = [1, *prefix, *(self.pick.randrange(3, vocab) for _ in range(words)), 2]
            row[: len(text)] = text
        return ids

    def pixels(self, rows, side):
        shape = [rows, 3, side, side]
        return [spread(f"{self.seed}/pixels/{b}", shape, 0.0, 1.7).to(self.dtype) for b in range(BATCHES)]

    def drawn(self, t, name, shape):
        return uniform(f"{self.seed}/{name}/{t}", shape).to(self.dtype)

    def factors(self, t, name, shape, rate):
        """0 or 1 / (1 - rate): what dropping with that rate multiplies by."""
        kept = self.drawn(t, name, shape) < 1 - rate
        return kept.to(self.dtype) / (1 - rate) if rate else torch.ones(shape, dtype=self.dtype)

    def dropped(self, t, vision, rows, rate, linear):
        rates = [rate * i / max(1, vision.depth - 1) if linear else rate for i in range(vision.depth)]
        name = "vision_model.encoder.layers.{}.{}.drop_path"
        of = lambda i, part: self.factors(t, name.format(i, part), [rows], rates[i])[:, None, None]
        return [(of(i, "attn"), of(i, "mlp")) for i in range(vision.depth)]

    def ints(self, b, name):
        return torch.tensor(self.inputs[b][name])


def cosine(peak, steps, warm):
    return lambda t: peak * ((t + 1) / warm if t < warm else (1 + math.cos(math.pi * min(1, (t - warm) / max(1, steps - warm)))) / 2)


def scaled(warm, published, steps):
    return min(steps, math.ceil(warm * steps / published))


def poly(peak, steps, warm):
    """MMSegmentation: power 1 to 0, linear warm-up from a ratio of 1e-6."""
    return lambda t: peak * (1 - t / steps) * (1 - (1 - t / warm) * (1 - 1e-6) if t < warm else 1)


def adamw(betas, decay, rate, scale=lambda name: 1.0):
    def make(named):
        groups = [
            {"params": [p], "weight_decay": decay if p.ndim != 1 else 0.0, "scale": scale(n)} for n, p in named
        ]
        return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=1e-8)

    return make, rate


def vision_facts(v, **more):
    return asdict(v) | {"layerScale": 0.1} | more


# Stage 1. The schedule of 1.1 ends with that of both phases; 1.2 is its end.

BOTH, FULL = 175_000, math.ceil(0.5e9 / 163_840)


def stage_one(c):
    vision, text = c.vision(), c.text()
    heads, embed = c.common(vision.width)
    rows, context, rate = c.rows(), c.any(4, 6, 9), c.given["rate"]
    seen = vision
    if c.any(True, False):
        seen = replace(vision, image=c.any(2, 3) * vision.patch)
    dropping = c.any(0.2, 0.5, 0.0)
    c.given |= {"resolution": seen.image, "dropPath": dropping}
    patches, kept = (seen.image // seen.patch) ** 2, None
    if c.stage == "1.1":
        c.given["keep"] = c.any(0.5, 0.4, 0.75) if patches > 2 else 0.5
        kept = math.floor(c.given["keep"] * patches + 0.5)
        all_steps = round(STEPS * BOTH / (BOTH - FULL))
        schedule = cosine(rate, all_steps, scaled(5000, BOTH - FULL, STEPS))
    elif c.stage == "1":
        schedule = cosine(rate, STEPS, scaled(5000, BOTH, STEPS))
    else:
        before = round(STEPS * (BOTH - FULL) / FULL)
        whole = cosine(rate, STEPS + before, scaled(5000, BOTH, STEPS + before))
        schedule = lambda t: whole(t + before)
    module = Contrastive(seen, text, embed, heads)
    c.config = {"vision": vision_facts(vision), "text": facts_of(text, context), "embed": embed, "poolingHeads": heads}
    c.model = "internvl-c"
    for b in c.inputs:
        b["ids"] = c.texts(rows, context, text.vocab)
    pixels = c.pixels(rows, seen.image)

    def loss(t):
        keep = None
        if kept is not None:
            keep = c.drawn(t, "vision_model.embeddings.keep", [rows, patches]).argsort(dim=1, stable=True)[:, :kept]
        b = t % BATCHES
        drop = c.dropped(t, seen, rows, dropping, False)
        return module.loss(pixels[b], c.ints(b, "ids"), keep=keep, drop=drop), {}

    tenth = lambda name: 0.1 if name.startswith(("qllama.", "text_projection")) else 1.0
    return module, loss, lambda name: True, adamw((0.9, 0.95), 0.1, schedule, tenth)


# Stage 2 and fine-tuning for retrieval.


def generative(c):
    vision, text = c.vision(), c.text()
    heads, embed = c.common(vision.width, text.width)
    queries, every, context = c.any(1, 2, 5), c.any(1, 2, 3), c.any(7, 8, 11)
    module = lambda seen: Generative(seen, text, queries, every, embed, heads)
    words = facts_of(text, context) | {"queries": queries, "crossEvery": every}
    c.config = {"vision": vision_facts(vision), "text": words, "embed": embed, "poolingHeads": heads}
    c.model = "internvl-g"
    return vision, text, context, module


def stage_two(c):
    vision, text, context, make = generative(c)
    module, rows = make(vision), c.rows(3)
    mined, labels, smoothing = c.any(True, False), c.any("caption", "released"), c.any(0.0, 0.1)
    c.given |= {"negatives": "mined" if mined else "supplied", "labels": labels, "labelSmoothing": smoothing}
    for b in c.inputs:
        b["ids"] = c.texts(rows, context, text.vocab, (5, 6, 7), empty=True)
        b["matching_ids"] = c.texts(rows, context, text.vocab, empty=True, shortest=2)
        prompt = c.any((), (8,), (8, 9), (8, 9, 10))
        b["caption_ids"] = c.texts(rows, context, text.vocab, prompt)
        b["caption_prompt"] = [1 + len(prompt)] * rows
        if mined:
            b["group"] = [c.pick.randrange(3) for _ in range(rows)]
        else:
            b["matches"] = [int(i >= (rows + 1) // 2) for i in range(rows)]
    pixels = c.pixels(rows, vision.image)

    def loss(t):
        b = t % BATCHES
        ints = lambda name: c.ints(b, name) if name in c.inputs[b] else None
        names = ("ids", "matching_ids", "matches", "caption_ids", "caption_prompt")
        draws = [c.drawn(t, f"negatives.{x}", [rows, rows]) for x in ("text", "image")]
        parts = module.stage_two(
            pixels[b],
            *map(ints, names),
            released=labels == "released",
            smoothing=smoothing,
            mined=[ints("group"), *draws] if mined else None,
        )[:3]
        return sum(parts), dict(zip(("matching", "contrastive", "generative"), parts))

    new = ("query_tokens", "clip_projector2.", "itm_head.", "logit_scale")
    schedule = cosine(c.given["rate"], STEPS, scaled(2000, 80_000, STEPS))
    learned = lambda name: name.startswith(new) or ".cross_attn." in name and name.startswith("qllama.")
    return module, loss, learned, adamw((0.9, 0.98), 0.05, schedule)


def retrieval(c):
    vision, text, context, make = generative(c)
    seen = replace(vision, image=c.any(2, 3) * vision.patch)
    module, rows = make(seen), c.rows()
    c.clip = 1.0
    dropping, decay = c.any(0.3, 0.0), c.any(0.9, 0.7)
    c.given |= {"resolution": seen.image, "dropPath": dropping, "rateDecay": decay}
    for b in c.inputs:
        b["ids"] = c.texts(rows, context, text.vocab, (5, 6, 7))
        b["matching_ids"], b["other_ids"] = (c.texts(rows, context, text.vocab) for _ in range(2))
        b["image_id"] = [c.pick.randrange(4) for _ in range(rows)]
    pixels = c.pixels(rows, seen.image)

    def loss(t):
        b = t % BATCHES
        ids = [c.ints(b, n) for n in ("ids", "matching_ids", "other_ids", "image_id")]
        parts = module.retrieval(pixels[b], *ids, drop=c.dropped(t, seen, rows, dropping, True))
        return sum(parts), dict(zip(("matching", "contrastive"), parts))

    def layerwise(name):
        at = lambda prefix: int(name[len(prefix) :].split(".")[0])
        if name.startswith("vision_model.encoder.layers."):
            return decay ** (vision.depth - at("vision_model.encoder.layers."))
        if name.startswith("vision_model."):
            return decay ** (vision.depth + 1)
        if name.startswith("qllama.model.layers."):
            return decay ** (text.depth - at("qllama.model.layers."))
        early = name.startswith("qllama.model.embed_tokens") or name in ("query_tokens", "logit_scale")
        return decay ** (text.depth + 1) if early else 1.0

    schedule = cosine(c.given["rate"], STEPS, scaled(100, math.ceil(1_450_000 / 1024), STEPS))
    return module, loss, lambda name: True, adamw((0.9, 0.999), 0.05, schedule, layerwise)


# Stage 3, both paths.


def chat(c):
    path, number = c.stage[1], c.stage[3]
    c.clip = 1.0
    vision, text = c.vision(depth=2), c.text()
    stored = vision.image
    if c.any(True, False):
        vision = replace(vision, image=c.any(1, 2, 3) * vision.patch, positions=stored)
    features, rows = c.any(-1, -2), c.rows(1)
    c.config = {"text": facts_of(text, 0), "features": features}
    c.config["vision"] = vision_facts(replace(vision, image=stored))
    visual, extra = (vision.image // vision.patch) ** 2, ()
    if path == "b":
        asked, queries, every = c.text(), c.any(1, 2, 4), c.any(1, 2)
        visual, extra = visual + queries, (asked, queries, every)
        c.config["qllama"] = facts_of(asked, 0) | {"queries": queries, "crossEvery": every}
    module = Chat(vision, text, features, *extra)
    c.model = "internvl-chat-vicuna-7b" + ("-qllama" if path == "b" else "")
    length = visual + c.any(6, 9, 12)
    c.given |= {"resolution": vision.image, "length": length}
    for b in c.inputs:
        b["ids"], b["labels"] = [], []
        for row in range(rows):
            ids, labels = [1], [-100]
            for turn in range(2):
                asks = [c.pick.randrange(3, text.vocab) for _ in range(c.any(0, 1, 2))]
                # Some rows of the published data are without a picture; not the first one.
                if turn == 0 and (row == 0 or c.any(True, True, False)):
                    asks = asks + [-200] * visual
                says = [c.pick.randrange(3, text.vocab) for _ in range(c.any(1, 2, 3))] + [2]
                if len(ids) + len(asks) + len(says) <= length:
                    ids, labels = ids + asks + says, labels + [-100] * len(asks) + says
            pad = length - len(ids)
            b["ids"].append(ids + [0] * pad)
            b["labels"].append(labels + [-100] * pad)
    pixels = c.pixels(rows, vision.image)

    def loss(t):
        b = t % BATCHES
        return module(pixels[b], c.ints(b, "ids"), c.ints(b, "labels")).loss, {}

    parts = {"1": ("model.mm_projector.",), "2": ("model.", "lm_head.")}
    parts["3"] = ("model.mm_projector.", "query_tokens", "qllama.")
    schedule = cosine(c.given["rate"], STEPS, math.ceil(0.03 * STEPS))
    return module, loss, lambda name: name.startswith(parts[number]), adamw((0.9, 0.999), 0.0, schedule)


# Heads.


def probing(c):
    vision, classes = c.vision(), c.any(3, 4, 7)
    heads, embed = c.common(vision.width)
    pooling, rows = c.any(True, False), c.rows(3)
    module = Probe(vision, classes, (heads, embed) if pooling else None)
    c.config = {"vision": vision_facts(vision), "classes": classes, "features": "pooling" if pooling else "concat"}
    c.config |= {"embed": embed, "poolingHeads": heads}
    c.model = "internvit-6b-probe"
    c.given["rate"] *= 10
    for b in c.inputs:
        b["label"] = [c.pick.randrange(classes) for _ in range(rows)]
    pixels = c.pixels(rows, vision.image)
    loss = lambda t: (module.loss(pixels[t % BATCHES], c.ints(t % BATCHES, "label")), {})
    sgd = lambda named: torch.optim.SGD(
        [{"params": [p], "scale": 1.0} for _, p in named], lr=0.0, momentum=0.9, nesterov=True
    )
    epoch = math.ceil(1_281_167 / 1024)
    schedule = cosine(c.given["rate"], STEPS, scaled(epoch, 10 * epoch, STEPS))
    return module, loss, lambda name: not name.startswith("vision_model."), (sgd, schedule)


def segmenting(c):
    upernet, full, whole = c.stage in ("head", "full"), c.stage == "full", c.stage in ("full", "few-shot")
    vision, classes = c.vision(depth=2 if upernet else 1, grids=(2, 4) if upernet else (2, 3)), c.any(2, 3, 5)
    blocks = sorted(c.pick.randint(1, vision.depth) for _ in range(4 if upernet else 1))
    if c.stage == "few-shot":
        blocks = [vision.depth]
    channels, dropout, auxiliary = (c.any(2, 3), c.any(0.1, 0.4), 2 if full else 1) if upernet else (0, 0.0, 0)
    dropping, rows, decay = c.any(0.4, 0.0) if whole else 0.0, c.rows(2), c.any(0.95, 0.8)
    module = Segmenter(vision, blocks, classes, channels, auxiliary)
    c.config = {"vision": vision_facts(vision), "classes": classes, "blocks": blocks, "channels": channels}
    c.config |= {"dropout": dropout}
    c.model = "internvit-6b-upernet" if upernet else "internvit-6b-segmentation"
    c.given["dropPath"] = dropping
    if whole:
        c.given["rateDecay"] = decay
    side = vision.image
    for b in c.inputs:
        label = lambda: c.any(255, *range(classes), *range(classes))
        b["label"] = [[[label() for _ in range(side)] for _ in range(side)] for _ in range(rows)]
    pixels = c.pixels(rows, side)

    def loss(t):
        b = t % BATCHES
        off = lambda head, width: c.factors(t, f"{head}.dropout", [rows, width], dropout)[:, :, None, None]
        dropped = [off("decode_head", channels), off("auxiliary_head", channels)] if upernet else (1, 1)
        drop = c.dropped(t, vision, rows, dropping, True)
        return module.loss(pixels[b], c.ints(b, "label"), dropped=dropped, drop=drop), {}

    def layerwise(name):
        if not whole or not name.startswith("vision_model."):
            return 1.0
        block = name.removeprefix("vision_model.encoder.layers.")
        return decay ** (vision.depth - int(block.split(".")[0]) if block != name else vision.depth + 1)

    schedule = poly(c.given["rate"], STEPS, scaled(1500, 80_000, STEPS))
    learned = lambda name: whole or not name.startswith("vision_model.")
    return module, loss, learned, adamw((0.9, 0.999), 0.0 if c.stage == "linear" else 0.05, schedule, layerwise)


STAGES = {"1": stage_one, "1.1": stage_one, "1.2": stage_one, "2": stage_two, "retrieval": retrieval}
STAGES |= {f"3a.{n}": chat for n in (1, 2)} | {f"3b.{n}": chat for n in (1, 2, 3)}
STAGES |= {"probe": probing, "linear": segmenting, "few-shot": segmenting, "head": segmenting, "full": segmenting}


def begin(c, module):
    """Draws every tensor so that none keeps a value (0, 1) that would hide a mistake: {name: [base, width]}."""
    ranges = {}
    for name, p in module.named_parameters():
        if name == "logit_scale":
            base, width = c.any(2.7, 4.6), 0.0  # 100 is exp(4.605): the clamp acts, or does not
        elif p.ndim == 1:
            base, width = (1.0 if "norm" in name and name.endswith("weight") else 0.0), 0.3
            if name.endswith(("ls1", "ls2")):
                base = 0.5
        elif "embed" in name and p.ndim == 2 and name.endswith("weight"):
            base, width = 0.0, 1.7
        else:
            base, width = 0.0, 1.7 / p[0].numel() ** 0.5
        p.data = spread(f"{c.seed}/weights/{name}", list(p.shape), base, width)
        ranges[name] = [base, width]
    for name, b in module.named_buffers():
        if "running" in name:
            b.data = spread(f"{c.seed}/weights/{name}", list(b.shape), 1.0, 0.3)
            ranges[name] = [1.0, 0.3]
    return ranges


def in_own_dtype(module):
    """What transformers computes in float32 in every model, in the model's: norms, rotations, softmax and loss of its LLaMA."""

    def norm(m):
        return lambda x: m.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + m.variance_epsilon))

    def rotary(m):
        base, width = m.config.rope_parameters["rope_theta"], m.config.hidden_size // m.config.num_attention_heads

        def angles(x, position_ids):
            rates = base ** (-torch.arange(0, width, 2, dtype=x.dtype) / width)
            turns = position_ids[..., None].to(x.dtype) * rates
            turns = torch.cat([turns, turns], dim=-1)
            return turns.cos(), turns.sin()

        return angles

    def loss(logits, labels, vocab_size, **_):
        return F.cross_entropy(logits[:, :-1].reshape(-1, vocab_size), labels[:, 1:].reshape(-1), ignore_index=-100)

    replaced = {"LlamaRMSNorm": norm, "LlamaRotaryEmbedding": rotary}
    for m in [*module.modules(), *getattr(module, "llm", [])]:
        if type(m).__name__ in replaced:
            m.forward = replaced[type(m).__name__](m)
        elif type(m).__name__ == "LlamaModel":
            m.set_attn_implementation("sdpa")
        elif type(m).__name__ == "LlamaForCausalLM":
            m.loss_function = loss


def trained(stage, seed, dtype):
    c = Case(stage, seed, dtype)
    module, loss, learned, (optimizer, schedule) = STAGES[stage](c)
    ranges = begin(c, module)
    module.to(dtype).train()
    in_own_dtype(module)
    named = [(n, p) for n, p in module.named_parameters() if learned(n)]
    for n, p in module.named_parameters():
        p.requires_grad_(learned(n))
    optimizer = optimizer(named)
    steps, gradients = [], {}
    for t in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = schedule(t) * group["scale"]
        optimizer.zero_grad()
        value, parts = loss(t)
        value.backward()
        if t == 0:
            gradients = {n: digest(p.grad) for n, p in named if p.grad is not None}
        norm = math.sqrt(sum(p.grad.pow(2).sum().item() for _, p in named if p.grad is not None))
        told = {"loss": value, **parts}
        steps.append({k: v.item() for k, v in told.items()} | {"rate": schedule(t), "gradient_norm": norm})
        if c.clip is not None:
            torch.nn.utils.clip_grad_norm_([p for _, p in named], c.clip)
        optimizer.step()
        if hasattr(module, "logit_scale"):
            module.logit_scale.data.clamp_(0, math.log(100))
    after = {n: digest(p) for n, p in named if n in gradients}
    kept = {n: digest(b) for n, b in module.named_buffers() if "running" in n}
    columns = {k: [step[k] for step in steps] for k in steps[0]}
    facts = {"stage": stage, "seed": seed, "model": c.model, "config": c.config, "given": c.given}
    facts |= {"weights": ranges, "inputs": c.inputs}
    return facts | {"steps": columns, "gradients": gradients, "after": after, "kept": kept}


def apart(got, want, least):
    return max((abs(a - b) / max(abs(b), least) for a, b in zip(got, want)), default=0.0)


def record(stage, seed):
    exact, single = (trained(stage, seed, dtype) for dtype in (torch.float64, torch.float32))
    norms = [x["steps"]["gradient_norm"] for x in (single, exact)]
    losses = [(single["steps"][k], v) for k, v in exact["steps"].items() if k not in ("rate", "gradient_norm")]
    seen = [n for n, (norm, _) in exact["gradients"].items() if norm > 1e-3]
    ends = lambda part, names: max(
        (max(abs(a - b) for a, b in zip(single[part][n], exact[part][n])) / max(exact[part][n][0], 1) for n in names),
        default=0.0,
    )
    own = {"figures": max(apart(*pair, 1e-2) for pair in losses), "norm": apart(*norms, 1e-3)}
    return exact | {"float32": own | {"after": ends("after", seen), "kept": ends("kept", exact["kept"])}}


if __name__ == "__main__":
    stage, seed, folder = sys.argv[1:]
    for s in seed.split(","):
        Path(folder, f"{stage}-{s}.json").write_text(json.dumps(record(stage, int(s))) + "\n")
