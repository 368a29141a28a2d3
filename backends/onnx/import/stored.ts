/** Tensors of a file as values: parameters or constants. */
import { UnsupportedError } from "../../../compiler/index.ts";
import { elementType, isNarrow } from "./elements.ts";
import { parameterPath, shownName } from "./file-names.ts";
import type { GraphMessage, NodeMessage, TensorMessage } from "./messages.ts";
import type { Value, Weight } from "./values.ts";
import { type ExternalReader, type FileTensor, fileTensor, knownTensor } from "./weights.ts";

/** Narrow-integer tensors with more elements than this are quantized weights. */
const mostInTables = 1024;

/** Tensors with more elements than this are weights even if they are integers. */
const mostKnown = 2 ** 16;

/** Reads small external tensors in advance: operators need shapes and other settings as constants. */
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

/** Floats of one element are mostly settings: scales, epsilons, bounds. These are weights by their name in a module. */
const isNamedWeight = ({ name }: TensorMessage): boolean => /(?:^|[./])(?:weight|bias)$/.test(name);

const isFloatTensor = ({ type }: FileTensor): boolean => type.dtype === "f32" || type.dtype === "f16";

export class StoredTensors {
  readonly #external: ExternalReader | undefined;
  readonly #steering: ReadonlyMap<TensorMessage, ArrayLike<number>>;
  readonly #byReader: ReadonlyMap<string, string>;
  readonly #paths = new Set<string>();

  /** `byReader` are the paths of weights that are named after the nodes that read them. */
  constructor(
    external: ExternalReader | undefined,
    steering: ReadonlyMap<TensorMessage, ArrayLike<number>>,
    byReader: ReadonlyMap<string, string>,
  ) {
    this.#external = external;
    this.#steering = steering;
    this.#byReader = byReader;
  }

  /** A tensor of the file: a parameter if it is a float weight or too large for a constant, else a constant. */
  value(message: TensorMessage, name: string, role?: "buffer"): Value {
    const found = fileTensor(message, this.#external);
    const values = this.#steering.get(message) ?? (found.count <= mostKnown ? found.values?.() : undefined);
    const exact = values && knownTensor(found, values);
    if (found.count === 0) return exact ?? knownTensor(found, []);
    const isParameter = isFloatTensor(found)
      ? found.count > 1 || isNamedWeight(message)
      : isNarrow(found.type) && found.count > mostInTables;
    if (!isParameter && exact) return exact;
    const weight: Weight = { name: this.pathOf(name), read: found.read, ...(role && { role }) };
    return { kind: "stored", type: found.type, shape: found.shape, weight, ...(exact && { known: exact }) };
  }

  /** Whether a weight's name is a path that `pathOf` gave. */
  isPath(name: string): boolean {
    return this.#paths.has(name);
  }

  /** A unique parameter path for a name of the file. */
  pathOf(name: string): string {
    const path = this.#byReader.get(name) ?? parameterPath(name);
    for (let n = 1; ; n++) {
      const own = n === 1 ? path : `${path}_${n}`;
      if (this.#paths.has(own)) continue;
      this.#paths.add(own);
      return own;
    }
  }
}

/** Whether a file has weights among its initializers. Some exporters write all of them as nodes Constant. */
export const hasWeights = ({ initializer }: GraphMessage): boolean =>
  initializer.some(({ dataType, dims }) => [1, 10, 11, 16].includes(dataType) && dims.some((d) => d > 1));

export function constantOf(attribute: NodeMessage["attribute"][number] | undefined): Value {
  const { name, f, i, floats, ints, type } = attribute ?? { name: "", floats: [], ints: [], type: 0 };
  const [float, integer] = [elementType(1, ""), elementType(7, "")];
  // Writers of proto3 leave out a 0, and only the type says that there is one.
  const number = name === "value_float" ? (f ?? (type === 1 ? 0 : undefined)) : (i ?? (type === 2 ? 0 : undefined));
  if (name === "value_float" && number !== undefined)
    return { kind: "known", type: float, shape: [], values: [number] };
  if (name === "value_int" && number !== undefined)
    return { kind: "known", type: integer, shape: [], values: [number] };
  if (name === "value_floats") return { kind: "known", type: float, shape: [floats.length], values: floats };
  if (name === "value_ints") return { kind: "known", type: integer, shape: [ints.length], values: ints };
  throw new UnsupportedError(
    `its value is ${name === "" ? "missing" : `in "${shownName(name)}"`}, which is not a numeric tensor`,
  );
}
