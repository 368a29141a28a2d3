/** Rules: what is looked for, when it may be replaced, and by what. A rule is checked on its own example when it is built. */
import { InternalError } from "../diagnostics/error.ts";
import { withoutCapture } from "../diagnostics/source-location.ts";
import type { Node } from "../ir/node.ts";
import type { OpKind } from "../ir/op.ts";
import { axisNames as namesOf, printType, sameType, type TensorType } from "../ir/type.ts";
import { is, type Recorded, transpose } from "../ops/index.ts";
import { type Bound, matchPattern, pattern, samplesOf, type Variables } from "./pattern.ts";

/** Why a rule leaves a node that it looked at closely. */
export interface Refusal {
  readonly refused: string;
}

export interface Rule {
  readonly name: string;
  /** The op at the root of what it replaces, by name, or the kind of ops; absent where the rule looks at every node. */
  readonly op?: string;
  readonly kind?: OpKind;
  /** The replacement, of the same type; a refusal with its reason; undefined where the node is nothing for this rule. */
  readonly apply: (node: Node) => Node | Refusal | undefined;
  /** A node that the rule replaces. */
  readonly example: Node;
}

export const isRefusal = (r: Node | Refusal | undefined): r is Refusal => r !== undefined && "refused" in r;
export const refuse = (refused: string): Refusal => ({ refused });

export interface PatternRule<V extends Variables> {
  readonly given: V;
  readonly match: (v: Bound<V>) => Node;
  /** True, or the reason why not. */
  readonly when?: (v: Bound<V>) => true | string;
  readonly replace: (v: Bound<V>) => Node;
}

/** A rule whose left and right sides are written with the ordinary builders; throws InternalError when it is no rule. */
export function rule<const V extends Variables>(name: string, spec: PatternRule<V>): Rule {
  const samples = withoutCapture(() => samplesOf(spec.given));
  const example = withoutCapture(() => spec.match(samples));
  const shape = pattern(spec.given, samples, example);
  const apply = (node: Node): Node | Refusal | undefined => {
    const found = matchPattern(shape, node);
    if (!found) return undefined;
    const bound = Object.fromEntries(found) as Bound<V>;
    const verdict = spec.when?.(bound) ?? true;
    return verdict === true ? spec.replace(bound) : refuse(verdict);
  };
  const self = matchPattern(shape, example);
  const unbound = Object.keys(spec.given).filter((v) => !self?.has(v));
  if (unbound.length > 0) throw new InternalError(`rule "${name}": the pattern does not bind ${unbound.join(", ")}`);
  return checked({ name, op: example.op, apply, example });
}

export interface NodeRule {
  /** The builder of the op that it looks at, or the kind of ops; absent for every node. */
  readonly of?: Recorded;
  readonly kind?: OpKind;
  /** The builder of the op whose result must be the first operand. */
  readonly operand?: Recorded;
  readonly example: () => Node;
  /** The replacement, from the node and its first operand. */
  readonly rewrite: (node: Node, operand: Node) => Node | Refusal | undefined;
}

/** A rule that computes its replacement, where a pattern cannot say it: any number of operands, arithmetic on sizes. */
export const nodeRule = (name: string, { of, kind, operand, example, rewrite }: NodeRule): Rule =>
  checked({
    name,
    ...(of && { op: of.record.name }),
    ...(kind && { kind }),
    apply: (node) => (operand && !is(operand, node.operands[0]) ? undefined : rewrite(node, node.operands[0]!)),
    example: withoutCapture(example),
  });

/** Runs a rule on its example: it must replace it, by something of the same type. */
function checked(r: Rule): Rule {
  const result = withoutCapture(() => r.apply(r.example));
  if (result === undefined || isRefusal(result)) {
    throw new InternalError(`rule "${r.name}" leaves its own example${result ? `: ${result.refused}` : ""}`);
  }
  if (result === r.example) throw new InternalError(`rule "${r.name}" changes nothing in its example`);
  if (!sameType(result.type, r.example.type)) {
    throw new InternalError(`rule "${r.name}" makes ${printType(result.type)} of ${printType(r.example.type)}`);
  }
  return r;
}

/** The value with its axes in the order in which `like` has them. */
export const inOrderOf = (like: Node, value: Node): Node => transpose(value, namesOf(like.type));

/** True where two types differ in the order of their axes at most. */
export const sameUpToOrder = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype &&
  a.axes.length === b.axes.length &&
  a.axes.every((x) => b.axes.some((y) => y.name === x.name && y.size === x.size));
