/** Captions and conversations by command line. */
import { mkdirSync } from "node:fs";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { printable } from "../../cli/commands/run/writing.ts";
import { byteTokenizer, decodeImage, imageTensor } from "../../data/index.ts";
import { type Config, checkpointLayout, defineModel, type Model, type Params, trace } from "../../dsl/index.ts";
import { captionPrefill, captionStep, type decodeStep, generativeRules } from "../../models/index.ts";
import {
  cachedSession,
  captionPrompt,
  deviceModel,
  tensorsInLayout,
  writeCaption,
  writeModel,
} from "../../runtime/index.ts";
import { parametersOf } from "../generation/support.ts";
import { memoryWeights } from "../support/weights.ts";
import { heddle, modelFile, randomWeights, scratch, writePicture, writeWeights } from "./support.ts";
import chatModel from "./tiny-chat.ts";
import generative from "./tiny-generative.ts";

const folder = scratch("write");
const [fox, sea] = ["fox.png", "sea.png"].map((name) => folder.at(name)) as [string, string];
const run = (model: string, ...args: string[]) =>
  heddle("run", modelFile(`${model}.ts`), "--weights", folder.at(model), "--device", "cpu", ...args);
const caption = (...args: string[]) => run("tiny-generative", "caption", ...args);
const chat = (...args: string[]) => run("tiny-chat", "chat", ...args);

/** Random weights whose scores of next tokens lie apart. */
function decided<C extends Config>(model: Model<C>) {
  const weights = randomWeights(trace(model));
  for (const [name, { data }] of weights) if (name.endsWith("lm_head.weight")) data.set(data.map((v) => v * 80));
  return weights;
}

beforeAll(async () => {
  await writePicture(fox, 200, 90, 20);
  await writePicture(sea, 10, 60, 180);
  for (const [name, model] of [
    ["tiny-generative", generative],
    ["tiny-chat", chatModel],
  ] as const) {
    mkdirSync(folder.at(name));
    await writeWeights(folder.at(name, "model.safetensors"), decided(model as unknown as Model));
  }
});
afterAll(() => folder.remove());

describe("caption", () => {
  it("writes with five beams and 8 to 30 tokens, as the interpreter does", async () => {
    const ended = await caption("--json", "--image", fox, sea);
    expect(ended.status).toBe(0);
    const found = JSON.parse(ended.out) as { image: string; tokens: number[]; text: string }[];
    expect(found.map((c) => c.image)).toEqual([fox, sea]);
    const graph = (name: string, build: (p: Params) => ReturnType<typeof decodeStep>) =>
      trace(defineModel({ name, summary: "", config: {}, build }));
    const beginning = graph("caption", (p) => captionPrefill(p, generative.config));
    const step = graph("step", (p) => captionStep(p, generative.config));
    const model = deviceModel(referenceBackend(), parametersOf(decided(generative)));
    const session = cachedSession(model, step, { rows: 5 });
    const pixels = imageTensor([await decodeImage(fox, { size: 16, fit: "squash" })], { size: 16 });
    const options = { strategy: { kind: "beam", beams: 5 } as const, minNewTokens: 8, maxNewTokens: 30 };
    const want = await writeCaption(session, beginning, pixels, byteTokenizer, {
      ids: captionPrompt(byteTokenizer, "English caption:"),
      eos: [byteTokenizer.eos],
      ...options,
    });
    expect(found[0]).toMatchObject({ tokens: want.tokens, text: want.text });
    expect(want.tokens.length).toBeGreaterThanOrEqual(8);
    expect(want.tokens.length).toBeLessThanOrEqual(30);
  });

  it("writes greedily or draws when it is asked to", async () => {
    const greedy = await caption("--json", "--image", fox, "--greedy", "--max-tokens", "4");
    expect(JSON.parse(greedy.out)[0]).toMatchObject({ tokens: { length: 4 } });
    const draw = (seed: string) => caption("--image", fox, "--temperature", "2", "--seed", seed, "--max-tokens", "8");
    const [one, again, other] = [await draw("1"), await draw("1"), await draw("2")];
    expect(again.out).toBe(one.out);
    expect(other.out).not.toBe(one.out);
  });

  it.each([
    ["two ways at once", ["--beams", "3", "--temperature", "1"], "choose one way of decoding"],
    ["a temperature of nothing", ["--temperature", "0"], "the temperature must be above 0"],
    ["more tokens than the model has positions", ["--max-tokens", "1e9"], "the model takes at most 2048"],
    ["beams beyond counting", ["--beams", "1e6"], "the number of beams must be an integer from 1 to 1000"],
    [
      "fewer tokens at most than at least",
      ["--min-tokens", "9", "--max-tokens", "3"],
      "the minimum number of new tokens must be",
    ],
  ])("refuses %s", async (_, args, message) => {
    expect(await caption("--image", fox, ...args)).toMatchObject({ status: 1, err: expect.stringContaining(message) });
  });

  it("reads a published layout in shards", async () => {
    const weights = decided(generative);
    const published = checkpointLayout(trace(generative), generativeRules);
    const tensors = tensorsInLayout(published, memoryWeights(weights));
    await writeModel(folder.at("published"), tensors, { maxShardBytes: 20_000 });
    const args = ["caption", "--image", fox, "--greedy", "--max-tokens", "6"];
    const read = await heddle(
      "run",
      modelFile("tiny-generative.ts"),
      "--weights",
      folder.at("published"),
      "--device",
      "cpu",
      ...args,
    );
    expect(read).toMatchObject({ status: 0, out: (await run("tiny-generative", ...args)).out });
  });

  it("names what a model lacks", async () => {
    const ended = await heddle("run", modelFile("tiny-model.ts"), "--weights", "x", "caption", "--image", fox);
    expect(ended).toMatchObject({ status: 1, err: expect.stringContaining("does not support caption") });
  });
});

it("prints words, and nothing that steers a terminal", () => {
  expect(printable("a\u001b[2Jb\n\u202ec\td\u0007")).toBe("a[2Jb\nc\td");
});

describe("weights as integers", () => {
  const args = ["--dtype", "int8", "--json", "caption", "--image", fox, "--max-tokens", "8", "--beams", "2"];

  it("write a caption on webgpu, like that of weights as they are stored", async () => {
    const captions: number[][] = [];
    for (const dtype of ["f32", "int8"]) {
      const ended = await run("tiny-generative", "--device", "webgpu", ...args.with(1, dtype));
      expect(ended.status).toBe(0);
      captions.push((JSON.parse(ended.out) as { tokens: number[] }[])[0]!.tokens);
    }
    expect(captions[1]).toEqual(captions[0]);
  });

  it("are refused where no kernel decodes them", async () => {
    expect(await run("tiny-generative", ...args)).toMatchObject({
      status: 1,
      err: expect.stringContaining(
        '--dtype int8 keeps weights as integers on webgpu only; this device is cpu\n  hint: use --device webgpu, or --dtype f16; "heddle export --dtype int8" writes',
      ),
    });
  });
});

describe("chat", () => {
  it("answers questions about a picture, writing as it goes", async () => {
    const ended = await chat("--image", fox, "--prompt", "What is it?", "Why?", "--max-tokens", "6");
    expect(ended).toMatchObject({ status: 0, err: expect.stringContaining("onnxruntime") });
    const turns = await run(
      "tiny-chat",
      "--json",
      "chat",
      "--image",
      fox,
      "--prompt",
      "What is it?",
      "Why?",
      "--max-tokens",
      "6",
    );
    const parsed = JSON.parse(turns.out) as { question: string; answer: string; ended: string }[];
    expect(parsed.map((t) => t.question)).toEqual(["What is it?", "Why?"]);
    expect(ended.out).toBe(parsed.map((t) => `${printable(t.answer)}\n`).join(""));
  });

  it("reads questions from stdin, and needs no picture", async () => {
    const input = Object.assign(Readable.from(["hello\n\n", "again\n"]), { isTTY: false });
    const stdin = vi.spyOn(process, "stdin", "get").mockReturnValue(input as unknown as typeof process.stdin);
    const piped = await run("tiny-chat", "--json", "chat", "--max-tokens", "3");
    stdin.mockRestore();
    const asked = await run("tiny-chat", "--json", "chat", "--prompt", "hello", "again", "--max-tokens", "3");
    expect(JSON.parse(piped.out)).toHaveLength(2);
    expect(piped.out).toBe(asked.out);
  });

  it("is about one picture, and refuses another", async () => {
    const ended = await chat("--image", fox, "--image", "other.png", "--prompt", "?");
    expect(ended).toMatchObject({ err: expect.stringContaining(`it can be given only once, and is already "${fox}"`) });
    expect(ended.status).not.toBe(0);
  });

  it("stops at the model's length", async () => {
    const ended = await chat("--prompt", "x".repeat(5000));
    expect(ended).toMatchObject({ status: 1, err: expect.stringContaining("the model's context is limited to 4096") });
  });

  it.each([
    ["a template that is none", ["--template", "llama"], "--template must be one of vicuna, internlm"],
    ["a picture that is not there", ["--image", "no.png"], 'no such image: "no.png"'],
  ])("names %s", async (_, args, message) => {
    expect(await chat("--prompt", "x", ...args)).toMatchObject({ status: 1, err: expect.stringContaining(message) });
  });

  it("names a model that cannot talk", async () => {
    const ended = await heddle("run", modelFile("tiny-model.ts"), "--weights", "x", "chat", "--prompt", "x");
    expect(ended).toMatchObject({ status: 1, err: expect.stringContaining("does not support chat") });
  });
});
