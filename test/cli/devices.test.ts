/** `heddle devices`: every adapter with what f16 is computed in there, and why. */
import { expect, it } from "vitest";
import { heddle } from "./support.ts";

const paths = ["f16 on matrices", "f16 on scalar tiles", "f16 storage only, f32 compute"];

it("says of each adapter what --dtype f16 is there", { timeout: 60_000 }, async () => {
  const { out, status } = await heddle("devices", "--json");
  expect(status).toBe(0);
  const { adapters, auto } = JSON.parse(out);
  expect(["webgpu", "cpu"]).toContain(auto);
  for (const a of adapters) {
    expect(paths).toContain(a.f16.path);
    expect(a.f16.computes).toBe(a.f16.path.startsWith("f16 on") ? "f16" : "f32");
    expect(a.f16.why.length).toBeGreaterThan(20);
  }
  const text = (await heddle("devices")).out;
  expect(text.match(/with --dtype f16 +f16 .*, because /g) ?? []).toHaveLength(adapters.length);
});

it("inspect says it of an adapter that is named, and lists kernels in f16 for it", async () => {
  const model = ["inspect", "internvit-6b", "--set", "depth=1", "--dtype", "f16"];
  expect((await heddle(...model)).out).toMatch(
    /computed in +f16 storage only, f32 compute, because the adapter has no/,
  );
  const h200 = await heddle(...model, "--adapter", "nvidia-h200");
  expect(h200.out).toMatch(/computed in +f16 on matrices, because the adapter multiplies matrices of f16/);
  const kernels = await heddle(...model, "--adapter", "nvidia-h200", "--kernels", "*fc1*", "--batch", "16", "--json");
  const [{ variants }] = JSON.parse(kernels.out).shapes;
  expect(variants[0].schedule).toContain("matrices");
});

it("compile refuses a precision for ONNX, whose word is --dtype", async () => {
  const { err, status } = await heddle(
    "compile",
    "internvit-6b",
    "--target",
    "onnx",
    "--out",
    "x",
    "--precision",
    "f16",
  );
  expect(status).toBe(1);
  expect(err).toContain("for an ONNX file in f16, use --dtype f16");
});
