/** Buffers: tensors that a training step keeps and changes, but that no gradient trains. */
import { type Distribution, type Node, UsageError } from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, state, type Tensor, transpose } from "../tensor.ts";

/**
 * What a buffer is before the first step: drawn by an initializer, or the initial value of a parameter, by its path.
 */
export type BufferStart = Distribution | { readonly parameter: string };

/** A buffer's value after the step; goes into the `updates` that a loss returns. */
export interface StateUpdate {
  /** The path of the buffer, which is the name of its state. */
  readonly name: string;
  readonly next: AnyTensor;
  /** Its value before the first step; a number is that of every element. */
  readonly initial: number | BufferStart;
  /**
   * True if the next value depends on parameters alone, not on the batch: with accumulation it is then stored once a
   * step, not with each micro-batch.
   */
  readonly oncePerStep?: boolean;
}

/** A buffer in the graph that is traced. */
export interface Buffer<A extends string> {
  /** Its value before the step: f32, with the buffer's axes. */
  readonly value: Tensor<A>;
  /** The update to `next` [the buffer's axes]. Throws UsageError for a tensor of another type. */
  readonly update: (next: Tensor<A>, options?: Pick<StateUpdate, "oncePerStep">) => StateUpdate;
}

/**
 * A buffer `name` of the scope: f32, with numbers as sizes. A training step keeps it as a state, which a checkpoint
 * saves; the run writes it with the weights, and other graphs read it as a parameter that counts as no parameter, like
 * PyTorch's `register_buffer`. A buffer changes only if the loss returns its update: a queue of MoCo, a center of DINO,
 * running statistics.
 */
export function buffer<A extends string = never>(
  p: Params,
  name: string,
  axes: readonly Axis<A>[],
  start: BufferStart,
): Buffer<A> {
  const path = p.path === "" ? name : `${p.path}.${name}`;
  const drawn: Distribution = "parameter" in start ? { kind: "constant", value: 0 } : start;
  const value: Tensor<A> = p.training ? state(path, "f32", axes) : p.parameter(name, axes, drawn, { buffer: true });
  return {
    value,
    update: (next, options = {}) => {
      requireSame(path, value, next);
      p.reportUpdate(path);
      return { name: path, next: transpose(next, axes), initial: start, ...options };
    },
  };
}

function requireSame(path: string, { type: now }: Node, { type: next }: Node): void {
  const text = ({ dtype, axes }: Node["type"]) => `${dtype}[${axes.map((a) => `${a.name}=${a.size}`).join(", ")}]`;
  const sorted = (type: Node["type"]) =>
    text({ ...type, axes: [...type.axes].sort((a, b) => (a.name < b.name ? -1 : 1)) });
  if (sorted(now) === sorted(next)) return;
  throw new UsageError(
    `the buffer "${path}" is ${text(now)}, but its update is ${text(next)}: they must be of one type`,
  );
}
