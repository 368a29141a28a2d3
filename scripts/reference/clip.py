"""CLIP: a small checkpoint of transformers with its tokenizer, OpenCLIP's towers with gradients, and timm's EVA towers.

python scripts/reference/clip.py    writes test/fixtures/clip/ and test/fixtures/models/{openclip,clip-resnet,viclip,eva-*}.safetensors;
                                    needs torch, transformers, tokenizers, pillow, timm, open_clip_torch.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fixture import gradient_digests, randomize, write

root = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "clip"


def rounded(tensor):
    return [float(f"{v:.8g}") for v in tensor.detach().flatten().tolist()]


def drawn(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def tokenizer():
    """CLIP's: lower case, letters that end a word apart from those that do not, and a template."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    letters = "abcdefghijklmnopqrstuvwxyz"
    merges = [("c", "a"), ("ca", "t</w>"), ("f", "o"), ("fo", "x</w>"), ("r", "e")]
    words = [*letters, *(f"{x}</w>" for x in letters), *(a + b for a, b in merges), "<|startoftext|>", "<|endoftext|>"]
    vocab = {word: i for i, word in enumerate(words)}
    made = Tokenizer(
        models.BPE(vocab, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix="")
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    pattern = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in words[-2:]])
    begin, end = ((t, vocab[t]) for t in words[-2:])
    made.post_processor = processors.RobertaProcessing(end, begin, trim_offsets=False, add_prefix_space=False)
    return made


def transformers_checkpoint():
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    words = tokenizer()
    end = words.token_to_id("<|endoftext|>")
    text = CLIPTextConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=12,
        projection_dim=10,
        bos_token_id=end - 1,
        eos_token_id=end,
    )
    vision = CLIPVisionConfig(
        hidden_size=12,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=3,
        image_size=24,
        patch_size=8,
        projection_dim=10,
    )
    model = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=10))
    randomize(model).float().eval()
    root.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(5)
    small = Image.fromarray(draw.integers(0, 256, (7, 11, 3), dtype=np.uint8))
    small.resize((44, 28), Image.BILINEAR).save(root / "picture.png")
    processor = CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    processor.save_pretrained(root)
    pixels = processor(Image.open(root / "picture.png").convert("RGB"), return_tensors="pt").pixel_values
    labels = ["cat", "Red  fox", "sea", "a much longer text than there are places"]
    rows = [words.encode(label).ids for label in labels]
    # Over-long texts are cut, not their end; padded with 0.
    rows = [[*row[:11], end] if len(row) > 12 else row + [0] * (12 - len(row)) for row in rows]
    out = model(input_ids=torch.tensor(rows), pixel_values=pixels)
    model.save_pretrained(root)
    (root / "generation_config.json").unlink(missing_ok=True)
    words.save(str(root / "tokenizer.json"), pretty=False)
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    (root / "tokenizer_config.json").write_text(json.dumps(special) + "\n")
    facts = {
        "labels": labels,
        "logits": rounded(out.logits_per_image[0]),
        "probabilities": rounded(out.logits_per_image[0].softmax(-1)),
    }
    (root / "expected.json").write_text(json.dumps(facts) + "\n")
    print(facts)


class Kept(torch.nn.Module):
    """Keeps the class token and the patches of the smallest draws [batch, patch], as patch dropout does with its own."""

    def __init__(self, draws, part, told):
        super().__init__()
        # Ties keep their order; half of an odd number is rounded up.
        self.kept = draws.argsort(dim=1, stable=True)[:, : math.floor(part * draws.shape[1] + 0.5)]
        self.told = told

    def forward(self, x):
        rows = x[:, 1:].gather(1, self.kept[..., None].expand(-1, -1, x.shape[-1]))
        all = torch.cat([x[:, :1], rows], 1)
        return (all, self.kept) if self.told else all


def kept_draws(rows, patches):
    return torch.rand(rows, patches, generator=torch.Generator().manual_seed(12))


def openclip():
    from open_clip.loss import ClipLoss
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    vision = CLIPVisionCfg(layers=2, width=12, head_width=6, mlp_ratio=20.5 / 12, patch_size=4, image_size=12)
    text = CLIPTextCfg(context_length=7, vocab_size=19, width=8, heads=2, layers=2)
    model = randomize(CLIP(10, vision, text)).eval()
    ids = torch.zeros(3, 7, dtype=torch.long)
    for row, length in zip(ids, (7, 4, 2)):
        row[:length] = torch.randint(1, 17, (length,), generator=torch.Generator().manual_seed(length))
        row[0], row[length - 1] = 17, 18
    pixels = drawn((3, 3, 12, 12), 3).float().double()
    image, words, scale = model(pixels, ids)
    loss = ClipLoss()(image, words, scale)
    loss.backward()
    gradients = gradient_digests(model)
    model.zero_grad()
    draws = kept_draws(3, 9)
    model.visual.patch_dropout = Kept(draws, 0.6, False)
    fewer = ClipLoss()(*model(pixels, ids))
    fewer.backward()
    facts = {
        "vision": {"width": 12, "depth": 2, "heads": 2, "mlp": 20, "image": 12, "patch": 4},
        "text": {"width": 8, "depth": 2, "heads": 2, "mlp": 32, "vocab": 19, "context": 7, "eos": 0},
        "embed": 10,
        "loss": loss.item(),
        "gradients": gradients,
        "kept": {"part": 0.6, "loss": fewer.item(), "gradients": gradient_digests(model)},
    }
    inputs = {"pixels": pixels, "ids": ids, "keep": draws}
    write("openclip", model, inputs, {"image": image, "text": words}, facts)


class WithBuffers:
    """A module whose running statistics are written with its parameters."""

    def __init__(self, module):
        self.module = module

    def named_parameters(self):
        yield from self.module.named_parameters()
        yield from ((n, b) for n, b in self.module.named_buffers() if "running" in n)


def resnet():
    """CLIP's ResNet alone, with the statistics that it keeps; pixels by a formula, since a file of them would be large."""
    from open_clip.modified_resnet import ModifiedResNet

    model = randomize(ModifiedResNet([2, 1, 1, 1], output_dim=5, heads=2, image_size=64, width=2)).eval()
    generator = torch.Generator().manual_seed(9)
    for name, buffer in model.named_buffers():
        if "running" in name:
            noise = torch.rand(buffer.shape, generator=generator) / 2
            buffer.data = (noise + 0.5 if name.endswith("var") else noise - 0.25).half().double()
    for parameter in model.parameters():
        parameter.data = parameter.data.half().double()  # so that the file is small and exact
    count = 2 * 3 * 64 * 64
    pixels = (((torch.arange(count) * 7919) % 257 - 128).double() / 64).reshape(2, 3, 64, 64)
    vectors = model(pixels)
    loss = (vectors**2).sum() / 2
    loss.backward()
    facts = {
        "vision": {"width": 2, "blocks": [2, 1, 1, 1], "image": 64, "heads": 2},
        "loss": loss.item(),
        "gradients": gradient_digests(model),
    }
    write("clip-resnet", WithBuffers(model), {}, {"vectors": vectors}, facts, torch.float16)


def eva(kind, heads, **options):
    """A tower of timm as EVA-CLIP has it, and the energy of its vectors as a loss."""
    from timm.models.eva import Eva

    model = Eva(
        img_size=12,
        patch_size=4,
        num_classes=5,
        embed_dim=16,
        depth=2,
        num_heads=heads,
        mlp_ratio=21 / 16,
        global_pool="token",
        **options,
    )
    randomize(model).eval()
    pixels = drawn((2, 3, 12, 12), 4).float().double()
    vectors = model(pixels)
    loss = (vectors**2).sum() / 2
    loss.backward()
    gradients = gradient_digests(model)
    model.zero_grad()
    draws = kept_draws(2, 9)
    model.patch_drop = Kept(draws, 0.4, True)
    fewer = (model(pixels) ** 2).sum() / 2
    fewer.backward()
    facts = {
        "vision": {"width": 16, "depth": 2, "heads": heads, "mlp": 21, "image": 12, "patch": 4},
        "kind": kind,
        "embed": 5,
        "loss": loss.item(),
        "gradients": gradients,
        "kept": {"part": 0.4, "loss": fewer.item(), "gradients": gradient_digests(model)},
    }
    write(f"eva-{kind}", model, {"pixels": pixels, "keep": draws}, {"vectors": vectors}, facts)


class Clips(torch.nn.Module):
    """ViCLIP's vision encoder, as its code is described, with the blocks of open_clip."""

    def __init__(self, width, layers, heads, mlp, patch, grid, frames, out):
        from open_clip.model import QuickGELU
        from open_clip.transformer import Transformer

        super().__init__()
        at = torch.nn.Parameter
        self.conv1 = torch.nn.Conv3d(3, width, (1, patch, patch), (1, patch, patch), bias=False)
        self.class_embedding = at(torch.zeros(width))
        self.positional_embedding = at(torch.zeros(grid**2 + 1, width))
        self.temporal_positional_embedding = at(torch.zeros(1, frames, width))
        self.ln_pre, self.ln_post = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, heads, mlp / width, act_layer=QuickGELU)
        self.proj = at(torch.zeros(width, out))

    def forward(self, clips):
        """clips [batch, frame, channel, row, column]; one frame is a picture, at the mean of the times."""
        x = self.conv1(clips.transpose(1, 2)).flatten(3)  # [batch, width, frame, patch]
        count = x.shape[2]
        x = x.permute(0, 2, 3, 1) + self.positional_embedding[1:]
        times = self.temporal_positional_embedding
        x = x + (times if count > 1 else times.mean(1, keepdim=True))[:, :, None]
        x = x.transpose(1, 2).flatten(1, 2)  # all frames of a patch follow one another
        first = (self.class_embedding + self.positional_embedding[0]).expand(len(x), 1, -1)
        return self.ln_post(self.transformer(self.ln_pre(torch.cat([first, x], 1)))[:, 0]) @ self.proj


def viclip():
    from open_clip.model import QuickGELU
    from open_clip.transformer import TextTransformer

    text = TextTransformer(5, 19, 8, 2, 1, 20 / 8, output_dim=6, act_layer=QuickGELU, pad_id=0)
    model = torch.nn.Module()
    model.vision_encoder, model.text_encoder = Clips(8, 2, 2, 13, 4, 2, 3, 6), text
    randomize(model).eval()
    model.temp = torch.nn.Parameter(torch.tensor(0.3).double())
    frames = drawn((3, 3, 3, 8, 8), 8).float().double()
    ids = torch.tensor([[17, 3, 5, 2, 18], [17, 9, 18, 0, 0], [17, 18, 0, 0, 0]])
    unit = torch.nn.functional.normalize
    clips, words = unit(model.vision_encoder(frames), dim=-1), unit(model.text_encoder(ids), dim=-1)
    logits = clips @ words.T / model.temp
    target = torch.arange(3)
    entropy = torch.nn.functional.cross_entropy
    loss = (entropy(logits, target) + entropy(logits.T, target)) / 2
    loss.backward()
    picture = unit(model.vision_encoder(frames[:, :1]), dim=-1)
    facts = {
        "vision": {"width": 8, "depth": 2, "heads": 2, "mlp": 13, "image": 8, "patch": 4, "frames": 3},
        "text": {"width": 8, "depth": 1, "heads": 2, "mlp": 20, "vocab": 19, "context": 5, "eos": 18},
        "embed": 6,
        "loss": loss.item(),
        "gradients": gradient_digests(model),
    }
    expected = {"clips": clips, "text": words, "picture": picture}
    write("viclip", model, {"frames": frames, "pixels": frames[:, 0], "ids": ids}, expected, facts)


if __name__ == "__main__":
    torch.manual_seed(0)
    transformers_checkpoint()
    openclip()
    resnet()
    viclip()
    eva("pre-norm", 4)
    eva("post-norm", 2, use_post_norm=True)
    sub_norm = {"qkv_fused": False, "swiglu_mlp": True, "scale_mlp": True, "scale_attn_inner": True}
    eva("sub-norm", 2, use_rot_pos_emb=True, ref_feat_shape=(16, 16), **sub_norm)
