/** What each op is when a graph is computed in f16: its record says so, or it is f32 for one of these reasons. */
import { describe, expect, it } from "vitest";
import { type OpRecord, opRecords } from "../../compiler/index.ts";

/** Why ops without a policy stay f32. */
const reasons: Readonly<Record<string, readonly string[]>> = {
  "grows or shrinks beyond f16 within the range of its operand": ["div", "exp", "expm1", "log", "pow"],
  "is an angle or a place, which f16 rounds to whole numbers from 1024 on": [
    "sin",
    "cos",
    "floor",
    "round",
    "round_straight_through",
  ],
  "is a part of gradients that ends in a product with an exponential": ["erf"],
  "sums: accumulated in f32 inside, and its result may pass 65504": ["reduce_sum", "reduce_prod", "scatter_add"],
  "makes statistics, which are f32": ["sqrt", "rsqrt", "reduce_max", "reduce_min"],
  "is a loss or a logarithm of a sum": ["cross_entropy", "logsumexp", "log_softmax"],
  "is decoded as it is read, and cast by the product that reads it": ["dequantize_int4", "dequantize_int8"],
  "changes the dtype: the pass inserts it, and sees through it": ["cast"],
};

/**
 * True where no operand or result of the op's cases is a float, or the result alone is none: nothing is computed in
 * floats.
 */
const hasFloats = ({ cases, infer }: OpRecord): boolean =>
  cases.some(({ operands, attrs }) => infer(operands, attrs).dtype.startsWith("f"));

const listed = Object.values(reasons).flat();

describe("in f16", () => {
  const records = opRecords().filter((r) => r.kind !== "source" && hasFloats(r));

  it.each(records.map((r) => [r.name, r] as const))("%s has a policy, or a reason to be f32", (name, { half }) => {
    expect(half !== undefined).toBe(!listed.includes(name));
  });

  it("no reason is given for what is no op, or for one twice", () => {
    expect(listed.filter((n) => !records.some((r) => r.name === n))).toEqual([]);
    expect(new Set(listed).size).toBe(listed.length);
  });

  it("statistics are operands of ops that keep them f32, and those are told by their role", () => {
    const statistics = opRecords().filter((r) => Object.values(r.roles ?? {}).includes("statistic"));
    expect(statistics.map((r) => r.name)).toEqual([
      "attention_grad_k",
      "attention_grad_q",
      "attention_grad_v",
      ...["bias", "k", "q", "v"].map((n) => `biased_attention_grad_${n}`),
    ]);
    for (const { half } of statistics) expect(half).toMatch(/^(safe|operands)$/);
  });
});
