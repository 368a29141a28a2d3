/** Texts that begin with an image: captions and conversations over the cache are those of PyTorch without one. */
import { describe, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { type Graph, type HostTensor, hostTensor } from "../../compiler/index.ts";
import type { Tokenizer } from "../../data/index.ts";
import { type Config, defineModel, type Params, type TensorRule, trace } from "../../dsl/index.ts";
import {
  type ChatQueriesConfig,
  captionPrefill,
  captionStep,
  chatPrefill,
  chatRules,
  decodeStep,
  type GenerativeConfig,
  generativeRules,
  imageToken,
  internvit6b,
  vicunaTemplate,
} from "../../models/index.ts";
import {
  cachedSession,
  conversation,
  deviceModel,
  firstTurn,
  generate,
  nextTurn,
  type Strategy,
} from "../../runtime/index.ts";
import { allExecutors } from "../models/executors.ts";
import { type Fixture, loadFixture, tensorOf, weightsOf } from "../models/support.ts";
import { parametersOf } from "./support.ts";

const graphOf = (name: string, build: (p: Params) => ReturnType<typeof decodeStep>): Graph =>
  trace(defineModel({ name, summary: "", config: {}, build }));

/** A session for a decoder whose texts begin with a graph of their own. */
function sessionOf(
  backend: Backend,
  fixture: Fixture<unknown>,
  rules: readonly TensorRule[],
  beginning: Graph,
  step: Graph,
  rows: number,
) {
  const weights = new Map([...weightsOf(fixture, beginning, rules), ...weightsOf(fixture, step, rules)]);
  return cachedSession(deviceModel(backend, parametersOf(weights)), step, { rows, capacity: 8 });
}

function named(x: HostTensor, ...names: string[]): HostTensor {
  return hostTensor(
    x.dtype,
    x.axes.map((a, i) => ({ name: names[i]!, size: a.size })),
    x.data,
  );
}

const pixelAxes = ["batch", "channel", "row", "column"];
const read = <C extends Config>(facts: C): C => ({ ...facts, vision: { ...internvit6b, ...(facts.vision as Config) } });
const rowsOf = (x: HostTensor): number[][] => {
  const width = x.axes[1]!.size;
  return Array.from({ length: x.axes[0]!.size }, (_, i) => Array.from(x.data.subarray(i * width, (i + 1) * width)));
};

describe("captions", async () => {
  const fixture = await loadFixture<GenerativeConfig>("generative");
  const config = read(fixture.facts);
  const beginning = graphOf("caption", (p) => captionPrefill(p, config));
  const step = graphOf("step", (p) => captionStep(p, config));
  const pixels = named(tensorOf(fixture, "inputs/pixels"), ...pixelAxes);
  const prompt = named(tensorOf(fixture, "inputs/prompt"), "batch", "token");
  const all = { pixels, input_ids: prompt };
  const beams: Strategy = { kind: "beam", beams: 3 };
  const write = async (
    backend: Backend,
    strategy: Strategy,
    rows: number,
    feeds: Readonly<Record<string, HostTensor>>,
  ) => {
    const session = sessionOf(backend, fixture, generativeRules, beginning, step, rows);
    const scores = await session.begin(beginning, feeds);
    return (await generate(session, { scores }, { strategy, eos: [], maxNewTokens: 6 })).map((g) => g.tokens);
  };

  it.each(allExecutors)("are PyTorch's on $name, greedily", async ({ make }) => {
    const backend = await make();
    const written = rowsOf(tensorOf(fixture, "expected/written")).map((row) => row.slice(3));
    expect(await write(backend, { kind: "greedy" }, 4, all)).toEqual(written);
    backend.dispose();
  });

  it.each(allExecutors.slice(1))("are the interpreter's on $name, with beams", async ({ make }) => {
    const backend = await make();
    expect(await write(backend, beams, 12, all)).toEqual(await write(referenceBackend(), beams, 12, all));
    backend.dispose();
  });

  it("are the same with beams for all images at once as for each alone", async () => {
    const together = await write(referenceBackend(), beams, 12, all);
    for (const [i, tokens] of together.entries()) {
      const one = (x: HostTensor): HostTensor => {
        const length = x.data.length / 4;
        const axes = x.axes.map((a, d) => (d === 0 ? { ...a, size: 1 } : a));
        return hostTensor(x.dtype, axes, x.data.slice(i * length, (i + 1) * length));
      };
      const alone = { pixels: one(pixels), input_ids: one(prompt) };
      expect(await write(referenceBackend(), beams, 3, alone)).toEqual([tokens]);
    }
  });
});

/** Letters as ids from 3 on, in a vocabulary of `size`. */
const letters = (size: number): Tokenizer => ({
  vocabularySize: size,
  pad: 0,
  bos: 1,
  eos: 2,
  encodeByTemplate: (text) => [1, ...Array.from(text, (c) => 3 + (c.codePointAt(0)! % (size - 3)))],
  encode: (text) => [1, ...Array.from(text, (c) => 3 + (c.codePointAt(0)! % (size - 3))), 2],
  decode: (ids) => ids.map((id) => String.fromCharCode(97 + id)).join(""),
});

describe.each(["chat-patches", "chat-queries"])("conversations: %s", async (name) => {
  const fixture = await loadFixture<ChatQueriesConfig>(name);
  const config = read(fixture.facts);
  const beginning = graphOf("chat", (p) => chatPrefill(p, config));
  const step = graphOf("step", (p) => decodeStep(p, config.text));
  const pixels = named(tensorOf(fixture, "inputs/pixels"), ...pixelAxes);
  const first = hostTensor(
    "f32",
    pixels.axes.map((a, i) => (i === 0 ? { ...a, size: 1 } : a)),
    pixels.data.slice(0, pixels.data.length / 2),
  );
  const session = (backend: Backend = referenceBackend()) => sessionOf(backend, fixture, chatRules, beginning, step, 1);
  const greedy = { strategy: { kind: "greedy" }, maxNewTokens: 5 } as const;

  it.each(allExecutors)("answer on $name as transformers does", async ({ make }) => {
    const backend = await make();
    const own = session(backend);
    const prompt = named(tensorOf(fixture, "inputs/prompt"), "batch", "token");
    const scores = await own.begin(beginning, { pixels: first, input_ids: prompt });
    const [made] = await generate(own, { scores }, { ...greedy, eos: [] });
    expect(made!.tokens).toEqual(rowsOf(tensorOf(fixture, "expected/written"))[0]);
    backend.dispose();
  });

  it("go on as if all turns had been read at once", async () => {
    const tokenizer = letters(config.text.vocab);
    const template = { ...vicunaTemplate, system: "ab " };
    const place = { id: imageToken, tokens: tensorOf(fixture, "expected/visual").axes[1]!.size };
    const talk = conversation(session(), { template, tokenizer, image: { beginning, pixels: first, place } });
    const heard: string[] = [];
    const answer = await talk.ask("who", { ...greedy, onText: (text) => heard.push(text) });
    expect(heard.join("")).toBe(answer.text);
    const second = await talk.ask("why", greedy);
    const before = answer.ended === "eos" ? answer.tokens.slice(0, -1) : answer.tokens;
    const ids = [...firstTurn(template, tokenizer, "who", place), ...before, ...nextTurn(template, tokenizer, "why")];
    const own = session();
    const all = hostTensor(
      "i32",
      [
        { name: "batch", size: 1 },
        { name: "token", size: ids.length },
      ],
      ids,
    );
    const scores = await own.begin(beginning, { pixels: first, input_ids: all });
    const [whole] = await generate(own, { scores }, { ...greedy, eos: [2] });
    expect(second.tokens).toEqual(whole!.tokens);
  });
});
