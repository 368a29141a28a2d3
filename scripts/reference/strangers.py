"""Small checkpoints as transformers writes them, of families that heddle does not bundle, with what transformers computes.

python scripts/reference/strangers.py    writes test/fixtures/strangers/<family>/, needs torch, transformers, pillow.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessorPil,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipTextConfig,
    SiglipVisionConfig,
    T5Config,
    T5ForConditionalGeneration,
    TrOCRConfig,
    TrOCRForCausalLM,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
    VisionEncoderDecoderModel,
)

root = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "strangers"


def drawn(model, seed):
    """Draws every parameter so that none keeps a value (0, 1) that would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(noise / p[0].numel() ** 0.5 if p.ndim > 1 else p + 0.2 * noise)
    return model.eval()


def save(name, model, facts, generation=False):
    folder = root / name
    model.save_pretrained(folder)
    if not generation:
        (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "expected.json").write_text(json.dumps(facts) + "\n")


def rounded(tensor):
    return [float(f"{v:.8g}") for v in tensor.detach().flatten().tolist()]


def gpt_neox():
    config = GPTNeoXConfig(
        vocab_size=259,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=64,
        rotary_pct=0.5,
        rotary_emb_base=500,
        use_parallel_residual=True,
        hidden_act="gelu",
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = drawn(GPTNeoXForCausalLM(config), 1)
    prompt = [1, 87, 104, 112, 35, 105]
    ids = torch.tensor([prompt])
    made = model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
    save("gpt-neox", model, {"ids": prompt, "logits": rounded(model(ids).logits[0, -1]), "tokens": made[0, 6:].tolist()})


def gemma2():
    config = Gemma2Config(
        vocab_size=259,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        sliding_window=6,
        query_pre_attn_scalar=12,
        attn_logit_softcapping=1.5,
        final_logit_softcapping=3.0,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        attn_implementation="eager",
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = drawn(Gemma2ForCausalLM(config), 9)
    prompt = [1, *(b + 3 for b in b"a red fox")]
    # As its file says: what heddle does with it is to be what transformers does.
    model.generation_config.repetition_penalty = 1.2
    model.generation_config.no_repeat_ngram_size = 2
    made = model.generate(torch.tensor([prompt]), max_new_tokens=16, do_sample=False)
    beams = model.generate(torch.tensor([prompt]), max_new_tokens=10, num_beams=3, do_sample=False)
    facts = {"tokens": made[0, len(prompt) :].tolist(), "beams": beams[0, len(prompt) :].tolist()}
    logits = rounded(model(torch.tensor([prompt])).logits[0, -1])
    save("gemma2", model, {"ids": prompt, "logits": logits, **facts}, generation=True)


def picture(folder):
    draw = np.random.default_rng(3)
    small = Image.fromarray(draw.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    small.resize((48, 36), Image.BILINEAR).save(folder / "picture.png")
    return Image.open(folder / "picture.png").convert("RGB")


def siglip():
    text = SiglipTextConfig(
        vocab_size=259,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=12,
        projection_size=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    vision = SiglipVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=24,
        patch_size=8,
    )
    model = drawn(SiglipModel(SiglipConfig(text_config=text.to_dict(), vision_config=vision.to_dict())), 2)
    with torch.no_grad():
        model.logit_scale.fill_(1.2)
        model.logit_bias.fill_(-0.7)
    folder = root / "siglip"
    folder.mkdir(parents=True, exist_ok=True)
    processor = SiglipImageProcessorPil(size={"height": 24, "width": 24})
    processor.save_pretrained(folder)
    pixels = processor(picture(folder), return_tensors="pt").pixel_values
    labels = ["cat", "red fox", "sea"]
    # Bytes as heddle's byte tokenizer has them: BOS, bytes + 3, EOS, then 0.
    rows = [[1, *(b + 3 for b in label.encode()), 2] for label in labels]
    ids = torch.tensor([row + [0] * (12 - len(row)) for row in rows])
    out = model(input_ids=ids, pixel_values=pixels)
    facts = {
        "labels": labels,
        "logits": rounded(out.logits_per_image[0]),
        "probabilities": rounded(torch.sigmoid(out.logits_per_image[0])),
        "pixels": rounded(pixels[0, :, :2, :3]),
    }
    save("siglip", model, facts)


def convnext():
    config = ConvNextConfig(
        num_channels=3,
        patch_size=4,
        hidden_sizes=[8, 12],
        depths=[1, 2],
        num_stages=2,
        image_size=32,
        layer_scale_init_value=0.5,
        num_labels=4,
        id2label={0: "ant", 1: "bee", 2: "cow", 3: "dog"},
        label2id={"ant": 0, "bee": 1, "cow": 2, "dog": 3},
    )
    model = drawn(ConvNextForImageClassification(config), 3)
    generator = torch.Generator().manual_seed(4)
    pixels = (torch.randn(1, 3, 32, 32, generator=generator) * 8).round() / 8
    save("convnext", model, {"pixels": rounded(pixels), "logits": rounded(model(pixels).logits[0])})


def segformer():
    config = SegformerConfig(
        image_size=32,
        hidden_sizes=[4, 4, 8, 8],
        depths=[1, 2, 1, 1],
        num_attention_heads=[1, 2, 2, 4],
        sr_ratios=[4, 2, 1, 1],
        patch_sizes=[5, 3, 3, 3],
        mlp_ratios=[4, 3, 2, 2],
        decoder_hidden_size=8,
        id2label={0: "sky", 1: "sea", 2: "sand"},
        label2id={"sky": 0, "sea": 1, "sand": 2},
    )
    model = drawn(SegformerForSemanticSegmentation(config), 11)
    generator = torch.Generator().manual_seed(12)
    with torch.no_grad():
        norm = model.decode_head.batch_norm
        norm.running_mean.copy_(0.3 * torch.randn(norm.running_mean.shape, generator=generator))
        norm.running_var.copy_(0.5 + torch.rand(norm.running_var.shape, generator=generator))
    folder = root / "segformer"
    folder.mkdir(parents=True, exist_ok=True)
    processor = SegformerImageProcessorPil(size={"height": 32, "width": 32}, do_reduce_labels=False)
    processor.save_pretrained(folder)
    image = picture(folder)
    pixels = processor(image, return_tensors="pt").pixel_values
    out = model(pixels)
    classes = processor.post_process_semantic_segmentation(out, target_sizes=[(image.height, image.width)])[0]
    facts = {
        "pixels": rounded(pixels),
        "logits": rounded(out.logits),
        "classes": "".join(str(c) for c in classes.flatten().tolist()),
    }
    save("segformer", model, facts)


def tall_vit():
    """Images of 24 by 8 pixels, and what transformers does with a wide and a tall file."""
    names = {0: "ant", 1: "bee", 2: "cow"}
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=(24, 8),
        patch_size=4,
        id2label=names,
        label2id={name: i for i, name in names.items()},
    )
    model = drawn(ViTForImageClassification(config), 5)
    folder = root / "tall-vit"
    folder.mkdir(parents=True, exist_ok=True)
    processor = ViTImageProcessorPil(size={"height": 24, "width": 8})
    processor.save_pretrained(folder)
    wide = Image.open(root / "siglip" / "picture.png").convert("RGB")
    files = {"wide": wide, "tall": wide.rotate(90, expand=True)}
    facts = {}
    for name, image in files.items():
        out = model(processor(image, return_tensors="pt").pixel_values, output_hidden_states=True)
        patches = out.hidden_states[1][0, 1:].reshape(6, 2, 16)
        facts[name] = {"logits": rounded(out.logits[0]), "block 1": rounded(patches[:, :, :2])}
    save("tall-vit", model, facts)


def written(model, given, **how):
    """New tokens, those that the decoder is given left out."""
    return model.generate(**given, **how)[0, 1:].tolist()


def as_bytes(text):
    """Ids as heddle's byte tokenizer has them."""
    return [1, *(b + 3 for b in text.encode()), 2]


def t5():
    config = T5Config(
        vocab_size=259,
        d_model=16,
        d_kv=6,
        d_ff=24,
        num_layers=3,
        num_decoder_layers=2,
        num_heads=2,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=20,
        feed_forward_proj="relu",
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=2,
    )
    model = drawn(T5ForConditionalGeneration(config), 5)
    with torch.no_grad():  # its logits are scaled by width ** -0.5, and its attention is not
        model.shared.weight.mul_(8)
    texts = ["A fox by the sea, and a boat.", "no"]
    sources = [{"input_ids": torch.tensor([as_bytes(text)])} for text in texts]
    model.generation_config.update(no_repeat_ngram_size=2, forced_eos_token_id=2, suppress_tokens=[7])
    facts = {
        "texts": texts,
        "greedy": [written(model, source, max_new_tokens=24, do_sample=False) for source in sources],
        "beams": [written(model, s, max_new_tokens=12, num_beams=3, length_penalty=0.5) for s in sources],
        "logits": rounded(model(**sources[0], decoder_input_ids=torch.tensor([[0, 9, 40]])).logits[0, -1]),
    }
    save("t5", model, facts, generation=True)


def trocr():
    vision = ViTConfig(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=20,
        image_size=24,
        patch_size=8,
    )
    text = TrOCRConfig(
        vocab_size=259,
        d_model=16,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=24,
        max_position_embeddings=40,
        cross_attention_hidden_size=12,
        activation_function="gelu",
        scale_embedding=True,
        use_learned_position_embeddings=True,
        layernorm_embedding=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
    )
    model = drawn(VisionEncoderDecoderModel(encoder=ViTModel(vision, add_pooling_layer=False), decoder=TrOCRForCausalLM(text)), 6)
    with torch.no_grad():
        model.decoder.output_projection.weight.mul_(4)
    folder = root / "trocr"
    folder.mkdir(parents=True, exist_ok=True)
    processor = ViTImageProcessorPil(size={"height": 24, "width": 24})
    processor.save_pretrained(folder)
    pixels = {"pixel_values": processor(picture(folder), return_tensors="pt").pixel_values}
    model.config.decoder_start_token_id, model.config.pad_token_id, model.config.eos_token_id = 2, 0, 2
    model.generation_config.update(
        decoder_start_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        num_beams=3,
        length_penalty=2.0,
        early_stopping=True,
        no_repeat_ngram_size=3,
        max_length=16,
        min_length=4,
    )
    facts = {
        "beams": written(model, pixels),
        "greedy": written(model, pixels, num_beams=1, length_penalty=None, early_stopping=None),
        "logits": rounded(model(**pixels, decoder_input_ids=torch.tensor([[2, 9, 40]])).logits[0, -1]),
    }
    save("trocr", model, facts, generation=True)


if __name__ == "__main__":
    torch.manual_seed(0)
    gpt_neox()
    siglip()
    convnext()
    tall_vit()
    t5()
    trocr()
    gemma2()
    segformer()
