/** Mistakes in a model of one's own that only show when it is used, each one message that names the fault. */
import { describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import * as h from "../../dsl/index.ts";
import { type ConfigCodec, checkpointLayout, type Model, trace } from "../../dsl/index.ts";
import { cachedSession, deviceModel, tensorsInLayout } from "../../runtime/index.ts";

const [batch, token, embed] = [h.axis("batch", "batch"), h.axis("token", 4), h.axis("embed", 8)];
const x = () => h.input("x", "f32", [batch, token, embed]);

const modelWith = (record: Partial<Model>): Model =>
  h.defineModel({
    name: "mine",
    summary: "",
    config: { depth: 2, text: { width: 8 } },
    build: (p) => ({ y: h.mlp(p, x(), embed, h.axis("hidden", 8)) }),
    ...record,
  });

describe("an axis that a tensor has not", () => {
  it.each([
    ["convolution", () => h.convolution(h.rootParams(), x() as never, embed, embed, { kernel: 3 })],
    ["axisOf", () => h.axisOf(x(), "embd" as never)],
  ])("is the caller's mistake: %s", (_, call) => {
    const wrong = /^a tensor has no axis "(embd"; did you mean "embed"\?|row"\.) It has: batch, token, embed\.$/;
    expect(call).toThrow(h.UsageError);
    expect(call).toThrow(wrong);
  });

  it("is so where a linear's result has it too", () => {
    const other = h.axis("other", 8);
    expect(() => h.linear(h.rootParams(), x(), [other] as never, [other])).toThrow(
      /\[contract C1\]: the contracted axis "other" is not an axis of a/,
    );
  });
});

describe("the codec of a config.json", () => {
  const codec = { types: ["mine"], write: () => ({ model_type: "mine" }) };
  const reading = (read: unknown) => modelWith({ checkpoints: { layouts: [], config: { ...codec, read } as never } });
  const json = { model_type: "mine", hidden_size: 8 };
  const readOf = ({ checkpoints, config }: Model) => checkpoints!.config!.read(json, config);

  it("gives all settings", () => {
    const right = reading((read: typeof json, c: h.Config) => ({ ...c, text: { width: read.hidden_size } }));
    expect(readOf(right)).toEqual({ depth: 2, text: { width: 8 } });
    const absent = reading((read: Record<string, unknown>) => ({ depth: 2, text: { width: Number(read.width) } }));
    expect(() => readOf(absent)).toThrow(/the `read` of the config\.json of mine returns text\.width: NaN;/);
    expect(() => readOf(reading(() => ({ text: { width: 8 } })))).toThrow(/returns depth: undefined;/);
    expect(() => readOf(reading(() => undefined))).toThrow(/returns undefined; expected every setting/);
  });

  it("has its own fields", () => {
    const stray = { ...codec, read: (_: unknown, c: h.Config) => c, wirte: 1 } as unknown as ConfigCodec;
    const rule = { path: "blocks.{}.conv{}.weight", name: "blocks.{}.conv{}.weight", axes: "a b" };
    expect(() => modelWith({ checkpoints: { layouts: [[rule]] } })).toThrow(
      /layouts\[0\]\[0\] has the path "blocks\.\{\}\.conv\{\}\.weight", but \{\} stands for .* not for one in "conv\{\}"/,
    );
    expect(() => modelWith({ checkpoints: { layouts: [], config: stray } })).toThrow(
      /mine\.checkpoints\.config has no field "wirte"; did you mean "write"\?/,
    );
    expect(() => reading(3)).toThrow(/mine\.checkpoints\.config needs `read`, a function, got the number 3/);
  });
});

it("a layout that stores two parameters as one tensor is not written", () => {
  const weight = (path: string) => ({ path, name: "w", axes: "hidden embed" });
  const bias = (path: string, axes: string) => h.same(path, axes);
  const rules = [
    ...[weight("fc1.weight"), { ...weight("fc2.weight"), axes: "embed hidden" }],
    ...[bias("fc1.bias", "hidden"), bias("fc2.bias", "embed")],
  ];
  const weights = { dtypeOf: () => "F32", pieces: () => [], read: () => new Float32Array() } as never;
  const layout = checkpointLayout(trace(modelWith({})), rules);
  expect(() => tensorsInLayout(layout, weights)).toThrow(
    'the checkpoint layout stores both "fc1.weight" and "fc2.weight" as the tensor "w"',
  );
});

it("a step that reads what nothing gives it is refused before it writes", () => {
  const model = modelWith({
    graphs: {
      step: {
        summary: "",
        build: () => {
          const a = { batch, token: h.newTokens(), heads: h.axis("heads", 1), headDim: h.axis("head_dim", 2) };
          const { ids, context, past } = h.decoderInputs(a, 1, "step");
          const sound = h.mean(h.input("sound", "f32", [batch, embed]), embed);
          const own = h.broadcast(h.mul(h.cast(ids, "f32"), sound), [a.heads, a.headDim]);
          const key = h.withPast(own, a.token, context.key, past[0]!.key);
          const seen = h.select(context.visible, h.mean(key, [a.heads, a.headDim]), 0);
          const logits = h.mul(h.sum(seen, context.key), h.iota(h.axis("vocab", 5), "f32"));
          return { logits, ...h.presentOutputs([{ key, value: key }], a) };
        },
      },
    },
  });
  const step = trace(model, {}, { graph: "step" });
  const device = deviceModel(referenceBackend(), { read: () => Promise.reject(new Error("no weights")) } as never);
  expect(() => cachedSession(device, step, { rows: 1 })).toThrow(
    /graph @mine\.step cannot generate text: nothing provides its inputs "sound"/,
  );
});

describe("the data of a stage", () => {
  const data = { kind: "labels", image: { size: 8, fit: "crop" }, feeds: () => ({}) } as const;
  const feedsOf = (feeds: unknown) => h.stageData<"labels">({ ...data, feeds } as never).feeds;

  it("has its own fields", () => {
    expect(() => h.stageData({ ...data, clases: 3 } as never)).toThrow(
      /the data of a stage has no field "clases"; did you mean "classes"\?/,
    );
    expect(() => feedsOf(3)).toThrow(/needs `feeds`, a function \(rows\) => .* got the number 3/);
  });

  it("gives the inputs of a step", () => {
    const call = (feeds: unknown) => () => feedsOf(feeds)([], {} as never);
    expect(call(() => ({}))()).toEqual({});
    expect(call(async () => ({}))).toThrow(/^feeds returns a promise \(remove `async`\); expected the inputs/);
    expect(call(() => undefined)).toThrow(/^feeds returns undefined; expected the inputs of the step/);
  });
});

it("a loss that is no single number says how it becomes one, at the stage", () => {
  const loss = () => ({ loss: x() as never });
  const stage = h.defineStage({ name: "mine", loss, optimizer: { rate: h.constantRate(1) } });
  expect(() => stage.loss(h.rootParams())).toThrow(
    'stage "mine": its `loss` has the axes [batch, token, embed]; expected a scalar: mean(loss, [batch, token, embed])',
  );
});
