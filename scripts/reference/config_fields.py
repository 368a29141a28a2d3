"""Which fields of transformers' config classes change a model's results: every field of a tiny configuration of each family is changed
alone, to several values, and the outputs from the same weights are compared."""

import copy
import json
import logging
from pathlib import Path

import torch
import transformers as hf

logging.disable(logging.WARNING)
at = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "config-fields.json"

tower = dict(hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=12, image_size=8, patch_size=4)
layers = dict(hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20)
llama = dict(layers, vocab_size=40, num_key_value_heads=1, max_position_embeddings=32)
dinov2 = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=8, patch_size=4)
hub_tower = dict(tower, image_size=[8, 8], patch_size=[4, 4], use_qk_norm=True, norm_type="rms_norm")
draw = torch.Generator().manual_seed(1)
pixels = torch.randn(2, 3, 8, 8, generator=draw).double()
larger = torch.randn(2, 3, 32, 32, generator=draw).double()
ids = torch.randint(4, 30, (2, 9), generator=draw)
ended = torch.cat([ids[:, :6], torch.full((2, 1), 39), ids[:, 7:]], 1)
picture, words = 35, dict(pad_token_id=0, eos_token_id=39, bos_token_id=1)


def shown(count):
    """Token ids with those of a picture before them."""
    return dict(input_ids=torch.cat([torch.full((2, count), picture), ids], 1), pixel_values=pixels)


families = [
    (
        hf.CLIPModel,
        hf.CLIPConfig(
            vision_config=tower,
            text_config=dict(layers, vocab_size=40, max_position_embeddings=10, **words),
            projection_dim=6,
        ),
        dict(input_ids=ended, pixel_values=pixels),
    ),
    (hf.ViTForImageClassification, hf.ViTConfig(**tower, num_labels=5), dict(pixel_values=pixels)),
    (hf.DeiTForImageClassificationWithTeacher, hf.DeiTConfig(**tower, num_labels=5), dict(pixel_values=pixels)),
    (hf.Dinov2ForImageClassification, hf.Dinov2Config(**dinov2, num_labels=5), dict(pixel_values=pixels)),
    (
        hf.Dinov2WithRegistersForImageClassification,
        hf.Dinov2WithRegistersConfig(**dinov2, num_labels=5),
        dict(pixel_values=pixels),
    ),
    (
        hf.ResNetForImageClassification,
        hf.ResNetConfig(num_labels=5, embedding_size=4, hidden_sizes=[8, 12], depths=[2, 2], layer_type="bottleneck"),
        dict(pixel_values=larger),
    ),
    (
        hf.GPT2LMHeadModel,
        hf.GPT2Config(vocab_size=40, n_positions=16, n_embd=12, n_layer=2, n_head=2),
        dict(input_ids=ids),
    ),
    (hf.LlamaForCausalLM, hf.LlamaConfig(**llama), dict(input_ids=ids)),
    (
        hf.LlavaForConditionalGeneration,
        hf.LlavaConfig(
            vision_config=hf.CLIPVisionConfig(**tower), text_config=hf.LlamaConfig(**llama), image_token_index=picture
        ),
        shown(4),
    ),
    (
        hf.InternVLForConditionalGeneration,
        hf.InternVLConfig(
            vision_config=hub_tower,
            text_config=hf.LlamaConfig(**llama),
            image_token_id=picture,
            tie_word_embeddings=False,
        ),
        shown(1),
    ),
    (
        hf.Blip2ForConditionalGeneration,
        hf.Blip2Config(
            vision_config=tower,
            qformer_config=dict(layers, encoder_hidden_size=8, vocab_size=30, max_position_embeddings=12),
            text_config=dict(
                model_type="opt",
                hidden_size=12,
                num_hidden_layers=2,
                num_attention_heads=2,
                ffn_dim=20,
                word_embed_proj_dim=12,
                vocab_size=40,
                max_position_embeddings=32,
            ),
            num_query_tokens=3,
            image_token_index=picture,
        ),
        shown(3),
    ),
]

activations = ["relu", "silu", "gelu", "gelu_new", "quick_gelu", "gelu_pytorch_tanh", "tanh", "relu2"]
original = dict(original_max_position_embeddings=5)
rotations = [
    dict(rope_type="yarn", factor=3.7, rope_theta=317.0),
    dict(rope_type="dynamic", factor=2.3, rope_theta=91.0, **original),
    dict(rope_type="longrope", factor=2.0, rope_theta=99.0, short_factor=[1.1] * 3, long_factor=[2.0] * 3, **original),
    dict(rope_type="llama3", factor=7.3, rope_theta=777.0, low_freq_factor=0.9, high_freq_factor=3.3, **original),
    dict(rope_type="linear", factor=1.7, rope_theta=53.0),
    dict(rope_type="linear", factor=0.5, rope_theta=10000.0),
    dict(rope_type="default", rope_theta=51.0),
]
choices = {"layer_norm": ["rms_norm"], "rms_norm": ["layer_norm"], "default": ["full"], "bottleneck": ["basic"]}
provenance = ("transformers_version", "architectures", "model_type", "dtype", "id2label", "label2id")


def others(key, value):
    """Other values of a field. Token ids are left: the inputs would not fit them."""
    if key == "rope_parameters":
        return rotations
    if key in provenance or key in ("image_token_id", "image_token_index", "num_query_tokens"):
        return []
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2, value // 2]
    if isinstance(value, float):
        return [value * 1.5 + 0.01, value * 100]
    if isinstance(value, str):
        return [a for a in activations if a != value] if "act" in key else choices.get(value, ["altered"])
    if isinstance(value, list) and all(isinstance(n, int) for n in value):
        return [value[::-1], [n + 1 for n in value], [2 * n for n in value]]
    return [3, 0.5, True] if value is None else []


def fields(record, path=()):
    for key, value in record.items():
        if isinstance(value, dict) and key not in ("rope_parameters", *provenance):
            yield from fields(value, (*path, key))
        else:
            yield from (((*path, key), other) for other in others(key, value))


def changed(record, path, value):
    record = copy.deepcopy(record)
    part = record
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return record


def built(kind, config):
    return kind._from_config(config, attn_implementation="eager").eval().double()


def redrawn(model):
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape, generator=draw)
            p.copy_(1.5 * noise / p[0].numel() ** 0.5 if p.ndim > 1 else p + 0.3 * noise)
    return model


def output(model, given):
    with torch.no_grad():
        found = model(**given)
    return found.logits_per_image if "logits_per_image" in found else found.logits


def telling(kind, config, given):
    """The changes that give other results. Values that transformers refuses are left out."""
    record = json.loads(config.to_json_string(use_diff=False))
    model = redrawn(built(kind, config))
    state, plain = model.state_dict(), output(model, given)
    found = []
    for path, value in fields(record):
        try:
            other = built(kind, type(config).from_dict(changed(record, path, value)))
            shapes = {k: v.shape for k, v in other.state_dict().items()}
            other.load_state_dict({k: v for k, v in state.items() if shapes.get(k) == v.shape}, strict=False)
            result = output(other, given)
        except Exception:  # of many kinds: a size that does not divide, a type that is checked
            continue
        if result.shape != plain.shape or (result - plain).abs().max() > 1e-6 * plain.abs().max():
            found.append([".".join(path), value])
    return {k: v for k, v in record.items() if k != "_attn_implementation"} | {"architectures": [kind.__name__]}, found


rows = []
for kind, config, given in families:
    record, found = telling(kind, config, given)
    rows.append({"config": record, "telling": found})
    print(kind.__name__, len(list(fields(record))), "changes,", len(found), "of results")
at.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
print(at.stat().st_size, "bytes")
