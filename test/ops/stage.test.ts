/** What a stage learns and minimizes: path patterns, and several losses with weights. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { inputName } from "../../compiler/index.ts";
import {
  axis,
  constantInit,
  constantRate,
  defineStage,
  type LossResult,
  mul,
  type Params,
  type Stage,
  sum,
  type Tensor,
  trainingStep,
} from "../../dsl/index.ts";

const width = axis("width", 2);
const names = ["text.block.0.weight", "text.block.1.weight", "text.head.weight", "image.weight", "scale"];

/** A scalar that every parameter is part of. */
function everything(p: Params): Tensor<never> {
  const squares = names.map((name) => {
    const [scope, last] = [name.split(".").slice(0, -1), name.split(".").at(-1)!];
    const w = scope.reduce((at, part) => at.scope(part), p).parameter(last, [width], constantInit(1));
    return sum(mul(w, w), width);
  });
  return squares.reduce((a, b) => mul(a, b));
}

const stepOf = (changes: Partial<Stage>) =>
  trainingStep(
    defineStage({
      name: "s",
      loss: (p) => ({ loss: everything(p) }),
      optimizer: { rate: constantRate(0.1) },
      ...changes,
    }),
  );

describe("trainable", () => {
  const trained = (...patterns: string[]) => new Set(stepOf({ trainable: patterns }).trained.map(inputName));
  const but = (...left: string[]) => new Set(names.filter((n) => !left.includes(n)));

  it.each([
    [["!text.**"], ["image.weight", "scale"]],
    [
      ["**", "!text.block.*.weight"],
      ["text.head.weight", "image.weight", "scale"],
    ],
    [["text.**", "!text.head.**"], names.slice(0, 2)],
    [["!text.head.**", "text.**"], names.slice(0, 2)], // order says nothing
    [["!text.**", "!scale"], ["image.weight"]],
  ])("%j trains %j", (patterns, expected) => {
    expect(trained(...patterns)).toEqual(new Set(expected));
  });

  it("freezes what an exclusion names", () => {
    const { frozen } = stepOf({ trainable: ["!image.*"] });
    expect(frozen.map(inputName)).toEqual(["image.weight"]);
    expect(trained("!image.*")).toEqual(but("image.weight"));
  });

  it("refuses patterns that match nothing, with a `!` as without, and such as leave nothing", () => {
    expect(() => trained("!texts.**")).toThrow('stage "s": the pattern "!texts.**" matches no parameter');
    expect(() => trained("txt.**")).toThrow('the pattern "txt.**" matches no parameter');
    expect(() => trained("!texts.**")).toThrow('; did you mean "text.**"?');
    expect(() => trained("text.hed.**")).toThrow('; did you mean "text.head.**"?');
    expect(() => trained("**.wieght")).toThrow('; did you mean "**.weight"?');
    expect(() => trained("imege.*")).toThrow('; did you mean "image.*"?');
    expect(() => trained("head.**")).toThrow('; did you mean "**.head.**"?');
    expect(() => trained("text.**", "!**")).toThrow('stage "s" trains nothing: text.**, !** selects no parameter');
  });
});

describe("several losses", () => {
  const a = (p: Params) => p.parameter("a", [width], constantInit(0.5));
  /** Σ a² and Σ a³ with a = ½: 0.5 and 0.25; slopes 2a = 1 and 3a² = 0.75. */
  const parts = (p: Params, weights: readonly (number | undefined)[], more: Partial<LossResult> = {}): LossResult => {
    const w = a(p);
    const [square, cube] = [sum(mul(w, w), width), sum(mul(mul(w, w), w), width)];
    const named = { squares: square, cube };
    const losses = Object.entries(named).map(([name, loss], i) => {
      const weight = weights[i];
      return weight === undefined ? { name, loss } : { name, loss, weight };
    });
    return { ...more, losses } as LossResult;
  };
  const figures = (weights: readonly (number | undefined)[]) => {
    const { graph, arenas, counter } = stepOf({ loss: (p) => parts(p, weights) });
    const zeros = Float64Array.of(0, 0);
    const values = evaluate(
      graph,
      new Map([
        [arenas[0]!.parameters, Float64Array.of(0.5, 0.5)],
        [arenas[0]!.state.mean!, zeros],
        [arenas[0]!.state.square!, zeros],
        [counter, Float64Array.of(0)],
      ]),
    );
    return Object.fromEntries(
      ["loss", "squares", "cube", "gradient_norm"].map((name) => [name, values.get(name)!.data[0]]),
    );
  };

  it.each([
    [[undefined, undefined], 0.75, 1.75],
    [[2, 0.5], 1.125, 2.375],
    [[0, 3], 0.75, 2.25],
    [[1, -1], 0.25, 0.25],
  ] as const)("with weights %j minimize their weighted sum, and report each as it is", (weights, loss, slope) => {
    const got = figures(weights);
    expect(got).toMatchObject({ squares: 0.5, cube: 0.25 });
    expect(got.loss).toBeCloseTo(loss, 12);
    expect(got.gradient_norm).toBeCloseTo(slope * Math.SQRT2, 12);
  });

  it("freezes parameters that only a metric or a loss of weight 0 depends on", () => {
    const of = (name: string) => (p: Params) => p.parameter(name, [width], constantInit(1));
    const [main, unweighted, watched] = [of("main"), of("unweighted"), of("watched")];
    const square = (w: Tensor<"width">) => sum(mul(w, w), width);
    const loss = (p: Params): LossResult => ({
      losses: [
        { name: "a", loss: square(main(p)) },
        { name: "b", loss: square(unweighted(p)), weight: 0 },
      ],
      metrics: { size: square(watched(p)) },
    });
    const { trained, frozen } = stepOf({ loss, trainable: ["main", "unweighted"] });
    expect([trained.map(inputName), frozen.map(inputName)]).toEqual([["main"], ["unweighted", "watched"]]);
    expect(() => stepOf({ loss, trainable: ["unweighted"] })).toThrow("selects no parameter that its loss depends on");
  });

  it.each([
    [[Number.NaN, 1], {}, 'stage "s": the weight of the loss "squares" must be a finite number, got the number NaN'],
    [[0, 0], {}, "all losses have the weight 0: there is nothing to minimize"],
    [[1, 1], { metrics: ["cube"] }, '"cube" is already used by another loss, a metric or the step itself'],
    [[1, 1], { metrics: ["square"] }, '"square" is already used'], // the optimizer's state
    [[1, 1], { metrics: ["gradient_norm"] }, '"gradient_norm" is already used'],
    [[1, 1], { metrics: ["seconds"] }, 'has "seconds" for its own figures: choose another name for the metric'],
    [[1, 1], { metrics: ["validation/loss"] }, 'has "validation/loss" for its own figures'],
  ] as const)(
    "of weights %j with %j are refused",
    (weights, { metrics = [] }: { metrics?: readonly string[] }, text) => {
      const loss = (p: Params) =>
        parts(p.shared(), weights, { metrics: Object.fromEntries(metrics.map((m) => [m, sum(a(p.shared()), width)])) });
      expect(() => stepOf({ loss })).toThrow(text);
    },
  );
});
