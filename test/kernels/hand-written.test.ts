/**
 * What hardware has, run on a machine that lacks it: each kernel in the interpreter against plain loops, at every
 * subgroup size.
 */
import { describe, expect, test } from "vitest";
import { kernelIr, parseKernel, printKernel } from "../../compiler/index.ts";
import {
  everyHandWritten,
  halfCopy,
  type Product,
  product,
  shuffleReduce,
  sixteenByteCopy,
  softmax,
  wideProduct,
} from "./hand-written.ts";

const { interpretKernel } = kernelIr;
const sizes = [8, 16, 32, 64];

/** Values of either sign that f16 holds, none like its neighbours. */
const halves = (count: number, seed: number): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => Math.f16round(Math.sin(i * 12.9898 + seed) * 2));

/** Begins as NaN, so that gaps show. */
const empty = (count: number) => new Float64Array(count).fill(Number.NaN);

function largest(got: Float64Array, want: (i: number) => number): number {
  return got.reduce((worst, v, i) => (Number.isNaN(v) ? Infinity : Math.max(worst, Math.abs(v - want(i)))), 0);
}

/** Element (i, j) of a product in float64. */
function sumOf({ m, n, k, layout }: Omit<Product, "lanes">, a: Float64Array, b: Float64Array, at: number): number {
  const [i, j] = [Math.floor(at / n), at % n];
  let sum = 0;
  for (let s = 0; s < k; s++) {
    const left = layout === "TN" ? a[s * m + i]! : a[i * k + s]!;
    sum += left * (layout === "NT" ? b[j * k + s]! : b[s * n + j]!);
  }
  return sum;
}

describe.each(sizes)("with subgroups of %d", (lanes) => {
  test.each([
    ["NN", 37, 45, 29, "f32"],
    ["NT", 37, 45, 29, "f32"],
    ["TN", 37, 45, 29, "f32"],
    ["NT", 1, 70, 16, "f32"],
    ["TN", 64, 3, 5, "f32"],
    ["NN", 20, 20, 40, "f16"],
  ] as const)("a product %s of %d x %d x %d by matrix units, summed in %s", (layout, m, n, k, result) => {
    const shape = { m, n, k, layout };
    const [a, b, out] = [halves(m * k, 1), halves(k * n, 2), empty(m * n)];
    interpretKernel(
      parseKernel(product({ ...shape, lanes, result })),
      { b0: a, b1: b, b2: out },
      {},
      {
        subgroupSize: lanes,
      },
    );
    const error = largest(out, (i) => sumOf(shape, a, b, i));
    expect(error).toBeLessThan(result === "f32" ? 1e-4 : 0.1);
    if (result === "f16") expect(out.every((v) => v === Math.f16round(v))).toBe(true);
  });

  test("a product by sixteen bytes at a time", () => {
    const shape = { m: 32, n: 48, k: 64, layout: "NT" } as const;
    const [a, b, out] = [halves(32 * 64, 3), halves(48 * 64, 4), empty(32 * 48)];
    interpretKernel(parseKernel(wideProduct(32, 48, 64, lanes)), { b0: a, b1: b, b2: out });
    expect(largest(out, (i) => sumOf(shape, a, b, i))).toBeLessThan(1e-4);
  });

  test("softmax of rows, their number given at run time", () => {
    const [rows, columns, scale] = [5, 77, 0.125];
    const x = Float64Array.from({ length: rows * columns }, (_, i) => Math.fround(Math.cos(i * 7.1) * 90));
    const out = empty(rows * columns);
    interpretKernel(parseKernel(softmax(columns, scale)), { b0: x, b1: out }, { rows }, { subgroupSize: lanes });
    const want = (i: number) => {
      const row = [...x.slice(Math.floor(i / columns) * columns).slice(0, columns)].map((v) => v * scale);
      const top = Math.max(...row);
      return Math.exp(row[i % columns]! - top) / row.reduce((s, v) => s + Math.exp(v - top), 0);
    };
    expect(largest(out, want)).toBeLessThan(1e-6);
  });

  test("sums by shuffles, and what came before", () => {
    const [x, sums, others] = [halves(192, 5), empty(3), empty(192)];
    interpretKernel(parseKernel(shuffleReduce(3)), { b0: x, b1: sums, b2: others }, {}, { subgroupSize: lanes });
    expect(largest(sums, (g) => x.slice(64 * g, 64 * g + 64).reduce((a, b) => a + b))).toBeLessThan(1e-4);
    const want = (i: number) => {
      const first = Math.floor(i / lanes) * lanes;
      const before = x.slice(first, i).reduce((a, b) => a + b, 0);
      return before + x[first]! * 1e3 + x[first + ((i + 1 - first) % lanes)]! * 1e6;
    };
    expect(largest(others, want)).toBeLessThan(0.5);
  });

  test.each(everyHandWritten(lanes))("%s prints and parses back to the same bytes", (_, text) => {
    const printed = printKernel(parseKernel(text));
    expect(printKernel(parseKernel(printed))).toBe(printed);
  });
});

test.each(everyHandWritten(16))("%s computes the same after hoisting and widening", (_, text) => {
  const kernel = parseKernel(text);
  const moved = kernelIr.verifyKernel(kernelIr.hoist(kernelIr.vectorize(kernel)));
  const run = (k: typeof kernel) => {
    const sizes = { rows: 3 };
    const length = (e: kernelIr.Expr) => kernelIr.evaluateIndex(e, sizes);
    const buffers = Object.fromEntries(k.buffers.map((b, i) => [b.name, halves(length(b.size), i)]));
    interpretKernel(k, buffers, sizes, { subgroupSize: 16 });
    return buffers;
  };
  if (kernel.kind === "contraction") expect(printKernel(moved)).not.toBe(printKernel(kernel));
  expect(run(moved)).toEqual(run(kernel));
});

test("copies of f16 by fours and by sixteen bytes", () => {
  const x = halves(88, 6);
  const [fours, eights] = [empty(84), empty(88)];
  interpretKernel(parseKernel(halfCopy(84)), { b0: x.slice(0, 84), b1: fours });
  expect([...fours]).toEqual([...x.slice(0, 84)].map((v, i) => (i % 4 === 3 ? Math.f16round(2 * v) : v)));
  interpretKernel(parseKernel(sixteenByteCopy(88)), { b0: x, b1: eights });
  expect([...eights]).toEqual([...x]);
});

test("arithmetic on f16 rounds each step to f16", () => {
  const kernel = parseKernel(`
kernel elementwise "round"
  b0: read_write f16[4]
  requires f16
  workgroup [1, 1, 1] grid [1, 1, 1]
{
  let x: f16 = b0[0]
  b0[1] = x + 0.0004:f16
  b0[2] = @mul(x, 70000:f16)
  b0[3] = f16(1:f32 / 3:f32)
}`);
  const b0 = [1, 0, 0, 0];
  interpretKernel(kernel, { b0 });
  expect(b0).toEqual([1, 1, Infinity, Math.f16round(1 / 3)]);
});

test("workgroup_any asks all threads, as often as it is asked, and orders what they store", () => {
  const [kernel] = kernelIr.parseKernels(`kernel elementwise "k"
  b0: read_write f32[64]
  workgroup shared: f32[64]
  workgroup [64, 1, 1] grid [1, 1, 1]
{
  var count: f32 = 0:f32
  for i in 0 .. 5 {
    shared[lid] = f32((lid * i))
    let some: bool = workgroup_any(((lid == 40) & (i % 2 == 0)))
    let other: f32 = shared[63 - lid]
    if some {
      barrier
      count = ((count * 1000:f32) + other)
    }
    barrier
  }
  b0[lid] = count
}
`);
  const got = new Float64Array(64);
  interpretKernel(kernelIr.verifyKernel(kernel!), { b0: got });
  expect([...got]).toEqual([...got].map((_, lid) => (63 - lid) * 2004));
  expect(printKernel(parseKernel(printKernel(kernel!)))).toBe(printKernel(kernel!));
});

describe("the interpreter refuses", () => {
  const run = (body: string, features = "  requires subgroups\n") =>
    interpretKernel(
      parseKernel(
        `kernel elementwise "k"\n  b0: read_write f32[64]\n${features}  workgroup [40, 1, 1] grid [1, 1, 1]\n{\n${body}\n}\n`,
      ),
      { b0: new Float64Array(64) },
      {},
      { subgroupSize: 32 },
    );

  test("a lane that a subgroup does not have", () => {
    expect(() => run("  let x: f32 = subgroup_shuffle(1:f32, lane + 1)\n  b0[lid] = x")).toThrow(/has no lane 32/);
    expect(() => run("  let x: f32 = subgroup_shuffle_xor(1:f32, 16)\n  b0[lid] = x")).toThrow(/8 lanes has no lane/);
  });

  test("a store outside its buffer", () => {
    expect(() => run("  b0[lid + 40] = 1:f32", "")).toThrow(/store to b0\[64\] is outside 0 .. 63/);
  });

  test("lanes that part", () => {
    // Only a load from memory can part lanes without the verifier's knowledge, and it forbids that: built by hand.
    const [whole] = kernelIr.parseKernels(
      `kernel elementwise "k"\n  b0: read_write f32[64]\n  requires subgroups\n  workgroup [32, 1, 1] grid [1, 1, 1]\n{\n  let x: f32 = subgroup_add(1:f32)\n  b0[lid] = x\n}\n`,
    );
    const { lt } = kernelIr.index;
    const condition = lt(kernelIr.variable("lid", "i32"), kernelIr.int(5));
    const parted = { ...whole!, body: [{ kind: "if", condition, body: whole!.body }] as const };
    expect(() => kernelIr.verifyKernel(parted)).toThrow(/not uniform in the subgroup/);
    expect(() => interpretKernel(parted, { b0: new Float64Array(64) })).toThrow(
      /lanes of a subgroup diverge: thread 0 waits at "let x: f32 = subgroup_add\(1:f32\)", thread 5 has ended/,
    );
    const barrier = { ...whole!, body: [{ kind: "if", condition, body: [{ kind: "barrier" }] }] as const };
    expect(() => interpretKernel(barrier, { b0: new Float64Array(64) })).toThrow(/threads of a workgroup diverge/);
  });

  test("what an earlier workgroup left in its arrays", () => {
    const [kernel] = kernelIr.parseKernels(
      `kernel elementwise "k"\n  b0: read_write f32[64]\n  workgroup shared: f32[32]\n  private own: f32[2]\n  workgroup [32, 1, 1] grid [2, 1, 1]\n{\n  own[1] = own[1] + 1:f32\n  shared[lid] = shared[lid] + own[1]\n  b0[wid_x * 32 + lid] = shared[lid]\n}\n`,
    );
    const b0 = empty(64);
    interpretKernel(kernel!, { b0 });
    expect(b0).toEqual(new Float64Array(64).fill(1));
  });

  test("a subgroup size that the kernel is not made for", () => {
    const kernel = parseKernel(wideProduct(16, 16, 16, 32));
    expect(() => interpretKernel(kernel, {}, {}, { subgroupSize: 16 })).toThrow(/requires subgroup size 32, not 16/);
  });
});
