"""Pictures of every kind that is read, and what Pillow, torchvision and transformers make of them: the digests of the bytes."""

import base64
import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, InterpolationMode, Resize
from transformers.image_transforms import convert_to_rgb

random = np.random.default_rng(3)
interpolations = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR, "lanczos": Image.LANCZOS}
mean = (123, 116, 103)


def noise(width, height, channels):
    """Smooth with sharp edges and some grain: what overshoots, and what flickers."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 90 * np.sin(x / (3 + c) + c) * np.cos(y / (5 - c) - c) + 60 * ((x // 7 + y // 5 + c) % 2) for c in range(channels)]
    grain = random.integers(-25, 26, (height, width, channels))
    return np.clip(np.stack(planes, -1) + grain, 0, 255).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(values):
    """A PNG of 16 bits a channel, which Pillow does not write."""
    height, width, channels = values.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(noise(23, 14, 3)), "PNG", exif=exif, optimize=True)


def palette(transparent):
    image = Image.fromarray(noise(31, 22, 3)).quantize(9)
    return saved(image, "PNG", **({"transparency": 3} if transparent else {}))


def clear(width, height):
    values = noise(width, height, 4)
    values[: height // 4, :, 3] = 0
    values[:, : width // 5, 3] = 255
    return values


def cmyk():
    return saved(Image.fromarray(noise(40, 24, 4), "CMYK"), "JPEG", quality=90)


pictures = {
    "rgb": saved(Image.fromarray(noise(61, 40, 3)), "PNG"),
    "tall": saved(Image.fromarray(noise(9, 131, 3)), "PNG"),
    "one row": saved(Image.fromarray(noise(50, 1, 3)), "PNG"),
    "one pixel": saved(Image.fromarray(noise(1, 1, 3)), "PNG"),
    "alpha": saved(Image.fromarray(clear(37, 45), "RGBA"), "PNG"),
    "gray": saved(Image.fromarray(noise(44, 29, 1)[..., 0]), "PNG"),
    "gray with alpha": saved(Image.fromarray(clear(20, 33)[..., 2:], "LA"), "PNG"),
    "black and white": saved(Image.fromarray(noise(33, 17, 1)[..., 0]).convert("1"), "PNG"),
    "palette": palette(False),
    "clear palette": palette(True),
    "16 bits": png16(noise(27, 19, 3).astype(np.uint16) * 251 + 77),
    "16 bits with alpha": png16(noise(15, 21, 4).astype(np.uint16) * 250 + 99),
    "gray of 16 bits": png16(noise(24, 13, 1).astype(np.uint16) * 249 + 55),
    "jpeg": saved(Image.fromarray(noise(53, 38, 3)), "JPEG", quality=80),
    "gray jpeg": saved(Image.fromarray(noise(30, 47, 1)[..., 0]), "JPEG", quality=85),
    "inks": cmyk(),
    "webp": saved(Image.fromarray(noise(41, 27, 3)), "WEBP", quality=70),
    "lossless webp": saved(Image.fromarray(clear(19, 26), "RGBA"), "WEBP", lossless=True, exact=True),
    **{f"orientation {i}": turned(i) for i in range(1, 9)},
}


def opened(data):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I"):  # Pillow would clip it at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    return image.convert("RGBA" if has_alpha else "RGB")


def fitted(image, size, fit, how):
    if fit == "crop":
        resize = Resize(size, InterpolationMode(how), antialias=True)
        return CenterCrop(size)(resize(image))
    if fit == "pad":
        side = max(image.size)
        square = Image.new(image.mode, (side, side), mean + (255,) * (image.mode == "RGBA"))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = square
    return image.resize((size, size), interpolations[how])


def digest(image):
    return hashlib.sha256(np.asarray(image).tobytes()).hexdigest()[:16]


cases = {}
for name, data in pictures.items():
    image = opened(data)
    full = name in ("rgb", "alpha", "tall", "jpeg")
    sizes = [1, 2, 3, 5, 7, 8, 13, 16, 24, 31, 40, 64, 97] if full else [4, 11, 33]
    hows = list(interpolations) if full else ["bicubic"]
    cases[name] = {
        f"{fit} {size} {how}": digest(fitted(image, size, fit, how))
        for fit in ("squash", "crop", "pad")
        for size in sizes
        for how in hows
        if not (fit == "crop" and name == "one row" and size > 30)
    }

# Transparent pictures as the image processors of transformers make them RGB: over white, before anything is resized.
over_white = {}
for name, data in pictures.items():
    if (image := opened(data)).mode == "RGBA":
        rgb = Image.fromarray(convert_to_rgb(image, return_numpy=True))
        over_white[name] = {f"{fit} {size} bicubic": digest(fitted(rgb, size, fit, "bicubic")) for fit in ("squash", "crop", "pad") for size in (4, 11, 33)}

# What compositing makes of every colour and alpha: a column for each alpha.
every = np.stack(np.broadcast_arrays(*[np.arange(256)[:, None]] * 3, np.arange(256)[None]), -1).astype(np.uint8)
composited = digest(Image.fromarray(convert_to_rgb(Image.fromarray(every, "RGBA"), return_numpy=True)))

# Sides of pictures whose short one becomes a size, and where the crop begins: torchvision's rounding.
sides = []
for width, height in [(720, 480), (480, 720), (640, 427), (1000, 333), (333, 1000), (501, 500), (375, 500), (1, 7), (97, 13)]:
    for size in (224, 336, 364, 448, 7):
        placed = Resize(size)(Image.new("L", (width, height)))
        left, top = (int(round((side - size) / 2.0)) for side in placed.size)
        sides.append([width, height, size, *placed.size, left, top])

path = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "pictures.json"
files = {name: base64.b64encode(data).decode() for name, data in pictures.items()}
path.write_text(json.dumps({"files": files, "digests": cases, "overWhite": over_white, "composited": composited, "sides": sides}, separators=(",", ":")) + "\n")
print(f"{path.name}: {path.stat().st_size} bytes")
