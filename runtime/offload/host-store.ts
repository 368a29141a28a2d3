/** Named tensors in host memory: the state of a model whose weights do not stay on its device. */
import type { Store } from "../../backends/backend.ts";
import { didYouMean, type HostTensor, UsageError } from "../../compiler/index.ts";

export interface HostStore extends Store {
  /** The tensor itself, not a copy; throws UsageError naming the nearest when there is none. */
  get(name: string): HostTensor;
  /** The tensor itself, if there is one. */
  find(name: string): HostTensor | undefined;
  /** Stores a tensor without copying it; nobody else may write to it. */
  set(name: string, value: HostTensor): void;
}

export const copyOf = (tensor: HostTensor): HostTensor => ({ ...tensor, data: tensor.data.slice() });

export function hostStore(): HostStore {
  const tensors = new Map<string, HostTensor>();
  const get = (name: string): HostTensor => {
    const found = tensors.get(name);
    if (found) return found;
    throw new UsageError(`the store has no tensor "${name}"${didYouMean(name, tensors.keys())}`);
  };
  return {
    get,
    find: (name) => tensors.get(name),
    set: (name, value) => void tensors.set(name, value),
    write: async (name, value) => void tensors.set(name, copyOf(value)),
    read: async (name) => copyOf(get(name)),
    names: () => [...tensors.keys()],
    remove: (name) => void tensors.delete(name),
    dispose: () => tensors.clear(),
  };
}
