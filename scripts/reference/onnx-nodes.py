"""ONNX's own tests of single operators, packed for test/onnx/import/nodes.test.ts.

    python scripts/reference/onnx-nodes.py test/onnx/import/nodes [LARGEST]

Written with the `onnx` package 1.23.2. Each test is a model with inputs and the outputs that it must give. Left out, and
counted on stdout: tests of operators that heddle does not import, those of more than LARGEST bytes (6000 for the suite), and those with strings, complex numbers, 8-bit floats, sequences or
optional values, which heddle has no type for. Files are gzipped by their first letters; each holds, one after another, a
32-bit length and so many bytes: how many parts a test has, a line of JSON, the model, its inputs, its outputs.
"""

import collections
import gzip
import json
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

# Operators that heddle does not import; docs/onnx-import.md has them.
NOT_IMPORTED = {
    "ArrayFeatureExtractor", "Bernoulli", "Binarizer", "BitCast", "CausalConvWithState",
    "DeformConv", "Det", "FlexAttention",
    "ImageDecoder", "LinearAttention", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix", "Momentum", "NonMaxSuppression",
    "NonZero", "OptionalGetElement", "OptionalHasElement", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike", "TfIdfVectorizer", "TreeEnsemble", "Unique", "Adagrad", "Adam",
}
LARGEST = int(sys.argv[2]) if len(sys.argv) > 2 else 6_000
FILE_BYTES = 80_000
HELD = {
    TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16, TensorProto.INT32,
    TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT32,
    TensorProto.UINT64, TensorProto.BFLOAT16, TensorProto.UINT4, TensorProto.INT4,
}


def packed(parts: list[bytes]) -> bytes:
    return struct.pack("<I", len(parts)) + b"".join(struct.pack("<I", len(p)) + p for p in parts)


def as_tensor(value, info) -> bytes | None:
    if not info.type.HasField("tensor_type") or info.type.tensor_type.elem_type not in HELD:
        return None
    if isinstance(value, onnx.TensorProto):
        tensor = value
    else:
        tensor = numpy_helper.from_array(np.asarray(value))
        if tensor.data_type != info.type.tensor_type.elem_type:
            tensor = onnx.helper.make_tensor("", info.type.tensor_type.elem_type, np.shape(value), np.asarray(value).astype(np.float64).flatten())
    tensor.name = ""
    return tensor.SerializeToString()


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    left = collections.Counter()
    kept = []
    for test in load_model_tests(kind="node"):
        model = test.model
        inputs, outputs = test.data_sets[0]
        graph = model.graph
        named = [i for i in graph.input]
        if any(node.op_type in NOT_IMPORTED for node in graph.node):
            left["operators that heddle does not import"] += 1
            continue
        if len(inputs) != len(named) or len(outputs) != len(graph.output):
            left["inputs that are left out"] += 1
            continue
        tensors = [as_tensor(v, i) for v, i in zip([*inputs, *outputs], [*named, *graph.output])]
        if any(t is None for t in tensors):
            left["types that heddle lacks"] += 1
            continue
        model.ClearField("producer_name")
        blob = model.SerializeToString()
        if len(blob) + sum(map(len, tensors)) > LARGEST:
            left[f"more than {LARGEST} bytes"] += 1
            continue
        said = {"name": test.name.removeprefix("test_"), "inputs": len(inputs), "rtol": test.rtol, "atol": test.atol}
        kept.append((said["name"], packed([json.dumps(said).encode(), blob, *tensors])))
    kept.sort()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.bin.gz"):
        old.unlink()
    part, size, number = [], 0, 0

    def flush() -> None:
        nonlocal part, size, number
        (folder / f"{number:02}-{part[0][0][:12]}.bin.gz").write_bytes(gzip.compress(b"".join(b for _, b in part), 9, mtime=0))
        part, size, number = [], 0, number + 1

    for name, blob in kept:
        one = len(gzip.compress(blob, 9))
        if part and size + one > FILE_BYTES:
            flush()
        part.append((name, blob))
        size += one
    flush()
    print(len(kept), "tests kept; left out:", dict(left))


main(Path(sys.argv[1]))
