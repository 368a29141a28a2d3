/**
 * How third-party checkpoints store parameters: renamed, with axes split, merged or permuted, several parameters in one
 * tensor, or one in several. Nothing is computed: a stored element is an element of a parameter.
 */
import { type Graph, isParameter, type Node, type UsageError } from "../compiler/index.ts";
import { faultIn } from "./declared.ts";

/** A parameter, or a part of one, in a tensor of a checkpoint. */
export interface CheckpointPlace {
  /** Its path in the model. */
  readonly parameter: string;
  /** The tensor's name in the checkpoint. */
  readonly name: string;
  /** The tensor's shape in the checkpoint. */
  readonly shape: readonly number[];
  /** The parameter's axes in stored order, outermost first: equal to its own order for a plain view. */
  readonly order: readonly string[];
  /** If the tensor also holds other parameters: the dimensions along which they are concatenated. */
  readonly shared?: readonly SharedDimension[];
  /** If the parameter is spread over several tensors: the index along its axis that this one holds. */
  readonly entry?: { readonly axis: string; readonly at: number };
}

/** A dimension of which the parameter is a slice, as queries are of fused queries, keys and values. */
export interface SharedDimension {
  /** The number of the parameter's axes that precede it. */
  readonly before: number;
  /** The slice [at, at + count) of `size` that is the parameter's. */
  readonly at: number;
  readonly count: number;
  readonly size: number;
  /** The parameter's axis along it, if any: the next after those before. */
  readonly along?: string;
}

/**
 * Maps parameters to tensors. `path` and `name` have the same `{}` for layer numbers; a rule without `{}` takes
 * precedence over one with it.
 *
 * `axes` lists the stored dimensions, separated by spaces, each a product of the parameter's axes ("heads*head_dim
 * embed"). "1/3" stands for a dimension of 3 in which the parameter is entry 1, counted from 0, as in
 * "1/3*heads*head_dim embed" for keys that are stored between queries and values; "1" is "0/1", a dimension of size 1
 * that the parameter does not have. A sum lists slices of unequal size: "0/group+1+1".
 *
 * `name` may contain an axis of the parameter, which is then spread over one tensor for each index:
 * "expert.{expert}.weight" by number, "attn.{qkv:q,k,v}_proj.weight" by word. That axis is not in `axes`.
 */
export interface TensorRule {
  readonly path: string;
  readonly name: string;
  readonly axes: string;
}

/** A rule whose tensor has the parameter's name. */
export const same = (path: string, axes: string): TensorRule => ({ path, name: path, axes });

/** Rules under a prefix of the parameters' paths and one of the tensors' names. */
export const under = (path: string, name: string, rules: readonly TensorRule[]): TensorRule[] =>
  rules.map((r) => ({ ...r, path: join(path, r.path), name: join(name, r.name) }));

const join = (a: string, b: string) => [a, b].filter((part) => part !== "").join(".");

/** A parameter's path with `{}` in place of numbers, as in rules. */
export const rulePath = (path: string): string => path.replace(/(^|\.)\d+(?=\.|$)/g, "$1{}");

/** Where every parameter of a graph is stored, in the graph's order. Throws UsageError for one without a rule. */
export function checkpointLayout(graph: Pick<Graph, "inputs">, rules: readonly TensorRule[]): CheckpointPlace[] {
  const parameters = graph.inputs.filter(isParameter);
  const { ruleOf, sizeIn } = rulesFor(parameters, rules);
  return parameters.flatMap((node) => {
    const rule = ruleOf(node);
    if (rule) return placesBy(rule, node, sizeIn, (message) => faultIn(rules, message));
    throw faultIn(rules, `the checkpoint layout has no rule for parameter "${node.attrs.name}"`);
  });
}

/**
 * Where parameters are stored, each with all tensors that together hold it; those without a rule for their path and
 * axes are left out.
 */
export function knownPlaces(parameters: readonly Node[], rules: readonly TensorRule[]): CheckpointPlace[][] {
  const { ruleOf, sizeIn } = rulesFor(parameters, rules);
  return parameters.flatMap((node) => {
    const rule = ruleOf(node);
    const isKnown = rule && hasAxes(rule, node.type.axes) && lackedAxis(rule, node, sizeIn) === undefined;
    return isKnown ? [placesBy(rule, node, sizeIn, (message) => faultIn(rules, message))] : [];
  });
}

/** The paths of a graph's parameters that no rule matches. */
export function withoutRule(rules: readonly TensorRule[], graph: Pick<Graph, "inputs">): string[] {
  const parameters = graph.inputs.filter(isParameter);
  const { ruleOf } = rulesFor(parameters, rules);
  return parameters.filter((node) => !ruleOf(node)).map((node) => String(node.attrs.name));
}

/** The size of an axis of any parameter in a tensor, by the tensor's name. */
type SizeIn = (tensor: string, axis: string) => number | undefined;

interface RulesFor {
  readonly ruleOf: (parameter: Node) => TensorRule | undefined;
  readonly sizeIn: SizeIn;
}

/**
 * The rule of each parameter: among those that match its path, prefer those with its axes, then those whose sums can be
 * resolved, then the one with the fewest `{}`. `sizeIn` gives the sizes of axes that sums name.
 */
function rulesFor(parameters: readonly Node[], rules: readonly TensorRule[]): RulesFor {
  const about = rulesByPath(rules);
  const sizes = new Map<string, number>();
  const sizeIn: SizeIn = (tensor, axis) => sizes.get(`${tensor} ${axis}`);
  for (const node of parameters)
    for (const rule of about(node).filter((r) => hasAxes(r, node.type.axes)))
      for (const { name, size } of node.type.axes as readonly SizedAxis[])
        sizes.set(`${tensorName(rule, pathOf(node))} ${name}`, size);
  const ruleOf = (node: Node): TensorRule | undefined => {
    const all = about(node);
    const ofAxes = all.filter((rule) => hasAxes(rule, node.type.axes));
    const known = ofAxes.filter((rule) => lackedAxis(rule, node, sizeIn) === undefined);
    const best = [known, ofAxes, all].find((some) => some.length > 0) ?? [];
    return best.reduce<TensorRule | undefined>(
      (a, b) => (a && openNumbers(a, pathOf(node))!.length <= openNumbers(b, pathOf(node))!.length ? a : b),
      undefined,
    );
  };
  return { ruleOf, sizeIn };
}

const pathOf = (node: Node): string => String(node.attrs.name);

/** The rules that match a parameter's path. */
function rulesByPath(rules: readonly TensorRule[]): (parameter: Node) => readonly TensorRule[] {
  const byShape = new Map<string, TensorRule[]>();
  for (const rule of rules) {
    const shape = rulePath(rule.path);
    byShape.set(shape, [...(byShape.get(shape) ?? []), rule]);
  }
  return (node) =>
    (byShape.get(rulePath(pathOf(node))) ?? []).filter((rule) => openNumbers(rule, pathOf(node)) !== undefined);
}

/** The numbers in a path that match the rule's `{}`; undefined if the path does not match. */
function openNumbers(rule: TensorRule, path: string): string[] | undefined {
  const [open, parts] = [rule.path.split("."), path.split(".")];
  const numbers: string[] = [];
  for (const [i, part] of open.entries()) {
    if (part === "{}" && /^\d+$/.test(parts[i]!)) numbers.push(parts[i]!);
    else if (part !== parts[i]) return undefined;
  }
  return numbers;
}

interface SizedAxis {
  readonly name: string;
  readonly size: number;
}

/** An axis of the parameter by name, or a slice of a dimension that it shares. */
type Factor = string | Part;

/** What is concatenated along a dimension, as axis names and counts, and the index of the parameter's own term. */
interface Part {
  readonly at: number;
  readonly terms: readonly (string | number)[];
}

/** The stored dimensions of a rule, each as its factors. */
const dimensionsOf = ({ axes }: TensorRule): Factor[][] =>
  axes === "" ? [] : axes.split(" ").map((dimension) => dimension.split("*").map(factorOf));

function factorOf(text: string): Factor {
  const [, at, whole] = /^(\d+)\/(.+)$/.exec(text) ?? (text === "1" ? [text, "0", "1"] : []);
  if (whole === undefined) return text;
  const terms = whole.split("+").map((term) => (/^\d+$/.test(term) ? Number(term) : term));
  // "1/3" is the second of three entries, as "1/1+1+1" would be.
  const [only] = terms;
  return { at: Number(at), terms: terms.length === 1 && typeof only === "number" ? Array(only).fill(1) : terms };
}

const isAxis = (factor: Factor): factor is string => typeof factor === "string";

/** The parameter's axis that a factor is, or slices; undefined for a single entry. */
function axisAlong(factor: Factor): string | undefined {
  if (isAxis(factor)) return factor;
  const own = factor.terms[factor.at];
  return typeof own === "string" ? own : undefined;
}

/** The axis that a rule's name spreads over tensors, and the words for its indices, if not numbers. */
function spreadOf({ name }: TensorRule) {
  const [text, axis, words] = /\{(\w+)(?::([^}]*))?\}/.exec(name) ?? [];
  return text === undefined ? undefined : { text, axis: axis!, words: words?.split(",") };
}

/** Whether a rule names exactly these axes. */
function hasAxes(rule: TensorRule, axes: readonly { readonly name: string }[]): boolean {
  const spread = spreadOf(rule);
  const along = dimensionsOf(rule).flatMap((factors) => factors.flatMap((factor) => axisAlong(factor) ?? []));
  const named = [...along, ...(spread ? [spread.axis] : [])];
  return named.length === axes.length && axes.every((a) => named.includes(a.name));
}

const tensorName = (rule: TensorRule, path: string): string =>
  openNumbers(rule, path)!.reduce((text, n) => text.replace("{}", n), rule.name);

/** An axis in a rule's sums that no parameter of the tensor has; undefined if all are known. */
function lackedAxis(rule: TensorRule, node: Node, sizeIn: SizeIn): string | undefined {
  const tensor = tensorName(rule, pathOf(node));
  const parts = dimensionsOf(rule)
    .flat()
    .flatMap((factor) => (isAxis(factor) ? [] : factor.terms));
  return parts.find((term): term is string => typeof term === "string" && sizeIn(tensor, term) === undefined);
}

type SizeOf = (axis: string) => number;

const total = (terms: Part["terms"], sizeOf: SizeOf): number =>
  terms.reduce<number>((n, term) => n + (typeof term === "number" ? term : sizeOf(term)), 0);

/** The size of the axis that a factor is, or of the dimension that it is a slice of. */
const wholeSize = (factor: Factor, sizeOf: SizeOf): number =>
  isAxis(factor) ? sizeOf(factor) : total(factor.terms, sizeOf);

/** The dimensions of which the parameter is only a slice. */
const sharedDimensions = (factors: readonly Factor[], sizeOf: SizeOf): SharedDimension[] =>
  factors.flatMap((factor, i) => {
    if (isAxis(factor)) return [];
    const { at, terms } = factor;
    const [count, size] = [total(terms.slice(at, at + 1), sizeOf), total(terms, sizeOf)];
    if (size <= count) return [];
    const along = axisAlong(factor);
    const before = factors.slice(0, i).filter((one) => axisAlong(one) !== undefined).length;
    return [{ before, at: total(terms.slice(0, at), sizeOf), count, size, ...(along !== undefined && { along }) }];
  });

function placesBy(
  rule: TensorRule,
  node: Node,
  sizeIn: SizeIn,
  fault: (message: string) => UsageError,
): CheckpointPlace[] {
  const parameter = pathOf(node);
  const axes = node.type.axes as readonly SizedAxis[];
  requireResolved(rule, node, sizeIn, fault);
  const name = tensorName(rule, parameter);
  const sizeOf: SizeOf = (axis) => axes.find((a) => a.name === axis)?.size ?? sizeIn(name, axis)!;
  const dimensions = dimensionsOf(rule);
  const shared = sharedDimensions(dimensions.flat(), sizeOf);
  const place = {
    parameter,
    name,
    shape: dimensions.map((factors) => factors.reduce((n, factor) => n * wholeSize(factor, sizeOf), 1)),
    order: dimensions.flat().flatMap((factor) => axisAlong(factor) ?? []),
    ...(shared.length > 0 && { shared }),
  };
  const spread = spreadOf(rule);
  if (!spread) return [place];
  const { text, axis, words } = spread;
  const size = sizeOf(axis);
  if (words && words.length !== size)
    throw fault(
      `"${axis}" of parameter "${parameter}" has ${size} entries, but its checkpoint layout names ${words.length}: ${words.join(", ")}`,
    );
  return Array.from({ length: size }, (_, at) => ({
    ...place,
    name: name.replace(text, words?.[at] ?? String(at)),
    entry: { axis, at },
  }));
}

/**
 * Throws for a rule without the parameter's axes, with an axis of unknown size, or with an entry that does not exist.
 */
function requireResolved(rule: TensorRule, node: Node, sizeIn: SizeIn, fault: (message: string) => UsageError): void {
  const [parameter, { axes }] = [pathOf(node), node.type];
  if (!hasAxes(rule, axes))
    throw fault(
      `parameter "${parameter}" has the axes [${axes.map((a) => a.name).join(", ")}], but its checkpoint layout says "${rule.axes}"${spreadOf(rule) ? ` in "${rule.name}"` : ""}: a layout names each axis once in storage order, slowest first, with spaces between dimensions and * between axes of one dimension`,
    );
  const lacked = lackedAxis(rule, node, sizeIn);
  if (lacked !== undefined)
    throw fault(
      `the checkpoint layout of "${parameter}" says "${rule.axes}", but no parameter in "${rule.name}" has an axis "${lacked}"`,
    );
  const isWrongEntry = (factor: Factor) =>
    !isAxis(factor) && axisAlong(factor) === undefined && factor.terms[factor.at] !== 1;
  if (dimensionsOf(rule).flat().some(isWrongEntry))
    throw fault(
      `the checkpoint layout of "${parameter}" says "${rule.axes}": entries count from 0, and each is 1 or an axis`,
    );
}
