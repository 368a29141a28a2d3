"""Which tiles transformers cuts pictures of many sizes into, and the bytes of tiles that Pillow makes of a few pictures."""

import base64
import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

fixtures = Path(__file__).resolve().parents[2] / "test" / "fixtures"
random = np.random.default_rng(17)


def grid(width, height, size, least, most):
    return list(map(int, get_optimal_tiled_canvas((height, width), (size, size), least, most)))


def cases():
    for _ in range(400):
        # Any sizes, and such as the tie of shapes is about: multiples of a tile and halves of it.
        size = int(random.choice([448, 448, 224, 7]))
        side = [int(random.integers(1, 4000)), int(size * random.integers(1, 13) / 2)]
        width, height = (max(1, int(side[k])) for k in random.integers(0, 2, 2))
        if random.random() < 0.3:
            height = width
        least = int(random.choice([1, 1, 1, 2, 5]))
        most = least + int(random.choice([0, 3, 5, 11, 39]))
        yield [width, height, size, least, most, *grid(width, height, size, least, most)]


def tiles(image, size, most):
    columns, rows = grid(*image.size, size, 1, most)
    whole = image.resize((columns * size, rows * size))
    corners = [(x * size, y * size) for y in range(rows) for x in range(columns)]
    made = [whole.crop((x, y, x + size, y + size)) for x, y in corners]
    return made + ([image.resize((size, size))] if len(made) > 1 else [])


def digest(images):
    return hashlib.sha256(b"".join(np.asarray(i).tobytes() for i in images)).hexdigest()[:16]


if __name__ == "__main__":
    files = json.loads((fixtures / "pictures.json").read_text())["files"]
    pictures = {name: Image.open(io.BytesIO(base64.b64decode(files[name]))) for name in ("rgb", "tall", "jpeg")}
    made = {
        name: {f"{size} {most}": digest(tiles(image.convert("RGB"), size, most)) for size in (7, 16, 33) for most in (1, 6, 12, 40)}
        for name, image in pictures.items()
    }
    text = json.dumps({"grids": list(cases()), "digests": made}, separators=(",", ":"))
    (fixtures / "tiles.json").write_text(text + "\n")
    print(len(text), "bytes")
