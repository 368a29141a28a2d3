/**
 * The proof that accesses stay within their memory: what it finds, what it may not believe, and that schedules pass it.
 */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { baselineFacts, compileKernels, type Kernel, kernelIr, parseGraph, parseKernel } from "../../compiler/index.ts";
import { interpretKernel, parseKernels } from "../../compiler/kernel/index.ts";
import { filesBelow } from "../golden/golden-file.ts";

const { unprovenAccesses } = kernelIr;

const goldens = filesBelow(new URL("golden/schedules", import.meta.url).pathname, ".golden").map(({ name, path }) => {
  const text = readFileSync(path, "utf8");
  const kernels = text.slice(text.indexOf("---- kernels\n") + 13, text.indexOf("---- wgsl\n"));
  return [name, parseKernels(kernels, name)] as const;
});

/**
 * Kernels of schedules for hardware alone, where WebGPU's own checks stay on: what they rely on are the remainders of
 * indices, and the proof knows bounds only. On adapters without checks such accesses would be clamped.
 */
const beyondTheProof: ReadonlySet<string> = new Set(["row-in-registers.golden"]);

describe("kernels of schedules", () => {
  it.each(goldens)("%s are proven, but for those that are listed", (name, kernels) => {
    const unproven = kernels.flatMap((kernel) => [...unprovenAccesses(kernel)]);
    if (beyondTheProof.has(name)) expect(unproven).not.toEqual([]);
    else expect(unproven).toEqual([]);
  });

  /** One access less than there is: whoever reaches the last one is beyond the end. */
  const shorter = (kernel: Kernel, at: number): Kernel => ({
    ...kernel,
    buffers: kernel.buffers.map((b, i) =>
      i === at ? { ...b, size: kernelIr.index.sub(b.size, kernelIr.int(b.width ?? 1)) } : b,
    ),
  });

  it.each(goldens)("%s are not, where a buffer is shorter", (_, kernels) => {
    for (const kernel of kernels)
      for (const [i, { name, reserved }] of kernel.buffers.entries()) {
        if (reserved !== undefined) continue; // a second length that holds
        expect(unprovenAccesses(shorter(kernel, i)).size, `${kernel.name} ${name}`).toBeGreaterThan(0);
      }
  });
});

/** A kernel of 8 threads over eight elements, around a body. */
const around = (body: string, more = "") => `
kernel elementwise "k"
  ${more.includes("sizes") ? more : ""}
  b0: read i32[8]
  b1: read_write i32[8]
  ${more.includes("sizes") ? "" : more}
  workgroup [8, 1, 1] grid [2, 1, 1]
{
  ${body}
}`;

const unprovenIn = (body: string, more?: string): number => unprovenAccesses(parseKernel(around(body, more))).size;

describe("what is believed", () => {
  it.each([
    ["a thread's place", "b1[lid] = b0[lid]"],
    ["a condition", "let i: i32 = wid_x * 8 + lid\n if (i < 8) {\n b1[i] = 1\n }"],
    ["a condition that has a name", "let i: i32 = wid_x * 8 + lid\n let c: bool = i < 8\n if c {\n b1[i] = 1\n }"],
    ["both parts of a condition", "let i: i32 = lid - 3\n if (0 <= i & i < 8) {\n b1[i] = 1\n }"],
    ["a loop", "for k in lid .. 8 by 3 {\n b1[k] = b0[7 - k]\n }"],
    ["the last turn of a loop, well before its end", "for k in lid / 2 .. 8 by 8 {\n b1[k + 4] = 1\n }"],
    ["a remainder and a quotient", "for k in 0 .. 64 {\n b1[k / 8] = b0[k % 8]\n }"],
    ["a clamp of anything", "b1[lid] = b0[max(min(b0[lid], 7), 0)]"],
    ["a choice that follows a condition", "b1[lid] = b0[lid + 1 < 8 ? lid + 1 : 0]"],
    ["a condition on a sum, for its part", "let i: i32 = wid_x * 8 + lid\n if (i + 2 < 10) {\n b1[i] = 1\n }"],
  ])("%s", (_, body) => expect(unprovenIn(body)).toBe(0));
});

describe("what is not", () => {
  it.each([
    ["an index beyond the end", "b1[lid + 1] = 1"],
    ["one more than the last turn of a loop", "for k in lid / 2 .. 9 by 4 {\n b1[k + 1] = 1\n }"],
    ["an index below 0", "b1[lid - 1] = 1"],
    ["a range that is only stated", "let i: i32 in 0 .. 8 = wid_x * 8 + lid\n b1[i] = 1"],
    ["a value from memory", "b1[lid] = b0[b0[lid]]"],
    ["a value from memory, clamped at one end only", "b1[lid] = b0[min(b0[lid], 7)]"],
    ["a condition around something else", "let i: i32 = wid_x * 8 + lid\n if (lid < 8) {\n b1[i] = 1\n }"],
    ["a condition that has ended", "let i: i32 = wid_x * 8 + lid\n if (i < 8) {\n b1[lid] = 1\n }\n b1[i] = 1"],
    ["a load within a choice, which is made either way", "b1[lid] = wid_x < 1 ? b0[wid_x * 8 + lid] : 0"],
    ["a variable", "var v: i32 = 0\n v = v + 9\n b1[v] = 1"],
    ["a condition on a variable", "var v: i32 = 0\n if (v < 8 & 0 <= v) {\n v = 9\n b1[v] = 1\n }"],
    ["a condition on memory", "if (b0[0] < 8 & 0 <= b0[0]) {\n b1[lid] = b0[b0[0]]\n }"],
    ["a negative remainder", "b1[lid] = b0[(lid - 4) % 8]"],
    ["an array of a workgroup", "s[lid + 1] = 1\n barrier\n b1[lid] = s[lid]", "workgroup s: i32[8]"],
    ["either of two conditions", "let i: i32 = wid_x * 8 + lid\n if (i < 8 | lid < 2) {\n b1[i] = 1\n }"],
    ["what may have wrapped around", "let i: i32 = lid * 400000000\n if (i < 8) {\n b1[i] = 1\n }"],
    ["open sizes that do not fit", "if (lid < $n) {\n b1[lid + $n] = 1\n }", "sizes $n in 1 .. 10"],
  ])("%s", (_, body, more?: string) => expect(unprovenIn(body, more)).toBe(1));

  it("a matrix that reaches beyond its memory", () => {
    const text = (elements: number, stride: number) => `
kernel contraction "m"
  b0: read f16[${elements}]
  b1: read_write f16[256]
  fragment a: left f16[16, 16]
  requires f16, subgroups, subgroup_size, subgroup_matrix
  workgroup [32, 1, 1] subgroup 32 grid [1, 1, 1]
{
  load a from b0[0] stride ${stride} row_major
  b1[lid] = 0:f16
}`;
    const unproven = (elements: number, stride: number) => unprovenAccesses(parseKernel(text(elements, stride))).size;
    expect(unproven(16 * 20, 20)).toBe(0);
    expect(unproven(15 * 20 + 16, 20)).toBe(0);
    expect(unproven(15 * 20 + 15, 20)).toBe(1);
  });
});

it("open sizes whose product could be beyond exact numbers, which no buffer is", () => {
  const graph = parseGraph(`graph @products_of_open_sizes(%x: f32[a=n+past, b=n, c=5], %y: f32[c=5]) {
  %0 = contract %y, %x over [c] : f32[a=n+past, b=n]
  return %0 as y0
}`);
  const { kernels } = compileKernels(graph, baselineFacts);
  for (const { kernel } of kernels) expect(() => unprovenAccesses(kernel)).not.toThrow();
});

/** An index of loops, places and constants, as text. */
const { index } = fc.letrec<{ index: string }>((tie) => ({
  index: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom("lid", "wid_x", "k", "j", "$n", "b0[lid]"),
    fc.integer({ min: -3, max: 12 }).map(String),
    fc.tuple(tie("index"), fc.constantFrom("+", "-", "*"), tie("index")).map(([a, op, b]) => `(${a} ${op} ${b})`),
    fc
      .tuple(tie("index"), fc.constantFrom("/", "%"), fc.integer({ min: 1, max: 6 }))
      .map(([a, op, n]) => `(${a} ${op} ${n})`),
    fc.tuple(fc.constantFrom("min", "max"), tie("index"), tie("index")).map(([f, a, b]) => `${f}(${a}, ${b})`),
    fc
      .tuple(tie("index"), fc.constantFrom("<", "<=", "=="), tie("index"), tie("index"), tie("index"))
      .map(([a, op, b, yes, no]) => `((${a} ${op} ${b}) ? ${yes} : ${no})`),
  ),
}));

it("random kernels that are proven never leave their memory", () => {
  let proven = 0;
  const condition = fc.tuple(index, fc.constantFrom("<", "<=", "=="), index).map(([a, op, b]) => `${a} ${op} ${b}`);
  fc.assert(
    fc.property(index, index, condition, condition, fc.integer({ min: 1, max: 9 }), (i, h, c, d, n) => {
      const body = `for k in 0 .. $n {
    let j: i32 = ${h.replaceAll("j", "k")}
    if (${c} & ${d}) {
      b1[${i}] = 1
    }
  }`;
      const kernel = parseKernel(around(body, "sizes $n in 1 .. 10"));
      if (unprovenAccesses(kernel).size > 0) return;
      proven++;
      const b0 = Float64Array.from({ length: 8 }, (_, k) => (k % 3 ? 7 * k : -k));
      interpretKernel(kernel, { b0, b1: new Float64Array(8) }, { n });
    }),
    { numRuns: 3000 },
  );
  expect(proven).toBeGreaterThan(50);
});
