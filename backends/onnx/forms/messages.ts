/** Builds ONNX protobuf messages. */
import { type Dim, printDim, type TensorType } from "../../../compiler/index.ts";
import type { EmitOptions } from "../options.ts";
import { type WireType, wireCodes } from "../wire/elements.ts";
import type { ModelProto, TensorProto, ValueInfoProto } from "../wire/proto.ts";
import type { BoundInput, StoredTensor } from "./stored.ts";

/** The model with its stored tensors declared as initializers, without data. */
export function withStoredParts(model: ModelProto, stored: readonly StoredTensor[]): ModelProto {
  const parts = stored.flatMap((t) =>
    t.parts.map((p): TensorProto => ({ name: p.name, dims: [...p.dims], dataType: wireCodes[p.type] })),
  );
  return { ...model, graph: { ...model.graph, initializer: [...parts, ...(model.graph?.initializer ?? [])] } };
}

/** A named value's type: sizes as numbers or symbols, axis names as dimension denotations. */
export function valueInfo(
  name: string,
  type: TensorType,
  { sizeNames }: EmitOptions,
  as: WireType = type.dtype,
): ValueInfoProto {
  const named = (size: Dim) => printDim(size, ({ name }) => sizeNames[name] ?? name);
  const dim = type.axes.map((a) => ({
    ...(typeof a.size === "number" ? { dimValue: a.size } : { dimParam: named(a.size) }),
    denotation: a.name,
  }));
  return { name, type: { tensorType: { elemType: wireCodes[as], shape: { dim } } } };
}

export const boundInfo = ({ name, dtype, dims }: BoundInput): ValueInfoProto => ({
  name,
  type: { tensorType: { elemType: wireCodes[dtype], shape: { dim: dims.map((d) => ({ dimValue: d })) } } },
});
