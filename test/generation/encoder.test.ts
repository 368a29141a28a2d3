/** Decoders that attend to a source: several sources at once, padded, are as each alone; rows may change sources. */
import { fileURLToPath } from "node:url";
import { describe, expect, it, vi } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { type HostTensor, hostTensor } from "../../compiler/index.ts";
import { checkpointLayout, configure, defineModel, type Model, trace } from "../../dsl/index.ts";
import {
  attendsToSource,
  type CachedSession,
  cachedSession,
  deviceModel,
  generate,
  openWeights,
  parametersTogether,
  type Strategy,
} from "../../runtime/index.ts";
import t5 from "../cli/strangers/t5.ts";
import { allExecutors } from "../models/executors.ts";
import { difference } from "../models/support.ts";
import { stepGraph } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const model = t5 as unknown as Model;
/** Those of the checkpoint, but for layers: one each. */
const sizes = { width: 16, encoders: 1, decoders: 1, head: 6, mlp: 24, buckets: 8, far: 20 };
const [encode, decode] = ["encode", "decode"].map((graph) => trace(model, configure(model, sizes), { graph }));
const folder = fileURLToPath(new URL("../fixtures/strangers/t5", import.meta.url));
const parameters = await (async () => {
  const both = parametersTogether([encode!, decode!]);
  return await openWeights(folder, both, [checkpointLayout(both, model.checkpoints!.layouts[0]!)]);
})();
const sessionOn = (backend: Backend, rows: number): CachedSession =>
  cachedSession(deviceModel(backend, parameters), decode!, { rows, capacity: 8 });

const rowsOf = (second: string, rows: readonly (readonly number[])[]): HostTensor => {
  const axes = Object.entries({ batch: rows.length, [second]: rows[0]!.length });
  return hostTensor(
    "i32",
    axes.map(([name, size]) => ({ name, size })),
    rows.flat(),
  );
};
const [one, other] = [
  [1, 70, 81, 9, 44, 2],
  [1, 100, 2],
];
const padded = {
  input_ids: rowsOf("token", [one!, [...other!, 0, 0, 0]]),
  attention_mask: rowsOf("key_token", [
    [1, 1, 1, 1, 1, 1],
    [1, 1, 1, 0, 0, 0],
  ]),
};
const alone = (source: readonly number[]) => ({ input_ids: rowsOf("token", [source]) });
const write = async (session: CachedSession, strategy: Strategy, texts: number) => {
  const ids = Array.from({ length: texts }, () => [0]);
  return (await generate(session, { ids }, { strategy, eos: [2], maxNewTokens: 4 })).map(({ tokens }) => tokens);
};

describe("texts with a source", () => {
  const greedy: Strategy = { kind: "greedy" };
  const together = async (backend: Backend, strategy: Strategy, rows: number) => {
    const session = sessionOn(backend, rows);
    await session.encode(encode!, padded);
    const texts = await write(session, strategy, 2);
    session.dispose();
    backend.dispose();
    return texts;
  };
  const eachAlone = async (strategy: Strategy, rows: number) => {
    const session = sessionOn(referenceBackend(), rows);
    const texts: (readonly number[])[] = [];
    for (const source of [one!, other!]) {
      await session.encode(encode!, alone(source));
      texts.push(...(await write(session, strategy, 1)));
    }
    return texts;
  };

  it.each(allExecutors)("are the same for padded sources at once as for each alone on $name", async ({ make }) =>
    expect(await together(await make(), greedy, 2)).toEqual(await eachAlone(greedy, 1)),
  );

  it("are the same with beams", async () => {
    const beams: Strategy = { kind: "beam", beams: 2 };
    const { make } = allExecutors[1]!;
    expect(await together(await make(), beams, 4)).toEqual(await eachAlone(beams, 2));
  });

  it("do not see its padding, and go on with the source of the row that they continue", async () => {
    const session = sessionOn(referenceBackend(), 2);
    await session.encode(encode!, padded);
    const first = await session.step([[0], [0]]);
    const { tokens, scores } = await session.rank([9, 9], 2, [1, 1]);
    expect([tokens[0], scores[0]]).toEqual([tokens[2], scores[2]]);
    const single = sessionOn(referenceBackend(), 1);
    await single.encode(encode!, alone(other!));
    const firstAlone = await single.step([[0]]);
    expect(difference(first.slice(firstAlone.length), [...firstAlone])).toBeLessThan(1e-6);
    const want = await single.rank([9], 2);
    expect([tokens[0], tokens[1]]).toEqual([...Array.from(want.tokens)]);
    expect(difference([scores[0]!, scores[1]!], Array.from(want.scores))).toBeLessThan(1e-6);
  });

  it("need a source, and one that fits", async () => {
    const session = sessionOn(referenceBackend(), 1);
    await expect(session.step([[0]])).rejects.toThrow("graph @t5.decode attends to a source: encode one first");
    const wider = trace(model, configure(model, { ...sizes, head: 8 }), { graph: "encode" });
    await expect(session.encode(wider, alone(one!))).rejects.toThrow(
      /"present.0.encoder.key" of graph @t5.encode is .*head_dim=8.*"past_key_values.0.encoder.key" of @t5.decode is .*head_dim=6/,
    );
    const mask = { encoder_attention_mask: rowsOf("source_token", [[1, 1]]) };
    await expect(session.encode(encode!, { ...alone(one!), ...mask })).rejects.toThrow(
      "the source's mask has 2 tokens, but the encoder returns 6",
    );
    const plain = cachedSession(deviceModel(referenceBackend(), parameters), stepGraph, { rows: 1 });
    expect([attendsToSource(decode!), attendsToSource(stepGraph)]).toEqual([true, false]);
    await expect(plain.encode(encode!, alone(one!))).rejects.toThrow("graph @llama-step takes no source");
  });
});

describe("the record of a mode with an encoder", () => {
  const { graphs, build } = model;
  const record = (modes: object) => () =>
    defineModel({ name: "mine", summary: "", config: model.config, graphs: graphs!, build, modes });
  const both = { step: "decode", limit: 4 };

  it("names its graph, and a caption begins in one way", () => {
    expect(record({ caption: { ...both, encode: "encode" }, generate: { ...both, encode: "encode" } })).not.toThrow();
    expect(record({ caption: both })).toThrow("mine.modes.caption needs one of `begin`");
    expect(record({ caption: { ...both, begin: "encode", encode: "encode" } })).toThrow("needs one of `begin`");
    expect(record({ generate: { ...both, encode: "encoder" } })).toThrow(
      'mine.modes.generate.encode names the graph "encoder", which mine does not have',
    );
    expect(record({ generate: { ...both, encode: "encode", begin: [] } })).toThrow("it cannot have `begin` too");
  });
});
