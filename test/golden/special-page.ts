/**
 * The page docs/special-values.md, written from the op records and from the list of exceptions that the tests hold
 * executors to.
 */
import { callText, type Exception, exceptions, specialRecords, spell } from "../ops/special-values.ts";
import { executorNames } from "../support/executors.ts";

const introduction = `# Special values

Results of each op for nan, infinities and signed zeros, by executor. Generated from the op records and from
\`test/ops/special-values.ts\` by \`npm run golden\`; do not edit. \`test/ops/special-values.test.ts\` runs every case on
every executor: the float64 graph interpreter (reference), the kernel interpreter (kernels), kernels on the software
adapter (webgpu), and exported ONNX (onnxruntime). [ops.md](ops.md) lists the specified results of each op; "as
specified" below means that the executor gives all of them.

WGSL lets an adapter assume that nan and infinities never occur. Where an op must preserve nan, its WGSL code tests the
bits of the number, to which that assumption does not apply. Three deviations remain possible on webgpu, for every op:

- Numbers of magnitude below 1.2e-38 (subnormals) may be flushed to 0.
- A product with the constant 0 may be 0 where the other factor is infinite or nan.
- f16 values kept in registers are not rounded, so they do not overflow where onnxruntime's do.`;

const attention = `## Attention

A row that sees no key gives 0, and so do its gradients, whatever the masked values are: on reference and in every kernel
schedule (\`test/kernels/hidden-values.test.ts\`). Exported ONNX gives nan there if a value is nan or infinite.
With a mask, kernels also take a logit of −1e30 or less for minus infinity: a row of such logits alone gives 0, where the
reference gives their softmax.
In a row that sees some keys, a masked value has weight 0, and 0 times nan or infinity is nan; kernels may give a number
instead, because they skip blocks of keys that are masked entirely. Partially filled tiles are padded with the last key at
weight 0, so if its value is infinite the result is nan.`;

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

function cell(op: string, executor: string): string {
  const own = exceptions.filter((e) => e.op === op && e.executor === executor).flatMap((e) => e.rows);
  return own.map((r) => `${callText(op, r)} = ${spell(r.gives)}`).join("<br>") || "as specified";
}

const reason = ({ op, executor, why }: Exception): string => `- ${op} on ${executor}: ${why}.`;

/** The whole page. */
export function specialPage(): string {
  const head = ["op", ...executorNames];
  const rows = specialRecords().map(({ name }) =>
    line([`[${name}](ops.md#${name})`, ...executorNames.map((e) => cell(name, e))]),
  );
  const table = [line(head), line(head.map(() => "---")), ...rows].join("\n");
  return `${[introduction, table, attention, "## Reasons for the exceptions", exceptions.map(reason).join("\n")].join("\n\n")}\n`;
}
