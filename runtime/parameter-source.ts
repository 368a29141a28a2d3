/** Loads parameters from storage onto a device: fetched by the store itself if it can, otherwise one at a time. */
import type { Store, StoredTensor } from "../backends/backend.ts";
import { type DType, type HostTensor, inputName, type Node } from "../compiler/index.ts";

/** A source of parameters, read one at a time: `Weights` of a file, or a map. */
export interface ParameterSource {
  /** Reads in the given dtype, default f32. Throws FileError when that cannot represent the stored values. */
  read(parameter: string, dtype?: DType): Promise<HostTensor>;
  /** Where a store may fetch the parameter itself; undefined when it cannot. */
  stored?(parameter: string, dtype?: DType): StoredTensor | undefined;
}

/** Writes the parameters to the store; `nameOf` maps them to the source's names. */
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
