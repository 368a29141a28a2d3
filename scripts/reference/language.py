"""
Losses of decoders that transformers trains on a text, in float64: rows of ids without a gap, AdamW, clipped, along a cosine.
The perplexity of a text in windows that overlap.

    python scripts/reference/language.py    writes test/fixtures/language.json, needs torch, transformers.
"""

import json
import math

import torch
from transformers import AutoTokenizer, GPT2LMHeadModel, GPTNeoXForCausalLM

from checkpoints import root as models
from strangers import root as strangers

TEXT = "so the sea, the sun and the thin sand\nsat there; über allen Gipfeln ist Ruh.\nThe end of the text it is.\n"
STEPS, BATCH, RATE, DECAY = 10, 2, 3e-3, 0.1
torch.set_num_threads(1)


def rows(ids, length):
    """Rows of length + 1: the last id of one is the first of the next."""
    stream = ids * (1 + STEPS * BATCH * length // len(ids) + 1)
    return [stream[i * length : (i + 1) * length + 1] for i in range(STEPS * BATCH)]


def rate(t, warm):
    if t < warm:
        return RATE * (t + 1) / warm
    wave = (1 + math.cos(math.pi * min(1, (t - warm) / max(1, STEPS - warm)))) / 2
    return RATE / 10 + (RATE - RATE / 10) * wave


def train(model, ids, length):
    model = model.double().train()
    assert all(m.p == 0 for m in model.modules() if isinstance(m, torch.nn.Dropout))
    groups = [{"params": [p], "weight_decay": DECAY if p.ndim > 1 else 0.0} for p in model.parameters()]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), eps=1e-8)
    warm = min(STEPS, math.ceil(750 * STEPS / 600_000))
    made, losses = rows(ids, length), []
    for t in range(STEPS):
        batch = torch.tensor(made[t * BATCH : (t + 1) * BATCH])
        optimizer.zero_grad()
        loss = model(input_ids=batch, labels=batch).loss  # shifted inside: what follows each of all but the last
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate(t, warm)
        optimizer.step()
        losses.append(loss.item())
    return losses


def perplexity(model, ids, limit, stride):
    """Each id but the first once, after up to limit - stride and more of those before it (huggingface.co/docs: perplexity)."""
    model = model.double().eval()
    total, done = 0.0, 1
    while done < len(ids):
        end = min(len(ids), max(done + stride, limit) if done == 1 else done + stride)
        begin = max(0, end - limit)
        with torch.no_grad():
            scores = model(torch.tensor([ids[begin:end]])).logits[0].log_softmax(-1)
        total -= sum(scores[i - 1 - begin, ids[i]].item() for i in range(done, end))
        done = end
    return {"loss": total / (len(ids) - 1), "tokens": len(ids) - 1, "bitsPerByte": total / math.log(2) / len(TEXT.encode())}


tokenizer = AutoTokenizer.from_pretrained(models / "gpt2")
gpt2_ids = tokenizer(TEXT).input_ids
byte_ids = [b + 3 for b in TEXT.encode()]
gpt2 = lambda: GPT2LMHeadModel.from_pretrained(models / "gpt2", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
neox = lambda: GPTNeoXForCausalLM.from_pretrained(strangers / "gpt-neox")
out = {
    "text": TEXT,
    **{"steps": STEPS, "batch": BATCH, "rate": RATE, "decay": DECAY},
    "gpt2": {"length": 20, "losses": train(gpt2(), gpt2_ids + [tokenizer.eos_token_id], 20)},
    "gpt-neox": {"length": 32, "losses": train(neox(), byte_ids + [2], 32)},
    "perplexity": {"stride": 9, **perplexity(gpt2(), gpt2_ids, 24, 9)},
    "perplexityBegun": {"stride": 40, **perplexity(neox(), [1] + byte_ids, 64, 40)},
}
path = models.parent / "language.json"
path.write_text(json.dumps(out, indent=1) + "\n")
print(path, path.stat().st_size, out["gpt2"], out["perplexity"])
