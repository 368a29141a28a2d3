/** RoiAlign of a map, beside onnxruntime: odd sizes, regions that leave the map, and dimensions of size 1. */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { decodeModel, encodeModel } from "../../../backends/onnx/wire/proto.ts";
import { evaluate } from "../../../backends/reference/index.ts";
import { bindSizes } from "../../../compiler/index.ts";
import { adapters, compileFor, interpretProgram } from "../../kernels/support.ts";
import { computedTwice } from "./in-onnxruntime.ts";
import { file, info } from "./small-file.ts";

interface Case {
  readonly map: readonly [batch: number, channel: number, row: number, column: number];
  readonly regions: number;
  readonly output: readonly [height: number, width: number];
  readonly samples: number;
  readonly mode?: "avg" | "max";
  readonly shift?: "half_pixel" | "output_half_pixel";
  readonly boxes?: readonly number[];
}

function roiAlign({ map, regions, output, samples, mode = "avg", shift }: Case, open = false): Uint8Array {
  const attributes = { output_height: output[0], output_width: output[1], sampling_ratio: samples, mode };
  const model = decodeModel(
    file(
      { x: open ? ["batch", map[1], "rows", "columns"] : map, boxes: [open ? "count" : regions, 4] },
      [],
      [
        [
          "RoiAlign",
          ["x", "boxes", "image"],
          "y",
          shift ? { ...attributes, coordinate_transformation_mode: shift } : attributes,
        ],
      ],
      { y: ["r", "c", "h", "w"] },
    ),
  );
  model.graph!.input!.push(info("image", [open ? "count" : regions], 7) as never);
  model.graph!.node![0]!.attribute!.push({ name: "spatial_scale", type: 1, f: 0.5 } as never);
  return encodeModel(model);
}

/** Regions of an image of twice the map's sides: half of them reach out of it, or are turned inside out. */
function fed({ map, regions, boxes }: Case) {
  const floats = (length: number, low: number, high: number) =>
    Float32Array.from({ length }, (_, i) => low + (high - low) * ((Math.sin(12.9898 * (i + 1)) * 43758.5453) % 1) ** 2);
  return {
    x: {
      type: "float32",
      dims: map,
      values: floats(
        map.reduce((a, b) => a * b),
        -1,
        1,
      ),
    },
    boxes: {
      type: "float32",
      dims: [regions, 4],
      values: boxes ?? floats(regions * 4, -6, 2 * Math.max(map[2], map[3]) + 6),
    },
    image: { type: "int64", dims: [regions], values: Array.from({ length: regions }, (_, i) => (i * 5) % map[0]) },
  } as const;
}

const cases: readonly Case[] = [
  { map: [2, 3, 7, 5], regions: 9, output: [2, 3], samples: 2 },
  { map: [2, 3, 7, 5], regions: 9, output: [2, 3], samples: 2, shift: "output_half_pixel" },
  { map: [3, 2, 4, 9], regions: 8, output: [3, 1], samples: 3, mode: "max" },
  { map: [1, 1, 5, 6], regions: 7, output: [2, 2], samples: 1 },
  { map: [1, 4, 1, 3], regions: 1, output: [1, 1], samples: 2, boxes: [1, 0, 5, 3] },
];

describe("RoiAlign", () => {
  it.each(cases)("of $map in $regions regions, $samples samples", async (one) => {
    const [y] = await computedTwice(roiAlign(one), fed(one));
    expect(y!.axes.map((a) => a.size)).toEqual([one.regions, one.map[1], ...one.output]);
    expect(y!.want.some((v) => v !== 0)).toBe(true);
    y!.want.forEach((v, i) => {
      expect(y!.made[i]).toBeCloseTo(v, 5);
    });
  });

  it("leaves batch, sides and the number of regions open", async () => {
    const { graph } = await importOnnx(roiAlign(cases[0]!, true));
    const bound = bindSizes(graph, { batch: 2, rows: 7, columns: 5, count: 9 });
    const fixed = (await importOnnx(roiAlign(cases[0]!))).graph;
    expect(bound.outputs[0]!.node.type).toEqual(fixed.outputs[0]!.node.type);
  });

  it.each([cases[0]!, cases[2]!])("of $map compiles to kernels that compute the same", async (one) => {
    const { graph } = await importOnnx(roiAlign(one));
    const values = new Map(Object.entries(fed(one)).map(([name, { values }]) => [name, Float64Array.from(values)]));
    const want = evaluate(graph, values).get("y")!.data;
    const program = compileFor(graph, adapters.swiftshader!);
    const made = interpretProgram(program, values).get("y")!;
    want.forEach((v, i) => {
      expect(made[i]).toBeCloseTo(v, 4);
    });
  });

  it("refuses a number of samples that depends on the regions", async () => {
    await expect(importOnnx(roiAlign({ ...cases[0]!, samples: 0 }))).rejects.toThrow(
      "a sampling_ratio of 0 is not supported: it must be 1 to 64",
    );
  });
});
