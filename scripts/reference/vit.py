"""ViTs beside timm and transformers: tiny ones of each kind, and checkpoints with what they say of a picture.

python scripts/reference/vit.py    writes test/fixtures/models/vit-*.safetensors and test/fixtures/classifiers/<type>/.
"""

import torch
from timm.layers import SwiGLUPacked
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import (
    BitImageProcessorPil,
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    DeiTImageProcessorPil,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from classifiers import classes, drawn, hub_names, parity, published

tiny = {"img_size": 12, "patch_size": 4, "depth": 2, "num_classes": 3, "mlp_ratio": 1.5}
facts = {"image": 12, "patch": 4, "depth": 2, "classes": 3}


def timm_class():
    model = drawn(VisionTransformer(**tiny, embed_dim=6, num_heads=2), 1)
    parity("vit-class", model, model, {**facts, "width": 6, "heads": 2, "mlp": 9, "head": "class"})


def timm_distilled():
    model = drawn(VisionTransformerDistilled(**tiny, embed_dim=8, num_heads=1), 2)
    shape = {"width": 8, "heads": 1, "mlp": 12, "head": "distilled", "dropPath": 0}
    parity("vit-distilled", model, model, {**facts, **shape}, smoothing=0.2)


def timm_dinov2():
    """With the gated MLP of the giant and DINOv2's linear classifier, which timm leaves to its users."""
    model = VisionTransformer(**tiny, embed_dim=8, num_heads=2, init_values=0.5, mlp_layer=SwiGLUPacked, act_layer=nn.SiLU)
    model.head = nn.Linear(16, 3)
    drawn(model, 3)

    def scores(pixels):
        x = model.forward_features(pixels)
        return model.head(torch.cat([x[:, 0], x[:, 1:].mean(1)], 1))

    shape = {"width": 8, "heads": 2, "mlp": 6, "feedForward": "swiglu", "layerScale": 0.5, "positions": 0}
    parity("vit-dinov2", model, scores, {**facts, **shape})


def registers(width=6, **more):
    return Dinov2WithRegistersConfig(
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=20,
        patch_size=4,
        num_register_tokens=2,
        layerscale_value=0.5,
        **more,
    )


def transformers_registers():
    """Positions for 5 x 5 patches, interpolated to 3 x 3."""
    model = drawn(Dinov2WithRegistersForImageClassification(registers(num_labels=3)), 4)
    shape = {"width": 6, "heads": 2, "mlp": 12, "layerScale": 0.5, "positions": 20, "registers": 2, "feedForward": "gelu"}
    scores = lambda pixels: model(pixels).logits
    parity("vit-registers", model, scores, {**facts, **shape}, names=hub_names(model))


def checkpoints():
    kinds = classes("ant", "bee", "cow", "dog")
    shape = {
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "image_size": 24,
        "patch_size": 8,
    }
    size = {"height": 24, "width": 24}
    published("vit", drawn(ViTForImageClassification(ViTConfig(**shape, **kinds)), 5), ViTImageProcessorPil(size=size))
    deit = DeiTForImageClassificationWithTeacher(DeiTConfig(**shape, **kinds))
    processor = DeiTImageProcessorPil(size={"height": 32, "width": 32}, crop_size=size)
    published("deit", drawn(deit, 6), processor)
    dinov2 = Dinov2WithRegistersForImageClassification(registers(12, use_swiglu_ffn=True, **kinds))
    processor = BitImageProcessorPil(size={"shortest_edge": 23}, crop_size={"height": 20, "width": 20})
    published("dinov2", drawn(dinov2, 7), processor)


if __name__ == "__main__":
    torch.manual_seed(0)
    timm_class()
    timm_distilled()
    timm_dinov2()
    transformers_registers()
    checkpoints()
