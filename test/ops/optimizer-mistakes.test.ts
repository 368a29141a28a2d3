/** Mistakes in a stage's optimizer, schedule, averages and low-rank updates: each one message that names the fault. */
import { describe, expect, it } from "vitest";
import * as h from "../../dsl/index.ts";

const [batch, from, to] = [h.axis("batch", "batch"), h.axis("from", 4), h.axis("to", 3)];
const loss = (p: h.Params) => {
  const y = h.linear(p.scope("fc"), h.input("x", "f32", [batch, from]), [from], [to]);
  return { loss: h.mean(h.mul(y, y), [batch, to]) };
};
const rate = h.constantRate(0.1);
/** As JavaScript would: without types. */
const any = h as unknown as Readonly<Record<string, (...given: unknown[]) => never>>;
const step = (optimizer: object, more: object = {}) =>
  h.trainingStep(h.defineStage({ name: "s", loss, optimizer: { rate, ...optimizer }, ...more }));
const returning = (more: (y: h.Tensor<"batch" | "to">) => object) => {
  const y = (p: h.Params) => h.linear(p.scope("other"), h.input("x", "f32", [batch, from]), [from], [to]);
  return step({}, { loss: (p: h.Params) => ({ ...loss(p), ...more(y(p)) }) });
};
const own = (fields: object) => step({ rule: any.updateRule!({ name: "own", state: {}, update: () => 0, ...fields }) });

/** A sum of what another sum has scaled. */
const twice = (shard?: () => { from: number; to: number }) => {
  const update = ({ parameter, gradient, sumOfEach }: h.UpdateInputs<never>) => {
    const scaled = h.mul(gradient, sumOfEach(h.mul(gradient, gradient))) as h.Tensor<"arena">;
    return { parameter: h.sub(parameter, sumOfEach(scaled)) as h.Tensor<"arena">, state: {} };
  };
  const whole = step({ rule: h.updateRule({ name: "twice", state: {}, update }) });
  return shard ? whole.inParts({ count: 2, own: { first: 0, count: 1 }, shard }) : whole;
};

const fraction = "must be a number of at least 0 and below 1, got";
const mistakes: readonly (readonly [string, () => unknown])[] = [
  ['sgd has no option "momentun"; did you mean "momentum"?', () => any.sgd!({ momentun: 0.9 })],
  ["nesterov of sgd needs a momentum", () => h.sgd({ nesterov: true })],
  [`momentum of sgd ${fraction} the number 2`, () => h.sgd({ momentum: 2 })],
  ["nesterov of sgd must be true or false", () => any.sgd!({ momentum: 0.9, nesterov: "yes" })],
  ['adamw has no option "betas"; did you mean "beta1"', () => any.adamw!({ betas: [0.9, 0.99] })],
  [`beta2 of adam ${fraction} the number 1`, () => h.adam({ beta2: 1 })],
  [`beta1 of lamb ${fraction} the string "0.9"`, () => any.lamb!({ beta1: "0.9" })],
  ["epsilon of lamb must be a number of at least 0, got the number -1", () => h.lamb({ epsilon: -1 })],
  ['lion has no option "weightDecay"', () => any.lion!({ weightDecay: 0.1 })],
  [`beta2 of the optimizer of stage "s" ${fraction} the number 1`, () => step({ beta2: 1 })],
  ['rule of the optimizer of stage "s" must be an update rule, such as lamb()', () => step({ rule: h.lamb })],
  ['clip of the optimizer of stage "s" must be a number above 0, got the number 0', () => step({ clip: 0 })],
  ['clip of the optimizer of stage "s" must be a number above 0, got the number NaN', () => step({ clip: Number.NaN })],
  ['weightDecay of the optimizer of stage "s" must be a number of at least 0', () => step({ weightDecay: "0.1" })],
  ['decays of the optimizer of stage "s" must be a function', () => step({ decays: ["**"] })],
  [
    'rateScale of "fc.weight" must be a number of at least 0, got undefined',
    () => step({ rateScale: () => undefined }),
  ],
  [
    "must return a scalar tensor, got the number 0.1; a fixed rate is constantRate(0.1)",
    () => step({ rate: () => 0.1 }),
  ],
  ["must return a scalar tensor, got one with the axes [to]", () => step({ rate: () => h.table([1, 2, 3], [to]) })],
  ["warmup of cosine is a number of steps", () => h.cosine({ peak: 1, steps: 100, warmup: 0.03 })],
  ["cosine takes a positive integer number of steps, got 0", () => h.cosine({ peak: 1, steps: 0 })],
  ["list at least one number of steps in `after`", () => h.steppedRate({ rate: 1, after: [] })],
  ["inSequence takes sections { schedule, steps }, got a function", () => any.inSequence!(rate, rate)],
  [
    'has no option "step"; did you mean "steps"?',
    () => any.inSequence!({ schedule: rate, step: 3 }, { schedule: rate }),
  ],
  ['the rule "own" has no field "weigthDecay"; did you mean "weightDecay"?', () => own({ weigthDecay: 0.1 })],
  ['the rule "own" needs `update`, a function, got undefined', () => own({ update: undefined })],
  ['the state "mean" of the rule "own" starts as a number or "parameter"', () => own({ state: { mean: "zeros" } })],
  [
    'the rule "twice" sums values that depend on another sumOfEach, which sharded state (--shard) does not support',
    () => twice(() => ({ from: 0, to: 64 })),
  ],
  ['the update of rule "own" must return { parameter, state }, got the number 0', () => own({})],
  [
    "decay of ema must be at least 0 and below 1, such as 0.999, got the string",
    () => step({}, { ema: { decay: "0.9" } }),
  ],
  [
    'lora of stage "s" has no option "alhpa"; did you mean "alpha"?',
    () => step({}, { lora: { pattern: "fc", rank: 2, alhpa: 4 } }),
  ],
  ['trainable of stage "s" must be a list of path patterns', () => step({}, { trainable: "fc.*" })],
  ['stage "s" trains nothing: an empty list selects no parameter', () => step({}, { trainable: [] })],
  ['precision of stage "s" must be one of f32, f16', () => step({}, { precision: "bf16" })],
  [
    'the clamp of "fc.weight" must be a range [low, high], got the number 3',
    () => step({}, { clamps: { "fc.weight": 3 } }),
  ],
  ['stage "s": decays of "fc.weight" must be true or false, got the string "x"', () => step({ decays: () => "x" })],
  [
    'its metric "y" has the axes [batch, to]; expected a scalar: mean(x, [batch, to])',
    () => returning((y) => ({ metrics: { y } })),
  ],
  ["its weight has the axes [batch, to]; expected a scalar", () => returning((weight) => ({ weight }))],
  ['its metric "y" must be a scalar tensor, got the number 3', () => returning(() => ({ metrics: { y: 3 } }))],
  ["a metric has an empty name", () => returning((y) => ({ metrics: { "": h.mean(y, [batch, to]) } }))],
  ["the `metrics` that it returns must be scalars by name, got", () => returning(() => ({ metrics: [] }))],
  [
    'stage "s" trains nothing: its loss depends on no parameter, except through stopGradient, rounding or integers',
    () => step({}, { loss: (p: h.Params) => ({ loss: h.stopGradient(loss(p).loss) }) }),
  ],
  ["must be a list of { name, loss, weight }, got an object", () => step({}, { loss: () => ({ losses: {} }) })],
];

describe("a mistake is told as such", () => {
  it.each(mistakes)("%s", (text, make) => {
    expect(make).toThrow(h.UsageError);
    expect(make).toThrow(text);
  });
});

it("a rule may sum what depends on a sum where parameters are whole", () => {
  expect(twice()).toBeDefined();
});

it("a setting that is given as undefined has its default", () => {
  expect(
    step({ beta1: undefined, clip: undefined, rule: h.lamb({ ...({ epsilon: undefined } as object) }) }),
  ).toBeDefined();
});

it("parameters that the loss reads through stopGradient or as integers alone are frozen, and so do not decay", () => {
  const part = (p: h.Params, name: string) => h.linear(p.scope(name), h.input("x", "f32", [batch, from]), [from], [to]);
  const { trained, frozen } = step(
    { weightDecay: 0.1 },
    {
      loss: (p: h.Params) => {
        const [student, teacher, chosen] = [part(p, "student"), part(p, "teacher"), part(p, "chosen")];
        const apart = h.sub(student, h.stopGradient(teacher));
        return {
          loss: h.mean(h.add(h.mul(apart, apart), h.crossEntropy(student, h.argmax(chosen, to), to)), [batch, to]),
        };
      },
    },
  );
  const names = (nodes: typeof trained) => nodes.map((n) => n.attrs.name).sort();
  expect(names(trained)).toEqual(["student.bias", "student.weight"]);
  expect(names(frozen)).toEqual(["chosen.bias", "chosen.weight", "teacher.bias", "teacher.weight"]);
});
