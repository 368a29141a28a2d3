/**
 * The signatures of operators, from the table. A line is the operator, the opset since which it is so, its inputs, its
 * outputs, its type variables and its attributes, with "-" for none:
 *
 *     ReduceMax 18 T,=l? T T=df axes:is,axis:i!
 *
 * An input has the type of a variable, or after "=" its own. After it: "?" optional, "*1" one or more of one type,
 * "~0" any number of any of the variable's types. An attribute has a type and, if it is required, "!".
 */
import type { AttributeField } from "../attributes.ts";
import { table } from "./table.ts";

/** One letter for each element type in the table, and for a sequence. */
const typeNames: Readonly<Record<string, string>> = {
  ...{ f: "float", d: "double", h: "float16", b: "bfloat16", B: "bool", q: "sequence" },
  ...{ c: "int8", s: "int16", i: "int32", l: "int64", n: "int4", m: "int2" },
  ...{ C: "uint8", S: "uint16", I: "uint32", L: "uint64", N: "uint4", M: "uint2" },
};

export interface Parameter {
  /** The name of its type variable; undefined if it has a type of its own. */
  readonly variable?: string;
  /**
   * The names of the types that it can have, "sequence" among them; those that heddle does not support are left out.
   */
  readonly types: readonly string[];
  /** A variadic parameter is the last one. */
  readonly kind: "single" | "optional" | "variadic";
  /** Whether all values of a variadic parameter have one type. */
  readonly alike: boolean;
}

/** The parameters of one side of an operator, and of how many values they are. */
export interface Side {
  readonly parameters: readonly Parameter[];
  readonly fewest: number;
  readonly most: number;
}

export interface Signature {
  /** The opset since which the operator is so. */
  readonly since: number;
  readonly inputs: Side;
  readonly outputs: Side;
  /**
   * By name: the field that holds the value, undefined for types that heddle does not read, and whether it must be
   * given.
   */
  readonly attributes: ReadonlyMap<string, { readonly type?: AttributeField; readonly required: boolean }>;
  /** True from the opset on in which the operator is no longer. */
  readonly deprecated: boolean;
}

/** Lines by operator, parsed when an operator is first asked for. */
const lines: ReadonlyMap<string, readonly string[]> = Map.groupBy(
  table.trim().split("\n"),
  (line) => line.split(" ", 1)[0]!,
);
const parsed = new Map<string, readonly Signature[]>();

/** The signatures of an operator, oldest first; none for one that is not in the table. */
export function signaturesOf(operator: string): readonly Signature[] {
  const found = parsed.get(operator) ?? (lines.get(operator) ?? []).map(parseLine);
  parsed.set(operator, found);
  return found;
}

const listed = (text: string): string[] => (text === "-" ? [] : text.split(","));

const namesOf = (letters: string): string[] => [...letters].map((letter) => typeNames[letter]!);

function parseLine(line: string): Signature {
  const [, since, inputs, outputs, variables, attributes, deprecated] = line.split(" ") as [string, ...string[]];
  const types = new Map(listed(variables!).map((v) => v.split("=") as [string, string]));
  return {
    since: Number(since),
    inputs: parseSide(listed(inputs!), types),
    outputs: parseSide(listed(outputs!), types),
    attributes: new Map(listed(attributes!).map(parseAttribute)),
    deprecated: deprecated === "deprecated",
  };
}

function parseSide(items: readonly string[], types: ReadonlyMap<string, string>): Side {
  const parameters = items.map((item) => parseParameter(item, types));
  const last = items.at(-1) ?? "";
  const variadic = /[*~](\d+)$/.exec(last);
  const required = parameters.findLastIndex((p) => p.kind === "single") + 1;
  if (!variadic) return { parameters, fewest: required, most: items.length };
  const own = Number(variadic[1]);
  return { parameters, fewest: own > 0 ? items.length - 1 + own : required, most: Number.POSITIVE_INFINITY };
}

function parseParameter(item: string, types: ReadonlyMap<string, string>): Parameter {
  const [, own, name, mark = ""] = /^(=?)(.*?)(\?|[*~]\d+)?$/.exec(item) as unknown as string[];
  return {
    ...(own === "" && { variable: name! }),
    types: namesOf(own === "" ? types.get(name!)! : name!),
    kind: mark === "" ? "single" : mark === "?" ? "optional" : "variadic",
    alike: !mark.startsWith("~"),
  };
}

/** The field of AttributeProto for each type in the table. */
const fields = { f: "f", i: "i", s: "s", t: "t", g: "g", fs: "floats", is: "ints", ss: "strings" } as const;

function parseAttribute(text: string): [string, { type?: AttributeField; required: boolean }] {
  const [name, said] = text.split(":") as [string, string];
  const type = fields[said.replace("!", "") as keyof typeof fields];
  return [name, { ...(type && { type }), required: said.endsWith("!") }];
}
