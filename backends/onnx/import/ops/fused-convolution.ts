/** onnxruntime's convolution with what it fuses into it: a sum, and an activation with parameters. */
import { type Node, ops } from "../../../../compiler/index.ts";
import { pointwise } from "../broadcast.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import type { Value } from "../values.ts";
import { convolve } from "./convolutions.ts";

const { add, lt, max, min, mul, relu, select, sigmoid, tanh } = ops;

type Activation = (x: Node, ...parameters: readonly number[]) => Node;

const activations: Readonly<Record<string, Activation>> = {
  "": (x) => x,
  Relu: (x) => relu(x),
  Sigmoid: (x) => sigmoid(x),
  Tanh: (x) => tanh(x),
  LeakyRelu: (x, alpha = 0.01) => select(lt(x, 0), mul(x, alpha), x),
  Clip: (x, least, most) => min(max(x, least!), most!),
  HardSigmoid: (x, alpha = 0.2, beta = 0.5) => min(max(add(mul(x, alpha), beta), 0), 1),
};

function fusedConvolution(n: NodeView): Value {
  const name = n.text("activation", "");
  const activation = Object.hasOwn(activations, name) ? activations[name]! : undefined;
  if (!activation) throw n.fail(`unsupported activation "${name}"`);
  const parameters = n.floats("activation_params") ?? [];
  if (name === "Clip" && parameters.length !== 2) throw n.fail(`Clip needs 2 bounds, got ${parameters.length}`);
  const made = convolve(n, { x: n.in(0), weight: n.in(1), bias: n.inputs[2] });
  const other = n.inputs[3];
  return pointwise(n, other ? [made, other] : [made], ([x, z]) => activation(z ? add(x!, z) : x!, ...parameters));
}

export const fusedRecords: Records = { "com.microsoft.FusedConv": { build: fusedConvolution } };
