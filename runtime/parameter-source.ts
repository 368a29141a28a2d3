/** Parameters from where they are kept to a device: by the store itself where it can fetch them, else one after another. */
import type { Store, StoredTensor } from "../backends/backend.ts";
import { type DType, type HostTensor, inputName, type Node } from "../compiler/index.ts";

/** Where parameters come from, one at a time: `Weights` of a file, or a map. */
export interface ParameterSource {
  /** In the dtype asked for, default f32. Throws FileError where that cannot hold what is stored. */
  read(parameter: string, dtype?: DType): Promise<HostTensor>;
  /** How a store may fetch a parameter itself, if it may. */
  stored?(parameter: string, dtype?: DType): StoredTensor | undefined;
}

/** Sets the parameters in the store; `nameOf` says under which name the source has them. */
export async function writeParameters(
  store: Store,
  source: ParameterSource,
  parameters: readonly Node[],
  nameOf: (name: string) => string = (name) => name,
): Promise<void> {
  const fetched = new Map<string, StoredTensor>();
  const read: Node[] = [];
  for (const node of parameters) {
    const stored = store.load && source.stored?.(nameOf(inputName(node)), node.type.dtype);
    if (stored) fetched.set(inputName(node), stored);
    else read.push(node);
  }
  if (fetched.size > 0) await store.load!(fetched);
  for (const node of read)
    await store.write(inputName(node), await source.read(nameOf(inputName(node)), node.type.dtype));
}
