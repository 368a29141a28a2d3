/** docs/cookbook.md: every recipe type-checks together with the base, and does what it says at a tiny size. */
import { mkdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate, referenceBackend } from "../../backends/reference/index.ts";
import { bindSizes, type Graph, hostTensor, inputName, isParameter, type SizedAxis } from "../../compiler/index.ts";
import {
  defineModel,
  input,
  type Params,
  type Schedule,
  type Stage,
  type StageData,
  trace,
  trainingStep,
} from "../../dsl/index.ts";
import { initialValue, type TrainingJob, train } from "../../runtime/index.ts";
import { heddle, scratch, writePicture } from "../cli/support.ts";
import { blocks, inCheckout, readDoc } from "./snippets.ts";

interface Recipe {
  readonly build: (p: Params) => ReturnType<Parameters<typeof defineModel>[0]["build"]>;
  readonly stage: Stage;
  readonly schedule: Schedule;
}

const text = readDoc("cookbook.md");
const [base = ""] = blocks(text, "ts");
const programs = text
  .split(/^## /m)
  .slice(1)
  .map((section) => ({ title: section.slice(0, section.indexOf("\n")), program: blocks(section, "ts")[0]! }));
const folder = scratch("cookbook");
const files = programs.map((_, i) => folder.at(`recipe-${i}.ts`));
beforeAll(() => {
  for (const [i, { program }] of programs.entries()) writeFileSync(files[i]!, inCheckout(`${base}\n${program}`));
});
afterAll(() => folder.remove());

const recipe = async (title: string): Promise<Recipe> =>
  await import(files[programs.findIndex((p) => p.title === title)]!);

const batch = 6;
const wave = (n: number, by: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(by * i + 1));

/** Inputs of the base and of the regression: always the same. */
function feedsOf(graph: Graph) {
  const values: Readonly<Record<string, (count: number) => Float32Array | Int32Array>> = {
    pixels: () => wave(batch * 3 * 64, 0.7),
    label: (count) => Int32Array.from({ length: count }, (_, i) => (count > batch && i % 7 === 0 ? 255 : i % 3)),
    target: () => wave(batch * 2, 2),
  };
  return Object.fromEntries(
    graph.inputs.flatMap((node) => {
      const make = values[inputName(node)];
      if (!make || isParameter(node)) return [];
      const axes = node.type.axes.map((a) => ({ ...a, size: a.name === "batch" ? batch : a.size }));
      const count = axes.reduce((all, { size }) => all * Number(size), 1);
      return [[inputName(node), hostTensor(node.type.dtype, axes as SizedAxis[], make(count))]];
    }),
  );
}

async function built(title: string) {
  const { build } = await recipe(title);
  const graph = trace(defineModel({ name: "recipe", summary: "", config: {}, build: (p) => build(p) }));
  const parameters = new Map(
    graph.inputs.filter(isParameter).map((n) => [inputName(n), n.type.axes.map((a) => a.size)]),
  );
  const feeds = Object.entries(feedsOf(graph)).map(([name, { data }]) => [name, Float64Array.from(data)] as const);
  const weights = graph.inputs
    .filter(isParameter)
    .map((n) => [inputName(n), Float64Array.from(initialValue(n, 1).data)] as const);
  return { graph, parameters, values: new Map([...feeds, ...weights]) };
}

/** The recipe's outputs in float64, all of them finite and not all alike. */
async function outputs(title: string) {
  const { graph, parameters, values } = await built(title);
  const found = evaluate(bindSizes(graph, { batch }), values);
  for (const { data } of found.values()) {
    expect([...data].every(Number.isFinite)).toBe(true);
    expect(new Set(data).size).toBeGreaterThan(2);
  }
  return {
    parameters,
    shapes: Object.fromEntries([...found].map(([name, { type }]) => [name, type.axes.map((a) => [a.name, a.size])])),
  };
}

async function trained(title: string, isFalling = true, steps = 12) {
  const { stage } = await recipe(title);
  const step = trainingStep(stage);
  const at = folder.at(`run-${title.replaceAll(/\W/g, "-")}`);
  mkdirSync(at);
  const job: TrainingJob = {
    ...{ step, steps, sizes: { batch }, seed: 1, checkpointEvery: 100 },
    async *batches() {
      for (let next = 1; ; next++) yield { feeds: feedsOf(step.graph), next };
    },
  };
  const { losses } = await train(job, { folder: at, backend: referenceBackend(), note: () => {} });
  if (isFalling) expect(losses.at(-1)!.loss).toBeLessThan(losses[0]!.loss);
  else expect(losses.every(({ loss }) => Number.isFinite(loss))).toBe(true);
  return {
    trained: step.trained.map(inputName),
    frozen: step.frozen.map(inputName),
    outputs: step.graph.outputs.map((o) => o.name),
  };
}

it("has fourteen recipes of 5 to 25 lines, without a type error", async () => {
  expect(programs).toHaveLength(14);
  for (const { title, program } of programs) {
    expect(program.trim().split("\n").length, title).toBeGreaterThanOrEqual(5);
    expect(program.trim().split("\n").length, title).toBeLessThanOrEqual(25);
  }
  const all = folder.at("all.ts");
  writeFileSync(all, files.map((file) => `import "${file}";`).join("\n"));
  const { err } = await heddle("inspect", all, "--check-types");
  expect(err).toContain("exports no model"); // TypeScript had nothing to say
}, 60_000);

describe("what a recipe builds", () => {
  it("another norm has its scale as 1 + γ", async () => {
    const { parameters } = await outputs("Another norm");
    expect([...parameters.keys()].filter((n) => /norm/.test(n))).toEqual(["block.norm1.gamma", "block.norm2.gamma"]);
  });

  it("another MLP has two experts and a gate", async () => {
    const { parameters } = await outputs("Another MLP");
    expect(parameters.get("block.mlp.gate.weight")).toEqual([2, 8]);
    expect(parameters.get("block.mlp.experts.1.gate_proj.weight")).toEqual([16, 8]);
  });

  it("shared weights are there once", async () => {
    const { parameters } = await outputs("Shared weights");
    const names = [...parameters.keys()];
    expect(names.filter((n) => n.startsWith("block."))).toHaveLength(16);
    expect(names.filter((n) => n.startsWith("after."))).toHaveLength(6);
  });

  it("convolutions are grouped and dilated", async () => {
    const { parameters, shapes } = await outputs("Grouped and dilated convolutions");
    expect(parameters.get("far.weight")!.reduce<number>((n, size) => n * Number(size), 1)).toBe(8 * 9);
    expect(parameters.get("half.weight")!.reduce<number>((n, size) => n * Number(size), 1)).toBe(4 * 4 * 4);
    expect(Object.fromEntries(shapes.map as never)).toMatchObject({ batch, narrow: 4, row: 4, column: 4 });
  });

  it("positions in the logits are made from no parameters", async () => {
    const { parameters, shapes } = await outputs("Positions in the logits");
    expect(shapes.scores!.map(([, size]) => size)).toEqual([batch, 3]);
    expect([...parameters.keys()].filter((name) => name.includes("attn")).sort()).toEqual(
      ["k", "out", "q", "v"].flatMap((name) => [`block.attn.${name}.bias`, `block.attn.${name}.weight`]),
    );
  });

  it("register tokens come before the others and are left out", async () => {
    const { parameters, shapes } = await outputs("Register tokens");
    expect(parameters.get("registers")).toEqual([2, 8]);
    expect(Object.fromEntries(shapes.registers as never)).toEqual({ batch, token: 2, embed: 8 });
  });
});

describe("what a recipe trains", () => {
  it("low-rank updates and the head", async () => {
    const { trained: learned, frozen } = await trained("Frozen weights and low-rank updates");
    expect(learned.sort()).toEqual([
      ...["q", "v"].flatMap((name) => [`block.attn.${name}.lora_a`, `block.attn.${name}.lora_b`]),
      "head.bias",
      "head.weight",
    ]);
    expect(frozen).toContain("block.attn.q.weight");
  });

  it("by an optimizer of one's own", async () => {
    const { trained: learned } = await trained("An optimizer of one's own");
    expect(learned).toContain("patch.weight");
  });

  it("a loss of one's own, each part reported", async () => {
    const { outputs: told } = await trained("A loss of one's own, with weights");
    expect(told).toEqual(expect.arrayContaining(["loss", "smooth", "size"]));
  });

  it("classes of pixels, of masks whose 255 is no class", async () => {
    const { trained: learned } = await trained("Classes of pixels");
    expect(learned).toContain("pixels.weight");
    const { data } = (await recipe("Classes of pixels")) as unknown as { data: StageData<"masks"> };
    const masks = [0, 1].map((k) => ({ mask: Uint8Array.from({ length: 64 }, (_, i) => (i === 9 ? 255 : k)) }));
    const { label } = data.feeds(masks, {} as never);
    expect(label!.axes.map((a) => a.size)).toEqual([2, 8, 8]);
    expect([...label!.data].slice(62, 74)).toEqual([0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 255]);
    expect(() => data.feeds([{ mask: [1, 2] }], {} as never)).toThrow("a mask has 2 pixels, but the image has 8 × 8");
  });

  it("a head on a frozen InternViT", async () => {
    const { trained: learned, frozen } = await trained("Another head on InternViT");
    expect(learned).toEqual(["gaze.weight", "gaze.bias"]);
    expect(frozen.every((name) => name.startsWith("vision_model."))).toBe(true);
  });

  it("a student alone, whose teacher is kept", async () => {
    const { trained: learned, outputs: told } = await trained("A teacher that follows the student", false); // its targets move
    expect(learned.every((name) => name.startsWith("student."))).toBe(true);
    expect(told).toEqual(expect.arrayContaining(["center", "teacher.head.weight"]));
  });

  it("on records, from the command line", async () => {
    const records = Array.from({ length: 4 }, (_, i) => ({
      image: `${i}.png`,
      boxes: Array.from({ length: i % 3 }, () => [0.1 * i, 0.5, 0.2, 0.3]),
    }));
    await Promise.all(records.map(({ image }, i) => writePicture(folder.at(image), 60 * i, 90, 20)));
    writeFileSync(folder.at("boxes.jsonl"), records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    const file = files[programs.findIndex((p) => p.title === "Boxes from records")]!;
    const where = ["--data", folder.at("boxes.jsonl"), "--runs", folder.at("runs"), "--device", "cpu"];
    const { status, out, err } = await heddle(
      "train",
      file,
      "--stage",
      "boxes",
      ...where,
      "--set",
      "workers=0",
      "--json",
    );
    expect([status, status === 0 ? "" : err]).toEqual([0, ""]);
    expect(JSON.parse(out)).toMatchObject({ steps: 6 });
  }, 60_000);

  it("by a schedule of one's own", async () => {
    await trained("A schedule of one's own");
    const { schedule } = await recipe("A schedule of one's own");
    const at = (step: number) => {
      const graph = trace(
        defineModel({
          name: "rate",
          summary: "",
          config: {},
          build: () => ({ rate: schedule(input("step", "f32", [])) }),
        }),
      );
      return evaluate(graph, new Map([["step", Float64Array.of(step)]])).get("rate")!.data[0]!;
    };
    for (const [step, rate] of [
      [0, 2e-4],
      [4, 1e-3],
      [5, 1e-3],
      [10, 1e-2],
      [15, 1e-3],
      [20, 1e-2],
    ] as const)
      expect(at(step)).toBeCloseTo(rate, 9);
  });
});
