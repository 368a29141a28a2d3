/** The element types a tensor can have. */
export const dtypes = ["f32", "f16", "i32", "u32", "bool"] as const;
export type DType = (typeof dtypes)[number];

/** Bytes one element takes in device and file memory; a bool takes 4 on a WebGPU device, where no smaller type is addressable. */
export const dtypeBytes = { f32: 4, f16: 2, i32: 4, u32: 4, bool: 1 } as const satisfies Record<DType, number>;

export const isFloat = (dtype: DType): boolean => dtype === "f32" || dtype === "f16";
