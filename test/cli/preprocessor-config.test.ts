import { writeFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { checkpointPreprocessing } from "../../cli/preprocessor-config.ts";
import { centred } from "../../data/images.ts";
import { scratch } from "./support.ts";

const folder = scratch("preprocessor");
afterAll(() => folder.remove());

async function geometry(json: object, size = 224) {
  writeFileSync(folder.at("preprocessor_config.json"), JSON.stringify(json));
  return (await checkpointPreprocessing(folder.at(), size))!.geometry;
}

describe("a preprocessor_config.json", () => {
  test.each([
    [
      "ConvNeXT's part of the short side",
      { size: { shortest_edge: 224 }, crop_pct: 0.875 },
      { fit: "crop", short: 256 },
    ],
    ["the same as older files have it", { size: 224, crop_pct: 0.875 }, { fit: "crop", short: 256 }],
    ["ConvNeXT's large pictures", { size: { shortest_edge: 384 }, crop_pct: 1 }, { fit: "squash" }],
    [
      "DeiT's, which stretches before it cuts",
      { size: { height: 256, width: 256 }, do_center_crop: true, crop_size: { height: 224, width: 224 } },
      { fit: "crop", short: 256, stretched: true },
    ],
    [
      "DINOv2's",
      { size: { shortest_edge: 256 }, do_center_crop: true, crop_size: { height: 224, width: 224 } },
      { fit: "crop", short: 256 },
    ],
  ])("is obeyed: %s", async (_, json, want) => {
    expect(await geometry({ ...json, resample: 2 })).toEqual({ ...want, centre: "lower", interpolation: "bilinear" });
  });

  test.each([
    [{ size: 224, crop_pct: 1.5 }, /"crop_pct" is 1.5, a number above 0/],
    [{ size: 224, crop_pct: 0.9, do_center_crop: true }, /"do_center_crop" is true, and crop_pct cuts/],
    [{ size: { height: 224, width: 224 }, crop_pct: 0.9 }, /"size" is .*a number or a shortest_edge/],
  ])("is refused by the field that nothing here does: %j", async (json, message) => {
    await expect(geometry(json)).rejects.toThrow(message);
  });
});

test("a centre between two pixels is torchvision's or transformers'", () => {
  const sides = { width: 343, height: 227 };
  expect(centred(sides, 224)).toMatchObject({ left: 60, top: 2 });
  expect(centred(sides, 224, "lower")).toMatchObject({ left: 59, top: 1 });
});
