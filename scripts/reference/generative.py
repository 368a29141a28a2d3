"""A tiny InternVL-G: QLLaMA under its three masks, embeddings, the losses of stage 2 and of retrieval fine-tuning, and a
caption, greedy, without a cache."""

from dataclasses import asdict

import torch

from fixture import facts_of, gradient_digests, random_texts, randomize, write
from internvl import Generative, Text, Vision, pass_visible

vision = Vision(width=10, depth=1, heads=2, mlp=12, image=6, patch=3)
text = Text(width=12, depth=3, heads=2, mlp=14, vocab=23)
queries, cross_every, embed, heads, context, batch = 3, 2, 6, 2, 8, 4

model = randomize(Generative(vision, text, queries, cross_every, embed, heads))
generator = torch.Generator().manual_seed(11)
pixels = torch.randn(batch, 3, vision.image, vision.image, generator=generator)


def prefixed(prefix, shortest):
    """BOS, a prefix, and a caption that ends in EOS; row 1 has no caption."""
    ids = random_texts(generator, batch, context, text.vocab, shortest=len(prefix) + shortest)
    ids[:, 1 : 1 + len(prefix)] = torch.tensor(prefix, dtype=torch.long)
    ids[1] = torch.tensor([1, *prefix, 2] + [0] * (context - 2 - len(prefix)))
    return ids


ids = prefixed([5, 6, 7], 3)  # EOS of the empty one at place 4
matching_ids = prefixed([], 3)
other_ids = matching_ids.roll(1, 0)
caption_ids = random_texts(generator, batch, context, text.vocab, shortest=5)
caption_prompt = torch.tensor([3, 3, 2, 3])
caption_ids[:, 1:3] = torch.tensor([8, 9])
matches = torch.tensor([0, 0, 1, 1])
image_id = torch.tensor([4, 7, 4, 9])

x = pixels.double()
matching, contrastive, generative, out = model.stage_two(x, ids, matching_ids, matches, caption_ids, caption_prompt)
(matching + contrastive + generative).backward()
facts = {
    "vision": asdict(vision),
    "text": facts_of(text, context) | {"queries": queries, "crossEvery": cross_every},
    "embed": embed,
    "poolingHeads": heads,
    "stageTwo": {
        "matching": matching.item(),
        "contrastive": contrastive.item(),
        "generative": generative.item(),
        "gradients": gradient_digests(model),
    },
}
model.zero_grad()
matching, contrastive = model.retrieval(x, ids, matching_ids, other_ids, image_id)
(matching + contrastive).backward()
facts["retrieval"] = {
    "matching": matching.item(),
    "contrastive": contrastive.item(),
    "gradients": gradient_digests(model),
}

expected = {"image": model.embed_image(x), "text": model.embed_text(ids)}
vision_tokens = model.vision_model(x)[-1]
expected["queries"] = model.query_only(vision_tokens)
for kind, (q, t) in out.items():
    expected[f"{kind}/queries"] = q
    expected[f"{kind}/text"] = t

prompt = torch.tensor([[1, 8, 9]] * batch)
written, steps = prompt, 6
with torch.no_grad():
    for step in range(steps):
        both = torch.cat([model.query_tokens.repeat(batch, 1, 1), model.qllama.model.embed_tokens(written)], dim=1)
        hidden = model.qllama.model(both, pass_visible("generative", written, queries), vision_tokens, queries)
        logits = model.qllama.lm_head(hidden[:, -1])
        expected[f"logits{step}"] = logits
        written = torch.cat([written, logits.argmax(-1, keepdim=True)], dim=1)
expected["written"] = written
inputs = {
    "pixels": pixels,
    "ids": ids,
    "matching_ids": matching_ids,
    "other_ids": other_ids,
    "matches": matches,
    "caption_ids": caption_ids,
    "caption_prompt": caption_prompt,
    "image_id": image_id,
    "prompt": prompt,
}
write("generative", model, inputs, expected, facts)
print(facts["stageTwo"]["matching"], facts["stageTwo"]["contrastive"], facts["stageTwo"]["generative"], written)
