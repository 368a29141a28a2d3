"""AlexNet beside torchvision: a narrow one, and its weights with what it says of a picture.

python scripts/reference/alexnet.py    writes test/fixtures/models/alexnet.safetensors and test/fixtures/classifiers/alexnet/.
"""

import json

import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import AlexNet
from torchvision.transforms._presets import ImageClassification

from classifiers import classes, drawn, parity, picture, root


def narrow(widths, hidden, count, seed):
    """torchvision's own class with fewer channels; without dropout, which is random."""
    model = AlexNet(num_classes=count, dropout=0)
    of = 3
    for at, to in zip((0, 3, 6, 8, 10), widths):
        old = model.features[at]
        model.features[at] = nn.Conv2d(of, to, old.kernel_size, old.stride, old.padding)
        of = to
    for at, sides in {1: (of * 36, hidden), 4: (hidden, hidden), 6: (hidden, count)}.items():
        model.classifier[at] = nn.Linear(*sides)
    return drawn(model, seed)


def checkpoint():
    widths, hidden = [3, 4, 4, 3, 2], 5
    model = narrow(widths, hidden, 4, 2)
    folder = root / "alexnet"
    folder.mkdir(parents=True, exist_ok=True)
    pixels = ImageClassification(crop_size=63, resize_size=72)(picture(folder / "picture.png"))[None]
    logits = model(pixels)[0]
    save_file(model.state_dict(), folder / "model.safetensors")
    sizes = {"image": 63, "widths": json.dumps(widths, separators=(",", ":")), "hidden": hidden, "dropout": 0.5, "classes": 4}
    config = {"heddle_model": "alexnet", **sizes, **classes("ant", "bee", "cow", "dog")}
    (folder / "config.json").write_text(json.dumps(config) + "\n")
    facts = {"logits": [float(f"{v:.8g}") for v in logits.tolist()]}
    (folder / "expected.json").write_text(json.dumps(facts) + "\n")
    print(facts)


if __name__ == "__main__":
    torch.manual_seed(0)
    widths, hidden = [4, 5, 4, 3, 3], 6
    model = narrow(widths, hidden, 3, 1)
    facts = {"image": 95, "widths": widths, "hidden": hidden, "dropout": 0, "classes": 3}
    parity("alexnet", model, model, facts, rows=1)
    checkpoint()
