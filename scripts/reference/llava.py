"""A tiny LLaVA: scores, loss, every gradient by transformers, and a greedy answer about a picture file."""

import re

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from checkpoints import drawn, gradients, root, rounded, save

picture_id = 260


def published(name):
    """Names of modules of transformers 5 in those of the files on the hub."""
    name = re.sub(r"^(model\.)?vision_tower\.(?!vision_model)", "vision_tower.vision_model.", name)
    name = re.sub(r"^model\.language_model\.", "language_model.model.", name)
    return re.sub(r"^lm_head", "language_model.lm_head", name.removeprefix("model."))


def question():
    """A question by LLaVA's bare words as heddle's byte tokenizer has them: BOS, the picture, bytes + 3."""
    return [1, *[picture_id] * 4, *(b + 3 for b in "\nred?".encode())]


def picture(folder):
    """A picture that is not square, and its pixels: padded with the mean colour, then as CLIP has them."""
    draw = np.random.default_rng(5)
    Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(folder / "picture.png")
    image = Image.open(folder / "picture.png").convert("RGB")
    processor = CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    square = Image.new("RGB", (8, 8), tuple(int(255 * m) for m in processor.image_mean))
    square.paste(image, (0, 1))
    return processor(square, return_tensors="pt").pixel_values


def main():
    vision = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
        hidden_act="quick_gelu",
    )
    text = LlamaConfig(
        vocab_size=264,
        hidden_size=12,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=3,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=vision.to_dict(), text_config=text.to_dict(), image_token_index=picture_id, image_seq_length=4
    )
    model = drawn(LlavaForConditionalGeneration(config), 11).double()
    seen = [picture_id] * 4
    rows = [[1, 5, *seen, 6, 7, 8, 9, 2], [1, *seen, 7, 8, 2]]
    ids = torch.tensor([row + [0] * (11 - len(row)) for row in rows])
    labels = torch.full_like(ids, -100)
    labels[0, 8:], labels[1, 6:8] = ids[0, 8:], ids[1, 6:8]
    pixels = (torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3)) * 16).round().double() / 16
    out = model(input_ids=ids, pixel_values=pixels, attention_mask=(ids != 0).long(), labels=labels)
    out.loss.backward()

    folder = root / "llava"
    folder.mkdir(parents=True, exist_ok=True)
    asked = torch.tensor([question()])
    with torch.no_grad():
        made = model.generate(
            input_ids=asked,
            pixel_values=picture(folder).double(),
            attention_mask=torch.ones_like(asked),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    facts = {
        "ids": ids.tolist(),
        "labels": labels.tolist(),
        "pixels": pixels.tolist(),
        "logits": rounded(out.logits[0, [5, 10]]),  # at two places
        "loss": out.loss.item(),
        "gradients": gradients(model, published),
        "tokens": made[0, len(asked[0]) :].tolist(),
    }
    save("llava", model, facts)
    # transformers 5 reads the names of the hub and writes others: the file lies there with those of the hub.
    tensors = load_file(folder / "model.safetensors")
    save_file({published(n): t for n, t in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    print(out.loss.item(), facts["tokens"], bytes(max(0, t - 3) for t in facts["tokens"] if t < 259))


main()
