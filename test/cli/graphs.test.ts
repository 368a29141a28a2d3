/** Named graphs of a model on the command line: which there are, what they cost, how they are exported and verified. */
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { decodeModel, printOnnx } from "../../backends/onnx/index.ts";
import { sampleFeeds, sampleSizes } from "../../cli/sample-feeds.ts";
import { bindSizes, type HostTensor, printGraph } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { imageToken } from "../../models/index.ts";
import { heddle, modelFile, scratch } from "./support.ts";
import tinyChat from "./tiny-chat.ts";

const folder = scratch("graphs");
afterAll(() => folder.remove());

const chat = modelFile("tiny-chat.ts");
const generative = modelFile("tiny-generative.ts");
const signature = (file: string): string => printOnnx(decodeModel(readFileSync(file))).split("\n")[1]!;

describe("--graph", () => {
  it("is listed by inspect, with what each graph is", async () => {
    const { out } = await heddle("inspect", chat);
    expect(out).toMatch(/--graph prefill +prefill of a prompt with an image/);
    expect(out).toMatch(/--graph decode +a decoding step with the KV cache/);
    const json = JSON.parse((await heddle("inspect", chat, "--json")).out);
    expect(Object.keys(json.graphs)).toEqual(["prefill", "text-prefill", "decode", "states"]);
  });

  it("costs what the sizes given make it cost", async () => {
    const macs = async (...sizes: string[]) => {
      const { out } = await heddle("inspect", chat, "--graph", "decode", "--json", ...sizes);
      return JSON.parse(out) as { model: string; sizes: object; macs: { exact: number; paper: null } };
    };
    const short = await macs();
    expect(short).toMatchObject({ model: "tiny-chat.decode", sizes: { batch: 1, tokens: 1, past: 1 } });
    const long = await macs("--size", "past=9");
    expect(long.sizes).toEqual({ batch: 1, tokens: 1, past: 9 });
    // Two layers look at 8 more keys and sum 8 more values, 16 wide.
    expect(long.macs.exact - short.macs.exact).toBe(2 * 2 * 8 * 16);
    expect(long.macs.paper).toBe(null);
  });

  it("compiles to a bundle of the sizes given", async () => {
    const args = ["--target", "webgpu", "--out", folder.at("bundle"), "--json"];
    const ended = await heddle("compile", chat, "--graph", "decode", "--size", "past=4", ...args);
    expect(JSON.parse(ended.out)).toMatchObject({ sizes: { batch: 1, tokens: 1, past: 4 } });
    const manifest = readFileSync(folder.at("bundle", "manifest.json"), "utf8");
    expect(manifest).toContain("past_key_values.1.value");
  });

  it.each([
    [["--graph", "decoder"], 'tiny-chat has no graph "decoder"; it has prefill, text-prefill, decode'],
    [["--graph", "decode", "--stage", "3"], "--stage cannot be combined with --graph"],
    [["--graph", "decode", "--size", "future=3"], 'has no open size "future"; it has batch, past, tokens'],
    [["--graph", "decode", "--size", "past=none"], "--size must be an integer of at least 1, such as past=16"],
  ])("refuses %s", async (args, message) => {
    expect(await heddle("inspect", chat, ...args)).toMatchObject({ status: 1, err: expect.stringContaining(message) });
  });

  it("is none of a model that declares another, nor of a graph's text", async () => {
    const none = await heddle("inspect", modelFile("tiny-model.ts"), "--graph", "decode");
    expect(none.err).toContain('tiny has no graph "decode"; it has states');
    writeFileSync(folder.at("step.graph"), printGraph(trace(tinyChat, {}, { graph: "decode" })));
    const text = await heddle("inspect", folder.at("step.graph"), "--graph", "decode");
    expect(text.err).toContain("is a single graph");
  });
});

describe("an export of a named graph", () => {
  const exported = async (model: string, name: string, ...args: string[]) => {
    const file = folder.at(`${name}.onnx`);
    const ended = await heddle("export", model, "--graph", name, "--out", file, "--json", ...args);
    return { ...ended, file, facts: ended.status === 0 ? JSON.parse(ended.out) : undefined };
  };

  it.each(["prefill", "text-prefill", "decode"])("verifies, with ids as int64: %s of a chat", async (name) => {
    const { facts, file } = await exported(chat, name, "--verify");
    expect(facts).toMatchObject({ ids: "int64", verified: { against: "float64 interpreter" } });
    expect(facts.verified.maxRelDiff).toBeLessThan(1e-5);
    expect(signature(file)).toContain("input_ids: i64[batch=batch_size, token=sequence_length]");
    expect(facts.inputs).toContain("input_ids [batch, token=tokens]");
    expect(facts.outputs[0]).toMatch(/^logits \[batch, token=\w+, vocab=\d+\]$/);
  });

  it("has sizes as transformers.js looks for them: a past begins with batch_size rows, and other names stand for 0", async () => {
    const { file } = await exported(chat, "decode");
    const { graph } = decodeModel(readFileSync(file));
    const past = graph!.input!.filter((i) => i.name!.startsWith("past_key_values."));
    const dims = past.map((i) => i.type!.tensorType!.shape!.dim!.map((d) => d.dimParam || Number(d.dimValue)));
    expect(dims).toEqual(past.map(() => ["batch_size", 2, "past_sequence_length", 8]));
    expect(signature(file)).toContain(
      "attention_mask: i64[batch=batch_size, key_token=past_sequence_length+sequence_length]",
    );
  });

  it.each([
    ["f16", 2e-2],
    ["int8", 1e-5],
    ["int4", 1e-5],
  ])("verifies in %s on the weights that the file has, keys and values in f32", async (dtype, limit) => {
    const { facts, file } = await exported(generative, "decode", "--verify", "--dtype", dtype, "--opset", "21");
    expect(facts.verified.maxRelDiff).toBeLessThan(limit);
    expect(facts.verified.rounding).toBeGreaterThan(0);
    expect(signature(file)).toContain("present.0.key: f32[");
    expect(signature(file)).toContain("past_key_values.0.key: f32[");
  });

  it("verifies with activations in 8 bits on a graph that rounds them likewise", async () => {
    const asked = ["--verify", "--dtype", "int8", "--activations", "int8"];
    const { facts, file } = await exported(generative, "decode", ...asked);
    const { maxRelDiff, steps, rounding } = facts.verified;
    expect(facts.activations).toBe("int8");
    expect(steps).toBeGreaterThan(1e-3);
    expect(maxRelDiff).toBeLessThan(steps);
    expect(rounding).toBeGreaterThan(1e-3);
    expect(decodeModel(readFileSync(file)).graph!.node!.map((n) => n.opType)).toContain("MatMulInteger");
    const wrong = await exported(generative, "decode", "--activations", "int8");
    expect(wrong).toMatchObject({ status: 1, err: expect.stringContaining("use the dtype int8") });
  });

  it("has ids as int32 where that is asked for, and in graphs that are no decoders", async () => {
    const { facts, file } = await exported(generative, "decode", "--verify", "--ids", "int32");
    expect(facts.ids).toBe("int32");
    expect(signature(file)).toContain("input_ids: i32[");
    const main = await heddle("export", generative, "--out", folder.at("main.onnx"), "--verify", "--json");
    expect(JSON.parse(main.out)).toMatchObject({ ids: "int32" });
    const long = await heddle("export", generative, "--out", folder.at("main.onnx"), "--verify", "--ids", "int64");
    expect(long.status).toBe(0);
    const wrong = await exported(generative, "prefill", "--ids", "int16");
    expect(wrong).toMatchObject({ status: 1, err: expect.stringContaining("--ids must be one of int64, int32") });
  });
});

describe("what verification feeds", () => {
  const rows = ({ axes, data }: HostTensor): number[][] => {
    const width = axes.at(-1)!.size;
    return Array.from({ length: data.length / width }, (_, i) => Array.from(data.slice(i * width, (i + 1) * width)));
  };
  const feedsOf = (name: string) => {
    const graph = trace(tinyChat, {}, { graph: name });
    const runs = tinyChat.graphs![name]!.runs?.(tinyChat.config) ?? {};
    return sampleFeeds(bindSizes(graph, sampleSizes(graph, runs)), runs);
  };

  it("has the image's run of ids, once in each row and at different places", () => {
    const found = rows(feedsOf("prefill").input_ids!);
    const at = found.map((row) => row.flatMap((id, i) => (id === imageToken ? [i] : [])));
    expect(at).toEqual([
      [1, 2, 3, 4],
      [2, 3, 4, 5],
    ]);
    expect(found.flat().filter((id) => id !== imageToken && (id < 0 || id >= 259))).toEqual([]);
  });

  it("has padding in the mask, and positions that go on from the past", () => {
    const feeds = feedsOf("decode");
    expect(rows(feeds.attention_mask!)).toEqual([
      [1, 1, 1, 1, 1, 1, 1],
      [0, 1, 1, 1, 1, 1, 1],
    ]);
    expect(rows(feeds.position_ids!)).toEqual([
      [3, 4, 5, 6],
      [2, 3, 4, 5],
    ]);
    expect(rows(feedsOf("text-prefill").position_ids!)).toEqual([
      [0, 1, 2],
      [0, 0, 1],
    ]);
  });
});
