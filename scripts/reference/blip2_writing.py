"""A tiny BLIP-2 over OPT: scores after a picture and a prompt, every gradient of one of them, and greedy captions of a picture file, by
transformers' Blip2ForConditionalGeneration."""

import numpy as np
import torch
from PIL import Image
from transformers import Blip2Config, Blip2ForConditionalGeneration

from checkpoints import drawn, gradients, root, rounded, save

size, queries, picture_id, stop = 8, 3, 263, 13
mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).double()
std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).double()

config = Blip2Config(
    vision_config=dict(
        hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, image_size=size, patch_size=4
    ),
    qformer_config=dict(
        hidden_size=12,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=14,
        encoder_hidden_size=8,
        cross_attention_frequency=2,
    ),
    text_config=dict(
        model_type="opt",
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        ffn_dim=16,
        word_embed_proj_dim=12,
        vocab_size=264,
        max_position_embeddings=64,
        eos_token_id=stop,
        pad_token_id=0,  # by default the id that begins texts here, whose row would have no gradient
    ),
    num_query_tokens=queries,
    image_token_index=picture_id,
)
model = drawn(Blip2ForConditionalGeneration(config), 24).double()
folder = root / "blip2"
folder.mkdir(parents=True, exist_ok=True)
draw = np.random.default_rng(11)
Image.fromarray(draw.integers(0, 256, (9, 15, 3), dtype=np.uint8)).save(folder / "picture.png")
shown = np.asarray(Image.open(folder / "picture.png").resize((size, size), Image.BICUBIC))
pixels = ((torch.tensor(shown).double() / 255 - mean) / std).permute(2, 0, 1)[None]


def begun(prompt):
    ids = torch.tensor([[picture_id] * queries + [1] + [b + 3 for b in prompt.encode()]])
    return {"input_ids": ids, "pixel_values": pixels, "attention_mask": torch.ones_like(ids)}


written = {}
for prompt in ("", "a red"):
    given = begun(prompt)
    with torch.no_grad():
        made = model.generate(**given, max_new_tokens=12, do_sample=False, eos_token_id=[2, stop], pad_token_id=0)
    written[prompt] = made[0].tolist()[-12:] if made.shape[1] > 12 else made[0].tolist()
out = model(**begun("a red"))
logits = out.logits[0, -1]
torch.nn.functional.cross_entropy(logits[None], torch.tensor([77])).backward()
facts = {
    "pixels": rounded(pixels),
    "prompt": [1] + [b + 3 for b in b"a red"],
    "logits": rounded(logits),
    "target": 77,
    "gradients": gradients(model),
    "written": written,
}
print(written)
save("blip2", model, facts)
