/** The page docs/ops.md, written from the op records. */
import {
  type AttrSpec,
  build,
  type HalfPolicy,
  makeGraph,
  type OpKind,
  type OpRecord,
  opRecords,
  ops,
  printGraph,
} from "../../compiler/index.ts";
import { callText, spell } from "../ops/special-values.ts";

const kinds: readonly (readonly [OpKind, string, string])[] = [
  [
    "source",
    "Sources",
    "Values from outside the graph, constants, positions and sizes. The type at the end of the line gives the dtype and axes.",
  ],
  ["elementwise", "Elementwise", "Applied to each element independently; operands broadcast by axis name."],
  ["reduction", "Reductions", "Fold the elements along one or more axes, which the result lacks."],
  ["contraction", "Contraction", "The generalized matrix product: an einsum of two operands."],
  ["movement", "Movement", "Rearrange elements: in kernels mostly index arithmetic, not copies."],
  ["indexing", "Indexing", "Compute data-dependent indices, or read and write at them."],
  [
    "composite",
    "Composites",
    "A target may have a specialized kernel or operator for these; otherwise they decompose into the ops above.",
  ],
];

const shapes: Readonly<Record<AttrSpec["kind"], string>> = {
  axis: "an axis name",
  axes: "a list of axis names",
  sized_axis: "an axis with its size",
  sized_axes: "a list of axes with their sizes",
  dim: "a size",
  number: "a number",
  numbers: "a list of numbers",
  boolean: "a boolean",
  text: "a string",
  word: "a keyword",
  dtype: "a dtype",
  distribution: "a distribution",
};

/** The whole page. */
export function opsPage(): string {
  const records = opRecords();
  const sections = kinds.map(([kind, title, about]) => {
    const own = records.filter((r) => r.kind === kind);
    return [`## ${title}`, about, ...own.map(opText)].join("\n\n");
  });
  const head = [
    "# Ops",
    "Generated from the op records in `compiler/ops` by `npm run golden`; do not edit. [ir.md](ir.md) explains the text form; [adding-an-op.md](adding-an-op.md) shows how to add an op.",
    kinds.map(([kind, title]) => `- ${title}: ${namesOf(records.filter((r) => r.kind === kind))}`).join("\n"),
  ];
  return `${[...head, ...sections].join("\n\n")}\n`;
}

const namesOf = (records: readonly OpRecord[]): string =>
  records.map((r) => `[${r.name}](#${r.name.toLowerCase()})`).join(" ");

function opText(record: OpRecord): string {
  const rows = [
    ...attributes(record),
    ...Object.entries(record.constraints).map(([id, text]) => `- ${id}: ${text}`),
    ...roles(record),
    `- gradient: ${gradientText(record)}; lowering: ${targets(record)}`,
    ...(record.half ? [`- in f16: ${halves[record.half]}`] : []),
    ...specialRow(record),
    ...(record.doc.source === undefined ? [] : [`- source: ${record.doc.source}`]),
  ];
  const parts = [`### ${record.name}`, record.doc.summary, `\`\`\`\n${example(record)}\n\`\`\``, rows.join("\n")];
  return parts.join("\n\n");
}

const specialRow = ({ name, special = [] }: OpRecord): string[] =>
  special.length === 0
    ? []
    : [`- special values: ${special.map((s) => `${callText(name, s)} = ${spell(s.result)}`).join(", ")}`];

const attributes = ({ attrs }: OpRecord): string[] =>
  Object.entries(attrs).map(([n, { kind, optional }]) => `- \`${n}\`: ${shapes[kind]}${optional ? ", optional" : ""}`);

const roles = ({ roles: own }: OpRecord): string[] =>
  own
    ? [
        `- roles: ${Object.entries(own)
          .map(([operand, role]) => `${operand}: ${role}`)
          .join(", ")}`,
      ]
    : [];

const halves: Readonly<Record<HalfPolicy, string>> = {
  safe: "operands and result",
  as_operands: "if all operands are",
  as_operands_but_streams:
    "if all operands are and at least one is a parameter, a constant or computed from those; a sum of two activations is f32",
  as_normalized: "if the first operand is; statistics are computed in f32",
  operands: "operands, except statistics and biases; the result is f32",
};

function gradientText(record: OpRecord): string {
  if (record.gradient) return "defined";
  if (record.flat || record.kind === "source") return "not propagated";
  return record.decompose ? "through the decomposition" : "not differentiable";
}

function targets({ core, wgsl, onnx, decompose }: OpRecord): string {
  const own = [
    core && `${core.kind.replace("_", " ")} kernels`,
    wgsl && "WGSL",
    onnx && `ONNX ${onnx.type} (opset ${onnx.since})`,
  ].filter(Boolean);
  return [...own, ...(decompose ? ["decomposed where unsupported"] : [])].join(", ") || "by op kind";
}

/** Sources whose own cases would not show how they are written. */
const examples: Readonly<Record<string, string>> = {
  constant:
    "%0 = constant values [1, 2, 3] : f32[a=3]\n%1 = mul %x, 2.5                               a scalar constant, printed inline",
  input:
    '%x: f32[batch=batch, embed=8]                  in the graph signature\n%0 = input "x" : f32[batch=batch, embed=8]     elsewhere',
  parameter: '%0 = parameter "blocks.0.weight" init normal(mean=0, std=0.02) : f32[embed=8]',
  random: '%0 = random "blocks.0.drop" dist bernoulli(p=0.9) : f32[batch=batch]',
};

/** The line of the record's first case, as the printer writes it. */
function example(record: OpRecord): string {
  const [first] = record.cases;
  const written = examples[record.name];
  if (written !== undefined || !first) return written ?? record.name;
  const names = record.operands.map((n) => n.replace(/\W+$/, ""));
  const inputs = first.operands.map((t, i) => ops.input(names[i] ?? `${names.at(-1)}${i + 1}`, t.dtype, t.axes));
  const text = printGraph(makeGraph("g", [{ name: "y", node: build(record.name, inputs, first.attrs) }], inputs));
  const line = text.split("\n").find((l) => l.startsWith("  %0 = ")) ?? /return .*/.exec(text)![0];
  const types = inputs.map(
    (n) => `%${n.attrs.name}: ${n.type.dtype}[${n.type.axes.map((a) => `${a.name}=${a.size}`).join(", ")}]`,
  );
  return [line.trim(), ...(types.length > 0 ? [`    where ${types.join(", ")}`] : [])].join("\n");
}
