"""Probes and segmentation heads on a tiny InternViT: a training step (batch statistics, loss, gradients, running
statistics) and the evaluation after it."""

from dataclasses import asdict

import torch
import torch.nn.functional as F
from torch import nn

from fixture import gradient_digests, randomize, write
from internvl import AttentionPooling, InternViT, Vision


class Probe(nn.Module):
    def __init__(self, vision, classes, pooling):
        super().__init__()
        self.vision_model = InternViT(vision)
        self.clip_projector = AttentionPooling(vision.width, *pooling) if pooling else None
        width = pooling[1] if pooling else 2 * vision.width
        self.norm = nn.BatchNorm1d(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, pixels):
        x = self.vision_model(pixels)[-1]
        seen = self.clip_projector(x) if self.clip_projector else torch.cat([x[:, 0], x[:, 1:].mean(1)], dim=1)
        return self.head(self.norm(seen))

    def loss(self, pixels, label):
        return F.cross_entropy(self(pixels), label)


class ConvModule(nn.Module):
    def __init__(self, width, out, kernel):
        super().__init__()
        self.conv = nn.Conv2d(width, out, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class ChannelNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def resized(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class UperHead(nn.Module):
    def __init__(self, width, channels, classes):
        super().__init__()
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(s), ConvModule(width, channels, 1)) for s in (1, 2, 3, 6)
        )
        self.bottleneck = ConvModule(width + 4 * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvModule(width, channels, 1) for _ in range(3))
        self.fpn_convs = nn.ModuleList(ConvModule(channels, channels, 3) for _ in range(3))
        self.fpn_bottleneck = ConvModule(4 * channels, channels, 3)
        self.conv_seg = nn.Conv2d(channels, classes, 1)

    def forward(self, maps, dropped=1):
        last = maps[-1]
        context = [resized(psp(last), last.shape[2:]) for psp in self.psp_modules]
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, maps)]
        laterals.append(self.bottleneck(torch.cat([last, *context], dim=1)))
        for i in range(3, 0, -1):
            laterals[i - 1] = laterals[i - 1] + resized(laterals[i], laterals[i - 1].shape[2:])
        outs = [conv(x) for conv, x in zip(self.fpn_convs, laterals)] + [laterals[3]]
        outs = [resized(x, outs[0].shape[2:]) for x in outs]
        return self.conv_seg(self.fpn_bottleneck(torch.cat(outs, dim=1)) * dropped)


class Segmenter(nn.Module):
    """A linear head for one block, UperNet with an auxiliary head for four."""

    def __init__(self, vision, blocks, classes, channels=0, auxiliary=0):
        super().__init__()
        self.blocks, self.grid, self.auxiliary = blocks, vision.image // vision.patch, auxiliary
        self.vision_model = InternViT(vision)
        w = vision.width
        if not channels:
            self.decode_head = nn.Module()
            self.decode_head.norm = nn.BatchNorm2d(w)
            self.decode_head.conv_seg = nn.Conv2d(w, classes, 1)
            return
        self.backbone = nn.Module()
        double = lambda: nn.ConvTranspose2d(w, w, 2, 2)
        self.backbone.up1 = nn.Sequential(double(), ChannelNorm(w, eps=1e-6), nn.GELU(), double())
        self.backbone.up2 = nn.Sequential(double())
        self.decode_head = UperHead(w, channels, classes)
        self.auxiliary_head = nn.Module()
        self.auxiliary_head.convs = nn.Sequential(ConvModule(w, channels, 3))
        self.auxiliary_head.conv_seg = nn.Conv2d(channels, classes, 1)

    def forward(self, pixels, dropped=(1, 1), **seen):
        """`dropped`: what the channels before each classifier are multiplied by."""
        states = self.vision_model(pixels, **seen)
        maps = [states[b][:, 1:].transpose(1, 2).unflatten(2, (self.grid, self.grid)) for b in self.blocks]
        if len(maps) == 1:
            return self.decode_head.conv_seg(self.decode_head.norm(maps[0]) * dropped[0]), None
        levels = [self.backbone.up1(maps[0]), self.backbone.up2(maps[1]), maps[2], F.max_pool2d(maps[3], 2, 2)]
        side = self.auxiliary_head
        scores = self.decode_head(levels, dropped[0])
        return scores, side.conv_seg(side.convs(levels[self.auxiliary]) * dropped[1])

    def loss(self, pixels, label, **seen):
        each = lambda x: F.cross_entropy(resized(x, label.shape[1:]), label, ignore_index=255, reduction="none").mean()
        scores, side = self(pixels, **seen)
        return each(scores) + (0.4 * each(side) if side is not None else 0)


def fixture(name, model, label, facts, vision):
    randomize(model)
    for i, (n, b) in enumerate(model.named_buffers()):
        if n.endswith(("running_mean", "running_var")):
            b.copy_((torch.rand(b.shape, generator=torch.Generator().manual_seed(i)) + 0.5).float())
    before = {n: b.clone() for n, b in model.named_buffers() if "running" in n}
    pixels = torch.randn(len(label), 3, vision.image, vision.image, generator=torch.Generator().manual_seed(2))
    first = lambda out: out[0] if isinstance(out, tuple) else out
    model.eval()
    evaluated = first(model(pixels.double()))
    model.train()
    loss = model.loss(pixels.double(), label)
    loss.backward()
    after = {n: b.clone() for n, b in model.named_buffers() if "running" in n}
    facts |= {"vision": asdict(vision), "loss": loss.item(), "gradients": gradient_digests(model)}
    expected = {"scores": evaluated} | {f"after/{n}": b for n, b in after.items()}
    inputs = {"pixels": pixels, "label": label} | {f"before/{n}": b for n, b in before.items()}
    write(name, model, inputs, expected, facts)


def main():
    tiny = Vision(width=6, depth=2, heads=2, mlp=7, image=6, patch=3)
    label = torch.tensor([2, 0, 1])
    fixture("probe-concat", Probe(tiny, 4, None), label, {"classes": 4}, tiny)
    fixture("probe-pooling", Probe(tiny, 3, (3, 5)), label, {"classes": 3, "poolingHeads": 3, "embed": 5}, tiny)

    generator = torch.Generator().manual_seed(9)
    places = torch.randint(0, 3, (2, 6, 6), generator=generator)
    places[0, 0, :3] = 255
    fixture("segmentation-linear", Segmenter(tiny, [1], 3), places, {"classes": 3, "blocks": [1]}, tiny)
    deep = Vision(width=4, depth=4, heads=1, mlp=5, image=12, patch=3)
    places = torch.randint(0, 3, (2, 12, 12), generator=generator)
    uper = {"classes": 3, "blocks": [1, 2, 3, 4], "channels": 3, "auxiliary": 1}
    fixture("segmentation-upernet", Segmenter(deep, [1, 2, 3, 4], 3, 3, 1), places, uper, deep)


if __name__ == "__main__":
    main()
