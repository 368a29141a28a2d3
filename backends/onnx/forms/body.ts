/**
 * An ONNX model in construction: nodes and their inputs, before names are final and protobuf messages are assembled.
 */
import { type Form, type Graph, inputName, type Node, type TensorType } from "../../../compiler/index.ts";
import { type Constant, fedType, type PlacedView, type Product } from "../emit/emission.ts";
import type { EmitOptions } from "../options.ts";
import { printOnnx } from "../print.ts";
import { wireCodes } from "../wire/elements.ts";
import { irVersionOf, type ModelProto, type NodeProto, type TensorProto } from "../wire/proto.ts";
import { boundInfo, valueInfo, withStoredParts } from "./messages.ts";
import type { InputKind } from "./plan.ts";
import type { BoundInput, StoredTensor } from "./stored.ts";
import { verifyModel } from "./verify.ts";

/** An output of the model. */
export interface Result {
  /** Its name in the graph. */
  readonly output: string;
  /** The value's current name. */
  readonly from: string;
  /** Its name in the file. */
  readonly to: string;
  readonly type: TensorType;
}

export interface Body {
  readonly graph: Graph;
  readonly options: EmitOptions;
  readonly kinds: ReadonlyMap<Node, InputKind>;
  readonly nodes: readonly NodeProto[];
  readonly constants: ReadonlyMap<string, Constant>;
  /** Ranges of stored and bound inputs that nodes read, by placeholder name; empty after place-inputs. */
  readonly views: ReadonlyMap<string, PlacedView>;
  /** Graph products by the output name of their MatMul. */
  readonly products: ReadonlyMap<string, readonly Product[]>;
  /** Products whose left operand the file quantizes with DynamicQuantizeLinear, one scale per tensor. */
  readonly rounded?: readonly Product[];
  readonly stored: readonly StoredTensor[];
  readonly bound: readonly BoundInput[];
  readonly results: readonly Result[];
  /** Names in use. */
  readonly taken: ReadonlySet<string>;
}

/** The model without its stored tensors, with outputs under their values' current names. */
export function bodyModel({ graph, options, kinds, nodes, constants, bound, results }: Body): ModelProto {
  const fed = graph.inputs.filter((n) => kinds.get(n) === "fed");
  const domains = [...new Set(nodes.map((n) => n.domain ?? ""))].filter((d) => d !== "");
  return {
    irVersion: irVersionOf(options.opset),
    producerName: "heddle",
    ...(options.version !== undefined && { producerVersion: options.version }),
    opsetImport: [{ domain: "", version: options.opset }, ...domains.map((domain) => ({ domain, version: 1 }))],
    graph: {
      name: graph.name,
      node: [...nodes],
      initializer: [...constants.values()].map(
        (c): TensorProto => ({ name: c.name, dims: [...c.dims], dataType: wireCodes[c.type], rawData: c.bytes }),
      ),
      input: [
        ...fed.map((n) => valueInfo(inputName(n), n.type, options, fedType(options, n))),
        ...bound.map(boundInfo),
      ],
      output: results.map((r) => valueInfo(r.from, r.type, options)),
    },
  };
}

/** Replaces the NUL character in placeholder names. */
const print = (body: Body): string => printOnnx(withStoredParts(bodyModel(body), body.stored)).replaceAll("\0", "view");

export const bodyForm: Form<Body> = {
  name: "ONNX body",
  print,
  verify: (body, stage) => verifyModel(withStoredParts(bodyModel(body), body.stored), stage, body.views.keys()),
  size: ({ nodes }) => `${nodes.length} nodes`,
  same: (a, b) => a === b || print(a) === print(b),
};
