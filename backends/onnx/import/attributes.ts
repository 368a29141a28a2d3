/** The types of nodes' attributes. */
import type { Attribute } from "./messages.ts";

/**
 * Codes in AttributeProto.AttributeType of onnx.proto, by the field that holds the value, and what a user calls them.
 */
const attributeTypes = {
  f: [1, "a float"],
  i: [2, "an integer"],
  s: [3, "a string"],
  t: [4, "a tensor"],
  g: [5, "a graph"],
  floats: [6, "a list of floats"],
  ints: [7, "a list of integers"],
  strings: [8, "a list of strings"],
} as const;

/** The field of AttributeProto that holds an attribute's value. */
export type AttributeField = keyof typeof attributeTypes;

/**
 * Why an attribute is not of the type that an operator has; undefined if it is. Files of IR version 1 do not give
 * types.
 */
export function attributeTypeFault({ name, type }: Attribute, field: AttributeField): string | undefined {
  const [code, expected] = attributeTypes[field];
  if (type === 0 || type === code) return undefined;
  const given = Object.values(attributeTypes).find(([other]) => other === type)?.[1];
  return `the attribute ${name} is ${given ?? `of type ${type}`}; expected ${expected}`;
}
