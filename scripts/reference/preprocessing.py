"""What the image processors of transformers make of a picture, for many kinds of preprocessor_config.json.

python scripts/reference/preprocessing.py    writes test/fixtures/preprocessing.json; needs transformers, torch, pillow.
"""

import base64
import io
import json
from pathlib import Path

import numpy as np
import transformers
from PIL import Image

draw = np.random.default_rng(11)
small = Image.fromarray(draw.integers(0, 256, (9, 13, 3), dtype=np.uint8))
picture = small.resize((41, 30), Image.BILINEAR)
tall = small.rotate(90, expand=True).resize((17, 40), Image.BILINEAR)

square = lambda n: {"height": n, "width": n}
clip = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 12}, "crop_size": square(12)}
vit = {"image_processor_type": "ViTImageProcessor", "size": square(12)}
cases = {
    "a short side and a crop": clip,
    "numbers instead of records": {"feature_extractor_type": "CLIPFeatureExtractor", "size": 15, "crop_size": 12},
    "a larger short side": {**clip, "size": {"shortest_edge": 17}},
    "no crop": {**clip, "size": square(12), "do_center_crop": False, "crop_size": None},
    "a square, with the class's own filter": vit,
    "a number of a class of squares": {**vit, "size": 12, "do_center_crop": None},
    "a square that is cropped": {"image_processor_type": "DeiTImageProcessor", "size": 14, "crop_size": 12},
    "BEiT's old crop": {
        "feature_extractor_type": "BeitFeatureExtractor",
        **{"size": 15, "crop_size": 12, "do_center_crop": True, "do_reduce_labels": False},
    },
    "Lanczos": {**vit, "resample": 1},
    "bicubic": {**vit, "resample": 3},
    "another factor": {**vit, "rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]},
    "8-bit values": {**clip, "do_rescale": False, "image_mean": [123.7, 116.3, 103.5], "image_std": [58.4, 57.1, 57.4]},
    "no normalization": {**clip, "do_normalize": False},
    "neither factor nor normalization": {**vit, "do_rescale": False, "do_normalize": False},
    "one number for all colours": {**vit, "image_mean": 0.45, "image_std": 0.3},
    "colours as they are": {**clip, "do_convert_rgb": False},
    "padding that does nothing": {**clip, "do_pad": True},
    "LLaVA's padding": {**clip, "image_processor_type": "LlavaImageProcessor", "do_pad": True},
    "DPT's": {"image_processor_type": "DPTImageProcessor", "size": square(12), "keep_aspect_ratio": False, "ensure_multiple_of": 1},
    "MobileViT's, in the order of blue, green and red": {
        "image_processor_type": "MobileViTImageProcessor",
        **{"size": {"shortest_edge": 14}, "crop_size": square(12), "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    },
    "MobileViT's, not flipped": {
        "feature_extractor_type": "MobileViTFeatureExtractor",
        **{"size": {"shortest_edge": 14}, "crop_size": square(12), "do_flip_channel_order": False, "resample": 2},
    },
    "part of the short side, of the class": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 12}},
}

sized = lambda height, width: {"height": height, "width": width}
donut = {"image_processor_type": "DonutImageProcessor"}
# Of other sizes than 12 by 12: bytes before they are scaled.
shapes = {
    "a height and a width": {**vit, "size": sized(10, 23)},
    "SegFormer's": {"image_processor_type": "SegformerImageProcessor", "size": sized(20, 9), "do_reduce_labels": True},
    "a short side and a crop": {**clip, "size": {"shortest_edge": 25}, "crop_size": sized(24, 9)},
    "a crop that some images do not fill": {**clip, "size": {"shortest_edge": 11}, "crop_size": sized(24, 8)},
    "a crop that no image fills": {**clip, "size": {"shortest_edge": 5}, "crop_size": sized(15, 47)},
    "a stretched image and a crop": {"image_processor_type": "DeiTImageProcessor", "size": sized(14, 30), "crop_size": sized(11, 24)},
    "Donut's": {**donut, "size": sized(27, 20), "do_thumbnail": True, "do_align_long_axis": False, "do_pad": True},
    "Donut's, wide": {**donut, "size": sized(11, 36)},
    "Donut's of old": {"feature_extractor_type": "DonutFeatureExtractor", "size": [14, 33]},
}


def processed(fields, picture=picture):
    name = fields.get("image_processor_type", fields.get("feature_extractor_type"))
    name = name.replace("FeatureExtractor", "ImageProcessor")
    given = {k: v for k, v in fields.items() if v is not None}
    processor = getattr(transformers, f"{name}Pil").from_dict(given)
    return np.asarray(processor(picture, return_tensors="np").pixel_values, dtype=np.float32)


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return text(file.getvalue())


text = lambda data: base64.b64encode(data).decode()
found = {}
for name, fields in cases.items():
    pixels = processed(fields)
    assert pixels.shape == (1, 3, 12, 12), (name, pixels.shape)
    found[name] = {"config": fields, "pixels": text(pixels.tobytes())}
pictures = {"wide": picture, "tall": tall}
of_shapes = {
    name: {"config": fields, **{which: {"size": made.shape[2:], "pixels": text(made.astype(np.uint8).tobytes())} for which, made in both.items()}}
    for name, fields in shapes.items()
    for both in [{which: processed({**fields, "do_rescale": False, "do_normalize": False}, image) for which, image in pictures.items()}]
}
# Resized as floats, without rounding; of one size, since only the bound on the difference is tested.
dinov3 = {"image_processor_type": "DINOv3ViTImageProcessor", "size": square(12), "resample": 2}
floats = transformers.DINOv3ViTImageProcessor.from_dict(dinov3)(picture, return_tensors="np").pixel_values.astype(np.float32)
path = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "preprocessing.json"
path.write_text(json.dumps({"picture": png(picture), "tall": png(tall), "cases": found, "shapes": of_shapes, "floats": {"config": dinov3, "pixels": text(floats.tobytes())}}, indent=1) + "\n")
print(f"{path.name}: {path.stat().st_size} bytes")
