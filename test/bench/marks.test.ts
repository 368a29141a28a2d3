/** The marks at small sizes: that they run, that PyTorch's side is compared, and that what differs does not count. */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { attentionGraph } from "../../bench/marks/attention.ts";
import { marksCommand } from "../../bench/marks/command.ts";
import { encoderGraph } from "../../bench/marks/encoder.ts";
import { patternOf, sampleOf, valuesOf } from "../../bench/marks/pattern.ts";
import { productGraph } from "../../bench/marks/products.ts";
import { resnetOf } from "../../bench/marks/resnet.ts";
import { isMarks, shapesOf } from "../../bench/marks/shapes.ts";
import { stepFor } from "../../bench/marks/steps.ts";
import { figure, printTable, type Row } from "../../bench/marks/table.ts";
import { stepOf } from "../../bench/marks/training.ts";
import { resnetModel, resnetStage } from "../../bench/model/resnet.ts";
import { adapterNamed } from "../../cli/adapters.ts";
import {
  bindSizes,
  compileKernels,
  countParameters,
  deviceElementBytes,
  dimValue,
  keepParametersAs,
  memoryOf,
} from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { scratch } from "../cli/support.ts";

const folder = scratch("marks");
beforeAll(() => void vi.stubEnv("HEDDLE_ADAPTER", "swiftshader"));
afterAll(() => {
  vi.unstubAllEnvs();
  folder.remove();
});

async function marks(...args: string[]) {
  const written = { out: "", err: "" };
  const spies = (["stdout", "stderr"] as const).map((stream, i) =>
    vi.spyOn(process[stream], "write").mockImplementation((text) => {
      written[i === 0 ? "out" : "err"] += String(text);
      return true;
    }),
  );
  try {
    return { status: await marksCommand(["--scale", "small", ...args]), ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/**
 * A command that answers as a Python with PyTorch does: each order with one value and a sample of so many of `element`.
 */
function pretended(name: string, element: number): string {
  const path = folder.at(name);
  const script = `#!${process.execPath}
if (process.argv[2] === "-c") { console.log("True"); process.exit(); }
let text = ""; process.stdin.on("data", (c) => (text += c)).on("end", () => {
  console.log(JSON.stringify({ about: "PyTorch 0 on paper" }));
  for (const { mark } of JSON.parse(text).orders)
    console.log(JSON.stringify({ mark, value: 2, sample: Array(512).fill(${element}) }));
});
`;
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  return path;
}

describe("bench marks", () => {
  it("measures what is asked for, and says that PyTorch is not here", async () => {
    const python = folder.at("no-such-python");
    const { status, out } = await marks("--only", "product", "--shapes", "product=40", "--python", python);
    expect(status).toBe(0);
    expect(out).toMatch(/^device {3}SwiftShader/);
    expect(out).toMatch(/^peer {5}PyTorch is not here: .*ENOENT/m);
    for (const layout of ["NN", "NT", "TN"])
      expect(out).toMatch(new RegExp(`^f16 product 40³ ${layout} +[\\d.]+ +TFLOP/s .*no shader-f16 here$`, "m"));
  });

  it("measures an encoder from a file, and a training step", async () => {
    const path = folder.at("rows.json");
    const { status } = await marks("--only", "internvit,train,resnet", "--no-peers", "--json", "--out", path);
    expect(status).toBe(0);
    const { rows, peers } = JSON.parse(readFileSync(path, "utf8"));
    expect(peers).toBe("left out by --no-peers");
    const values = Object.fromEntries(rows.map((r: { mark: string; value?: number }) => [r.mark, r.value]));
    for (const mark of [/^loading/, /2 pictures$/, /1 picture$/, /f32$/, /forward$/, /training step$/]) {
      const found = Object.keys(values).find((m) => mark.test(m));
      expect(values[found!]).toBeGreaterThan(0);
    }
    for (const row of rows) if (row.value === undefined) expect(row.skipped).toMatch(/./);
  }, 180_000);

  it("does not count a figure whose results are not PyTorch's", async () => {
    const python = pretended("wrong", 12345);
    const { status, out } = await marks("--only", "product", "--shapes", "product=40", "--python", python);
    expect(status).toBe(1);
    expect(out).toContain("peer     PyTorch 0 on paper");
    expect(out.match(/ITS RESULTS ARE NOT PYTORCH'S/g)).toHaveLength(3);
  });

  it("refuses words and sizes that there are not", async () => {
    expect(await marks("--only", "products")).toMatchObject({
      status: 1,
      err: expect.stringContaining('no marks "products"'),
    });
    expect(await marks("--shapes", "widht=3")).toMatchObject({ status: 1, err: expect.stringContaining('"width"') });
    expect(await marks("--shapes", "width=none")).toMatchObject({ status: 1 });
  });
});

describe("at the sizes of the marks", () => {
  const shapes = shapesOf("full", []);
  const { facts } = adapterNamed("nvidia-h200");
  /** Later blocks of a stage are of one kind; the forward pass has all of them. */
  const lowResnet = resnetOf({ ...shapes, resnetBlocks: 2 });
  it.each([
    ...(["NN", "NT", "TN"] as const).map(
      (l) => [`product ${l}`, () => productGraph(l, shapes.product, "f16")] as const,
    ),
    ["attention", () => attentionGraph(shapes, "f16", false)],
    ["attention and its gradients", () => attentionGraph(shapes, "f16", true)],
    ["InternViT-6B", () => bindSizes(encoderGraph(shapes), { batch: shapes.pictures }), "f16"],
    ["a training step", () => stepOf(shapes, "f32").graph],
    ["a training step in f16", () => stepOf(shapes, "f16").graph, "f16"],
    ["ResNet-50", () => keepParametersAs(trace(resnetModel(resnetOf(shapes))), "f16"), "f16"],
    ["a training step of ResNet-50, two blocks a stage", () => stepFor(resnetStage(lowResnet), "f16").graph, "f16"],
  ] as const)("%s keeps to the limits of an H200", (_, graph, precision?: "f16") => {
    const program = compileKernels(graph(), facts, { precision: precision ?? "f32" }); // verifies every kernel against the facts
    expect(memoryOf(program).parameters + memoryOf(program).activations).toBeLessThan(139 * 2 ** 30);
    for (const { name, bindings } of program.kernels)
      for (const { root, length } of bindings)
        expect(dimValue(length) * deviceElementBytes(root.type.dtype), name).toBeLessThanOrEqual(facts.maxBindingBytes);
  });
});

it("ResNet-50 is as large as it is published to be", () => {
  const { parameters, buffers } = countParameters(trace(resnetModel(resnetOf(shapesOf("full", [])))));
  expect([parameters, buffers]).toEqual([25_557_032, 53_120]); // torchvision's resnet50
});

describe("the numbers of both sides", () => {
  it("repeat a short list, each tensor from a place of its own", () => {
    const [a, b] = [patternOf("a", [5000]), patternOf("b", [5000], 0.5, 1)];
    expect(a.phase).not.toBe(b.phase);
    const [x, y] = [valuesOf(a), valuesOf(b)];
    for (const i of [0, 1, 2038, 2039, 4999]) {
      const at = (phase: number) => (((i + phase) % 2039) * 1103) % 2039;
      expect(x[i]).toBe(at(a.phase) / 1024 - 1);
      expect(y[i]).toBe(1 + 0.5 * (at(b.phase) / 1024 - 1));
    }
    expect([...valuesOf(a, "f16")]).toEqual([...x]); // exact in f16
  });

  it("are sampled evenly, all of them where they are few", () => {
    expect([...sampleOf([1, 2, 3])]).toEqual([1, 2, 3]);
    const sample = sampleOf(Float64Array.from({ length: 10240 }, (_, i) => i));
    expect([...sample.slice(0, 3), sample.at(-1)]).toEqual([10, 30, 50, 10230]);
  });
});

describe("the table", () => {
  const row = (value: number, unit: "ms" | "TFLOP/s", first: number, goal: number): Row => ({
    mark: `m${value}`,
    asked: { unit, first, goal },
    outcome: { value },
    peer: { value: 20, sample: Float32Array.of() },
    difference: 0,
  });

  it("says what is reached: of times less is more", () => {
    const rows = [row(400, "TFLOP/s", 180, 350), row(200, "TFLOP/s", 180, 350), row(100, "TFLOP/s", 180, 350)];
    const times = [row(10, "ms", 30, 15), row(20, "ms", 30, 15), row(40, "ms", 30, 15)];
    const verdicts = printTable([...rows, ...times], true)
      .split("\n")
      .slice(1)
      .map((line) => /(goal|first|below)/.exec(line)![0]);
    expect(verdicts).toEqual(["goal", "first", "below", "goal", "first", "below"]);
  });

  it("compares with PyTorch so that more than 1 is faster", () => {
    const line = printTable([row(40, "TFLOP/s", 1, 1), row(10, "ms", 1, 1)], true).split("\n");
    expect(line[1]).toMatch(/ 20 +2\.00 /);
    expect(line[2]).toMatch(/ 20 +2\.00 /);
  });

  it("asks nothing of other sizes", () => {
    expect(printTable([row(400, "ms", 30, 15)], false)).not.toMatch(/goal\s+\d|below/);
    expect(isMarks(shapesOf("full", []))).toBe(true);
    expect(isMarks(shapesOf("full", ["heads=8"]))).toBe(false);
    expect(shapesOf("small", ["heads=8,width=768", "batch=3"])).toMatchObject({ heads: 8, width: 768, batch: 3 });
  });

  it("rounds to three digits", () => {
    expect([0.012345, 1.2345, 123.45, 12345].map(figure)).toEqual(["0.0123", "1.23", "123", "12,350"]);
  });
});
