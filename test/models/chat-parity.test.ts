import { describe, expect, test } from "vitest";
import { hostTensor, makeGraph, type Node } from "../../compiler/index.ts";
import { checkpointLayout, input, rootParams, transpose } from "../../dsl/index.ts";
import {
  type ChatQueriesConfig,
  chatPrefill,
  chatRules,
  conversation,
  decodeStep,
  imageToken,
  internvit6b,
  languageHead,
  pixelsInput,
  stageThreeLoss,
  textAxes,
  visualTokenCount,
  visualTokens,
} from "../../models/index.ts";
import { allExecutors, runOnce } from "./executors.ts";
import { writeGreedily } from "./greedy.ts";
import {
  type Digest,
  difference,
  fed,
  feedsOf,
  gradientDifference,
  loadFixture,
  tensorOf,
  weightsOf,
  withGradients,
} from "./support.ts";

/** Both paths; `qllama` is there in path B only. */
interface Facts extends ChatQueriesConfig {
  readonly loss: never;
  readonly gradients: never;
}

describe.each(["chat-patches", "chat-queries"])("a tiny InternVL-Chat: %s", async (name) => {
  const fixture = await loadFixture<Facts>(name);
  const { loss, gradients, ...read } = fixture.facts;
  const config = { ...read, vision: { ...internvit6b, ...read.vision } } as ChatQueriesConfig;
  const a = textAxes(config.text);
  const ids = input("ids", "i32", [a.batch, a.token]);

  test("learns of turns that are hidden from each other as of a conversation for each", async () => {
    const image = new Array<number>(visualTokenCount(config)).fill(imageToken);
    const head = [1, ...image];
    const turns = [
      { asked: [5, 6], answer: [7, 2] },
      { asked: [8], answer: [9, 10, 2] },
      { asked: [11, 5, 6], answer: [2] },
    ];
    const each = turns.map(({ asked, answer }) => [...asked, ...answer]);
    const together = [...head, ...each.flat()];
    const fills = (row: readonly number[], length: number) =>
      [...row, ...new Array<number>(length).fill(0)].slice(0, length);
    const lossOf = async (apart: boolean, rows: Readonly<Record<string, readonly (readonly number[])[]>>) => {
      const targets = Math.max(...rows.places!.map((own) => own.length));
      const stage = stageThreeLoss(rootParams({ training: true }), config, { targets, apart });
      const graph = makeGraph("loss", [part("loss", stage.loss)]);
      const [size, longest] = [rows.ids!.length, Math.max(...rows.ids!.map((row) => row.length))];
      const pixels = fed(inputOf(graph, "pixels"), tensorOf(fixture, "inputs/pixels"));
      const one = pixels.data.slice(0, pixels.data.length / pixels.axes[0]!.size);
      const feeds = {
        pixels: hostTensor(
          "f32",
          [{ name: "batch", size }, ...pixels.axes.slice(1)],
          Float32Array.from(rows.ids!.flatMap(() => [...one])),
        ),
        ...Object.fromEntries(
          Object.entries(rows).map(([name, table]) => {
            const length = name === "places" ? targets : longest;
            const axes = [
              { name: "batch", size },
              { name: name === "places" ? "target" : "token", size: length },
            ];
            return [name, hostTensor("i32", axes, Int32Array.from(table.flatMap((row) => fills(row, length))))];
          }),
        ),
      };
      return await runOnce(allExecutors[0]!, withGradients(graph), feeds, weightsOf(fixture, graph, chatRules));
    };
    const endsOf = (row: readonly number[], answer: readonly number[]) =>
      answer.map((_, i) => row.length - answer.length + i);
    const separate = await lossOf(false, {
      ids: each.map((own) => [...head, ...own]),
      places: each.map((own, i) => endsOf([...head, ...own], turns[i]!.answer)),
    });
    const packed = await lossOf(true, {
      ids: [together],
      turn: [[...head.map(() => 0), ...each.flatMap((own, i) => own.map(() => i + 1))]],
      position: [[...head.keys(), ...each.flatMap((own) => own.map((_, i) => head.length + i))]],
      places: [each.flatMap((_, i) => endsOf([...head, ...each.slice(0, i + 1).flat()], turns[i]!.answer))],
    });
    expect(Object.keys(packed)).toEqual(Object.keys(separate));
    for (const [name, { data }] of Object.entries(packed))
      expect(difference(data, separate[name]!.data), name).toBeLessThan(1e-9);
  });

  describe.each(allExecutors)("on $name, beside PyTorch and transformers", (executor) => {
    const { tolerance } = executor;
    const weights = (graph: ReturnType<typeof makeGraph>) => weightsOf(fixture, graph, chatRules);

    test("has the same visual tokens and scores", async () => {
      const p = rootParams().shared();
      const pixels = pixelsInput(config.vision);
      const logits = transpose(languageHead(p, conversation(p, pixels, ids, config).last, a, config.text), [
        a.batch,
        a.token,
        a.vocab,
      ]);
      const graph = makeGraph("chat", [part("visual", visualTokens(p, pixels, config)), part("logits", logits)]);
      const got = await runOnce(executor, graph, feedsOf(fixture, graph), weights(graph));
      expect(difference(got.visual!.data, tensorOf(fixture, "expected/visual").data)).toBeLessThan(tolerance);
      const written = tensorOf(fixture, "inputs/ids").data;
      const mine = Array.from(got.logits!.data, (v, i) => (written[Math.floor(i / config.text.vocab)] === 0 ? 0 : v));
      expect(difference(mine, tensorOf(fixture, "expected/logits").data)).toBeLessThan(tolerance);
    });

    test("has the same loss and gradients", async () => {
      const graph = makeGraph("loss", [part("loss", stageThreeLoss(rootParams({ training: true }), config).loss)]);
      const got = await runOnce(executor, withGradients(graph), feedsOf(fixture, graph), weights(graph));
      expect(difference(got.loss!.data, [loss])).toBeLessThan(tolerance);
      const want = gradients as Readonly<Record<string, Digest>>;
      const worst = gradientDifference(got, want, checkpointLayout(graph, chatRules));
      expect(worst.difference, worst.name).toBeLessThan(10 * tolerance);
    });

    test("has them too where only the targets are scored, in any order and with places left over", async () => {
      const { axes, data } = tensorOf(fixture, "inputs/labels");
      const [rows, length] = axes.map((x) => x.size) as [number, number];
      const places = Array.from({ length: rows }, (_, row) =>
        Array.from({ length }, (_, i) => i).filter((i) => i > 0 && data[row * length + i]! >= 0),
      );
      const targets = 2 + Math.max(...places.map((own) => own.length));
      const { loss: made } = stageThreeLoss(rootParams({ training: true }), config, { targets });
      const graph = makeGraph("loss", [part("loss", made)]);
      const table = places.flatMap((own) =>
        [0, ...own.toReversed(), ...new Array<number>(targets).fill(0)].slice(0, targets),
      );
      const axesOf = [
        { name: "batch", size: rows },
        { name: "target", size: targets },
      ];
      const others = makeGraph("ids", [part("pixels", pixelsInput(config.vision)), part("ids", ids)]);
      const feeds = { ...feedsOf(fixture, others), places: hostTensor("i32", axesOf, Int32Array.from(table)) };
      const got = await runOnce(executor, withGradients(graph), feeds, weights(graph));
      expect(difference(got.loss!.data, [loss])).toBeLessThan(tolerance);
      const worst = gradientDifference(
        got,
        gradients as Readonly<Record<string, Digest>>,
        checkpointLayout(graph, chatRules),
      );
      expect(worst.difference, worst.name).toBeLessThan(10 * tolerance);
    });

    test("writes the same answer with a cache", async () => {
      const prefill = graphOf("prefill", chatPrefill(rootParams(), config));
      const step = graphOf("step", decodeStep(rootParams(), config.text));
      const prompt = tensorOf(fixture, "inputs/prompt");
      const pixels = tensorOf(fixture, "inputs/pixels");
      const one = { ...pixels, axes: [{ name: "batch", size: 1 }, ...pixels.axes.slice(1)] };
      const feeds = {
        pixels: fed(inputOf(prefill, "pixels"), { ...one, data: pixels.data.subarray(0, pixels.data.length / 2) }),
        input_ids: fed(inputOf(prefill, "input_ids"), prompt),
      };
      const writer = { prefill, step, prefillWeights: weights(prefill), stepWeights: weights(step) };
      const want = Array.from(tensorOf(fixture, "expected/written").data);
      const { ids: got } = await writeGreedily(executor, writer, feeds, want.length);
      expect(got).toEqual([want]);
    });
  });
});

const part = (name: string, node: Node) => ({ name, node });
const graphOf = (name: string, outputs: Readonly<Record<string, Node>>) =>
  makeGraph(
    name,
    Object.entries(outputs).map(([n, node]) => part(n, node)),
  );
const inputOf = (graph: ReturnType<typeof makeGraph>, name: string) => graph.inputs.find((n) => n.attrs.name === name)!;
