/** `heddle inspect --stage`: what a stage trains, beside the parameters of the model as that stage has it. */
import { expect, it } from "vitest";
import { heddle, modelFile } from "./support.ts";

interface Inspected {
  readonly parameters: number;
  readonly tensors: number;
  readonly trainable: { readonly parameters: number; readonly tensors: number };
  readonly settings?: { readonly precision: string };
  readonly precision?: { readonly path: string };
}

const small = (prefix: string, sizes: object) =>
  Object.entries(sizes).flatMap(([key, value]) => ["--set", `${prefix}.${key}=${value}`]);
const [width, vocab] = [16, 31];
const sizes = [
  ...small("vision", { width, depth: 1, heads: 2, mlp: 24, image: 28, patch: 14 }),
  ...small("text", { width: 16, depth: 2, heads: 2, mlp: 24, vocab, context: 6, queries: 3 }),
  ...["--set", "embed=8", "--set", "poolingHeads=2"],
];

async function inspected(...more: string[]): Promise<Inspected> {
  const { out, err, status } = await heddle("inspect", "internvl-g", ...sizes, "--json", ...more);
  expect([status, err]).toEqual([0, ""]);
  return JSON.parse(out) as Inspected;
}

it("counts trainable parameters and all of them in one model, at the stage's own resolution", async () => {
  const plain = await inspected();
  const { parameters, tensors, trainable } = await inspected("--stage", "retrieval");
  // 26 × 26 patches where the model has 2 × 2; all is trained but QLLaMA's output matrix, which no loss reads.
  expect([parameters, tensors]).toEqual([plain.parameters + (26 * 26 - 4) * width, plain.tensors]);
  expect(trainable).toMatchObject({ parameters: parameters - vocab * 16, tensors: tensors - 1 });
});

it("leaves the model as it is for a stage at its resolution", async () => {
  const plain = await inspected();
  const two = await inspected("--stage", "2");
  expect(two.parameters).toBe(plain.parameters);
  expect(two.trainable.parameters).toBeLessThan(two.parameters);
});

it("takes settings of the stage beside those of the model, and stages of anybody's model file", async () => {
  const lora = await inspected("--stage", "2", "--set", "lora.pattern=qllama.**.v_proj", "--set", "lora.rank=2");
  expect(lora.trainable.tensors).toBe(2 * 3); // two layers, and cross-attention in the first; A and B each
  const { out } = await heddle(
    "inspect",
    modelFile("own-classifier.ts"),
    "--stage",
    "classes",
    "--set",
    "width=8",
    "--json",
  );
  expect(JSON.parse(out)).toMatchObject({ trainable: { stage: "classes", tensors: 6 } });
  const unknown = await heddle("inspect", modelFile("own-classifier.ts"), "--stage", "8");
  expect(unknown.err).toContain('has no stage "8"; it has classes');
});

it("is in the precision that --set, --dtype or neither of them says", async () => {
  const stage = [modelFile("own-classifier.ts"), "--stage", "classes", "--set", "width=8", "--json"];
  const precisionOf = async (command: string, ...more: string[]) => {
    const { out, err, status } = await heddle(command, ...stage, ...more);
    expect([status, err]).toEqual([0, ""]);
    const { settings, precision } = JSON.parse(out) as Inspected;
    return [settings?.precision, precision?.path];
  };
  const h200 = ["--adapter", "nvidia-h200"];
  expect(await precisionOf("inspect", ...h200)).toEqual(["f32", undefined]);
  const half = await precisionOf("inspect", ...h200, "--set", "precision=f16");
  expect(half).toEqual(["f16", expect.stringContaining("f16")]);
  expect(await precisionOf("inspect", ...h200, "--dtype", "f16")).toEqual(half);
  expect((await precisionOf("plan", "--hardware", "H200", "--set", "precision=f16"))[1]).toBe(half[1]);
});
