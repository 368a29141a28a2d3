/** The element types a tensor can have. */
export const dtypes = ["f32", "f16", "i32", "u32", "bool"] as const;
/** What the elements of a tensor are: f32, f16, i32, u32 or bool. */
export type DType = (typeof dtypes)[number];

/** Bytes per element in memory and files; on a WebGPU device a bool takes 4: nothing smaller is addressable there. */
export const dtypeBytes = { f32: 4, f16: 2, i32: 4, u32: 4, bool: 1 } as const satisfies Record<DType, number>;

/** Bytes per element in device memory, where a bool takes four. */
export const deviceElementBytes = (dtype: DType): number => (dtype === "bool" ? 4 : dtypeBytes[dtype]);

export const isFloat = (dtype: DType): boolean => dtype === "f32" || dtype === "f16";

/** The smallest and largest finite number of each dtype. */
export const finiteRange: Readonly<Record<DType, readonly [number, number]>> = {
  f32: [-3.4028234663852886e38, 3.4028234663852886e38],
  f16: [-65504, 65504],
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  bool: [0, 1],
};

/**
 * Why a constant of the dtype cannot be this number, with a hint; undefined if it can. Floats are rounded, and may be
 * infinite or nan.
 */
export function misfit(dtype: DType, value: number): { readonly message: string; readonly hint: string } | undefined {
  const [low, high] = finiteRange[dtype];
  if (isFloat(dtype)) {
    const rounded = dtype === "f16" ? Math.f16round(value) : Math.fround(value);
    if (!Number.isFinite(value) || Number.isFinite(rounded)) return undefined;
    return { message: `${value} is no ${dtype}`, hint: `${dtype} goes from ${low} to ${high}` };
  }
  if (Number.isInteger(value) && value >= low && value <= high) return undefined;
  const hint = Number.isInteger(value)
    ? `${dtype} goes from ${low} to ${high}`
    : 'cast the tensor first: cast(x, "f32")';
  return { message: `${value} is no ${dtype}`, hint };
}

/**
 * The result of a cast, in float64. To bool: any number but 0 is true. Float to integer: truncated towards 0 and
 * saturated; nan gives 0. Between integers: wraps. Rounding to f16 is left to executors.
 */
export function castValue(value: number, from: DType, to: DType): number {
  if (to === "bool") return value !== 0 ? 1 : 0;
  if (to !== "i32" && to !== "u32") return value;
  if (!isFloat(from)) return to === "i32" ? value | 0 : value >>> 0;
  const [low, high] = finiteRange[to];
  return Number.isNaN(value) ? 0 : Math.trunc(Math.min(Math.max(value, low), high)) + 0; // + 0: no -0
}
