"""Tiny InternVL-Chats by both paths: visual tokens, loss and gradients of stage 3, and a greedy answer by transformers."""

from dataclasses import asdict

import torch

from fixture import facts_of, gradient_digests, randomize, write
from internvl import Chat, Text, Vision

vision = Vision(width=10, depth=5, heads=2, mlp=9, image=6, patch=3)
qllama = Text(width=8, depth=2, heads=2, mlp=7, vocab=5)
queries, cross_every, features, new_tokens = 3, 2, -4, 5


def conversations(visual):
    """Two rows with the image at different places, the second one shorter: ids and labels (-100 is no target)."""
    image = [-200] * visual
    rows = [[1, 5, *image, 6, 7, 8, 9, 2], [1, *image, 7, 8, 2]]
    answers = [3, 2]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    labels = torch.full_like(ids, -100)
    for i, (row, answer) in enumerate(zip(rows, answers)):
        labels[i, len(row) - answer : len(row)] = ids[i, len(row) - answer : len(row)]
    return ids, labels


def chat_fixture(name, text, model, visual):
    randomize(model)
    pixels = torch.randn(2, 3, vision.image, vision.image, generator=torch.Generator().manual_seed(17))
    ids, labels = conversations(visual)
    out = model(pixels.double(), ids, labels)
    out.loss.backward()
    prompt = ids[:1, : visual + 3]  # BOS, a token, the image, a token
    with torch.no_grad():
        embedded = model.embed(pixels[:1].double(), prompt)
        mask = torch.ones_like(prompt)
        written = model.llm[0].generate(
            inputs_embeds=embedded, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False, eos_token_id=[]
        )
    facts = {
        "vision": asdict(vision),
        "text": facts_of(text, 0),
        "features": features,
        "loss": out.loss.item(),
        "gradients": gradient_digests(model),
    }
    if model.queries:
        facts["qllama"] = facts_of(qllama, 0) | {"queries": queries, "crossEvery": cross_every}
    inputs = {"pixels": pixels, "ids": ids, "labels": labels, "prompt": prompt}
    seen = (ids != 0)[..., None]
    expected = {"visual": model.visual(pixels.double()), "logits": out.logits * seen, "written": written}
    write(name, model, inputs, expected, facts)
    print(out.loss.item(), written.tolist())


patches = (vision.image // vision.patch) ** 2
one = Text(width=12, depth=2, heads=3, mlp=11, vocab=19, epsilon=1e-5)
chat_fixture("chat-patches", one, Chat(vision, one, features), patches)
two = Text(width=12, depth=2, heads=1, mlp=11, vocab=17, attention_bias=True)
chat_fixture("chat-queries", two, Chat(vision, two, features, qllama, queries, cross_every), patches + queries)
