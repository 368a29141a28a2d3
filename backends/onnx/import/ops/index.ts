/** Every operator that is read, by its name; those of another domain than ONNX's own after it. */
import type { Records } from "../record.ts";
import { elementwiseRecords } from "./elementwise.ts";
import { productRecords } from "./products.ts";
import { shapeRecords } from "./shapes.ts";

export const records: Records = {
  // A constant is read where it stands: it may be a weight.
  Constant: { build: (n) => n.in(0) },
  ...elementwiseRecords,
  ...shapeRecords,
  ...productRecords,
};
