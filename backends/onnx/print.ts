/** Prints an ONNX model as text, one line per node with small constants inline, for reading and for golden tests. */
import { fromBytes, type WireType, wireCodes, wireTypeName } from "./wire/elements.ts";
import type { AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto } from "./wire/proto.ts";

/** The longest constant that is printed inline. */
const inlineElements = 12;

/**
 * Prints a model: opsets, signature, initializers, and nodes with the graph op that each comes from.
 * Weights print as their type and location, never their values.
 */
export function printOnnx(model: ModelProto): string {
  const graph = model.graph ?? {};
  const small = new Map((graph.initializer ?? []).flatMap((t) => inline(t)));
  const opsets = (model.opsetImport ?? []).map((o) => `${o.domain || "onnx"} ${Number(o.version)}`);
  const producer = [model.producerName, model.producerVersion].filter((p) => p).join(" ");
  return [
    `model ir ${Number(model.irVersion)}, ${opsets.join(", ")}${producer === "" ? "" : `, by ${producer}`}`,
    `graph ${graph.name}(${(graph.input ?? []).map(signature).join(", ")}) -> (${(graph.output ?? []).map(signature).join(", ")}) {`,
    ...(graph.initializer ?? [])
      .filter((t) => !small.has(t.name!))
      .map((t) => `  ${t.name} = ${tensorType(t)}${placeOf(t)}`),
    ...(graph.node ?? []).map((n) => `  ${printNode(n, small)}`),
    "}",
    "",
  ].join("\n");
}

const numbers = (list: readonly unknown[] | null | undefined): number[] => (list ?? []).map(Number);

const signature = (v: ValueInfoProto): string => {
  const { elemType, shape } = v.type?.tensorType ?? {};
  const dims = (shape?.dim ?? []).map((d) => {
    const size = d.dimParam ? d.dimParam : String(Number(d.dimValue));
    return d.denotation ? `${d.denotation}=${size}` : size;
  });
  return `${v.name}: ${wireTypeName(elemType ?? 0)}[${dims.join(", ")}]`;
};

const tensorType = (t: TensorProto): string => `${wireTypeName(t.dataType ?? 0)}[${numbers(t.dims).join(", ")}]`;

function placeOf(t: TensorProto): string {
  const entries = Object.fromEntries((t.externalData ?? []).map((e) => [e.key, e.value]));
  return entries.location === undefined ? "" : ` in ${entries.location} at ${entries.offset}`;
}

/** A constant short enough to print inline. */
function inline(t: TensorProto): [string, string][] {
  const dims = numbers(t.dims);
  const count = dims.reduce((a, b) => a * b, 1);
  const type = wireTypeName(t.dataType ?? 0) as WireType;
  if (dims.length > 1 || count > inlineElements || !(type in wireCodes) || type === "i4" || !t.rawData?.length)
    return [];
  const values = Array.from(fromBytes(type, t.rawData), (v) => (type === "bool" ? String(v !== 0) : shortest(type, v)));
  const suffix = type === "i64" ? "" : ` ${type}`;
  return [[t.name!, dims.length === 0 ? `${values[0]}${suffix}` : `[${values.join(", ")}]${suffix}`]];
}

/** The shortest decimal that rounds to the same f32. */
function shortest(type: WireType, v: number): string {
  if (type !== "f32" || !Number.isFinite(v)) return String(v);
  for (let digits = 1; digits < 10; digits++) {
    const text = Number(v.toPrecision(digits));
    if (Math.fround(text) === v) return String(text);
  }
  return String(v);
}

function printNode(n: NodeProto, small: ReadonlyMap<string, string>): string {
  const operands = (n.input ?? []).map((i) => small.get(i) ?? (i === "" ? "_" : i));
  const attributes = (n.attribute ?? []).map(printAttribute);
  const domain = n.domain ? `${n.domain}.` : "";
  const settings = attributes.length === 0 ? "" : ` {${attributes.join(", ")}}`;
  const origin = n.docString ? `  # ${n.docString}` : "";
  return `${(n.output ?? []).join(", ")} = ${domain}${n.opType}(${operands.join(", ")})${settings}${origin}`;
}

function printAttribute(a: AttributeProto): string {
  if (a.ints?.length) return `${a.name}=[${numbers(a.ints).join(", ")}]`;
  if (a.s?.length) return `${a.name}="${new TextDecoder().decode(a.s)}"`;
  if (a.type === 1) return `${a.name}=${shortest("f32", Math.fround(a.f ?? 0))}`;
  return `${a.name}=${Number(a.i ?? 0)}`;
}
