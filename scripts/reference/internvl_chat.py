"""A tiny InternVL-Chat 1.5: scores, loss, every gradient by transformers' InternVL over a LLaMA, and a greedy answer about a picture
file in tiles. Kept as the authors keep it: the language model as InternLM2, whose joined matrix is the LLaMA's three."""

import json
import math
import re

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLVisionConfig, LlamaConfig

from checkpoints import drawn, rounded, root
from fixture import digest
from tiles import tiles

picture_id = 260
size, most, heads, key_heads = 8, 4, 6, 2
system = "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。"
mean, std = torch.tensor([0.485, 0.456, 0.406]).double(), torch.tensor([0.229, 0.224, 0.225]).double()

vision_words = {
    "embeddings.cls_token": "embeddings.class_embedding",
    "embeddings.position_embeddings": "embeddings.position_embedding",
    "embeddings.patch_embeddings.projection": "embeddings.patch_embedding",
    "encoder.layer.": "encoder.layers.",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.projection_layer": "attn.proj",
    "attention.": "attn.",
    "lambda_": "ls",
}
text_words = {
    "embed_tokens": "tok_embeddings",
    "self_attn.o_proj": "attention.wo",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
}


def renamed(name):
    for start, words, prefix in (
        ("model.vision_tower.", vision_words, "vision_model."),
        ("model.language_model.", text_words, "language_model.model."),
    ):
        if name.startswith(start):
            rest = name.removeprefix(start)
            for ours, theirs in words.items():
                rest = rest.replace(ours, theirs)
            return prefix + rest
    name = name.replace("lm_head.", "language_model.output.")
    glue = {"layer_norm": "mlp1.0", "linear_1": "mlp1.1", "linear_2": "mlp1.3"}
    return re.sub(r"model\.multi_modal_projector\.(\w+)", lambda m: glue[m[1]], name)


def published(tensors):
    """Weights, or gradients, of transformers' model under the authors' names: matrices joined, and rows in their order."""
    group = heads // key_heads
    out = {}
    for name, value in tensors.items():
        if ".q_proj." not in name:
            if ".k_proj." not in name and ".v_proj." not in name:
                out[renamed(name)] = value
            continue
        parts = [tensors[name.replace("q_proj", x)] for x in ("q_proj", "k_proj", "v_proj")]
        if "vision_tower" in name:
            out[renamed(name).replace("q_proj", "qkv")] = torch.cat(parts)
        else:
            width = value.shape[-1]
            slots = [p.view(key_heads, n, -1, width) for p, n in zip(parts, (group, 1, 1))]
            joined = renamed(name).replace("self_attn.q_proj", "attention.wqkv")
            out[joined] = torch.cat(slots, 1).reshape(-1, width)
    return out


def pixels_of(images):
    planes = [(torch.tensor(np.asarray(i)).double() / 255 - mean) / std for i in images]
    return torch.stack(planes).permute(0, 3, 1, 2)


def training(model, shown):
    """Losses of a few steps over the same three conversations: a picture of several tiles, one of one tile, and none."""
    answer = "<|im_end|>"
    talks = [
        (shown, "What?", "red"),
        (tiles(Image.open(root / "internvl-chat" / "square.png"), size, most), "Sure?", "yes, it is"),
        (None, "Hi", "hello"),
    ]
    ids, labels, pixels = [], [], []
    for images, asked, said in talks:
        begin = [1, *text(f"<|im_start|>system\n{system}<|im_end|><|im_start|>user\n")]
        seen = [*text("<img>"), *[picture_id] * 4 * len(images), *text("</img>\n")] if images else []
        question = [*begin, *seen, *text(f"{asked}<|im_end|><|im_start|>assistant\n")]
        ids.append([*question, *text(said + answer)])
        labels.append([-100] * len(question) + text(said + answer))
        pixels += images or []
    longest = max(map(len, ids))
    given = {
        "input_ids": torch.tensor([row + [0] * (longest - len(row)) for row in ids]),
        "labels": torch.tensor([row + [-100] * (longest - len(row)) for row in labels]),
        "pixel_values": pixels_of(pixels),
    }
    given["attention_mask"] = (given["input_ids"] != 0).long()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}

    def trained(frozen, steps, warm, rate):
        named = []
        for n, p in model.named_parameters():
            p.data.copy_(before[n])
            p.requires_grad_(not n.startswith(frozen))
            if p.requires_grad:
                named.append(p)
        groups = [{"params": [p], "weight_decay": 0.05 if p.ndim != 1 else 0.0} for p in named]
        optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8)
        losses = []
        for t in range(steps):
            optimizer.zero_grad()
            loss = model(**given).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(named, 1.0)
            factor = (t + 1) / warm if t < warm else (1 + math.cos(math.pi * (t - warm) / max(1, steps - warm))) / 2
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            losses.append(loss.item())
        return losses

    made = {
        "pretrain": trained(("model.language_model.", "lm_head."), 5, 1, 0.01),
        "finetune": trained(("none",), 5, 1, 0.01),
    }
    for n, p in model.named_parameters():
        p.data.copy_(before[n])
    return {"length": longest, "losses": made}


def text(words):
    return [b + 3 for b in words.encode()]


def main():
    vision = InternVLVisionConfig(
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=size,
        patch_size=2,
        norm_type="rms_norm",
        use_qk_norm=True,
    )
    language = LlamaConfig(
        vocab_size=264,
        hidden_size=12,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
    )
    config = InternVLConfig(
        vision_config=vision.to_dict(),
        text_config=language.to_dict(),
        image_token_id=picture_id,
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    model = drawn(InternVLForConditionalGeneration(config), 31).double()
    seen = [picture_id] * 4
    # Two pictures in one text, apart, and one in the other.
    rows = [[1, 5, *seen, 6, 7, *seen, 8, 9, 2], [1, *seen, 7, 8, 2]]
    longest = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    labels = torch.full_like(ids, -100)
    labels[0, 12:], labels[1, 6:8] = ids[0, 12:], ids[1, 6:8]
    pixels = (torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(3)) * 16).round().double() / 16
    given = {"input_ids": ids, "pixel_values": pixels, "attention_mask": (ids != 0).long()}
    out = model(**given, labels=labels)
    out.loss.backward()

    shuffle = model.model.pixel_shuffle
    model.model.pixel_shuffle = lambda x, scale_factor: shuffle(x, scale_factor).transpose(1, 2)
    with torch.no_grad():
        transposed = model(**given).logits
    model.model.pixel_shuffle = shuffle

    folder = root / "internvl-chat"
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(5)
    Image.fromarray(draw.integers(0, 256, (9, 15, 3), dtype=np.uint8)).save(folder / "picture.png")
    shown = tiles(Image.open(folder / "picture.png"), size, most)
    before = f"<|im_start|>system\n{system}<|im_end|><|im_start|>user\n<img>"
    after = "</img>\nred?<|im_end|><|im_start|>assistant\n"
    asked = torch.tensor([[1, *text(before), *[picture_id] * 4 * len(shown), *text(after)]])
    with torch.no_grad():
        made = model.generate(
            input_ids=asked,
            pixel_values=pixels_of(shown),
            attention_mask=torch.ones_like(asked),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    Image.fromarray(draw.integers(0, 256, (7, 7, 3), dtype=np.uint8)).save(folder / "square.png")
    gradients = {n: digest(g) for n, g in published({n: p.grad for n, p in model.named_parameters()}).items()}
    facts = {
        "ids": ids.tolist(),
        "labels": labels.tolist(),
        "pixels": pixels.tolist(),
        "logits": rounded(out.logits[0, [7, 14]]),  # at two places
        "transposed": rounded(transposed[0, 7, :40]),  # with ps_version v1
        "loss": out.loss.item(),
        "gradients": gradients,
        "training": training(model, shown),
        "names": sorted(model.state_dict()),
        "tiles": len(shown),
        "tokens": made[0, len(asked[0]) :].tolist(),
    }
    (folder / "expected.json").write_text(json.dumps(facts) + "\n")
    weights = {n: t.detach().half().contiguous() for n, t in published(dict(model.named_parameters())).items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(authors(language), indent=2) + "\n")
    (folder / "transformers.json").write_text(json.dumps(json.loads(config.to_json_string(use_diff=False)), indent=1) + "\n")
    print(out.loss.item(), facts["tiles"], facts["tokens"], sum(f.stat().st_size for f in folder.iterdir()), "bytes")


def authors(language):
    return {
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": size,
        "img_context_token_id": picture_id,
        "llm_config": {
            "architectures": ["InternLM2ForCausalLM"],
            "attn_implementation": "eager",
            "bias": False,
            "hidden_act": "silu",
            "hidden_size": language.hidden_size,
            "intermediate_size": language.intermediate_size,
            "max_position_embeddings": 32768,
            "model_type": "internlm2",
            "num_attention_heads": heads,
            "num_hidden_layers": language.num_hidden_layers,
            "num_key_value_heads": key_heads,
            "rms_norm_eps": 1e-05,
            "rope_scaling": None,
            "rope_theta": 1000.0,
            "tie_word_embeddings": False,
            "vocab_size": language.vocab_size,
        },
        "max_dynamic_patch": most,
        "min_dynamic_patch": 1,
        "model_type": "internvl_chat",
        "pad2square": False,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internlm2-chat",
        "use_backbone_lora": 0,
        "use_llm_lora": 0,
        "use_thumbnail": True,
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "drop_path_rate": 0.0,
            "hidden_act": "gelu",
            "hidden_size": 8,
            "image_size": size,
            "initializer_factor": 0.1,
            "intermediate_size": 12,
            "layer_norm_eps": 1e-06,
            "model_type": "intern_vit_6b",
            "norm_type": "rms_norm",
            "num_attention_heads": 2,
            "num_channels": 3,
            "num_hidden_layers": 2,
            "patch_size": 2,
            "qk_normalization": True,
            "qkv_bias": False,
        },
    }


main()
