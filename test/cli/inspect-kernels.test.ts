/** `heddle inspect --kernels`: how each kernel is made, and why not otherwise. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { heddle, scratch } from "./support.ts";

const folder = scratch("kernels");
const file = folder.at("layers.graph");
beforeAll(() =>
  writeFileSync(
    file,
    `graph @layers(%x: f32[rows=rows, embed=256]) {
  %s = softmax %x axis embed
  repeat 2 as i with %h[-1] = %s {
    %w = parameter "layers.{i}.fc.weight" init normal(mean=0, std=0.02) : f32[out=256, embed=256]
    %0 = contract %h[i-1], %w over [embed]
    %1 = rename %0 axis out to embed
    %h = relu %1
  }
  return %h[1] as y
}
`,
  ),
);
afterAll(() => folder.remove());

describe("inspect --kernels", () => {
  it("says how kernels are made at open sizes, those of one shape together", async () => {
    const { out, status } = await heddle("inspect", file, "--kernels", "*fc/contract*", "--size", "rows=5");
    expect(status).toBe(0);
    expect(out).toBe(`layers: 2 kernels of 1 shape, for a GPU with what WebGPU guarantees
sizes are symbolic; the figures are for rows = 5 (--batch, --size)

2 x layers.*.fc/contract+relu
  contraction by the first variant whose condition holds (<- at these sizes):
    if rows <= 1        few-rows threads=64 lanes=0 rows=1 outputs=1
    if rows <= 8        few-rows threads=64 lanes=0 rows=8 outputs=1 <-
    if rows <= 2097120  shared-tiles rows=32 columns=32 depth=32 perThread=4 prefetch=0 shortSide=0
    else                registers threads=64 maxTile=8 maxOpenSide=0
    not few-rows-sliced: the long operand is not contiguous across results
    not subgroup-matrices: the adapter lacks subgroups, subgroup_matrix
    not one-row: it is only for adapters that run kernels on CPU threads
    not subgroup-tiles: the adapter lacks subgroups
    not batch-runs: the contraction has no batch axis
  each reads 267.3 kB, writes 5.1 kB, 655.4 K operations, 2.4 a byte
  256 x 1 x 1 workgroups of 64 threads

schedules:
  few-rows: matrix-vector products of up to 8 rows: the matrix is read once,
    with vector loads, and threads split K
  few-rows-sliced: matrix-vector products whose matrix is contiguous across
    results: split-K within a workgroup, with vector loads
  subgroup-matrices: subgroups multiply matrices on matrix units (tensor cores),
    from K tiles staged in workgroup memory
  shared-tiles: a workgroup computes a tile of results from K tiles of both
    operands, staged in workgroup memory
  one-row: the variant for one row of a symbolic number: each thread computes
    some results in registers
  subgroup-tiles: a subgroup computes a tile of results: each lane some columns,
    with the elements of rows exchanged by shuffles
  batch-runs: each thread computes contiguous results along a batch axis, with
    vector loads and stores
  registers: each thread computes a tile of results, accumulated in registers
`);
  });

  it("says why schedules before the one taken were not, for sizes and adapters that are named", async () => {
    const fixed = await heddle("inspect", file, "--kernels", "*contract*", "--fixed", "--batch", "70");
    expect(fixed.out).toContain(`
2 x layers.*.fc/contract+relu
  contraction by shared-tiles rows=32 columns=32 depth=32 perThread=4 prefetch=0
    shortSide=0
    not few-rows: M and N both exceed 8
`);
    const software = await heddle("inspect", file, "--kernels", "--adapter", "software");
    expect(software.out).toContain("not row-per-workgroup: kernels run on CPU threads, where a workgroup barrier\n");
    for (const line of [...fixed.out.split("\n"), ...software.out.split("\n")])
      expect(line.length).toBeLessThanOrEqual(80);
  });

  it("offers no variant for sizes that cannot be", async () => {
    const { out } = await heddle("inspect", "internvit-6b", "--set", "depth=1", "--kernels", "*qkv/contract", "--json");
    const [{ variants, refused }] = JSON.parse(out).shapes;
    expect(variants.map((v: { assuming: string[] }) => v.assuming)).toEqual([[]]);
    expect(refused).toContainEqual({ schedule: "few-rows", reason: "it needs 257*batch <= 8, which never holds" });
  });

  it("says the least time on adapters of which it is known what they can do", async () => {
    const { out } = await heddle("inspect", file, "--kernels", "--fixed", "--batch", "64", "--adapter", "nvidia-h200");
    expect(out).toContain("\n  takes at least 4.4 µs, by its dispatch\n");
    const none = await heddle("inspect", file, "--kernels", "--adapter", "amd-rdna3");
    expect(none.out).not.toContain("takes");
    const vit = await heddle(
      "inspect",
      "internvit-6b",
      "--set",
      "depth=1",
      "--kernels",
      "*fc1*",
      "--json",
      "--batch",
      "16",
      "--fixed",
      "--adapter",
      "nvidia-h200",
    );
    const [{ least, operations }] = JSON.parse(vit.out).shapes;
    expect(least).toEqual({ by: "operations", seconds: operations / 63.8e12 });
  });

  it("times kernels on the GPU that is here, and says how near they come to what it can do", async () => {
    vi.stubEnv("HEDDLE_CACHE", folder.at("cache"));
    vi.stubEnv("HEDDLE_ADAPTER", "swiftshader");
    const measured = () => heddle("inspect", file, "--kernels", "--measure", "--size", "rows=5");
    const { out, status } = await measured();
    expect(status).toBe(0);
    expect(out).toMatch(/^layers: 3 kernels of 2 shapes, for SwiftShader.*, timed$/m);
    expect(out.replace(/\n {4}/g, " ").match(/takes [\d.]+ µs, .*: \d+ % of /g)).toHaveLength(2);
    const [kept] = readdirSync(folder.at("cache", "ceilings"));
    const before = readFileSync(folder.at("cache", "ceilings", kept!), "utf8");
    await measured(); // measures no ceilings again
    expect(readFileSync(folder.at("cache", "ceilings", kept!), "utf8")).toBe(before);
    const devices = await heddle("devices", "--measure", "--json");
    expect(JSON.parse(devices.out).measured.ceilings.copy).toBeGreaterThan(0);
    expect((await heddle("devices", "--measure")).out).toMatch(
      /copy by a kernel, bytes read and written +[\d.]+ GB\/s/,
    );
    vi.unstubAllEnvs();
  });

  it("prints the same for programs", async () => {
    const all = JSON.parse((await heddle("inspect", file, "--kernels", "--json", "--size", "rows=3")).out);
    expect(all).toMatchObject({ model: "layers", adapter: "typical", sizes: { rows: 3 }, open: ["rows"] });
    expect(all.shapes[1]).toMatchObject({
      count: 2,
      names: [{ name: "layers.*.fc/contract+relu", count: 2 }],
      kind: "contraction",
      bytesRead: 4 * (3 * 256 + 256 * 256),
      bytesWritten: 4 * 3 * 256,
      operations: 2 * 3 * 256 * 256,
    });
    expect(all.shapes[1].variants[1]).toEqual({
      schedule: "few-rows",
      settings: { threads: 64, lanes: 0, rows: 8, outputs: 1 },
      assuming: ["rows <= 8"],
      taken: true,
      workgroups: [256, 1, 1],
      threads: 64,
    });
    expect(all.shapes[0]).toMatchObject({ kind: "row_reduction", refused: [] });
  });

  it.each([
    [["--kernels", "layers.0.fc/contrct"], 'no kernel of layers is called "layers.0.fc/contrct"; did you mean'],
    [["--kernels", "nothing"], 'no kernel of layers is called "nothing"; --kernels lists them all'],
    [["--measure"], "--measure needs --kernels"],
    [["--kernels", "--measure", "--adapter", "apple-m"], "cannot be combined with --adapter apple-m"],
    [["--kernels", "--adapter", "amd-rdna"], 'unknown adapter "amd-rdna"; did you mean "amd-rdna3"? Known adapters:'],
  ])("refuses %s", async (args, message) => {
    expect(await heddle("inspect", file, ...args)).toMatchObject({ status: 1, err: expect.stringContaining(message) });
  });
});
