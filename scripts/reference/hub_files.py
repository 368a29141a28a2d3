"""The files of OpenCLIP and timm: configurations, what they preprocess pictures to, and a checkpoint that open_clip saves.

python scripts/reference/hub_files.py    writes test/fixtures/open-clip/ and test/fixtures/hub-files.json; needs torch,
                                         open_clip_torch, timm, tokenizers, pillow. Run preprocessing.py before it.
"""

import base64
import io
import json
import shutil
import tempfile
from pathlib import Path

import timm
import torch
from PIL import Image
from tokenizers import Tokenizer

import open_clip
from fixture import randomize
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.push_to_hf_hub import save_for_hf
from timm.models._hub import save_config_for_hf

fixtures = Path(__file__).resolve().parents[2] / "test" / "fixtures"
folder, clip = fixtures / "open-clip", fixtures / "clip"
labels = ["cat", "Red  fox", "sea", "a much longer text than there are places"]


class Beside:
    """The tokenizer of the other CLIP fixture, as one that is saved."""

    def save_pretrained(self, to):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(clip / name, to / name)


def checkpoint():
    """A CLIP of 20 pixels, whose crop of the picture falls between two pixels, with a mean of its own."""
    vocabulary = len(json.loads((clip / "tokenizer.json").read_text())["model"]["vocab"])
    config = {
        "embed_dim": 10,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 20, "layers": 2, "width": 12, "head_width": 6, "patch_size": 5, "mlp_ratio": 1.75},
        "text_cfg": {"context_length": 8, "vocab_size": vocabulary, "width": 8, "heads": 2, "layers": 2},
    }
    model = randomize(CLIP(**config)).float().eval()
    model.visual.image_mean, model.visual.image_std = (0.5, 0.4, 0.6), (0.5, 0.25, 0.75)
    model.visual.preprocess_cfg = {"interpolation": "bilinear", "resize_mode": "shortest"}
    folder.mkdir(exist_ok=True)
    save_for_hf(model, Beside(), config, folder, safe_serialization=True)
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    words.enable_truncation(8)
    words.enable_padding(length=8, pad_id=0)
    ids = torch.tensor([e.ids for e in words.encode_batch(labels)])
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    pixels = preprocess(Image.open(clip / "picture.png"))[None]
    with torch.no_grad():
        image, text, scale = model.eval()(pixels, ids)
        logits = (scale * image @ text.T)[0]
    found = {"labels": labels, "logits": [float(f"{v:.8g}") for v in logits]}
    (folder / "expected.json").write_text(json.dumps(found) + "\n")


def parameters(config):
    """Of a model that is never allocated; None where a text tower is of transformers, or texts are also written."""
    if config["text_cfg"].get("hf_model_name") or "multimodal_cfg" in config:
        return None
    given = {k: v for k, v in config.items() if k != "custom_text"}
    with torch.device("meta"):
        model = (CustomTextCLIP if config.get("custom_text") else CLIP)(**given)
    return sum(p.numel() for p in model.parameters())


def configurations():
    listed = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    rows = [json.dumps({"name": n, "parameters": parameters(c), "config": c}) for n, c in sorted(listed.items())]
    (folder / "configurations.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


def pixels(transform):
    picture = json.loads((fixtures / "preprocessing.json").read_text())["picture"]
    made = transform(Image.open(io.BytesIO(base64.b64decode(picture)))).numpy()
    return {"size": made.shape[1:], "pixels": base64.b64encode(made.astype("float32").tobytes()).decode()}


open_cases = {
    "the short side, then a crop": {"size": 12},
    "a crop that falls between two pixels": {"size": 20, "interpolation": "bilinear", "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.2, 0.9]},
    "a square": {"size": 12, "resize_mode": "squash", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "a height and a width": {"size": [9, 14], "resize_mode": "squash", "interpolation": "bilinear"},
}
timm_cases = {
    "part of the short side": {"input_size": [3, 12, 12], "interpolation": "bicubic", "crop_pct": 0.9},
    "a crop that falls between two pixels": {"input_size": [3, 20, 20], "interpolation": "bilinear", "crop_pct": 1.0},
    "the whole, stretched": {"input_size": [3, 12, 12], "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "squash"},
    "a part, stretched": {"input_size": [3, 12, 16], "interpolation": "bilinear", "crop_pct": 0.875, "crop_mode": "squash"},
}


def preprocessing():
    from open_clip.transform import PreprocessCfg, image_transform_v2

    of_open = {n: {"config": c, **pixels(image_transform_v2(PreprocessCfg(**c), is_train=False))} for n, c in open_cases.items()}
    usual = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    of_timm = {
        n: {"config": {**usual, **c}, **pixels(timm.data.create_transform(**usual, **{"crop_mode": "center", **c}, is_training=False))}
        for n, c in timm_cases.items()
    }
    return {"openClip": of_open, "timm": of_timm}


architectures = {
    "vit_tiny_patch16_224": {},
    "vit_base_patch32_384": {"num_classes": 10},
    "vit_huge_patch14_224": {},
    "deit_base_distilled_patch16_224": {},
    "deit_small_patch16_224": {"img_size": 320},
    "vit_small_patch14_dinov2": {"img_size": 154},
    "vit_giant_patch14_dinov2": {},
    "resnet18": {"num_classes": 7},
    "resnet152": {},
    # Not supported.
    "vit_base_patch16_224.": {"global_pool": "avg"},
    "vit_base_patch16_224..": {"qk_norm": True},
    "vit_small_patch14_dinov2.": {"num_classes": 5},
    "vit_base_patch14_reg4_dinov2": {},
    "convnext_tiny": {},
}


def of_timm(name, given):
    with torch.device("meta"):
        model = timm.create_model(name.rstrip("."), pretrained=False, **given)
    with tempfile.TemporaryDirectory() as at:
        save_config_for_hf(model, Path(at) / "config.json", model_args=given or None)
        config = json.loads((Path(at) / "config.json").read_text())
    return {"config": config, "parameters": sum(p.numel() for p in model.parameters())}


def timm_files():
    found = {"preprocessing": preprocessing(), "architectures": [of_timm(*row) for row in architectures.items()]}
    (fixtures / "hub-files.json").write_text(json.dumps(found) + "\n")


checkpoint()
configurations()
timm_files()
