"""Convolutions and their gradients in PyTorch: digests of y, dx and dw in float64, for inputs that a formula gives."""

import json

import torch
from fixture import digest, folder

# batch, groups, from and to of a group, rows, columns, kernel, stride, dilation, padding [top, bottom, left, right]
CASES = [
    dict(batch=2, groups=1, channels=[3, 4], map=[9, 8], kernel=[3, 3], stride=1, dilation=1, padding=[1, 1, 1, 1]),
    dict(batch=2, groups=1, channels=[3, 4], map=[9, 8], kernel=[3, 3], stride=2, dilation=1, padding=[0, 1, 0, 1]),
    dict(batch=1, groups=1, channels=[3, 5], map=[13, 11], kernel=[7, 7], stride=2, dilation=1, padding=[3, 3, 3, 3]),
    dict(batch=2, groups=1, channels=[4, 3], map=[7, 9], kernel=[1, 1], stride=2, dilation=1, padding=[0, 0, 0, 0]),
    dict(batch=2, groups=1, channels=[2, 3], map=[11, 10], kernel=[3, 2], stride=3, dilation=2, padding=[1, 2, 0, 3]),
    dict(batch=2, groups=2, channels=[4, 3], map=[8, 9], kernel=[3, 3], stride=2, dilation=1, padding=[1, 1, 1, 1]),
    dict(batch=2, groups=5, channels=[1, 1], map=[9, 7], kernel=[5, 5], stride=1, dilation=1, padding=[2, 2, 2, 2]),
    dict(batch=2, groups=3, channels=[1, 2], map=[9, 7], kernel=[3, 3], stride=2, dilation=2, padding=[2, 2, 2, 2]),
]


def values(shape, speed):
    """sin(speed), sin(2 speed) ... in row-major order."""
    count = torch.arange(1, 1 + torch.tensor(shape).prod().item(), dtype=torch.float64)
    return torch.sin(speed * count).reshape(shape)


def run(case):
    groups, (own, to) = case["groups"], case["channels"]
    x = values([case["batch"], groups * own, *case["map"]], 0.7).requires_grad_()
    w = values([groups * to, own, *case["kernel"]], 1.3).requires_grad_()
    top, bottom, left, right = case["padding"]
    padded = torch.nn.functional.pad(x, (left, right, top, bottom))
    y = torch.nn.functional.conv2d(padded, w, stride=case["stride"], dilation=case["dilation"], groups=groups)
    y.backward(values(list(y.shape), 2.1))
    return {**case, "shape": list(y.shape), "y": digest(y), "dx": digest(x.grad), "dw": digest(w.grad)}


if __name__ == "__main__":
    text = json.dumps([run(case) for case in CASES], indent=1)
    (folder / "convolution.json").write_text(text + "\n")
