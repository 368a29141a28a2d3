"""
Sliding-window inference and mean IoU as MMSegmentation 0.30 has them, for test/runtime/class-map.test.ts.

    pip install torch numpy
    python scripts/reference/segmentation.py

The functions follow mmseg/models/segmentors/encoder_decoder.py (slide_inference) and mmseg/core/evaluation/metrics.py
(intersect_and_union, total_area_to_metrics); the model is one 4 x 4 convolution of stride 4.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

torch.manual_seed(3)
rng = np.random.default_rng(3)
SIZE, STRIDE, CLASSES, PATCH = 12, 7, 5, 4


def resize(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def slide_inference(image, weight):
    _, _, h_img, w_img = image.shape
    h_grids = max(h_img - SIZE + STRIDE - 1, 0) // STRIDE + 1
    w_grids = max(w_img - SIZE + STRIDE - 1, 0) // STRIDE + 1
    preds = image.new_zeros((1, CLASSES, h_img, w_img))
    count = image.new_zeros((1, 1, h_img, w_img))
    windows = []
    for h in range(h_grids):
        for w in range(w_grids):
            y2, x2 = min(h * STRIDE + SIZE, h_img), min(w * STRIDE + SIZE, w_img)
            y1, x1 = max(y2 - SIZE, 0), max(x2 - SIZE, 0)
            scores = F.conv2d(image[:, :, y1:y2, x1:x2], weight, stride=PATCH)
            windows.append({"top": y1, "left": x1, "scores": np.round(scores[0].numpy().ravel().astype(float), 6).tolist()})
            scores = torch.tensor(windows[-1]["scores"]).view(scores.shape)
            preds += F.pad(resize(scores, (SIZE, SIZE)), (x1, w_img - x2, y1, h_img - y2))
            count[:, :, y1:y2, x1:x2] += 1
    assert (count == 0).sum() == 0
    return windows, preds / count


def slides():
    found = []
    for seen, own in [((12, 12), (30, 17)), ((12, 31), (12, 31)), ((17, 12), (9, 7))]:
        image = torch.randn(1, 2, *seen)
        windows, preds = slide_inference(image, torch.randn(CLASSES, 2, PATCH, PATCH))
        classes = resize(preds, own).argmax(1)[0]
        found.append({"seen": seen, "own": own, "windows": windows, "classes": classes.numpy().ravel().tolist()})
    return found


def measures():
    n, count = 6, 400
    label = rng.integers(0, 4, count)  # class 4 is predicted and never right, class 5 never occurs
    label[rng.random(count) < 0.1] = 255
    pred = np.where(rng.random(count) < 0.6, label, rng.integers(0, 5, count))
    pred[pred == 255] = 2
    mask = label != 255
    p, l = torch.from_numpy(pred[mask]), torch.from_numpy(label[mask])
    area = lambda x: torch.histc(x.float(), bins=n, min=0, max=n - 1).numpy().astype(float)
    inter, area_p, area_l = area(p[p == l]), area(p), area(l)
    with np.errstate(invalid="ignore"):
        iou, acc = inter / (area_p + area_l - inter), inter / area_l
    none = lambda x: [None if np.isnan(v) else float(v) for v in x]
    return {
        "classes": n,
        "predicted": pred.tolist(),
        "labels": label.tolist(),
        "accuracy": float(inter.sum() / area_l.sum()),
        "iou": none(iou),
        "acc": none(acc),
        "meanIou": float(np.nanmean(iou)),
        "meanAccuracy": float(np.nanmean(acc)),
    }


out = {"size": SIZE, "stride": STRIDE, "classes": CLASSES, "patch": PATCH, "slides": slides(), "measures": measures()}
path = Path(__file__).parents[2] / "test/fixtures/segmentation.json"
path.write_text(json.dumps(out) + "\n")
print(path, path.stat().st_size)
