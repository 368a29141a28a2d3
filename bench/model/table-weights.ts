/**
 * Weights for models too large to sample element by element: ranges of one table of normals, scaled as the initializers
 * say.
 */
import {
  allocate,
  type Distribution,
  elementCount,
  type Graph,
  type HostData,
  type HostTensor,
  inputName,
  type SizedAxis,
} from "../../compiler/index.ts";
import { initialValue, type ParameterSource, randomStream } from "../../runtime/index.ts";
import { normals } from "./values.ts";

const tableSize = 2 ** 22;
/** Tensors up to this size are sampled normally: biases, norms and scales. */
const smallSize = 2 ** 16;

/**
 * Every parameter of a graph, determined by its name. Large ones are normal with their initializer's standard
 * deviation: ranges of a table, whose start depends on the name, so that no two parameters are equal.
 */
export function tableWeights(graph: Graph): ParameterSource {
  const nodes = new Map(graph.inputs.filter((n) => n.op === "parameter").map((n) => [inputName(n), n]));
  const table = normals("table", tableSize);
  const scaled = new Map<string, HostData>();
  const scaledTable = (std: number, dtype: "f32" | "f16"): HostData => {
    const key = `${std} ${dtype}`;
    let known = scaled.get(key);
    if (!known) {
      const values = table.map((v) => v * std);
      scaled.set(key, (known = dtype === "f16" ? new Float16Array(values) : values));
    }
    return known;
  };
  const read = async (name: string, wanted = "f32"): Promise<HostTensor> => {
    const dtype = wanted === "f16" ? "f16" : "f32";
    const node = nodes.get(name)!;
    const axes = node.type.axes as readonly SizedAxis[];
    const data = allocate(dtype, elementCount(axes));
    if (data.length <= smallSize) data.set(initialValue(node, 1).data);
    else copyFrom(scaledTable(spreadOf(node.attrs.init as unknown as Distribution), dtype), data, name);
    return { dtype, axes, data };
  };
  return { read };
}

function copyFrom(table: HostData, out: HostData, name: string): void {
  let at = randomStream(1, name).integer(0, table.length);
  for (let done = 0; done < out.length; at = 0) {
    const part = table.subarray(at, at + Math.min(table.length - at, out.length - done));
    out.set(part, done);
    done += part.length;
  }
}

/** The standard deviation of an initializer. */
function spreadOf(init: Distribution): number {
  if (init.kind === "normal" || init.kind === "truncated_normal") return init.std;
  return init.kind === "uniform" ? (init.high - init.low) / Math.sqrt(12) : 0;
}
