/** A finished ONNX model, except for its weight data. */
import type { Form, Graph } from "../../../compiler/index.ts";
import { printOnnx } from "../print.ts";
import type { ModelProto } from "../wire/proto.ts";
import { withStoredParts } from "./messages.ts";
import type { BoundInput, StoredTensor } from "./stored.ts";
import { verifyModel } from "./verify.ts";

export interface OnnxModel {
  /** The model without the data of stored tensors. */
  readonly model: ModelProto;
  readonly opset: number;
  readonly stored: readonly StoredTensor[];
  readonly bound: readonly BoundInput[];
  /** With quantized activations: the reference graph that includes their rounding. */
  readonly rounded?: Graph;
  /** Output names in the file, by their names in the graph. */
  readonly outputs: Readonly<Record<string, string>>;
}

export const modelForm: Form<OnnxModel> = {
  name: "ONNX model",
  print: ({ model, stored }) => printOnnx(withStoredParts(model, stored)),
  verify: ({ model, stored }, stage) => verifyModel(withStoredParts(model, stored), stage),
  size: ({ model }) => `${model.graph!.node!.length} nodes`,
};
