/** The three stages of examples/stages.ts, a few steps each: what each inherits, and that a resumed stage goes on with it. */
import { renameSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openSafetensors } from "../../runtime/index.ts";
import { type Ended, heddle, modelFile, scratch } from "../cli/support.ts";

const folder = scratch("stages");
afterAll(() => folder.remove());
const job = modelFile("../../examples/stages.ts");

const settings = { batch: 4, steps: 2, tested: 4 };
function train(set: Readonly<Record<string, number>>, ...more: string[]): Promise<Ended> {
  const chosen = Object.entries({ ...settings, ...set }).flatMap(([k, v]) => ["--set", `${k}=${v}`]);
  return heddle("train", job, "--device", "cpu", "--runs", folder.at("runs"), "--json", ...chosen, ...more);
}

const run = (name: string) => folder.at("runs", name);

async function readTensor(at: string, name: string): Promise<number[]> {
  await using reader = await openSafetensors(at);
  return [...(await reader.readTensor(name)).data];
}

let ended: Ended[];
beforeAll(async () => {
  ended = [
    await train({ stage: 1 }),
    await train({ stage: 2 }, "--from", run("stages")),
    await train({ stage: 3 }, "--from", run("stages-2")),
  ];
}, 180_000);

it("run one after the other, each from the one before", () => {
  for (const { status, err } of ended) expect([status, status === 0 ? "" : err]).toEqual([0, ""]);
  expect(ended[1]!.err).toContain("initialized: 24 tensors: query_tokens, qllama.model.layers.0.cross_attn.*");
  expect(ended[2]!.err).toContain("initialized: 29 tensors: model.*, lm_head.weight");
  expect(ended[2]!.err).toContain("interpolated from 5 × 5 to 6 × 6 patches");
  const answers = (JSON.parse(ended[2]!.out) as { answers: { asked: number } }).answers;
  expect(answers.asked).toBe(4);
});

it("leave frozen weights as they were, and keep what the loss leaves out", async () => {
  for (const name of ["qllama.model.layers.1.mlp.up_proj.weight", "clip_projector.cross_attn.q.weight"])
    expect(await readTensor(run("stages-2"), name)).toEqual(await readTensor(run("stages"), name));
  const queries = "query_tokens";
  expect(await readTensor(run("stages-3"), queries)).toEqual(await readTensor(run("stages-2"), queries));
});

it("resume with the weights they began from, which are remembered", async () => {
  const began = await train({ stage: 2 }, "--from", run("stages"));
  expect(began.status).toBe(0);
  const resumed = await train({ stage: 2, steps: 3 }, "--resume");
  expect(resumed).toMatchObject({ status: 0, err: expect.stringContaining("resumed at step 2") });
  const frozen = "vision_model.encoder.layers.0.attn.qkv.weight";
  expect(await readTensor(run("stages-4"), frozen)).toEqual(await readTensor(run("stages"), frozen));

  const other = await train({ stage: 2, steps: 4 }, "--resume", "--from", run("stages-2"));
  expect(other).toMatchObject({ status: 1, err: expect.stringContaining("what is there now is not the same") });
  renameSync(run("stages"), run("moved"));
  const gone = await train({ stage: 2, steps: 4 }, "--resume");
  expect(gone).toMatchObject({ status: 1, err: expect.stringContaining("say with --from where its weights are now") });
  const found = await train({ stage: 2, steps: 4 }, "--resume", "--from", run("moved"));
  expect(found.status).toBe(0);
});

it("say what is wrong with what they are to start from", async () => {
  const missing = await train({ stage: 2 }, "--from", folder.at("nothing"));
  expect(missing).toMatchObject({ status: 1, err: expect.stringContaining("no such file or folder") });
  const four = await train({ stage: 4 });
  expect(four).toMatchObject({ status: 1, err: expect.stringContaining("stage is 1, 2 or 3, not 4") });
});
