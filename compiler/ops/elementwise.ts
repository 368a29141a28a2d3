/** Arithmetic, comparison, selection and conversion, element by element. */
export * from "./elementwise/arithmetic.ts";
export * from "./elementwise/comparison.ts";
export * from "./elementwise/conversion.ts";
export * from "./elementwise/functions.ts";
