/** Stage 3 from the command line: which part is trained, and what is left as it was to the last bit. */
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { withSettings } from "../../cli/stages/settings.ts";
import { beginningWithTargets } from "../../cli/stages/targets.ts";
import { idRows, type StageSettings } from "../../dsl/index.ts";
import { packedRows, patchSteps, visualTokenCount } from "../../models/index.ts";
import { openSafetensors, type Settings } from "../../runtime/index.ts";
import { colourData } from "./colour-data.ts";
import { heddle, modelFile, scratch } from "./support.ts";
import { default as chat } from "./tiny-chat.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 }); // several runs, on a machine that may be busy

const folder = scratch("stage-three");
const { config } = chat;
const stageThree = patchSteps[1]!;
const run = (name: string) => folder.at("runs", name);

async function attempt(
  model: string,
  { data = "talks.json", ...set }: Readonly<Record<string, unknown>>,
  ...more: string[]
) {
  const settings = {
    workers: 0,
    batch: 4,
    steps: 3,
    length: 48,
    template: "bare",
    images: folder.at("photos"),
    ...set,
  };
  const sets = Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  const where = ["--device", "cpu", "--runs", folder.at("runs"), "--data", folder.at(String(data))];
  return await heddle("train", modelFile(`${model}.ts`), "--stage", "3.2", ...where, ...sets, ...more);
}

/** The folder of a run. */
async function train(model: string, set: Readonly<Record<string, unknown>>, ...more: string[]): Promise<string> {
  const ended = await attempt(model, set, ...more);
  expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
  return ended.err.match(/run folder: (.*)/)![1]!;
}

async function tensors(at: string): Promise<Map<string, string>> {
  await using reader = await openSafetensors(at);
  const found = new Map<string, string>();
  for (const tensor of reader.tensors.keys()) {
    const { data } = await reader.readTensor(tensor);
    found.set(tensor, Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64"));
  }
  return found;
}

async function changed(before: string, after: string): Promise<string[]> {
  const [was, is] = [await tensors(before), await tensors(after)];
  expect([...is.keys()].sort()).toEqual([...was.keys()].sort());
  return [...is].flatMap(([name, value]) => (was.get(name) === value ? [] : [name]));
}

const isGlue = (name: string) => name.startsWith("model.mm_projector.");
const isDecoder = (name: string) => /^(model\.(layers|norm|embed_tokens)\b|lm_head\.)/.test(name);
const isQllama = (name: string) => /^(qllama\.|query_tokens$)/.test(name);

beforeAll(async () => {
  await colourData(folder);
  await train("tiny-chat", { part: "glue" });
  await train("tiny-chat-queries", { part: "glue" });
});
afterAll(() => folder.remove());

describe("the part that is trained", () => {
  const from = () => ["--from", run("tiny-chat-3.2")];

  it.each([
    ["glue", isGlue],
    ["decoder", isDecoder],
    ["glue+decoder", (name: string) => isGlue(name) || isDecoder(name)],
  ] as const)("is %s", async (part, isTrained) => {
    const all = await changed(run("tiny-chat-3.2"), await train("tiny-chat", { part }, ...from()));
    expect(all.length).toBeGreaterThan(3);
    expect(all.filter((name) => !isTrained(name))).toEqual([]);
    if (part === "glue+decoder") expect([all.some(isGlue), all.some(isDecoder)]).toEqual([true, true]);
  });

  it("is low-rank updates of the language model's linears beside the MLP, merged in what is written", async () => {
    const lora = { part: "lora", "lora.rank": 2, rate: 1e-2 };
    const all = await changed(run("tiny-chat-3.2"), await train("tiny-chat", lora, ...from()));
    expect(all.filter((name) => !isGlue(name)).sort()).toEqual(
      [0, 1].flatMap((layer) =>
        [
          "mlp.down_proj",
          "mlp.gate_proj",
          "mlp.up_proj",
          "self_attn.k_proj",
          "self_attn.o_proj",
          "self_attn.q_proj",
          "self_attn.v_proj",
        ].map((linear) => `model.layers.${layer}.${linear}.weight`),
      ),
    );
    expect(all.some(isGlue)).toBe(true);
  });

  it("by path B may be QLLaMA beside the MLPs, which path A does not have", async () => {
    const part = { part: "glue+qllama" };
    const after = await train("tiny-chat-queries", part, "--from", run("tiny-chat-queries-3.2"));
    const all = await changed(run("tiny-chat-queries-3.2"), after);
    expect([all.some(isGlue), all.some(isQllama)]).toEqual([true, true]);
    expect(all.filter((name) => !isGlue(name) && !isQllama(name))).toEqual([]);
    const refused = await attempt("tiny-chat", part);
    expect(refused).toMatchObject({ status: 1 });
    expect(refused.err).toContain('part is "glue+qllama"; expected one of glue, decoder, glue+decoder, lora');
  });

  it("is kept in int8 where it is not trained, and written as it was", async () => {
    const all = await changed(
      run("tiny-chat-3.2"),
      await train("tiny-chat", { part: "lora", frozen: "int8" }, ...from()),
    );
    expect(all.length).toBeGreaterThan(14);
    expect(all.filter((name) => name.startsWith("vision_model."))).toEqual([]);
  });
});

describe("several conversations in a row", () => {
  const losses = (at: string) =>
    readFileSync(`${at}/metrics.jsonl`, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, number>);

  it.each(["tiny-chat", "tiny-chat-queries"])(
    "teach %s what each in its own row does, weights and all",
    async (model) => {
      const settings = { part: "glue+decoder", length: 330, steps: 3, rate: 1e-2, validateEvery: 2 };
      const validate = ["--validate", folder.at("talks.json")];
      const runs = [{}, { packed: 2 }, { packed: 2, accumulate: 2 }].map((set) => ({ ...settings, ...set }));
      const found = [];
      for (const set of runs) found.push(losses(await train(model, set, ...validate)));
      const [single, ...others] = found;
      for (const lines of others)
        for (const [i, line] of lines.entries())
          for (const name of ["loss", "validation/loss"].filter((key) => key in line))
            expect(Math.abs(line[name]! / single![i]![name]! - 1)).toBeLessThan(1e-4);
    },
  );

  it("are as many as fill whole rows, and what has no room is counted", async () => {
    const odd = await attempt("tiny-chat", { packed: 3 });
    expect(odd.err).toContain(
      "a micro-batch has 4 samples, with 3 in a row: batch / accumulate must be a multiple of 3",
    );
    const { err } = await attempt("tiny-chat", { packed: 4 });
    expect(err).toContain("conversations that fit in no row of 48 tokens are skipped (length=48, packed=4)");
    expect(packedRows([5, 3, 3, 2, 9, 1], 2, 8)).toEqual([
      [0, 1],
      [2, 3, 5],
    ]);
    expect(packedRows([], 2, 8)).toEqual([[], []]);
  });
});

describe("a run without targets", () => {
  it("is an error that names the setting which cuts them off, before the first step", async () => {
    const length = visualTokenCount(config) + 2;
    const talks = JSON.parse(readFileSync(folder.at("talks.json"), "utf8")) as { readonly image?: string }[];
    writeFileSync(folder.at("shown.json"), JSON.stringify(talks.filter(({ image }) => image)));
    const { status, err } = await attempt("tiny-chat", { length, data: "shown.json" });
    expect(status).toBe(1);
    expect(err).toContain(
      [
        "none of the first 64 samples has a target, so nothing would be trained:",
        `  64 conversations whose answers begin after token ${length} are skipped (length=${length}, tooLong=cut)`,
      ].join("\n"),
    );
    expect(err).not.toContain("1/3 steps");
  });

  it("is one that begins so: later batches without a target are the data's", async () => {
    const labelled = (...labels: number[]) => ({ feeds: { labels: idRows([labels], labels.length) } });
    async function* of(...labels: number[]) {
      for (const label of labels) yield labelled(-100, label);
    }
    const check = { targets: { input: "labels", none: -100 }, rows: 16, counts: () => ({ "reasons (length=2)": 3 }) };
    const passed = beginningWithTargets(of(-100, -100, -100, 7, ...Array<number>(9).fill(-100)), check);
    expect(await Array.fromAsync(passed)).toHaveLength(13);
    const refused = Array.fromAsync(beginningWithTargets(of(-100, -100, -100, -100, 7), check));
    await expect(refused).rejects.toThrow(/none of the first 64 samples has a target.*\n {2}3 reasons \(length=2\)\n/);
    const undeclared = { ...check, targets: undefined };
    expect(await Array.fromAsync(beginningWithTargets(of(-100, -100, -100, -100, 7), undeclared))).toHaveLength(5);
  });
});

it("has rates and ranks of its part, unless they are set", () => {
  const of = (given: StageSettings) => stageThree(config, given);
  expect(of({}).rate).toBe(2e-5);
  expect(of({ part: "lora" }).rate).toBe(2e-4);
  expect(of({ part: "lora", rate: 1e-3 }).rate).toBe(1e-3);
  const lora = (settings: Settings, part = "lora") => withSettings(of({ part }).stage, settings).lora;
  expect(lora({})).toEqual({ pattern: "model.layers.**", rank: 128, alpha: 256 });
  expect(lora({ "lora.rank": 4 })).toMatchObject({ rank: 4, alpha: 8 });
  expect(lora({ "lora.rank": 4, "lora.alpha": 4 })).toMatchObject({ rank: 4, alpha: 4 });
  expect(lora({ "lora.pattern": "**.q_proj" }, "glue")).toEqual({ pattern: ["**.q_proj"], rank: 8, alpha: 8 });
  expect(lora({}, "glue")).toBeUndefined();
});

it("counts conversations of which something is left out or joined", async () => {
  const said = (from: string, value: string) => ({ from, value });
  const odd = [said("gpt", "early"), said("human", "a"), said("human", "b"), said("gpt", "c")];
  const data = Array.from({ length: 4 }, (_, i) => ({ id: `odd${i}`, conversations: odd }));
  writeFileSync(folder.at("odd.json"), JSON.stringify(data));
  const at = await train("tiny-chat", { data: "odd.json", part: "glue+decoder", steps: 1 });
  expect(JSON.parse(readFileSync(`${at}/data.json`, "utf8"))).toMatchObject({
    changed: {
      "answers before the first question are left out": 4,
      "consecutive turns of one speaker are joined": 4,
    },
  });
});
