/** No gradient flows through what is stopped: by finite differences in which that part is held. */
import { expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { differentiate, makeGraph, type Node } from "../../compiler/index.ts";
import { axis, input, mul, stopGradient, sub, sum, type Tensor, tanh } from "../../dsl/index.ts";

const row = axis("row", 5);
const given = (name: string) => input(name, "f32", [row]);
const [w, x, held] = [given("w"), given("x"), given("held")];
const product = mul(w, x);
const distance = (target: Tensor<"row">) => {
  const apart = sub(product, target);
  return sum(mul(apart, apart), row);
};

const values = {
  w: Float64Array.of(0.3, -1.2, 0.8, 2, -0.1),
  x: Float64Array.of(1.5, 0.4, -2, 0.7, 1),
};

const run = (output: Node, feeds: Readonly<Record<string, Float64Array>>): Float64Array =>
  evaluate(makeGraph("g", [{ name: "y", node: output }]), new Map(Object.entries(feeds))).get("y")!.data;

it("gives the slope of the loss with the stopped part held, and the loss itself", () => {
  const stopped = distance(stopGradient(tanh(product)));
  const [gradient] = differentiate(stopped, [w]);
  const exact = run(gradient!, values);
  const target = run(tanh(product), values);
  const loss = (at: Float64Array) => run(distance(held), { ...values, w: at, held: target })[0]!;
  expect(run(stopped, values)[0]).toBeCloseTo(loss(values.w), 12);
  for (let i = 0; i < 5; i++) {
    const moved = (by: number) => loss(values.w.map((v, k) => (k === i ? v + by : v)));
    expect(exact[i]).toBeCloseTo((moved(1e-5) - moved(-1e-5)) / 2e-5, 6);
  }
  // Without it, the gradient is another one.
  const [whole] = differentiate(distance(tanh(product)), [w]);
  expect(Math.abs(run(whole!, values)[3]! - exact[3]!)).toBeGreaterThan(0.01);
});

it("gives zeros to what is reached through it alone", () => {
  const [gradient] = differentiate(sum(stopGradient(mul(w, w)), row), [w]);
  expect([...run(gradient!, values)]).toEqual([0, 0, 0, 0, 0]);
});
