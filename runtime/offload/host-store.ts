/** Named tensors in host memory: what a model keeps between runs where its device holds nothing for long. */
import type { Store } from "../../backends/backend.ts";
import { didYouMean, type HostTensor, UsageError } from "../../compiler/index.ts";

export interface HostStore extends Store {
  /** The tensor itself; throws UsageError naming the nearest when there is none. */
  get(name: string): HostTensor;
  /** The tensor itself, if there is one. */
  find(name: string): HostTensor | undefined;
  /** Puts a tensor that nobody else writes to in place. */
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
