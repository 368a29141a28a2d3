/** Tensors that a file holds, as values: parameters, or what is known while the graph is read. */
import { UnsupportedError } from "../../../compiler/index.ts";
import { elementType, isNarrow } from "./elements.ts";
import { parameterPath, shownName } from "./file-names.ts";
import type { GraphMessage, NodeMessage, TensorMessage } from "./messages.ts";
import type { Value, Weight } from "./values.ts";
import { type ExternalReader, type FileTensor, fileTensor, knownTensor } from "./weights.ts";

/** Integers of few bits that are more than these are weights, kept as they are. */
const mostInTables = 1024;

/** Tensors of more elements are weights even where they are integers. */
const mostKnown = 2 ** 16;

/** Elements of small tensors that lie in other files: shapes and the like steer operators. */
export async function fewElements(graph: GraphMessage, external: ExternalReader | undefined) {
  const read = new Map<TensorMessage, ArrayLike<number>>();
  for (const message of graph.initializer) {
    if (message.dataLocation !== 1) continue;
    const found = fileTensor(message, external);
    const isSetting = !isFloatTensor(found) || found.count <= 64;
    if (isSetting && found.count <= mostKnown) read.set(message, await found.read());
  }
  return read;
}

const isFloatTensor = ({ type }: FileTensor): boolean => type.dtype === "f32" || type.dtype === "f16";

export class StoredTensors {
  readonly #external: ExternalReader | undefined;
  readonly #steering: ReadonlyMap<TensorMessage, ArrayLike<number>>;
  readonly #paths = new Set<string>();

  constructor(external: ExternalReader | undefined, steering: ReadonlyMap<TensorMessage, ArrayLike<number>>) {
    this.#external = external;
    this.#steering = steering;
  }

  /** A tensor of the file: a parameter where it is floats, or too much to be anything else; else what is known. */
  value(message: TensorMessage, name: string): Value {
    const found = fileTensor(message, this.#external);
    const values = this.#steering.get(message) ?? (found.count <= mostKnown ? found.values?.() : undefined);
    const exact = values && knownTensor(found, values);
    if (found.count === 0) return exact ?? knownTensor(found, []);
    const isParameter = isFloatTensor(found) ? found.count > 1 : isNarrow(found.type) && found.count > mostInTables;
    if (!isParameter && exact) return exact;
    const weight: Weight = { name: this.pathOf(name), read: found.read };
    return { kind: "stored", type: found.type, shape: found.shape, weight, ...(exact && { known: exact }) };
  }

  /** A name of the file as a parameter's path, which no other has. */
  pathOf(name: string): string {
    const path = parameterPath(name);
    for (let n = 1; ; n++) {
      const own = n === 1 ? path : `${path}_${n}`;
      if (this.#paths.has(own)) continue;
      this.#paths.add(own);
      return own;
    }
  }
}

export function constantOf(attribute: NodeMessage["attribute"][number] | undefined): Value {
  const { name, f, i, floats, ints } = attribute ?? { name: "", floats: [], ints: [] };
  const [float, integer] = [elementType(1, ""), elementType(7, "")];
  if (name === "value_float" && f !== undefined) return { kind: "known", type: float, shape: [], values: [f] };
  if (name === "value_int" && i !== undefined) return { kind: "known", type: integer, shape: [], values: [i] };
  if (name === "value_floats") return { kind: "known", type: float, shape: [floats.length], values: floats };
  if (name === "value_ints") return { kind: "known", type: integer, shape: [ints.length], values: ints };
  throw new UnsupportedError(
    `its value is ${name === "" ? "missing" : `in "${shownName(name)}"`}, which is no tensor of numbers`,
  );
}
