"""A tiny Q-Former: what transformers' Blip2ForImageTextRetrieval compares and matches, and BLIP-2's three losses with every gradient.

transformers has no head that writes and no losses: these are here, after LAVIS' blip2_qformer.py.
"""

import re

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Blip2Config, Blip2ForImageTextRetrieval, Blip2QFormerConfig, Blip2VisionConfig

from fixture import digest, randomize, write

width, depth, queries, context, vocab, embed, seen, seen_width, batch = 12, 3, 3, 6, 23, 5, 5, 8, 4


def published(name):
    """Names of transformers in those of LAVIS."""
    name = name.replace("vision_model.post_layernorm", "ln_vision")
    name = re.sub(r"^embeddings", "Qformer.bert.embeddings", name)
    name = name.replace("qformer.layernorm", "Qformer.bert.embeddings.LayerNorm")
    name = re.sub(r"^qformer\.encoder", "Qformer.bert.encoder", name)
    name = re.sub(r"(attention)\.attention\.", r"\1.self.", name)
    return re.sub(r"^(vision|text)_projection", r"\1_proj", name)


class Writer(nn.Module):
    """BERT's head for words."""

    def __init__(self):
        super().__init__()
        self.transform = nn.Module()
        self.transform.dense = nn.Linear(width, width)
        self.transform.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocab))

    def forward(self, x, table):
        return self.transform.LayerNorm(F.gelu(self.transform.dense(x))) @ table.T + self.bias


class Pretraining(nn.Module):
    def __init__(self):
        super().__init__()
        vision = Blip2VisionConfig(hidden_size=seen_width, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
        qformer = Blip2QFormerConfig(
            vocab_size=vocab,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=3,
            intermediate_size=14,
            encoder_hidden_size=seen_width,
            use_qformer_text_input=True,
            max_position_embeddings=9,
        )
        config = Blip2Config(
            vision_config=vision.to_dict(),
            qformer_config=qformer.to_dict(),
            num_query_tokens=queries,
            image_text_hidden_size=embed,
        )
        whole = Blip2ForImageTextRetrieval(config)
        self.hub = [n for n, _ in whole.named_parameters()]
        whole.vision_model.post_layernorm.eps = 1e-5  # LAVIS
        self.query_tokens, self.embeddings, self.qformer = whole.query_tokens, whole.embeddings, whole.qformer
        self.vision_projection, self.text_projection = whole.vision_projection, whole.text_projection
        self.itm_head, self.ln_vision = whole.itm_head, whole.vision_model.post_layernorm
        self.predictions = Writer()
        self.temp = nn.Parameter(torch.tensor(0.07))

    def run(self, vision, ids, mask, with_queries):
        """All states; `mask` [row, token, key] is True where a token sees a key."""
        asked = self.query_tokens.expand(len(vision), -1, -1) if with_queries else None
        if ids is None:
            x = asked
        else:
            x = self.embeddings(input_ids=ids, query_embeds=asked)
        return self.qformer(
            query_embeds=x,
            query_length=queries if with_queries else 0,
            attention_mask=None if mask is None else mask[:, None],
            encoder_hidden_states=vision if with_queries else None,
        ).last_hidden_state

    def image(self, vision):
        return F.normalize(self.vision_projection(self.run(vision, None, None, True)), dim=-1)

    def text(self, ids):
        mask = (ids != 0)[:, None, :].expand(-1, context, -1)
        return F.normalize(self.text_projection(self.run(ids, ids, mask, False)[:, 0]), dim=-1)

    def real(self, ids):
        return torch.cat([torch.ones(len(ids), queries, dtype=torch.bool), ids != 0], 1)

    def match(self, vision, ids):
        mask = self.real(ids)[:, None, :].expand(-1, queries + context, -1)
        return self.itm_head(self.run(vision, ids, mask, True)[:, :queries]).mean(1)

    def write(self, vision, ids):
        begun = ids.clone()
        begun[:, 0] = vocab - 1
        place = torch.arange(queries + context)
        mask = (place[None, :] < queries) | (place[None, :] <= place[:, None])
        out = self.run(vision, begun, mask[None] & self.real(ids)[:, None, :], True)[:, queries:]
        return self.predictions(out, self.embeddings.word_embeddings.weight)

    def losses(self, vision, ids, draws):
        similar = torch.einsum("iqd,td->itq", self.image(vision), self.text(ids)).max(-1).values / self.temp
        own = torch.arange(batch)
        both = [F.cross_entropy(x, own, label_smoothing=0.1) for x in (similar, similar.T)]
        masked = similar.detach().masked_fill(torch.eye(batch, dtype=torch.bool), -1e30)
        other_text = (masked - torch.log(-torch.log(draws["negatives.text"]))).argmax(1)
        other_image = (masked - torch.log(-torch.log(draws["negatives.image"]))).argmax(0)
        rows = torch.cat([vision, vision[other_image], vision]), torch.cat([ids, ids, ids[other_text]])
        labels = torch.cat([torch.ones(batch), torch.zeros(2 * batch)]).long()
        matching = F.cross_entropy(self.match(*rows), labels)
        logits, next_ids = self.write(vision, ids)[:, :-1], ids[:, 1:].masked_fill(ids[:, 1:] == 0, -100)
        generative = F.cross_entropy(logits.flatten(0, 1), next_ids.flatten(), label_smoothing=0.1)
        return {"contrastive": sum(both) / 2, "matching": matching, "generative": generative}


model = Pretraining().eval()
hub = model.hub
randomize(model, 4)
with torch.no_grad():
    model.temp.fill_(0.25)
generator = torch.Generator().manual_seed(6)
features = torch.randn(batch, seen, seen_width, generator=generator)
ids = torch.zeros(batch, context, dtype=torch.long)
for row, length in zip(ids, (6, 4, 5, 3)):
    row[:length] = torch.randint(3, vocab - 1, (length,), generator=generator)
    row[0], row[length - 1] = 1, 2
draws = {n: torch.rand(batch, batch, generator=generator).clamp(1e-6, 1 - 1e-6) for n in ("negatives.text", "negatives.image")}

vision = model.ln_vision(features.double())
found = model.losses(vision, ids, {n: d.double() for n, d in draws.items()})
sum(found.values()).backward()


def named(name):
    return published(name).replace("predictions.", "Qformer.cls.predictions.")


class Named(nn.Module):
    """The parameters under the names of LAVIS, as the fixture has them."""

    def named_parameters(self):
        return [(named(n), p) for n, p in model.named_parameters()]


facts = {
    "config": {
        "width": width,
        "depth": depth,
        "heads": 3,
        "mlp": 14,
        "vocab": vocab,
        "positions": 9,
        "context": context,
        "queries": queries,
        "visionTokens": seen,
        "visionWidth": seen_width,
        "embed": embed,
    },
    "hub": {published(n): n for n in hub if not n.startswith("vision_model.") or "post_layernorm" in n},
    "losses": {n: v.item() for n, v in found.items()},
    "gradients": {named(n): digest(p.grad) for n, p in model.named_parameters() if p.grad is not None},
}
expected = {
    "image": model.image(vision),
    "text": model.text(ids),
    "match": model.match(vision, ids),
    "logits": model.write(vision, ids),
}
write("blip2-qformer", Named(), {"vision": features, "ids": ids} | draws, expected, facts)
print(facts["losses"])
