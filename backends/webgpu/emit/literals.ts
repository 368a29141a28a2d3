/** Names, types and literals of WGSL. */
import { type DType, kernelIr } from "../../../compiler/index.ts";

/** Words of WGSL that look like names that lowering makes: letters and a number. */
const words = new Set("f16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64 vec2 vec3 vec4 atan2 exp2 log2".split(" "));
const builtins: ReadonlySet<string> = new Set(kernelIr.threadBuiltins);

/** A kernel's name for a value or for memory in WGSL, where it may mean nothing else: what a person chose gets a mark. */
export const wgslName = (name: string): string =>
  builtins.has(name) || (/^[a-z]+\d+$/.test(name) && !words.has(name)) ? name : `${name}_`;

/** The type a dtype has in memory: bool is not host-shareable and takes a u32. */
export const stored = {
  f32: "f32",
  f16: "f16",
  i32: "i32",
  u32: "u32",
  bool: "u32",
} as const satisfies Record<DType, string>;

/** What memory and registers hold: eight halves are four words. */
export function storedType({ dtype, width }: kernelIr.RegisterType): string {
  if (width === 8) return "vec4<u32>";
  return width ? `vec${width}<${stored[dtype]}>` : stored[dtype];
}

/** WGSL refuses literals that are infinite or nan; from bits that come as an argument it takes them. */
export const fromBits = "fn from_bits(bits: u32) -> f32 { return bitcast<f32>(bits); }";

/** A call of `fromBits` that gives an f32, whatever it is. */
export const bitsLiteral = (value: number): string =>
  `from_bits(0x${new Uint32Array(Float32Array.of(value).buffer)[0]!.toString(16)}u)`;

/** A float literal. */
function floatText(value: number, dtype: DType): string {
  const text = String(dtype === "f16" ? value : Math.fround(value));
  return `${/[.e]/.test(text) ? text : `${text}.0`}${dtype === "f16" ? "h" : "f"}`;
}

export function literal(value: number, dtype: DType): string {
  if (dtype === "bool") return value ? "true" : "false";
  if (dtype === "u32") return `${value}u`;
  if (dtype === "i32") return value === -(2 ** 31) ? "i32(-2147483647 - 1)" : value < 0 ? `(${value}i)` : `${value}i`;
  return value < 0 ? `(${floatText(value, dtype)})` : floatText(value, dtype);
}
