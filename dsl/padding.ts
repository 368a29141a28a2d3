/** How records that have fewer values than an input fill it. */
import { isPlain, kindOfValue, strayFields } from "./declared.ts";

/** How an input is filled where a record has fewer values than its axes. */
export interface Padding {
  /** The axes along which a record may have fewer values; the missing ones come last. */
  readonly axes: readonly string[];
  /** The value in their place. */
  readonly value: number;
  /**
   * An input whose axes are some of this one's, in the same order: 1 where the record has a value, 0 where it is
   * padded.
   */
  readonly mask?: string;
}

/** The padding of inputs, by their names. */
export type Paddings = Readonly<Record<string, Padding>>;

/** What is wrong with a declaration of padding. */
export function paddingFaults(padding: unknown): string[] {
  if (padding === undefined) return [];
  if (!isPlain(padding)) return [`padding must be an object { boxes: ${example} }, got ${kindOfValue(padding)}`];
  return Object.entries(padding).flatMap(([name, one]) => {
    const at = `padding.${name}`;
    if (!isPlain(one)) return [`${at} must be an object ${example}, got ${kindOfValue(one)}`];
    const { axes, value, mask } = one;
    const isList = Array.isArray(axes) && axes.length > 0 && axes.every((axis) => typeof axis === "string");
    return [
      ...strayFields(at, one, ["axes", "value", "mask"]),
      ...(isList ? [] : [`${at} needs \`axes\`, a list of axis names, got ${kindOfValue(axes)}`]),
      ...(typeof value === "number" ? [] : [`${at} needs \`value\`, a number, got ${kindOfValue(value)}`]),
      ...(mask === undefined || typeof mask === "string"
        ? []
        : [`${at}.mask must be the name of an input, got ${kindOfValue(mask)}`]),
    ];
  });
}

const example = '{ axes: ["box"], value: 0 }';
