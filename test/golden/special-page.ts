/** The page docs/special-values.md, written from the op records and from the list of exceptions that the tests hold executors to. */
import { callText, type Exception, exceptions, specialRecords, spell } from "../ops/special-values.ts";
import { executorNames } from "../support/executors.ts";

const introduction = `# Special values

What nan, infinities and zeros give, by op and executor. Written from the op records and from \`test/ops/special-values.ts\`
by \`npm run golden\`; do not edit. \`test/ops/special-values.test.ts\` runs every row on every executor: the float64
interpreter of graphs (reference), that of kernels, kernels on the software adapter (webgpu), and exported ONNX (onnxruntime).
The rows of each op are in [ops.md](ops.md); "as said" below is as they say.

WGSL lets an adapter assume that nan and infinities never occur. Where an op must keep a nan its text asks for the bits of a
number, which nothing may be assumed about. Three things remain open on webgpu, whatever the op:

- A number nearer to 0 than 1.2e-38 may count as 0.
- A product with the constant 0 may be 0 where the other factor is infinite or nan.
- f16 that stays in a register is not rounded, so that it does not overflow where onnxruntime's does.`;

const attention = `## Attention

A row that sees nothing is 0, and so is what flows back from it, whatever is in the hidden values: on reference and
in every schedule of kernels (\`test/kernels/hidden-values.test.ts\`). Exported ONNX gives nan there where a value is no number.
In a row that sees some keys a hidden value has the weight 0, which times nan or an infinity is nan; kernels may give a number
instead, as they leave out blocks of keys that a mask hides as a whole. Tiles that the keys do not fill repeat the last key
with the weight 0, so that an infinity of its value becomes nan.`;

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

function cell(op: string, executor: string): string {
  const own = exceptions.filter((e) => e.op === op && e.executor === executor).flatMap((e) => e.rows);
  return own.map((r) => `${callText(op, r)} = ${spell(r.gives)}`).join("<br>") || "as said";
}

const reason = ({ op, executor, why }: Exception): string => `- ${op} by ${executor}: ${why}.`;

/** The whole page. */
export function specialPage(): string {
  const head = ["op", ...executorNames];
  const rows = specialRecords().map(({ name }) =>
    line([`[${name}](ops.md#${name})`, ...executorNames.map((e) => cell(name, e))]),
  );
  const table = [line(head), line(head.map(() => "---")), ...rows].join("\n");
  return `${[introduction, table, attention, "## Why", exceptions.map(reason).join("\n")].join("\n\n")}\n`;
}
