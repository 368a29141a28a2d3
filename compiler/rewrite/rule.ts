/**
 * Rewrite rules: what to match, when, and the replacement. Each rule is checked on its own example when it is built.
 */
import { InternalError } from "../diagnostics/error.ts";
import { withoutCapture } from "../diagnostics/source-location.ts";
import type { Node } from "../ir/node.ts";
import type { OpKind } from "../ir/op.ts";
import { axisNames as namesOf, printType, sameType, type TensorType } from "../ir/type.ts";
import { is, type Recorded, transpose } from "../ops/index.ts";
import { type Bound, matchPattern, pattern, samplesOf, type Variables } from "./pattern.ts";

/** Why a rule left a node that it matched unchanged. */
export interface Refusal {
  readonly refused: string;
}

export interface Rule {
  readonly name: string;
  /**
   * Name of the op at the root of the match (`kind`: its kind of op); with neither, the rule is tried on every node.
   */
  readonly op?: string;
  readonly kind?: OpKind;
  /** A replacement of the same type; a refusal with its reason; or undefined if the node does not match. */
  readonly apply: (node: Node) => Node | Refusal | undefined;
  /** A node that the rule replaces. */
  readonly example: Node;
}

export const isRefusal = (r: Node | Refusal | undefined): r is Refusal => r !== undefined && "refused" in r;
export const refuse = (refused: string): Refusal => ({ refused });

export interface PatternRule<V extends Variables> {
  readonly given: V;
  readonly match: (v: Bound<V>) => Node;
  /** True, or the reason to refuse. */
  readonly when?: (v: Bound<V>) => true | string;
  readonly replace: (v: Bound<V>) => Node;
}

/**
 * A rule with both sides written with op builders; throws InternalError if a variable is unbound or its example fails.
 */
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
  /** The builder of the op to match (`kind`: the kind of op); with neither, every node. */
  readonly of?: Recorded;
  readonly kind?: OpKind;
  /** The builder of the op whose result must be the first operand. */
  readonly operand?: Recorded;
  readonly example: () => Node;
  /** The replacement, from the node and its first operand. */
  readonly rewrite: (node: Node, operand: Node) => Node | Refusal | undefined;
}

/** A rule in code, for what patterns cannot express: variadic operands, arithmetic on sizes. */
export const nodeRule = (name: string, { of, kind, operand, example, rewrite }: NodeRule): Rule =>
  checked({
    name,
    ...(of && { op: of.record.name }),
    ...(kind && { kind }),
    apply: (node) => (operand && !is(operand, node.operands[0]) ? undefined : rewrite(node, node.operands[0]!)),
    example: withoutCapture(example),
  });

/** Runs a rule on its example, which it must replace with another node of the same type. */
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

/** `value` transposed to the axis order of `like`. */
export const inOrderOf = (like: Node, value: Node): Node => transpose(value, namesOf(like.type));

/** True if two types differ at most in axis order. */
export const sameUpToOrder = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype &&
  a.axes.length === b.axes.length &&
  a.axes.every((x) => b.axes.some((y) => y.name === x.name && y.size === x.size));
