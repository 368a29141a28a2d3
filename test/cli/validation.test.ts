/** `heddle train MODEL --stage S --validate ...`: figures on samples of their own, the best weights, and going on. */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { colourData } from "./colour-data.ts";
import { heddle, modelFile, scratch } from "./support.ts";

vi.setConfig({ testTimeout: 300_000 }); // several runs each, on a machine that may be busy

const folder = scratch("validation");
beforeAll(() => colourData(folder));
afterAll(() => folder.remove());

const train = (model: string, stage: string, data: string, ...more: string[]) =>
  trainAlone(model, stage, data, "--validate", folder.at(data), ...more);

function trainAlone(model: string, stage: string, data: string, ...more: string[]) {
  const where = ["--device", "cpu", "--runs", folder.at("runs"), "--json", "--set", "workers=0"];
  return heddle("train", modelFile(`${model}.ts`), "--stage", stage, "--data", folder.at(data), ...where, ...more);
}

const sets = (settings: object) => Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);

type Line = Readonly<Record<string, number>>;
const lines = (run: string): Line[] =>
  readFileSync(folder.at("runs", run, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);

/** A line without what the clock says. */
const figures = ({ seconds: _, ...rest }: Line) => rest;
const validated = (run: string) => lines(run).filter((line) => "validation/loss" in line);

it("measures recall of pairs, keeps the best weights, and is the same bit for bit where a run was stopped", async () => {
  const settings = { batch: 4, steps: 6, rate: 1e-2, validateEvery: 2, checkpointEvery: 3, resolution: 16 };
  const more = sets({ ...settings, best: "recall_at_1" });
  const { status, err, out } = await train("tiny-model", "1.1", "pairs", ...more);
  expect([status, status === 0 ? "" : err]).toEqual([0, ""]);
  expect(err).toContain("validation: ");
  const found = validated("tiny-1.1");
  expect(found.map(({ step }) => step)).toEqual([2, 4, 6]);
  for (const line of found) {
    for (const k of [1, 5, 10]) {
      const [both, image, text] = ["recall", "image_recall", "text_recall"].map(
        (n) => line[`validation/${n}_at_${k}`]!,
      );
      expect(both).toBeCloseTo((image! + text!) / 2, 12);
      expect(both).toSatisfy((x: number) => x >= 0 && x <= 1);
    }
    expect(line["validation/recall_at_10"]).toBe(1); // of six
    expect(line["validation/scale"]).toBeGreaterThan(1);
  }
  const best = Math.max(...found.map((line) => line["validation/recall_at_1"]!));
  const step = found.find((line) => line["validation/recall_at_1"] === best)!.step;
  expect(JSON.parse(out)).toMatchObject({ best: { step, metric: "recall_at_1", value: best } });
  expect(readdirSync(folder.at("runs/tiny-1.1/best"))).toEqual([`step-${String(step).padStart(6, "0")}`]);

  const whole = lines("tiny-1.1").map(figures);
  for (const gone of ["summary.json", "model.safetensors", "checkpoints/step-000006"])
    rmSync(folder.at("runs/tiny-1.1", gone), { recursive: true });
  const resumed = await train("tiny-model", "1.1", "pairs", "--resume");
  expect([resumed.status, resumed.status === 0 ? "" : resumed.err]).toEqual([0, ""]);
  expect(resumed.err).toContain("resumed at step 3");
  expect(lines("tiny-1.1").map(figures)).toEqual(whole);
});

it("measures accuracy of classes with running statistics, and mean IoU of masks", async () => {
  const probe = await train(
    "tiny-probe",
    "probe",
    "classes",
    ...sets({ batch: 6, steps: 40, rate: 0.3, validateEvery: 20 }),
  );
  expect([probe.status, probe.status === 0 ? "" : probe.err]).toEqual([0, ""]);
  const [, last] = validated("tiny-probe-probe");
  expect(last!["validation/accuracy"]).toBe(1);
  expect(last!["validation/loss"]).toBeLessThan(Math.log(3));

  const masks = { batch: 4, steps: 30, rate: 0.05, validateEvery: 30, best: "mean_iou" };
  const linear = await train("tiny-linear", "linear", "seg", ...sets(masks));
  expect([linear.status, linear.status === 0 ? "" : linear.err]).toEqual([0, ""]);
  const [line] = validated("tiny-linear-linear");
  expect(line!["validation/mean_iou"]).toBeGreaterThan(1 / 3);
  expect(line!["validation/mean_iou"]).toBeLessThanOrEqual(line!["validation/accuracy"]!);
});

it("has the loss of any stage, and says which figures there are", async () => {
  const own = await train("own-towers", "contrast", "pairs", ...sets({ batch: 6, steps: 4, validateEvery: 4 }));
  expect([own.status, own.status === 0 ? "" : own.err]).toEqual([0, ""]);
  expect(Object.keys(validated("own-towers-contrast")[0]!).filter((k) => k.startsWith("validation/"))).toEqual([
    "validation/loss",
  ]);
  const wrong = await train("own-towers", "contrast", "pairs", ...sets({ best: "recall_at_1" }));
  expect(wrong).toMatchObject({ status: 1 });
  expect(wrong.err).toContain('best is "recall_at_1", but must be a metric of the validation: loss');
  const without = await trainAlone("own-towers", "contrast", "pairs", ...sets({ best: "loss", validateEvery: 2 }));
  expect(without).toMatchObject({ status: 1 });
  expect(without.err).toContain("validateEvery and best are settings of validation, but stage contrast has none");
  expect(existsSync(folder.at("runs/own-towers-contrast-2"))).toBe(false);
});

it("draws what a loss draws of itself, such as mined negatives, the same each time", async () => {
  const settings = { batch: 4, steps: 2, rate: 1e-9, validateEvery: 1, negatives: "mined", best: "matching" };
  const { status, err } = await train("tiny-generative", "2", "pairs", ...sets(settings));
  expect([status, status === 0 ? "" : err]).toEqual([0, ""]);
  const [first, second] = validated("tiny-g-2").map((line) => line["validation/matching"]!);
  expect(first).toBeGreaterThan(0);
  expect(Math.abs(second! / first! - 1)).toBeLessThan(1e-5); // with other noise, other texts would be compared
});
