"""ResNets beside torchvision and transformers: a tiny one of each kind of block, and a checkpoint with what it says of a picture.

python scripts/reference/resnet.py    writes test/fixtures/models/resnet-*.safetensors and test/fixtures/classifiers/resnet/.
"""

import torch
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet
from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetForImageClassification

from classifiers import classes, drawn, parity, published


def transformers_basic():
    config = ResNetConfig(
        embedding_size=5, hidden_sizes=[5, 6], depths=[1, 2], layer_type="basic", id2label=dict(enumerate("abc"))
    )
    model = drawn(ResNetForImageClassification(config), 1)
    facts = {"stem": 5, "widths": [5, 6], "depths": [1, 2], "block": "basic", "image": 37, "classes": 3}
    parity("resnet-basic", model, lambda pixels: model(pixels).logits, facts)


def torchvision_bottleneck():
    """torchvision's own class and blocks with other widths."""
    model = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=4)
    model.inplanes = 6
    model.conv1 = nn.Conv2d(3, 6, kernel_size=7, stride=2, padding=3, bias=False)
    model.bn1 = nn.BatchNorm2d(6)
    model.layer1 = model._make_layer(Bottleneck, 2, 1)
    model.layer2 = model._make_layer(Bottleneck, 3, 1, stride=2)
    model.layer3 = model.layer4 = nn.Identity()
    model.fc = nn.Linear(12, 4)
    drawn(model, 2)
    facts = {"stem": 6, "widths": [8, 12], "depths": [1, 1], "block": "bottleneck", "image": 21, "classes": 4}
    parity("resnet-bottleneck", model, model, facts)


def checkpoint():
    config = ResNetConfig(
        embedding_size=4,
        hidden_sizes=[8, 12],
        depths=[1, 1],
        downsample_in_bottleneck=True,
        **classes("ant", "bee", "cow", "dog"),
    )
    model = drawn(ResNetForImageClassification(config), 3)
    processor = ConvNextImageProcessorPil(size={"shortest_edge": 40}, crop_pct=0.875, resample=2)
    published("resnet", model, processor)


if __name__ == "__main__":
    torch.manual_seed(0)
    transformers_basic()
    torchvision_bottleneck()
    checkpoint()
