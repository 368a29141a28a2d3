"""Checks ONNX files with the reference implementation: the checker with its full check, and strict shape inference.

    venv/bin/python scripts/reference/check_onnx.py model.onnx ...

Prints one line for each file; the exit status is 1 when any is refused. External data is found beside its file.
"""

import sys
import tempfile
from pathlib import Path

import onnx


def facts(path):
    model = onnx.load(path, load_external_data=False)
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    return f"opset {opset}, {len(model.graph.node)} nodes, {len(model.graph.initializer)} initializers"


def after_other_domains(nodes):
    """Values whose types onnx cannot infer: results of operators of other domains, and what is computed from them."""
    found = set()
    for node in nodes:
        if node.domain not in ("", "ai.onnx") or found.intersection(node.input):
            found.update(node.output)
    return found


def check(path):
    """Raises what the checker or the inference raises."""
    onnx.checker.check_model(str(path), full_check=True)
    # Inference by path, so that models above protobuf's 2 GiB are read too; data_prop follows sizes through shapes.
    with tempfile.TemporaryDirectory() as folder:
        inferred = str(Path(folder, "inferred.onnx"))
        onnx.shape_inference.infer_shapes_path(
            str(path), inferred, check_type=True, strict_mode=True, data_prop=True
        )
        model = onnx.load(inferred, load_external_data=False)
    typed = {v.name for v in [*model.graph.value_info, *model.graph.output, *model.graph.input]}
    foreign = after_other_domains(model.graph.node)
    untyped = [o for n in model.graph.node for o in n.output if o and o not in typed | foreign]
    if untyped:
        raise ValueError(f"no type was inferred for {len(untyped)} values, first {untyped[0]}")


def main(paths):
    refused = 0
    for path in paths:
        try:
            check(path)
            print(f"ok      {path}: {facts(path)}")
        except Exception as error:  # whatever it is, the file is refused and the next one is checked
            refused += 1
            print(f"REFUSED {path}: {' '.join(str(error).split())}")
    return 1 if refused or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
