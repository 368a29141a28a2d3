/**
 * Named tensors in host memory, double-buffered once a run has updated them: results go to the spare buffer, then the
 * two swap.
 */
import {
  allocate,
  type DType,
  didYouMean,
  elementCount,
  type HostData,
  type HostTensor,
  InternalError,
  printType,
  type SizedAxis,
  UsageError,
} from "../../compiler/index.ts";
import type { Store } from "../backend.ts";
import { asStored } from "./session.ts";

export interface Resident {
  readonly dtype: DType;
  readonly axes: readonly SizedAxis[];
  readonly data: HostData;
}

export interface CpuStore extends Store {
  /** The tensor itself, not a copy, if there is one. */
  find(name: string): Resident | undefined;
  /** The tensor itself, not a copy; throws UsageError naming the nearest when there is none. */
  resident(name: string): Resident;
  /** An unused buffer of the tensor's size. */
  spare(name: string): HostData;
  /** Swaps the tensor with its spare buffer. */
  swap(name: string): void;
  /** Replaces the tensor by data that nobody else holds. */
  adopt(name: string, value: Resident): void;
  /** Runs `body` after all bodies given before have ended. */
  exclusive<T>(body: () => Promise<T>): Promise<T>;
}

interface Slot extends Resident {
  readonly spare?: HostData;
}

export function cpuStore(): CpuStore {
  const slots = new Map<string, Slot>();
  let last: Promise<unknown> = Promise.resolve();
  const slot = (name: string): Slot => {
    const found = slots.get(name);
    if (!found) throw new UsageError(`the store has no tensor "${name}"${didYouMean(name, slots.keys())}`);
    return found;
  };
  const store: CpuStore = {
    write: (name, value) =>
      store.exclusive(async () => {
        const known = slots.get(name);
        // Allocation costs more than the copy: streamed weights overwrite those before them.
        if (known && printType(known) === printType(value)) known.data.set(checked(name, value).data);
        else slots.set(name, owned(name, value));
      }),
    read: (name) =>
      store.exclusive(async () => {
        const { dtype, axes, data } = slot(name);
        return { dtype, axes, data: data.slice() };
      }),
    find: (name) => slots.get(name),
    names: () => [...slots.keys()],
    remove: (name) => void store.exclusive(async () => void slots.delete(name)),
    dispose: () => slots.clear(),
    resident: slot,
    spare: (name) => {
      const own = slot(name);
      if (own.spare) return own.spare;
      const spare = allocate(own.dtype, own.data.length);
      slots.set(name, { ...own, spare });
      return spare;
    },
    swap: (name) => {
      const { dtype, axes, data, spare } = slot(name);
      if (!spare) throw new InternalError(`the tensor "${name}" has no spare buffer to swap with`);
      slots.set(name, { dtype, axes, data: spare, spare: data });
    },
    adopt: (name, value) => void slots.set(name, value),
    exclusive: (body) => {
      const done = last.then(body);
      last = done.catch(() => {});
      return done;
    },
  };
  return store;
}

function checked(name: string, value: HostTensor): HostTensor {
  const { dtype, axes, data } = value;
  if (data.length === elementCount(axes)) return value;
  throw new UsageError(`"${name}" is ${printType({ dtype, axes })}, but its data has ${data.length} elements`);
}

/** A copy that the store may overwrite. */
function owned(name: string, value: HostTensor): Resident {
  const { dtype, axes, data } = checked(name, value);
  const stored = asStored(dtype, data);
  return { dtype, axes, data: stored === data ? data.slice() : stored };
}
