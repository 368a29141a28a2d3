/** ONNX models of the forward passes, with the operators that PyTorch exporters emit. */
import onnxProto from "onnx-proto";
import type { PlainTensor } from "../../model/values.ts";
import type { BlockConfig } from "../../model/vit.ts";

const { AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto } =
  onnxProto.onnx;

const { FLOAT, INT64 } = TensorProto.DataType;

/** Gelu requires opset 20, LayerNormalization 17. */
const opset = 20;

type Attributes = Readonly<Record<string, number | readonly number[]>>;

/** Adds nodes one by one; each returns the name of its output. */
class Builder {
  private readonly nodes: InstanceType<typeof NodeProto>[] = [];
  private readonly initializers: InstanceType<typeof TensorProto>[] = [];

  op(type: string, inputs: readonly string[], attributes: Attributes = {}, outputs = 1): string[] {
    const output = Array.from({ length: outputs }, (_, i) => `${type}_${this.nodes.length}_${i}`);
    const attribute = Object.entries(attributes).map(([name, value]) => attributeOf(name, value));
    this.nodes.push(new NodeProto({ opType: type, input: [...inputs], output, attribute }));
    return output;
  }

  one(type: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.op(type, inputs, attributes)[0]!;
  }

  floats(name: string, { shape, data }: PlainTensor): string {
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.initializers.push(new TensorProto({ name, dims: [...shape], dataType: FLOAT, rawData }));
    return name;
  }

  integers(values: readonly number[]): string {
    const name = `integers_${this.initializers.length}`;
    const rawData = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    this.initializers.push(new TensorProto({ name, dims: [values.length], dataType: INT64, rawData }));
    return name;
  }

  model(inputs: Readonly<Record<string, readonly number[]>>, result: string, shape: readonly number[]): Uint8Array {
    this.nodes.push(new NodeProto({ opType: "Identity", input: [result], output: ["y"] }));
    const graph = new GraphProto({
      name: "bench",
      node: this.nodes,
      initializer: this.initializers,
      input: Object.entries(inputs).map(([name, dims]) => floatValue(name, dims)),
      output: [floatValue("y", shape)],
    });
    const opsetImport = [new OperatorSetIdProto({ domain: "", version: opset })];
    return ModelProto.encode(new ModelProto({ irVersion: 9, opsetImport, graph })).finish();
  }
}

const { FLOAT: floatAttribute, INT: intAttribute, INTS: intsAttribute } = AttributeProto.AttributeType;

function attributeOf(name: string, value: number | readonly number[]): InstanceType<typeof AttributeProto> {
  if (typeof value !== "number") return new AttributeProto({ name, type: intsAttribute, ints: [...value] });
  if (Number.isInteger(value)) return new AttributeProto({ name, type: intAttribute, i: value });
  return new AttributeProto({ name, type: floatAttribute, f: value });
}

const floatValue = (name: string, dims: readonly number[]) =>
  new ValueInfoProto({
    name,
    type: { tensorType: { elemType: FLOAT, shape: { dim: dims.map((dimValue) => ({ dimValue })) } } },
  });

/** y = a · b, both [size, size]. */
export function matmulModel(size: number): Uint8Array {
  const b = new Builder();
  const shape = [size, size];
  return b.model({ a: shape, b: shape }, b.one("MatMul", ["a", "b"]), shape);
}

/** The block of ../../model/vit.ts: x [batch, token, embed] -> y. */
export function blockModel(c: BlockConfig, weights: ReadonlyMap<string, PlainTensor>): Uint8Array {
  const b = new Builder();
  for (const [name, tensor] of weights) b.floats(name, tensor);
  const linear = (name: string, x: string) => b.one("Add", [b.one("MatMul", [x, `${name}.weight`]), `${name}.bias`]);
  const norm = (name: string, x: string) =>
    b.one("LayerNormalization", [x, `${name}.weight`, `${name}.bias`], { axis: -1, epsilon: 1e-5 });
  const attended = linear("attn.proj", attention(b, c, linear("attn.qkv", norm("norm1", "x"))));
  const y = b.one("Add", ["x", attended]);
  const inner = b.one("Gelu", [linear("mlp.fc1", norm("norm2", y))]);
  const shape = [c.batch, c.tokens, c.width];
  return b.model({ x: shape }, b.one("Add", [y, linear("mlp.fc2", inner)]), shape);
}

/** qkv [batch, token, 3 · embed] -> [batch, token, embed] */
function attention(b: Builder, c: BlockConfig, qkv: string): string {
  const headDim = c.width / c.heads;
  const heads = b.integers([c.batch, c.tokens, c.heads, headDim]);
  const parts = b.op("Split", [qkv], { axis: 2, num_outputs: 3 }, 3);
  const turned = (part: string, perm: readonly number[]) =>
    b.one("Transpose", [b.one("Reshape", [part, heads])], { perm });
  const [q, k, v] = [turned(parts[0]!, [0, 2, 1, 3]), turned(parts[1]!, [0, 2, 3, 1]), turned(parts[2]!, [0, 2, 1, 3])];
  const factor = b.floats("attn.scale", { shape: [], data: Float32Array.of(headDim ** -0.5) });
  const logits = b.one("Mul", [b.one("MatMul", [q, k]), factor]);
  const mixed = b.one("MatMul", [b.one("Softmax", [logits], { axis: -1 }), v]);
  const merged = b.one("Transpose", [mixed], { perm: [0, 2, 1, 3] });
  return b.one("Reshape", [merged, b.integers([c.batch, c.tokens, c.width])]);
}
