/** The page of twenty lines that classifies a dropped picture. */
import { readFileSync } from "node:fs";
import sharp from "sharp";
import { expect, test } from "vitest";
import { openDevice, picture, safetensorsBytes, session } from "../../api/index.ts";
import { inputName, isParameter } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import tinyVit from "../../examples/tiny-vit.ts";
import { initialValue } from "../../runtime/index.ts";
import { bundleModule } from "../../scripts/browser/bundle.ts";
import { browserTest } from "./support.ts";

const path = "examples/browser/classify.html";
const weights = new Map(
  trace(tinyVit)
    .inputs.filter(isParameter)
    .map((node) => [inputName(node), initialValue(node, 9)]),
);

/** Stripes in two colours, of no size that a model takes. */
const png = await sharp(
  Uint8Array.from({ length: 90 * 70 * 3 }, (_, i) => ((i % 270) % 40 < 20 ? 230 : (i * 7) % 90)),
  { raw: { width: 90, height: 70, channels: 3 } },
)
  .png()
  .toBuffer();

/** Numbers of the likeliest classes, likeliest first. */
async function expected(): Promise<number[]> {
  const device = await openDevice("reference");
  const model = await session(device, tinyVit, { weights });
  const { logits } = await model.run({ pixels: await picture(png, { size: 64 }) });
  const scores = Array.from(logits!.data);
  return scores.map((_, i) => i).sort((a, b) => scores[b]! - scores[a]!);
}

test("is no longer than that", () => {
  expect(readFileSync(path, "utf8").trim().split("\n").length).toBeLessThanOrEqual(22);
});

browserTest("names what is dropped on it as Node does", async ({ chromium }) => {
  const site = await bundleModule(path);
  const served = await chromium.serve(
    new Map([...site, ["examples/browser/model.safetensors", new Uint8Array(await safetensorsBytes(weights))]]),
  );
  const page = await chromium.visit(`${served.url}${path}`);
  await page.waitForFunction(() => document.ondrop !== null);
  const dropped = await page.evaluateHandle(
    (bytes) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], "stripes.png", { type: "image/png" }));
      return transfer;
    },
    [...png],
  );
  await page.dispatchEvent("body", "drop", { dataTransfer: dropped });
  await page.waitForSelector("li");
  const labels = /labels = (\[.*\])/.exec(readFileSync(path, "utf8"))![1]!;
  const names = (await expected()).slice(0, 3).map((i) => JSON.parse(labels)[i]);
  expect(await page.locator("li").allTextContents()).toEqual(names);
});
