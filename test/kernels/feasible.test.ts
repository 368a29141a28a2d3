/** Whether an adapter can run a kernel, from recorded facts: the null device of Dawn would accept what none can. */
import { describe, expect, test } from "vitest";
import { baselineFacts, kernelIr, parseKernel } from "../../compiler/index.ts";
import { everyHandWritten, product, softmax, wideProduct } from "./hand-written.ts";

const { checkFeasible, guaranteedFacts, recordedAdapters } = kernelIr;
const h200 = recordedAdapters["nvidia-h200"].facts;

const small = (head: string, shape = "workgroup [32, 1, 1] grid [1, 1, 1]", body = "") =>
  parseKernel(`kernel elementwise "small"\n${head}\n  ${shape}\n{\n${body}\n}\n`);

const matrix = (m: number, n: number, k: number, dtype: string, result: string, lanes = 32) =>
  parseKernel(`kernel contraction "matrix"
  fragment a: left ${dtype}[${m}, ${k}]
  fragment b: right ${dtype}[${k}, ${n}]
  fragment c: result ${result}[${m}, ${n}]
  requires ${dtype === "f16" || result === "f16" ? "f16, " : ""}subgroups, subgroup_size, subgroup_matrix
  workgroup [${lanes}, 1, 1] subgroup ${lanes} grid [1, 1, 1]
{
  c += a * b
}
`);

describe("an NVIDIA H200", () => {
  test.each(everyHandWritten(32))("runs %s", (_, text) => {
    expect(checkFeasible(parseKernel(text), h200)).toEqual([]);
  });

  test.each([
    ["other subgroups", parseKernel(wideProduct(16, 16, 16, 16)), "requires subgroup size 16, and the adapter has 32"],
    [
      "shapes of another adapter",
      matrix(8, 8, 8, "f16", "f16"),
      "f16 to f16 8x8x8; matrix shapes of the adapter: f16 to f16",
    ],
    ["f32 operands", matrix(16, 16, 16, "f32", "f32"), "f32 to f32 16x16x16"],
    [
      "too many threads",
      small("", "workgroup [64, 32, 1] grid [1, 1, 1]"),
      "2048 threads, and the adapter allows 1024",
    ],
    ["too deep a workgroup", small("", "workgroup [1, 1, 128] grid [1, 1, 1]"), "128 threads along z"],
    [
      "too much to share",
      small("  workgroup s: f32[12292] by 4"),
      "needs 49168 bytes of workgroup memory, and the adapter has 49152",
    ],
    ["too long a grid", small("", "workgroup [32, 1, 1] grid [1, 65536, 1]"), "65536 workgroups along y"],
    ["too large a buffer", small("  b0: read f32[536870912] by 4"), "b0 has 2147483648 bytes"],
    [
      "too many buffers",
      small(Array.from({ length: 17 }, (_, i) => `  b${i}: read f32[4]`).join("\n")),
      "binds 17 buffers, and the adapter allows 16",
    ],
    [
      "a size without bounds",
      small("  sizes $n", "workgroup [32, 1, 1] grid [$n, 1, 1]"),
      "the grid may have 2147483647 workgroups along x, and the adapter allows 65535: bound its sizes",
    ],
  ])("does not run %s", (_, kernel, message) => {
    const reasons = checkFeasible(kernel, h200);
    expect(reasons).toHaveLength(1);
    expect(reasons[0]).toContain(message);
  });
});

describe("other adapters", () => {
  test("what WebGPU guarantees has no optional feature", () => {
    const text = product({ m: 8, n: 8, k: 8, layout: "NN", lanes: 32 });
    const reasons = checkFeasible(parseKernel(text), guaranteedFacts);
    for (const feature of ["f16", "subgroups", "subgroup_size", "subgroup_matrix"])
      expect(reasons).toContain(`the kernel needs ${feature}, which the adapter lacks`);
    expect(baselineFacts).toMatchObject(guaranteedFacts);
  });

  test("sizes within their bounds fit the grid", () => {
    const bounded = softmax(8, 1).replace("65536", "65537");
    expect(checkFeasible(parseKernel(softmax(8, 1)), h200)).toEqual([]);
    expect(checkFeasible(parseKernel(bounded), h200)).toHaveLength(1);
  });

  test("each runs the shapes that it is recorded with, and no other's", () => {
    const shapes = { "nvidia-h200": [16, 16, 16], "amd-rdna3": [16, 16, 16], "intel-xe2": [8, 16, 16] } as const;
    for (const [name, [m, n, k]] of Object.entries(shapes)) {
      const { facts } = recordedAdapters[name as keyof typeof shapes];
      expect(checkFeasible(matrix(m, n, k, "f16", "f16"), facts)).toEqual([]);
      expect(checkFeasible(matrix(8, 8, 8, "f32", "f32"), facts)).toHaveLength(1);
    }
  });

  test("Apple's runs kernels made for its one subgroup size, though it offers no choice of it", () => {
    const { facts } = recordedAdapters["apple-m"];
    expect(checkFeasible(matrix(8, 8, 8, "f32", "f32"), facts)).toEqual([]);
    expect(checkFeasible(matrix(8, 8, 8, "f32", "f32", 16), facts)).toEqual([
      "the kernel needs subgroup_size, which the adapter lacks",
      "the kernel requires subgroup size 16, and the adapter has 32",
    ]);
  });

  test("Intel's grants fewer subgroups than its threads make", () => {
    const { facts } = recordedAdapters["intel-xe2"];
    const kernel = parseKernel(wideProduct(16, 16, 16, 16).replace("[16, 1, 1] subgroup", "[1024, 1, 1] subgroup"));
    expect(checkFeasible(kernel, facts)).toContain("a workgroup has 64 subgroups, and the adapter allows 56");
  });

  test("every record says where it is from", () => {
    for (const { basis, source } of Object.values(recordedAdapters)) {
      expect(["measured", "published"]).toContain(basis);
      expect(source.length).toBeGreaterThan(20);
    }
  });
});
