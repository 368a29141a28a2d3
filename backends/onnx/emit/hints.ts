/**
 * Layout preferences of a node's users. Outputs need their declared order, matmuls need their operands to be matrices;
 * preferences propagate backward through ops that keep layouts, so that axes are transposed once, at the producer.
 */
import {
  coreOf,
  type Graph,
  type IndexAlgebra,
  indexMapOf,
  type Node,
  nodesOf,
  opRecord,
} from "../../../compiler/index.ts";
import { matrixForm, memoryOrder, nearestForm, type Roles } from "./matrix.ts";
import { realAxes, sameOrder } from "./value.ts";

export interface Wish {
  readonly order: readonly string[];
  /** If present, any order works in which the axes form matrices of these roles. */
  readonly roles?: Roles;
}

/** True if the order satisfies the wish. */
export const serves = (wish: Wish, order: readonly string[]): boolean =>
  wish.roles ? matrixForm(order, wish.roles) !== undefined : sameOrder(order, among(wish.order, order));

const among = (names: readonly string[], some: readonly string[]): string[] => names.filter((n) => some.includes(n));

/** Wishes by node; nodes without one are absent. The last user in the graph decides. */
export function layoutHints(graph: Graph): Map<Node, Wish> {
  const wishes = new Map<Node, Wish>();
  for (const { node } of graph.outputs) wishes.set(node, { order: namesOf(node) });
  for (const node of nodesOf(graph).reverse()) {
    node.operands.forEach((operand) => {
      if (wishes.has(operand) || operand.type.axes.length < 2) return;
      const wish =
        coreOf(node)?.kind === "contraction" ? productWish(node, operand) : passedOn(node, operand, wishes.get(node));
      if (wish) wishes.set(operand, wish);
    });
  }
  return wishes;
}

const namesOf = (node: Node): string[] => node.type.axes.map((a) => a.name);
const realNames = (node: Node): string[] => realAxes(node.type.axes).map((a) => a.name);

/** A contraction wants its operand as matrices: in the declared order if that is one. */
function productWish({ operands, attrs }: Node, operand: Node): Wish {
  const contracted = attrs.over as string[];
  const order = realNames(operand);
  const others = operands.filter((o) => o !== operand);
  const batch = order.filter((n) => !contracted.includes(n) && others.some((o) => namesOf(o).includes(n)));
  const roles = { batch, contracted: among(order, contracted) };
  return { order: matrixForm(order, roles) ? order : memoryOrder(nearestForm(order, roles)), roles };
}

function passedOn(node: Node, operand: Node, own: Wish | undefined): Wish | undefined {
  const back = own && namesBefore(node);
  if (!back) return undefined;
  const names = realNames(operand);
  const map = (list: readonly string[]) => among(back(list), names);
  const order = map(own.order);
  if (order.length < names.length) return undefined;
  return own.roles
    ? { order, roles: { batch: map(own.roles.batch), contracted: map(own.roles.contracted) } }
    : { order };
}

/** Maps result axes to operand axes, for ops that keep the layout; undefined for others. */
function namesBefore(node: Node): ((names: readonly string[]) => readonly string[]) | undefined {
  const map = indexMapOf(node);
  if (!map) return keepsAxes(node) ? (names) => names : undefined;
  // For each operand axis, the result axes that its index depends on.
  const from = Object.entries(map.sources[0]!.index(mentioned, (axis) => [axis]));
  const moves = from.some(([axis, by]) => by.length !== 1 || by[0] !== axis);
  if (moves && !map.inverse) return undefined;
  return (names) => [
    ...new Set(
      names.flatMap((n) => {
        const axes = from.filter(([, by]) => by.includes(n)).map(([axis]) => axis);
        return axes.length > 0 ? axes : [n];
      }),
    ),
  ];
}

const together = (a: readonly string[], b: readonly string[]) => [...new Set([...a, ...b])];

/** Index algebra that only tracks which axes an index depends on. */
const mentioned: IndexAlgebra<readonly string[]> = {
  dim: () => [],
  add: together,
  sub: together,
  mul: together,
  div: together,
  mod: together,
  le: together,
  lt: together,
  and: together,
};

/** Elementwise ops, and operators along an axis that is kept, such as softmax and norms. */
const keepsAxes = (node: Node): boolean => {
  const { kind, onnx } = opRecord(node.op);
  if (kind === "elementwise") return true;
  return kind === "composite" && onnx !== undefined && sameOrder(namesOf(node), namesOf(node.operands[0]!));
};
