/**
 * How parameters lie in published checkpoints: another name, axes split or joined, another order. Nothing is computed: a
 * stored tensor is a view of the parameter, or the parameter with its axes in another order.
 */
import { type Graph, isParameter, UsageError } from "../../dsl/index.ts";

/** One parameter as a checkpoint holds it. */
export interface PublishedTensor {
  /** Its path in our models. */
  readonly parameter: string;
  /** Its name in the checkpoint. */
  readonly name: string;
  /** Its shape in the checkpoint. */
  readonly shape: readonly number[];
  /** The parameter's axes in stored order, slowest first: equal to the parameter's own order for a plain view. */
  readonly order: readonly string[];
}

/**
 * Where the parameters of a family lie. `path` and `name` have the same `{}` for layer numbers, or name one parameter, which
 * goes before a rule with numbers left open; `axes` lists the stored dimensions, separated by spaces, each the parameter's axes that it joins ("qkv*heads*head_dim embed"); 1 is a dimension
 * of one element that the parameter does not have.
 */
export interface TensorRule {
  readonly path: string;
  readonly name: string;
  readonly axes: string;
}

/** A rule whose tensor is named as the parameter. */
export const same = (path: string, axes: string): TensorRule => ({ path, name: path, axes });

/** Rules below a prefix: of the parameters' paths, and of the tensors' names. */
export const under = (path: string, name: string, rules: readonly TensorRule[]): TensorRule[] =>
  rules.map((r) => ({ ...r, path: join(path, r.path), name: join(name, r.name) }));

const join = (a: string, b: string) => [a, b].filter((part) => part !== "").join(".");

/** A parameter's path with `{}` for its numbers, as rules have it. */
export const rulePath = (path: string): string => path.replace(/(^|\.)\d+(?=\.|$)/g, "$1{}");

/** Every parameter of a graph as the rules store it, in the graph's order. Throws UsageError for one without a rule. */
export function publishedTensors(graph: Pick<Graph, "inputs">, rules: readonly TensorRule[]): PublishedTensor[] {
  const byPath = new Map(rules.map((r) => [r.path, r]));
  return graph.inputs.filter(isParameter).map((n) => {
    const path = String(n.attrs.name);
    const numbers = path.split(".").filter((part) => /^\d+$/.test(part));
    const rule = byPath.get(path) ?? byPath.get(rulePath(path));
    if (!rule) {
      throw new UsageError(`no checkpoint layout is known for parameter "${path}"`);
    }
    return published(path, fill(rule.name, numbers), rule, n.type.axes as readonly SizedAxis[]);
  });
}

interface SizedAxis {
  readonly name: string;
  readonly size: number;
}

const fill = (name: string, numbers: readonly string[]): string =>
  numbers.reduce((text, n) => text.replace("{}", n), name);

/** The stored dimensions of a rule, each the axes that it joins. */
const groupsOf = (rule: TensorRule): string[][] =>
  rule.axes === "" ? [] : rule.axes.split(" ").map((g) => (g === "1" ? [] : g.split("*")));

/** Whether a rule is about a parameter of these axes. */
export function hasAxes(rule: TensorRule, axes: readonly { readonly name: string }[]): boolean {
  const order = groupsOf(rule).flat();
  return order.length === axes.length && axes.every((a) => order.includes(a.name));
}

function published(parameter: string, name: string, rule: TensorRule, axes: readonly SizedAxis[]): PublishedTensor {
  const groups = groupsOf(rule);
  const order = groups.flat();
  const known = new Map(axes.map((a) => [a.name, a.size]));
  if (!hasAxes(rule, axes)) {
    throw new UsageError(
      `parameter "${parameter}" has the axes [${[...known.keys()].join(", ")}], its checkpoint layout says "${rule.axes}"`,
    );
  }
  return { parameter, name, shape: groups.map((g) => g.reduce((n, a) => n * known.get(a)!, 1)), order };
}
