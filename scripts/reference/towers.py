"""InternViT with attention pooling, and LLaMA, at odd configurations: all states, and gradients of half the sum of squares."""

from dataclasses import asdict

import torch
from torch import nn

from fixture import facts_of, gradient_digests, random_texts, randomize, write
from internvl import AttentionPooling, InternViT, Text, Vision, hf_llama


def vision_fixture(name, config, pool_heads, out, batch):
    model = nn.Module()
    model.vision_model = InternViT(config)
    model.clip_projector = AttentionPooling(config.width, pool_heads, out)
    randomize(model)
    pixels = torch.randn(batch, 3, config.image, config.image, generator=torch.Generator().manual_seed(3))
    states = model.vision_model(pixels.double())
    pooled = model.clip_projector(states[-1])
    loss = pooled.square().sum() / 2
    loss.backward()
    expected = {f"state{i}": s for i, s in enumerate(states)} | {"pooled": pooled}
    facts = {"vision": asdict(config), "embed": out, "poolingHeads": pool_heads}
    facts |= {"loss": loss.item(), "gradients": gradient_digests(model)}
    write(name, model, {"pixels": pixels}, expected, facts)


def text_fixture(name, config, context, batch):
    model = nn.Module()
    model.model = hf_llama(config)
    randomize(model)
    ids = random_texts(torch.Generator().manual_seed(5), batch, context, config.vocab)
    out = model.model(input_ids=ids, attention_mask=(ids > 0).long(), output_hidden_states=True)
    seen = (ids > 0).double()[..., None]  # what padding holds is nobody's concern
    loss = (out.last_hidden_state * seen).square().sum() / 2
    loss.backward()
    expected = {f"state{i}": s * seen for i, s in enumerate(out.hidden_states)}
    facts = {"text": facts_of(config, context), "loss": loss.item(), "gradients": gradient_digests(model)}
    write(name, model, {"ids": ids}, expected, facts)


vision_fixture("vision-one-head", Vision(21, 3, 1, 13, image=20, patch=4, positions=12), 3, 5, batch=2)
vision_fixture("vision-shrunk", Vision(12, 1, 3, 50, image=6, patch=3, positions=21), 1, 1, batch=3)
text_fixture("text-one-head", Text(14, 3, 1, 9, vocab=11, epsilon=1e-5, rotary_base=500.0), context=6, batch=3)
text_fixture("text-biased", Text(18, 2, 3, 31, vocab=13, attention_bias=True), context=5, batch=2)
