/**
 * Windows of scores to classes, and what these are judged by, as MMSegmentation has both;
 * scripts/reference/segmentation.py.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { hostTensor } from "../../compiler/index.ts";
import { classification } from "../../data/index.ts";
import { scoreMap, scoresOf, windowStarts } from "../../runtime/index.ts";

const reference = JSON.parse(readFileSync(new URL("../fixtures/segmentation.json", import.meta.url), "utf8"));
const { size, stride, classes, patch } = reference;

interface Slide {
  readonly seen: readonly [number, number];
  readonly own: readonly [number, number];
  readonly windows: readonly { readonly top: number; readonly left: number; readonly scores: readonly number[] }[];
  readonly classes: readonly number[];
}

describe("windows", () => {
  it.each(reference.slides as readonly Slide[])(
    "over $seen give the classes of $own",
    ({ seen, own, windows, classes: right }) => {
      const [[height, width], [rows, columns]] = [seen, own];
      const places = windowStarts(height, size, stride).flatMap((top) =>
        windowStarts(width, size, stride).map((left) => ({ top, left })),
      );
      expect(places).toEqual(windows.map(({ top, left }) => ({ top, left })));
      const axes = [
        { name: "batch", size: windows.length },
        { name: "class", size: classes },
        { name: "row", size: size / patch },
        { name: "column", size: size / patch },
      ];
      const all = hostTensor("f32", axes, Float32Array.from(windows.flatMap(({ scores }) => scores)));
      const map = scoreMap({ width, height }, { width: size, height: size });
      for (const [i, scores] of scoresOf(all).entries()) map.add(scores, places[i]!);
      const found = map.classes({ width: columns, height: rows });
      expect([...found.data]).toEqual(right);
      expect([...map.classes({ width: columns, height: rows }).data]).toEqual(right); // asked for twice
    },
  );
});

it("classes of places are judged as MMSegmentation judges them", () => {
  const { predicted, labels, iou, acc, ...want } = reference.measures;
  const found = classification(want.classes);
  found.add(predicted.slice(0, 150), labels.slice(0, 150)); // counts of all pictures together
  found.add(predicted.slice(150), labels.slice(150));
  for (const name of ["accuracy", "meanIou", "meanAccuracy"] as const)
    expect(found[name]()).toBeCloseTo(want[name], 12);
  for (const [k, figures] of found.byClass().entries()) {
    if (iou[k] === null) expect(figures).toBeUndefined();
    else expect(figures!.iou).toBeCloseTo(iou[k], 12);
    if (acc[k] === null) expect(figures?.accuracy).toBeUndefined();
    else expect(figures!.accuracy).toBeCloseTo(acc[k], 12);
  }
});
