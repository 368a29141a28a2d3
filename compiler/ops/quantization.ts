/** Dequantization of numbers stored as small integers, several per word, with a scale. */
import type { Node } from "../ir/node.ts";
import { add, cast, idiv, mod, mul, sub } from "./elementwise.ts";
import { gather } from "./indexing.ts";
import { elementwise, rows, scalarConstant, type Ternary } from "./kinds.ts";
import { constant, table } from "./sources.ts";

export type IntegerBits = 8 | 4;

/** The bias of stored integers: words hold excess-2^(bits-1) integers, not two's complement. */
const integerExcess = (bits: IntegerBits): number => 2 ** (bits - 1);

/** The bits of 2^23 as an f32: or-ing an integer into its low mantissa bits adds that integer. */
const unitsOfFraction = "0x4b000000u";

/** The axis of the table of powers; no operand has this name. */
const powers = "power_of_place";

/** The remainder with the sign of b (floored division). */
const floorMod = (a: Node, b: Node): Node => mod(add(mod(a, b), b), b);

function dequantization(bits: IntegerBits): Ternary {
  const [each, excess] = [32 / bits, integerExcess(bits)];
  const made: Ternary = elementwise({
    name: `dequantize_int${bits}`,
    doc: {
      summary: `scale · (n − ${excess}), where n is one of the ${each} unsigned ${bits}-bit integers packed in a word: place 0 is the lowest ${bits} bits.`,
    },
    inputs: ["word", "place", "scale"],
    dtypes: ["f32", "f16"],
    inputDtypes: { word: "u32", place: "u32" },
    decodedBy: "scale",
    reference: (word, place, scale) => (((word! >>> (bits * place!)) & (2 ** bits - 1)) - excess) * scale!,
    gradient: ({ word, place, scale }, dy) => ({
      scale: mul(dy, made(word, place, scalarConstant(1, scale.type.dtype))),
    }),
    wgsl: {
      call: (word, place, scale) => `dequantize_int${bits}(${word}, ${place}, ${scale})`,
      // The integer is or-ed into a float's mantissa, which is cheaper than a conversion.
      helper: `fn dequantize_int${bits}(word: u32, place: u32, scale: f32) -> f32 {
  let units = bitcast<f32>(((word >> (${bits}u * place)) & ${2 ** bits - 1}u) | ${unitsOfFraction});
  return (units - ${2 ** 23 + excess}.0) * scale;
}`,
    },
    // In i32, whose division truncates: the lower bits are subtracted before dividing.
    decompose: ({ word, place, scale }) => {
      const units = table(
        Array.from({ length: each }, (_, i) => 2 ** (bits * i)),
        [{ name: powers, size: each }],
        "i32",
      );
      const unit = gather(units, cast(place, "i32"), powers);
      const whole = cast(word, "i32");
      const from = idiv(sub(whole, floorMod(whole, unit)), unit);
      return mul(cast(sub(floorMod(from, constant(2 ** bits, "i32")), excess), scale.type.dtype), scale);
    },
    special: rows([0, 0, 1, -excess], [2 ** 32 - 2 ** (32 - bits), each - 1, 2, 2 * (excess - 1)], [excess, 0, 3, 0]),
    samples: {
      word: { low: 0, high: 2 ** 32 - 1, integer: true },
      place: { low: 0, high: each - 1, integer: true },
      scale: { low: -2, high: 2 },
    },
  });
  return made;
}

export const dequantizeInt8: Ternary = dequantization(8);
export const dequantizeInt4: Ternary = dequantization(4);
