/**
 * What a kernel must keep to: each rule broken once, as text; and each barrier left out, which the interpreter finds.
 */
import { describe, expect, test } from "vitest";
import { kernelIr, parseKernel } from "../../compiler/index.ts";
import { product, shuffleReduce, softmax, wideProduct } from "./hand-written.ts";

const kernel = (body: string, head = "", workgroup = "[64, 1, 1] subgroup 32") => `kernel contraction "rule"
  b0: read f32[64]
  b1: read_write f32[64]
  b2: read f16[512] by 8
  b3: read_write f16[512]
  workgroup slab: f16[512] by 8
  workgroup sums: f32[256]
  private own: f16[256]
  fragment a: left f16[16, 16]
  fragment b: right f16[16, 8]
  fragment c: result f32[16, 8]
  fragment d: result f16[16, 16]
${head}
  requires f16, subgroups, subgroup_size, subgroup_matrix
  workgroup ${workgroup} grid [1, 1, 1]
{
${body}
}
`;

test("the kernel in which each rule is broken is right", () => {
  expect(() => parseKernel(kernel("  c += a * b"))).not.toThrow();
});

const place = "stride 2 row_major";

describe("a kernel is refused for", () => {
  test.each([
    ["a dtype that memory has not", "  b1[lid] = f16(b0[lid])", "store of f16 to b1, whose elements are f32"],
    ["a vector where a scalar is held", "  b1[0] = f32x2(1:f32)", "store of f32x2 to b1, whose elements are f32"],
    [
      "vectors of two widths",
      "  let x: f32x2 = f32x2(1:f32) + f32x4(1:f32)",
      "the operands of add have different types: f32x2 and f32x4",
    ],
    ["a comparison of vectors", "  let x: bool = f32x2(1:f32) < f32x2(1:f32)", "lt takes scalars, not vectors"],
    [
      "an op that yields a vector of bool",
      "  let x: boolx2 = @lt(f32x2(1:f32), f32x2(1:f32))",
      "there is no type boolx2",
    ],
    ["an element that a vector has not", "  let x: f32 = f32x2(1:f32).z", "f32x2 has no element 2"],
    ["an element of a scalar", "  let x: f32 = b0[0].x", "f32 is not a vector, so it has no elements"],
    ["too few elements", "  let x: f32x4 = f32x4(1:f32, 2:f32)", "f32x4 cannot be made of 2 elements"],
    ["elements of another dtype", "  let x: f32x2 = f32x2(1, 2)", "f32x2 cannot be made of i32, i32"],
    [
      "arithmetic on eight halves",
      "  let x: f16x8 = b2[0] + b2[1]",
      "a vector of eight can only be loaded, stored and assembled",
    ],
    ["eight floats", "  let x: f32x8 = f32x8(1:f32)", "there is no type f32x8"],
    ["an index that is no i32", "  b1[0:u32] = 1:f32", "an index must be i32, not u32"],
    ["an f16 literal that is none", "  let x: f32 = exp(1:i32)", "exp does not take (i32)"],
    ["an unsigned constant below 0", "  let x: u32 = -1:u32", "the constant -1 is not a value of u32"],
    ["a step backwards", "  for i in 0 .. 4 by -1 {\n  }", "the step of a loop must be a positive integer, not -1"],
    [
      "a subgroup operation inside an expression",
      "  let x: f32 = 1:f32 + subgroup_add(1:f32)",
      "must be the whole value of a let",
    ],
    ["a subgroup operation that is stored", "  b1[0] = subgroup_add(1:f32)", "must be the whole value of a let"],
    ["a broadcast of any lane", "  let x: f32 = subgroup_broadcast(1:f32, lane)", "use subgroup_shuffle"],
    ["a lane that is no index", "  let x: f32 = subgroup_shuffle(1:f32, 1:f32)", "a lane must be i32, not f32"],
    [
      "a mask that differs between lanes",
      "  let x: f32 = subgroup_shuffle_xor(1:f32, lane)",
      "the mask of subgroup_shuffle_xor is not uniform",
    ],
    ["a sum of bool", "  let x: bool = subgroup_add(true)", "subgroup_add does not take bool"],
    ["roles exchanged", "  c += b * a", "b is a right fragment, but a left fragment is needed here"],
    ["shapes that do not fit", "  d += a * b", "a [16, 16] times b [16, 8] does not have the shape of d [16, 16]"],
    ["a fill of another dtype", "  fill c with 0:f16", "c is a fragment of f32 and cannot be filled with f16"],
    ["a fill that differs between lanes", "  fill c with b0[lid]", "is not uniform in the subgroup"],
    ["memory of another dtype", "  load a from sums[0] stride 16 row_major", "a is f16, but sums is f32"],
    ["private memory", "  load a from own[0] stride 16 row_major", "private to a thread"],
    ["a store to what is read", `  store d to b2[0] ${place}`, "b2, which is read-only"],
    [
      "a stride below a line",
      "  load a from slab[0] stride 1 row_major",
      "the stride, 8 elements, is less than a line of 16",
    ],
    ["an offset that differs between lanes", `  load a from slab[lid] ${place}`, "use subgroup_id, not lid"],
    [
      "a question to all within an expression",
      "  let x: bool = workgroup_any(true) & true",
      "must be the whole value of a let",
    ],
    [
      "a question to all that is no condition",
      "  let x: bool = workgroup_any(1)",
      "workgroup_any takes a bool, not i32",
    ],
    [
      "a question that some threads miss",
      "  if (lid < 3) {\n    let x: bool = workgroup_any(true)\n  }",
      "not uniform in the workgroup",
    ],
    ["a barrier that some threads pass", "  if (lid < 3) {\n    barrier\n  }", "not uniform in the workgroup"],
    [
      "a barrier that some subgroups pass",
      "  if (subgroup_id < 1) {\n    barrier\n  }",
      "not uniform in the workgroup",
    ],
    [
      "a product in a loop whose end differs between lanes",
      "  for i in 0 .. lane {\n    c += a * b\n  }",
      "not uniform in the subgroup",
    ],
    [
      "a barrier under a condition that an earlier turn of the loop changed",
      "  var x: i32 = 0\n  for i in 0 .. 4 {\n    if (x < 2) {\n      barrier\n    }\n    x = x + lid\n  }",
      "not uniform in the workgroup",
    ],
    [
      "a subgroup operation under a condition on memory that it writes",
      "  if (b1[0] < 1:f32) {\n    let x: f32 = subgroup_add(1:f32)\n  }",
      "not uniform in the subgroup",
    ],
  ])("%s", (_, body, message) => {
    expect(() => parseKernel(kernel(body))).toThrow(message);
  });

  test.each([
    [
      "memory that wide accesses do not fill",
      "  b4: read f16[12] by 8",
      "b4 has 12 elements, not a multiple of its access width 8",
    ],
    [
      "a reserve that wide accesses do not fill",
      "  sizes $n\n  b4: read f32[($n * 4)] of 10 by 4",
      "b4 reserves 10 elements, not a multiple of its access width 4",
    ],
    [
      "a reserve of a known size",
      "  b4: read f32[8] of 16",
      "b4 has a known size, so it cannot also reserve 16 elements",
    ],
    ["eight floats at once", "  b4: read f32[16] by 8", "b4 cannot be accessed by 8: there is no vector of 8 f32"],
    ["a name twice", "  workgroup b0: f32[4]", "b0 is declared twice"],
    [
      "a fragment without rows",
      "  fragment e: left f16[0, 16]",
      "e must have a positive number of rows and columns, not 0 and 16",
    ],
  ])("%s", (_, head, message) => {
    expect(() => parseKernel(kernel("", head))).toThrow(message);
  });

  test.each([
    ["fragments without a subgroup size", "[64, 1, 1]", "must declare its subgroup size"],
    ["subgroups that do not fill a line", "[48, 1, 1] subgroup 32", "not a multiple of the subgroup size 32"],
    ["a subgroup of 24", "[48, 1, 1] subgroup 24", "must be a power of two up to 128, not 24"],
    ["no threads", "[0, 1, 1] subgroup 32", "the workgroup [0, 1, 1] must have a positive number of threads"],
  ])("%s", (_, workgroup, message) => {
    expect(() => parseKernel(kernel("  c += a * b", "", workgroup))).toThrow(message);
  });

  test("what lanes agree on is no fault", () => {
    const body = `
  if (subgroup_id < 1) {
    let x: f32 = subgroup_add(b0[lid])
    c += a * b
  }
  if (b0[wid_x] < 1:f32) {
    barrier
  }
  load a from slab[subgroup_id * 4] stride 2 row_major`;
    expect(() => parseKernel(kernel(body))).not.toThrow();
  });
});

/** A text without its nth barrier. */
const without = (text: string, n: number): string => {
  let seen = 0;
  return text
    .split("\n")
    .filter((line) => line.trim() !== "barrier" || seen++ !== n)
    .join("\n");
};

describe("the interpreter finds that a barrier is missing", () => {
  const kernels = [
    ["a product", product({ m: 20, n: 20, k: 40, layout: "NN", lanes: 8 })],
    ["a product by sixteen bytes", wideProduct(16, 16, 48, 32)],
    ["softmax", softmax(70, 1)],
    ["a reduction by shuffles", shuffleReduce(1)],
  ] as const;
  const all = kernels.flatMap(([name, text]) =>
    Array.from({ length: text.split("barrier").length - 1 }, (_, n) => [name, n, text] as const),
  );

  test.each(all)("in %s, number %i", (_, n, text) => {
    const run = (source: string) => {
      const parsed = parseKernel(source);
      const sizes = { rows: 1 };
      const size = (e: kernelIr.Expr) => kernelIr.evaluateIndex(e, sizes);
      const buffers = Object.fromEntries(parsed.buffers.map((b) => [b.name, new Float64Array(size(b.size))]));
      kernelIr.interpretKernel(parsed, buffers, sizes, parsed.subgroupSize ? {} : { subgroupSize: 16 });
    };
    expect(() => run(text)).not.toThrow();
    expect(() => run(without(text, n))).toThrow(/since the last barrier/);
  });
});
