"""Twenty training steps of a tiny InternVL-C: losses, gradients of the first step, features."""

import math
from dataclasses import asdict

import torch

from fixture import facts_of, gradient_digests, random_texts, randomize, write
from internvl import Contrastive, Text, Vision

vision = Vision(width=18, depth=2, heads=3, mlp=22, image=9, patch=3)
text = Text(width=12, depth=2, heads=2, mlp=17, vocab=19)
embed, heads, context, batch = 10, 2, 6, 5
steps, warmup, peak, text_rate, clip, decay, betas = 20, 4, 4e-3, 0.1, 1.0, 0.1, (0.9, 0.95)


def rate(step):
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


model = randomize(Contrastive(vision, text, embed, heads))
generator = torch.Generator().manual_seed(7)
batches = 3
pixels = torch.randn(batches, batch, 3, vision.image, vision.image, generator=generator).double()
pixels = pixels.float().double()
ids = torch.stack([random_texts(generator, batch, context, text.vocab) for _ in range(batches)])

groups = {}
for name, p in model.named_parameters():
    key = (text_rate if name.startswith(("qllama", "text_projection")) else 1.0, decay if p.ndim > 1 else 0.0)
    groups.setdefault(key, []).append(p)
optimizer = torch.optim.AdamW(
    [{"params": ps, "weight_decay": wd, "scale": s} for (s, wd), ps in groups.items()], lr=peak, betas=betas, eps=1e-8
)
initial = {n: p.detach().clone() for n, p in model.named_parameters()}
features = model(pixels[0], ids[0])
losses, norms, gradients = [], [], None
for step in range(steps):
    for group in optimizer.param_groups:
        group["lr"] = peak * rate(step) * group["scale"]
    optimizer.zero_grad()
    loss = model.loss(pixels[step % batches], ids[step % batches])
    loss.backward()
    if step == 0:
        gradients = gradient_digests(model)
    norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), clip).item())
    optimizer.step()
    model.logit_scale.data.clamp_(0, math.log(100))  # after the step, as OpenCLIP does: a clamp in the loss has no gradient
    losses.append(loss.item())

final = {n: p.detach().clone() for n, p in model.named_parameters()}
for n, p in model.named_parameters():
    p.data = initial[n]
facts = {
    "vision": asdict(vision),
    "text": facts_of(text, context),
    "embed": embed,
    "poolingHeads": heads,
    "optimizer": {
        "steps": steps,
        "warmup": warmup,
        "peak": peak,
        "textRate": text_rate,
        "clip": clip,
        "weightDecay": decay,
        "betas": betas,
    },
    "losses": losses,
    "gradientNorms": norms,
    "gradients": gradients,
    "finalNorms": {n: p.norm().item() for n, p in final.items()},
}
write("contrastive", model, {"pixels": pixels, "ids": ids}, features, facts)
print(losses)
