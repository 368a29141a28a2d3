/** Graph nodes: immutable and interned (hash-consed), so equal nodes are identical. */
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
 * One operation with one result. `op` names a record of the registry; `attrs` follow that record's schema.
 * `birth` and `path` are its source location and module, and not part of its identity.
 */
export interface Node {
  readonly op: string;
  readonly operands: readonly Node[];
  readonly attrs: Attrs;
  readonly type: TensorType;
  /** Where the user's code created it. */
  readonly birth: Birth | undefined;
  /** The module path, such as "blocks.3.attn"; inherited from the parameters it uses. */
  readonly path: string;
}

const table = new Map<string, WeakRef<Node>>();
const identity = new WeakMap<Node, number>();
let next = 0;
const forget = new FinalizationRegistry<string>((key) => {
  if (!table.get(key)?.deref()) table.delete(key);
});

/** The path given to new nodes while `withPath` runs. */
let givenPath: string | undefined;

/** Gives nodes made by `body` the module path `path`, unless it is "": replacements stay in the original's module. */
export function withPath<T>(path: string, body: () => T): T {
  const before = givenPath;
  givenPath = path === "" ? undefined : path;
  try {
    return body();
  } finally {
    givenPath = before;
  }
}

/** Returns the existing node with these fields, or makes one. */
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
  // Of the nodes without operands, only parameters have a path.
  const parameter = operands.find((o) => o.operands.length === 0 && o.path !== "");
  return (parameter ?? operands.find((o) => o.path !== ""))?.path ?? "";
}

/** Keys of attribute objects: rebuilt nodes share them, and they are immutable. */
const texts = new WeakMap<object, string>();

/** A canonical key: like JSON with sorted keys, plus the numbers that JSON lacks; sizes include their bounds. */
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
