"""Operations of published sizes as PyTorch counts them in transformers' own classes: matrix products, convolutions, attention. On the
meta device, so that no weights are made. Multiply-accumulates of one sample."""

import json

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    GPT2Config,
    GPT2LMHeadModel,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
)


def macs(call):
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() // 2


def ids(length):
    return torch.ones(1, length, dtype=torch.long, device="meta")


def made(model, config):
    with torch.device("meta"):
        return model(config).eval()


def pixels(side):
    return torch.empty(1, 3, side, side, device="meta")


def language(width, depth, heads, mlp, vocab, keys=None):
    return LlamaConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        num_key_value_heads=keys or heads,
        intermediate_size=mlp,
        vocab_size=vocab,
    )


def tower_and_language(tower, glue, text, pixel_values, length):
    """The parts one after the other: how tokens are put among words costs no product."""
    return macs(lambda: tower(pixel_values)) + glue + macs(lambda: text(inputs_embeds=torch.empty(1, length, text.config.hidden_size, device="meta")))


def llava():
    vision = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=336, patch_size=14
    )
    config = LlavaConfig(vision_config=vision.to_dict(), image_token_index=31999, text_config=language(4096, 32, 32, 11008, 32000).to_dict())
    model = made(LlavaForConditionalGeneration, config)
    glue = macs(lambda: model.model.multi_modal_projector(torch.empty(1, 576, 1024, device="meta")))
    tower = model.model.vision_tower
    getattr(tower, "vision_model", tower).encoder.layers = getattr(tower, "vision_model", tower).encoder.layers[:23]  # the last is not read
    text = made(LlamaForCausalLM, language(4096, 32, 32, 11008, 32000))
    return tower_and_language(model.model.vision_tower, glue, text, pixels(336), 2048)


def internvl12():
    vision = InternVLVisionConfig(
        hidden_size=3200,
        intermediate_size=12800,
        num_hidden_layers=45,
        num_attention_heads=25,
        image_size=448,
        patch_size=14,
        norm_type="rms_norm",
        use_qk_norm=True,
    )
    llm = language(7168, 60, 56, 20480, 64000, 8)
    model = made(InternVLForConditionalGeneration, InternVLConfig(vision_config=vision.to_dict(), text_config=llm.to_dict()))
    glue = macs(lambda: model.model.multi_modal_projector(torch.empty(1, 256, 12800, device="meta")))
    return tower_and_language(model.model.vision_tower, glue, made(LlamaForCausalLM, llm), pixels(448), 2048)


def gpt2():
    model = made(GPT2LMHeadModel, GPT2Config())
    return macs(lambda: model(input_ids=ids(1024)))


def dinov2(width, depth, heads):
    config = Dinov2Config(hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, image_size=224, patch_size=14)
    return macs(lambda: made(Dinov2Model, config)(pixels(224)))


def blip2():
    """Beside an encoder of one block, which is not counted: masks are looked at, so this has weights."""
    qformer = {"vocab_size": 30523, "use_qformer_text_input": True}
    config = Blip2Config(vision_config={"num_hidden_layers": 1}, qformer_config=qformer, image_text_hidden_size=256)
    model = Blip2ForImageTextRetrieval(config).eval()
    words = torch.ones(1, 32, dtype=torch.long)
    given = {"pixel_values": torch.zeros(1, 3, 224, 224), "input_ids": words, "attention_mask": words}
    vision = macs(lambda: model.vision_model(given["pixel_values"]))
    each = [macs(lambda: model(use_image_text_matching_head=m, **given)) - vision for m in (False, True)]
    return sum(each)


facts = {}
for name, count in (
    ("llava-1.5-7b", llava),
    ("internvl-chat-1.2", internvl12),
    ("gpt2", gpt2),
    ("dinov2-vit-s-14", lambda: dinov2(384, 12, 6)),
    ("dinov2-vit-l-14", lambda: dinov2(1024, 24, 16)),
    ("blip2-qformer", blip2),
):
    facts[name] = count()
print(json.dumps(facts, indent=1))
