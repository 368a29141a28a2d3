"""What torchvision, timm and Pillow make of pictures at sizes that are not square: the digests of the bytes.

python scripts/reference/image_sizes.py    writes test/fixtures/image-sizes.json; needs torchvision, timm, pillow.
"""

import base64
import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from timm.data.transforms import ResizeKeepRatio
from torchvision.transforms import CenterCrop, InterpolationMode, Resize
from torchvision.transforms.functional import resized_crop

fixtures = Path(__file__).resolve().parents[2] / "test" / "fixtures"
files = json.loads((fixtures / "pictures.json").read_text())["files"]
mean = (123, 116, 103)
names = ["rgb", "tall", "alpha", "jpeg"]
sizes = [(1, 3), (8, 5), (5, 8), (24, 8), (13, 40), (96, 32), (33, 65)]
hows = ["bicubic", "bilinear"]
filters = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}


def opened(name):
    image = Image.open(io.BytesIO(base64.b64decode(files[name])))
    return image.convert("RGBA" if image.mode == "RGBA" else "RGB")


def crop(image, size, how):
    """The resize that timm's transforms_imagenet_eval has for a size that is not square, then the crop."""
    return CenterCrop(size)(ResizeKeepRatio(size, interpolation=how)(image))


def short(image, size, how):
    """A short side of 12 pixels, whatever the crop is: black beside the image where that is larger."""
    return CenterCrop(size)(Resize(12, InterpolationMode(how), antialias=True)(image))


def squash(image, size, how):
    return Resize(size, InterpolationMode(how), antialias=True)(image)


def pad(image, size, how):
    (width, height), (rows, columns) = image.size, size
    if width * rows >= height * columns:
        height = max(height, round(width * rows / columns))
    else:
        width = max(width, round(height * columns / rows))
    whole = Image.new(image.mode, (width, height), mean + (255,) * (image.mode == "RGBA"))
    whole.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return whole.resize((columns, rows), filters[how])


def digest(image):
    return hashlib.sha256(np.asarray(image).tobytes()).hexdigest()[:16]


digests = {
    name: {
        f"{made.__name__} {rows} {columns} {how}": digest(made(opened(name), (rows, columns), how))
        for made in (squash, crop, short, pad)
        for rows, columns in sizes
        for how in hows
        if (name, made) != ("alpha", short)  # which torchvision makes transparent beside the image
    }
    for name in names
}
# RandomResizedCrop of a size (h, w): a window in proportions of its own, resized to the size.
windows = [
    [left, top, width, height, rows, columns, digest(resized_crop(opened("rgb"), top, left, height, width, [rows, columns], how))]
    for how in [InterpolationMode.BICUBIC]
    for left, top, width, height, rows, columns in [(3, 5, 30, 21, 24, 8), (0, 0, 61, 40, 13, 40), (20, 2, 17, 38, 17, 5)]
]
path = fixtures / "image-sizes.json"
path.write_text(json.dumps({"digests": digests, "windows": windows}, separators=(",", ":")) + "\n")
print(f"{path.name}: {path.stat().st_size} bytes")
