/** Graph nodes: immutable and interned, so that equal means identical. */
import type { Birth } from "../diagnostics/source-location.ts";
import { isSymbolic, type SymbolicDim } from "./dim.ts";
import { type TensorType, typeKey } from "./type.ts";

export type AttrValue =
  | number
  | string
  | boolean
  | null
  | SymbolicDim
  | readonly AttrValue[]
  | { readonly [key: string]: AttrValue };
export type Attrs = Readonly<Record<string, AttrValue>>;

/**
 * One operation with one result. `op` names a record of the registry; `attrs` are what that record's schema lists.
 * `birth` and `path` say where it comes from and are no part of its identity.
 */
export interface Node {
  readonly op: string;
  readonly operands: readonly Node[];
  readonly attrs: Attrs;
  readonly type: TensorType;
  /** The user's line. */
  readonly birth: Birth | undefined;
  /** The module path, such as "blocks.3.attn"; from the parameters it uses. */
  readonly path: string;
}

const table = new Map<string, WeakRef<Node>>();
const identity = new WeakMap<Node, number>();
let next = 0;
const forget = new FinalizationRegistry<string>((key) => {
  if (!table.get(key)?.deref()) table.delete(key);
});

/** The path of new nodes, while something is replaced. */
let givenPath: string | undefined;

/** Runs `body` with the nodes that it makes in the module of `path`, unless that is "": what replaces a node stays where it was. */
export function withPath<T>(path: string, body: () => T): T {
  const before = givenPath;
  givenPath = path === "" ? undefined : path;
  try {
    return body();
  } finally {
    givenPath = before;
  }
}

/** The node with these parts: an existing one where there is one. */
export function intern(
  op: string,
  operands: readonly Node[],
  attrs: Attrs,
  type: TensorType,
  birth?: Birth,
  path?: string,
): Node {
  const key = `${op}(${operands.map((o) => identity.get(o)).join(",")})${attrKey(attrs)}:${typeKey(type)}`;
  const found = table.get(key)?.deref();
  if (found) return found;
  const node: Node = Object.freeze({
    op,
    operands,
    attrs,
    type,
    birth,
    path: path ?? givenPath ?? inheritedPath(operands),
  });
  identity.set(node, next++); // never printed and never compared: only a handle for the interning key
  table.set(key, new WeakRef(node));
  forget.register(node, key);
  return node;
}

/** The path of the first parameter operand, else that of the first operand that has one. */
function inheritedPath(operands: readonly Node[]): string {
  // Of the nodes without operands, parameters alone have a path.
  const parameter = operands.find((o) => o.operands.length === 0 && o.path !== "");
  return (parameter ?? operands.find((o) => o.path !== ""))?.path ?? "";
}

/** Texts of objects: nodes that are rebuilt share their attributes, which do not change. */
const texts = new WeakMap<object, string>();

/** One spelling for each value: JSON with sorted keys, names for the numbers JSON lacks, and sizes with their bounds. */
export function attrKey(value: AttrValue): string {
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (isSymbolic(value)) return value.key;
  let text = texts.get(value);
  if (text === undefined) texts.set(value, (text = Array.isArray(value) ? arrayKey(value) : recordKey(value as Attrs)));
  return text;
}

const arrayKey = (values: readonly AttrValue[]): string => `[${values.map(attrKey).join(",")}]`;

const recordKey = (record: Attrs): string =>
  `{${Object.keys(record)
    .sort()
    .map((k) => `${k}:${attrKey(record[k]!)}`)
    .join(",")}}`;
