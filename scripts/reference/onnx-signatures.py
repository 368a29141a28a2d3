"""The operators' inputs, outputs, types and attributes, for backends/onnx/import/signatures/table.ts.

    node test/onnx/import/imported-operators.ts | python scripts/reference/onnx-signatures.py > backends/onnx/import/signatures/table.ts

Written with the packages `onnx` 1.23.2 (ONNX's own domain) and `onnxruntime` 1.32.0 (com.microsoft, and operators that
onnxruntime adds to ONNX's domain). A line for each operator and each opset at which it changed, from opset 7 on, as
backends/onnx/import/signatures/parse.ts reads it.
"""

import sys

import onnx
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

OLDEST = 7
TYPES = {
    "float": "f", "double": "d", "float16": "h", "bfloat16": "b", "bool": "B",
    "int8": "c", "int16": "s", "int32": "i", "int64": "l", "uint8": "C", "uint16": "S", "uint32": "I", "uint64": "L",
    "int4": "n", "uint4": "N", "int2": "m", "uint2": "M",
}
ATTRIBUTES = {
    "FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "SPARSE_TENSOR": "S", "TYPE_PROTO": "T",
    "FLOATS": "fs", "INTS": "is", "STRINGS": "ss", "TENSORS": "ts", "GRAPHS": "gs", "SPARSE_TENSORS": "Ss",
    "TYPE_PROTOS": "Ts",
}


def letter(name):
    """One letter for a type; "q" is any sequence; none for what heddle has no type for."""
    if name.startswith("tensor("):
        return TYPES.get(name[len("tensor("):-1], "")
    return "q" if name.startswith("seq(") else ""


def letters(names):
    found = {letter(n) for n in names}
    return "".join(x for x in [*TYPES.values(), "q"] if x in found)


def spelled(schema):
    """Inputs, outputs, the types of their variables, attributes; "-" for none."""
    variables = {c.type_param_str: letters(c.allowed_type_strs) for c in schema.type_constraints}
    used = {}

    def item(parameter, fewest):
        text = first(parameter, "type_str", "typeStr")
        option = str(parameter.option)
        suffix = "?" if "Optional" in option else ""
        if "Variadic" in option:
            suffix = ("*" if first(parameter, "is_homogeneous", "isHomogeneous") else "~") + str(fewest)
        if text not in variables:
            return f"={letters([text])}{suffix}"
        used[text] = variables[text]
        return text + suffix

    def items(parameters, fewest):
        # A variadic parameter is the last one.
        return ",".join(item(p, max(0, fewest - len(parameters) + 1)) for p in parameters) or "-"

    inputs, outputs = items(schema.inputs, schema.min_input), items(schema.outputs, schema.min_output)
    types = ",".join(f"{name}={used[name]}" for name in sorted(used)) or "-"
    attributes = ",".join(
        f"{name}:{attribute_type(a)}{'!' if a.required else ''}" for name, a in sorted(schema.attributes.items())
    )
    return " ".join([inputs, outputs, types, attributes or "-", *(["deprecated"] if schema.deprecated else [])])


def first(value, *names):
    """Both packages describe schemas, under different names."""
    return next(getattr(value, name) for name in names if hasattr(value, name))


def attribute_type(attribute):
    return ATTRIBUTES[str(attribute.type).rsplit(".", 1)[-1]]


def versions(name):
    domain, _, kind = name.rpartition(".")
    own = [s for s in onnx.defs.get_all_schemas_with_history() if s.domain == domain and s.name == kind]
    found = own or [s for s in runtime.get_all_operator_schema() if s.domain == domain and s.name == kind]
    found = sorted(found, key=lambda s: s.since_version)
    if domain == "" and own:
        before = [s for s in found if s.since_version <= OLDEST]
        found = before[-1:] + [s for s in found if s.since_version > OLDEST]
    last = None
    for schema in found:
        text = spelled(schema)
        if text != last:
            yield f"{name} {schema.since_version} {text}"
        last = text


def main():
    names = sys.stdin.read().split()
    lines = [line for name in sorted(names) for line in versions(name)]
    missing = [n for n in names if not any(line.startswith(n + " ") for line in lines)]
    if missing:
        print(f"no schema, so not checked: {missing}", file=sys.stderr)
    print("/** Written by scripts/reference/onnx-signatures.py, which says from what; parse.ts says how to read it. */")
    print("export const table = `")
    print("\n".join(lines))
    print("`;")


main()
