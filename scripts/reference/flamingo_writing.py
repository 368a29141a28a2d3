"""The Flamingo of flamingo.py with pictures: features by transformers' CLIPVisionModel, scores of texts with pictures between their
words, and captions of a picture file, alone and after examples. Each token is written from the whole text again."""

import json

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModel

import flamingo
from checkpoints import drawn, root, rounded

size, end, image, vocab = 8, 261, 260, 264
mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).double()
std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).double()
flamingo.vocab, flamingo.image = vocab, image
flamingo.text.update(vocab=vocab, positions=64)
tower = dict(
    hidden_size=8,
    intermediate_size=12,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=size,
    patch_size=4,
    hidden_act="quick_gelu",
    layer_norm_eps=1e-5,
)
clip = drawn(CLIPVisionModel(CLIPVisionConfig(**tower)), 31).double()
model = drawn(flamingo.Flamingo(), 41).double()
model.lm[0].double().eval()
folder = root / "flamingo"
folder.mkdir(parents=True, exist_ok=True)
draw = np.random.default_rng(12)
names = ("fox.png", "sea.png", "boat.png")
for i, name in enumerate(names):
    Image.fromarray(draw.integers(0, 256, (8 + i, 8 + i, 3), dtype=np.uint8)).save(folder / name)


def pixels(name):
    shown = np.asarray(Image.open(folder / name).resize((size, size), Image.BICUBIC))
    return ((torch.tensor(shown).double() / 255 - mean) / std).permute(2, 0, 1)


@torch.no_grad()
def scores(pictures, ids):
    """All patches after the last norm, each picture a frame: [1, media, 1, place, width]."""
    vision = clip
    states = vision(pixel_values=torch.stack([pixels(name) for name in pictures])).last_hidden_state
    return model(vision.post_layernorm(states)[None, :, None, 1:], torch.tensor([ids]))[0]


def prompt(said):
    before = [id for text in said for id in [image, *words(f"Output:{text}"), end]]
    return [1, *before, image, *words("Output:")]


def words(text):
    return [b + 3 for b in text.encode()]


def write(pictures, ids, count):
    written = []
    while len(written) < count and (not written or written[-1] not in (2, end)):
        written.append(scores(pictures, [*ids, *written])[-1].argmax().item())
    return written


texts = [[1, image, 9, 40, 7, image, 11, 80], [5, 6, image, 12, 13, 14, 90, 15]]
logits = torch.stack([scores(names[:2], texts[0])[-1], scores(names[2:], texts[1])[-1]])


def published():
    """Under the names of OpenFlamingo's modules, and OpenCLIP's for the tower."""
    own = {k: v for k, v in model.state_dict().items() if not k.startswith("lm.")}
    tensors = {k: v for k, v in own.items() if ".to_k." not in k and ".to_v." not in k}
    for k in own:
        if ".to_k." in k:
            tensors[k.replace("to_k", "to_kv")] = torch.cat([own[k], own[k.replace("to_k", "to_v")]])
    seen = clip.state_dict()
    to = "vision_encoder."
    tensors[to + "class_embedding"] = seen["embeddings.class_embedding"]
    tensors[to + "positional_embedding"] = seen["embeddings.position_embedding.weight"]
    tensors[to + "conv1.weight"] = seen["embeddings.patch_embedding.weight"]
    renamed = (("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"))
    for part in ("weight", "bias"):
        tensors[f"{to}ln_pre.{part}"] = seen[f"pre_layrnorm.{part}"]
        tensors[f"{to}ln_post.{part}"] = seen[f"post_layernorm.{part}"]
        for i in range(tower["num_hidden_layers"]):
            at, block = f"encoder.layers.{i}.", f"{to}transformer.resblocks.{i}."
            joined = [seen[f"{at}self_attn.{x}_proj.{part}"] for x in "qkv"]
            tensors[f"{block}attn.in_proj_{part}"] = torch.cat(joined)
            tensors[f"{block}attn.out_proj.{part}"] = seen[f"{at}self_attn.out_proj.{part}"]
            for ours, theirs in renamed:
                tensors[f"{block}{ours}.{part}"] = seen[f"{at}{theirs}.{part}"]
    return tensors


def layers(own, width):
    return {"heads": own["heads"], "dim_head": own["headDim"], "ff_mult": own["mlp"] / width, "ff_activation": "relu2"}


text = flamingo.text
config = {
    "architectures": ["Flamingo"],
    "model_type": "flamingo",
    "vis_dim": flamingo.width,
    "vis_tokens": (size // 4) ** 2,
    "vis_frames": 1,
    "media_token_id": image,
    "eoc_token_id": end,
    "cross_attn_every_n_layers": flamingo.gated["every"],
    "only_attend_immediate_media": True,
    "perceiver_config": {
        **layers(flamingo.resampler, flamingo.width),
        "depth": flamingo.resampler["depth"],
        "num_latents": flamingo.latents,
        "max_num_frames": flamingo.times,
    },
    "gated_cross_attn_config": {**layers(flamingo.gated, text["width"]), "first_layer": 0},
    "text_config": model.lm[0].config.to_dict(),
    "vision_config": {"model_type": "clip_vision_model", **tower},
}
alone, after = prompt([]), prompt(["a fox", "the sea"])
facts = {
    "texts": texts,
    "pixels": [rounded(pixels(name)) for name in names],
    "logits": rounded(logits),
    "alone": write(names[2:], alone, 12),
    "after": write(names, after, 12),
    "prompts": {"alone": alone, "after": after},
}
print(facts["alone"], facts["after"])
save_file({k: v.half().contiguous() for k, v in published().items()}, folder / "model.safetensors", {"format": "pt"})
(folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
(folder / "expected.json").write_text(json.dumps(facts) + "\n")
