/** Keys and values kept in f16: the same scores as kept in f32, but for the rounding, over a cache that fills up. */
import { expect, it } from "vitest";
import { baselineFacts, compileKernels, inputName, type Precision, symbol } from "../../compiler/index.ts";
import { runProgram } from "../../compiler/pipelines/run-program.ts";
import { cachedStep } from "../../runtime/generation/cache-graphs.ts";
import { generationFixture, stepGraph, weights } from "./support.ts";

const capacity = 12;
const facts = { ...baselineFacts, features: new Set(["f16"] as const) };
const { vocab } = generationFixture.facts.text;

/** Scores after each of some tokens of one text, and the dtypes of what is remembered. */
function scoresIn(precision: Precision, tokens: readonly number[]) {
  const shape = { rows: 1, capacity: symbol("capacity"), ...(precision === "f16" && { dtype: precision }) };
  const program = compileKernels(cachedStep(stepGraph, shape, 1), facts, { precision });
  const states = program.graph.inputs.filter((n) => n.attrs.role === "state");
  const elements = (axes: readonly { size: unknown }[]) =>
    axes.reduce((n, { size }) => n * (typeof size === "number" ? size : capacity), 1);
  let kept = new Map<string, ArrayLike<number>>(
    states.map((n) => [inputName(n), new Float32Array(elements(n.type.axes))]),
  );
  const scores = tokens.map((token, place) => {
    const feeds = {
      input_ids: [token],
      position_ids: [place],
      attention_mask: Array(capacity).fill(1),
      filled: [place],
      last: [0],
    };
    const parameters = [...weights].map(([name, { data }]) => [name, data as ArrayLike<number>] as const);
    const run = runProgram(
      program,
      new Map<string, ArrayLike<number>>([...parameters, ...Object.entries(feeds), ...kept]),
      { capacity },
    );
    kept = new Map(states.map((n) => [inputName(n), run.inputs.get(inputName(n))!]));
    return [...run.outputs.get("logits")!];
  });
  return { scores, dtypes: new Set(states.map((n) => n.type.dtype)) };
}

it("scores the same but for rounding, token by token until the cache is full", () => {
  const tokens = Array.from({ length: capacity }, (_, i) => (i * 7 + 3) % vocab);
  const [wide, half] = [scoresIn("f32", tokens), scoresIn("f16", tokens)];
  expect([...wide.dtypes, ...half.dtypes]).toEqual(["f32", "f16"]);
  for (const [i, want] of wide.scores.entries()) {
    const scale = Math.max(...want.map(Math.abs));
    const worst = Math.max(...want.map((w, j) => Math.abs(w - half.scores[i]![j]!)));
    expect(worst).toBeLessThan(5e-3 * scale);
  }
});
