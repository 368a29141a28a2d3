/**
 * What heddle exports comes in again: models of every family with their gradients, at configurations that nobody chose.
 */
import { describe, expect, it } from "vitest";
import type { ExportOptions } from "../../../backends/onnx/index.ts";
import { randomModel } from "../../models/random-models.ts";
import { roundTrip } from "./round-trip.ts";

const trip = (family: string, seed: number, options: ExportOptions) => {
  const { graph, feeds, weights } = randomModel(family, seed);
  return roundTrip(graph, new Map([...Object.entries(feeds), ...weights]), options);
};

/**
 * Largest differences of an output, relative to its largest value: in float64 on the file's weights, and of both files
 * in onnxruntime.
 */
const tolerances = { f32: [1e-6, 1e-3], f16: [5e-3, 1e-2], int8: [1e-6, 1e-3], int4: [1e-6, 1e-3] } as const;

/** A few; test/onnx/import/all-round-trips.ts runs every family in every dtype. */
const cases: readonly (readonly [family: string, seed: number, dtype: keyof typeof tolerances, opset: number])[] = [
  ["internvit", 3, "f32", 17],
  ["llama", 1, "f16", 20],
  ["decoder step", 2, "int8", 23],
  ["internvl-c", 1, "int4", 21],
  ["chat of patches", 1, "f32", 26],
  ["upernet", 1, "f32", 18],
];

describe("export, import, export", () => {
  it.each(cases)("%s, seed %i, %s, opset %i", async (family, seed, dtype, opset) => {
    const { read, written, imported } = await trip(family, seed, { dtype, opset });
    const [exact, file] = tolerances[dtype];
    expect(read).toBeLessThan(exact);
    expect(written).toBeLessThan(file);
    expect(imported.notes).toEqual([]); // the file says all names
  });
});
