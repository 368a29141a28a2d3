/** A finished ONNX model, but for the bytes of what it stores. */
import type { Form, Graph } from "../../../compiler/index.ts";
import { printOnnx } from "../print.ts";
import type { ModelProto } from "../wire/proto.ts";
import { withStoredParts } from "./messages.ts";
import type { BoundInput, StoredTensor } from "./stored.ts";
import { verifyModel } from "./verify.ts";

export interface OnnxModel {
  /** The model without the bytes of the stored tensors. */
  readonly model: ModelProto;
  readonly opset: number;
  readonly stored: readonly StoredTensor[];
  readonly bound: readonly BoundInput[];
  /** What the file computes where it rounds what it multiplies: the graph with that rounding. */
  readonly rounded?: Graph;
  /** Names in the file of the graph's outputs, by their names in the graph. */
  readonly outputs: Readonly<Record<string, string>>;
}

export const modelForm: Form<OnnxModel> = {
  name: "ONNX model",
  print: ({ model, stored }) => printOnnx(withStoredParts(model, stored)),
  verify: ({ model, stored }, stage) => verifyModel(withStoredParts(model, stored), stage),
  size: ({ model }) => `${model.graph!.node!.length} nodes`,
};
