/** Kernels as text: what is printed parses back to the same kernel, and a text with mistakes shows all of them. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Graph,
  kernelIr,
  makeGraph,
  ops,
  type Program,
  parseKernel,
  printKernel,
  symbol,
} from "../../compiler/index.ts";
import { rootParams } from "../../dsl/index.ts";
import { graphArbitrary, inputValues } from "../support/random-graph.ts";
import { block, classifierStep, tokensInput, type VitSizes } from "./models.ts";
import { adapters, compileFor, interpretProgram } from "./support.ts";

const tiny: VitSizes = { batch: 2, tokens: 5, width: 8, heads: 2, mlp: 16, depth: 1 };
const large: VitSizes = { batch: 1, tokens: 257, width: 3200, heads: 25, mlp: 12800, depth: 4 };
const forward = (s: VitSizes): Graph =>
  makeGraph("block", [{ name: "y", node: block(rootParams(), tokensInput(s), s) }]);

const models: readonly (readonly [string, Graph])[] = [
  ["a tiny block", forward(tiny)],
  ["a block of InternViT-6B", forward(large)],
  ["a step of a tiny classifier", classifierStep({ ...tiny, depth: 2 })],
  ["a step of a classifier", classifierStep({ batch: 16, tokens: 65, width: 128, heads: 4, mlp: 512, depth: 4 })],
];

/** A program whose kernels went through text. */
const reparsed = (p: Program): Program => ({
  ...p,
  kernels: p.kernels.map((k) => ({ ...k, kernel: parseKernel(printKernel(k.kernel)) })),
});

describe.each(Object.keys(adapters))("for a %s adapter", (adapter) => {
  test.each(models)("the kernels of %s parse back to the same bytes", (_, graph) => {
    const texts = new Set(compileFor(graph, adapters[adapter]!).kernels.map((k) => printKernel(k.kernel)));
    expect(texts.size).toBeGreaterThan(4);
    for (const text of texts) expect(printKernel(parseKernel(text))).toBe(text);
    const all = [...texts].slice(0, 20).join("\n");
    expect(kernelIr.parseKernels(all).map(printKernel).join("\n")).toBe(all);
  });

  test("kernels of open sizes parse back to the same bytes, and compute the same", () => {
    const batch = { name: "batch", size: symbol("batch", { max: 64 }) };
    const token = { name: "token", size: symbol("tokens") };
    const [e, o] = [
      { name: "e", size: 12 },
      { name: "o", size: 8 },
    ];
    const x = ops.input("x", "f32", [batch, token, e]);
    const outputs = {
      product: ops.gelu(ops.contract(x, ops.input("w", "f32", [e, o]), ["e"])),
      sums: ops.reduceSum(x, ["token"]),
      count: ops.iota({ name: "n", size: symbol("n") }), // its size is in its grid and its guard alone
    };
    const graph = makeGraph(
      "open",
      Object.entries(outputs).map(([name, node]) => ({ name, node })),
    );
    const { kernels } = compileFor(graph, adapters[adapter]!);
    const sizes = { batch: 3, tokens: 5, n: 7 };
    for (const { kernel } of kernels.flatMap((k) => [k, ...k.special])) {
      const parsed = parseKernel(printKernel(kernel));
      expect(printKernel(parsed)).toBe(printKernel(kernel));
      const run = (k: typeof kernel) => {
        const lengths = k.buffers.map((b) => kernelIr.evaluateIndex(b.size, sizes));
        const buffers = lengths.map((n) => Float64Array.from({ length: n }, (_, i) => Math.sin(i)));
        kernelIr.interpretKernel(k, Object.fromEntries(buffers.map((b, i) => [`b${i}`, b])), sizes);
        return buffers;
      };
      expect(run(parsed)).toEqual(run(kernel));
    }
    expect(kernels.some((k) => kernelIr.sizesOf(k.kernel).size > 0)).toBe(true);
  });

  test("kernels of random graphs parse back to the same bytes, and compute the same", () => {
    const graphs = graphArbitrary({ maxElements: 300, maxSteps: 8, sizes: [1, 3, 4, 17] });
    const property = fc.property(graphs, fc.nat(1000), (graph, seed) => {
      const program = compileFor(graph, adapters[adapter]!);
      for (const { kernel } of program.kernels)
        expect(printKernel(parseKernel(printKernel(kernel)))).toBe(printKernel(kernel));
      const values = inputValues(graph, seed);
      expect(interpretProgram(reparsed(program), values)).toEqual(interpretProgram(program, values));
    });
    fc.assert(property, { numRuns: 60, seed: 11 });
  });
});

/** Every word of the language once. */
const everything = `kernel contraction "every \\"word\\""
  sizes $rows in 1 .. 65, $tokens
  b0: read f32[(($rows * 64) + 4)] by 4
  b1: read_write f16[1024] by 8
  b2: read i32[$tokens]
  b3: read_write bool[64]
  workgroup slab: f16[2048] by 8
  workgroup sums: f32[256]
  private acc: f32[8] by 2
  fragment a: left f16[16, 16]
  fragment b: right f16[16, 16]
  fragment c: result f32[16, 16]
  requires f16, subgroups, subgroup_size, subgroup_matrix
  workgroup [64, 1, 1] subgroup 32 grid [min($rows, 7), (($tokens + 63) / 64), 1]
{
  let i0: i32 in 0 .. 40 = ((wid_y * 64) + lid)
  var total: f32 = -0.5:f32
  let x: f32x4 = (b0[i0] + f32x4(2:f32))
  let y: f16x4 = f16x4(x)
  let z: f16x8 = f16x8(y.x, y.y, y.z, y.w, 1:f16, -0:f16, 1e-7:f16, f16(x.w))
  slab[lid] = ((lane < 4) ? z : b1[lid])
  acc[0] = f32x2(@gelu(x.x), exp(f32(z.7)))
  total = (total + (acc[0].y * @pow(x.y, 2:f32)))
  b3[lid] = (((b2[0] == -3) | true) & (total != 0:f32))
  barrier
  for k in 0 .. 4 by 2 {
    let s: i32 = (subgroup_id % 2)
    fill c with 0:f32
    load a from slab[((s * 4) + k)] stride 2 row_major
    load b from b1[0] stride 2 column_major
    c += a * b
    store c to sums[0] stride 16 row_major
  }
  for j: i32 in 0 .. 9 = (lid - 1) .. 9 by 64 {
    if (j < 3) {
      total = max(total, sums[j])
    }
  }
  let ends: f32x4 = f32x4(inf:f32, -inf:f32, nan:f32, -0:f32)
  let all: f32 = subgroup_add(total)
  let first: f32x4 = subgroup_broadcast(x, 0)
  let next: f32 = subgroup_shuffle(total, min((lane + 1), (subgroup_size - 1)))
  let other: f32 = subgroup_shuffle_xor(next, 1)
  let before: f32 = subgroup_exclusive_add(other)
  b1[lid] = f16x8(f16((all + (before + first.z))))
}
`;

test("a text with every word of the language prints as it was written", () => {
  expect(printKernel(parseKernel(everything))).toBe(everything);
});

test("what a person writes may leave out brackets, and say why", () => {
  const kernel = parseKernel(
    `
kernel elementwise "by hand" // no brackets, other blanks
b0 : read_write f32[8]
workgroup [8,1,1] grid [1,1,1]
{
let x: f32 = b0[lid]*2:f32+1:f32
b0[lid] = lid<4&x<3:f32?x:-x0:f32
}`.replace("-x0", "-0"),
  );
  const b0 = [1, 0, 1, 0, 1, 1, 1, 1];
  kernelIr.interpretKernel(kernel, { b0 });
  expect(b0).toEqual([-0, 1, -0, 1, -0, -0, -0, -0]);
});

describe("a text with mistakes", () => {
  test("shows all of them, each with its line and caret", async () => {
    const text = `kernel contration "wrong"
  b0: read f32[80] by 3
  b1: read_write f32[10] by 4
  b2: write f32[10]
  workgroup [32, 1, 1] grid [$n, 1, 1]
{
  let i: i32 = (lid + )
  let x: f32 = b1[i].x
  let y: f32 = @gelo(x)
  let z: f32 = (x + 1)
  bl[i] = f32x4(x)
  if (x < 2:f32) {
    barrier
  }
  let u: f32 = (y + subgroup_add(1.5))
  let v: f32 = unknown
  b1[0] = (subgroup_add(z) § 2)
}
`;
    expect(kernelIr.checkKernelText(text).kernels).toEqual([]);
    expect(() => parseKernel(text, "wrong.kernel")).toThrow(/KernelTextError|wrong.kernel has/);
    try {
      parseKernel(text, "wrong.kernel");
    } catch (e) {
      await expect(`${(e as Error).message}\n`).toMatchFileSnapshot("golden/mistakes.txt");
    }
  });

  test.each([
    ["no kernel", "", /has 0 kernels where one is needed/],
    ["no body", 'kernel elementwise "k"\n  workgroup [1, 1, 1] grid [1, 1, 1]\n', /\{ is missing/],
    [
      "an open block",
      'kernel elementwise "k"\n  workgroup [1, 1, 1] grid [1, 1, 1]\n{\n  if (lid < 1) {\n}\n',
      /3:1: the block is not closed/,
    ],
    ["no grid", 'kernel elementwise "k"\n{\n}\n', /has no line with its workgroup and grid/],
    [
      "features that it does not need",
      'kernel elementwise "k"\n  requires f16\n  workgroup [1, 1, 1] grid [1, 1, 1]\n{\n}\n',
      /2:3: the kernel needs no features/,
    ],
    [
      "features that it does not name",
      'kernel elementwise "k"\n  workgroup [4, 1, 1] grid [1, 1, 1]\n{\n  let x: f32 = subgroup_add(1:f32)\n}\n',
      /requires subgroups/,
    ],
    [
      "brackets without end",
      `kernel elementwise "k"\n  workgroup [4, 1, 1] grid [1, 1, 1]\n{\n  let x: i32 = ${"(".repeat(5000)}\n}\n`,
      /more than 200 deep/,
    ],
  ])("such as %s is refused", (_, text, message) => {
    expect(() => parseKernel(text)).toThrow(message);
  });

  test("never makes the reader fail in another way", () => {
    const pieces = everything.split(/(?<=[\s\S])(?=[\s(),.[\]{}:])/);
    const property = fc.property(fc.nat(pieces.length - 1), fc.nat(pieces.length - 1), fc.boolean(), (i, j, drop) => {
      const changed = [...pieces];
      if (drop) changed.splice(i, 1 + (j % 7));
      else [changed[i], changed[j]] = [changed[j]!, changed[i]!];
      const { kernels, mistakes } = kernelIr.checkKernelText(changed.join(""));
      expect(kernels.length > 0).toBe(mistakes.length === 0);
    });
    fc.assert(property, { numRuns: 500, seed: 5 });
  });
});
