/** Bookkeeping of the sources that texts attend to: which source each row has, and where a source has padding. */
import { type HostTensor, hostTensor, type SizedAxis, UsageError } from "../../compiler/index.ts";

export interface SourcePlaces {
  /** Whether sources have been encoded. */
  readonly areKnown: boolean;
  /**
   * Notes a batch of encoded sources of `length` tokens, row i having source i · batch / rows, and their padding: i32
   * [batch, length], 0 at padding, default none. Throws UsageError for a mask of another length.
   */
  encoded(batch: number, length: number, mask?: HostTensor): void;
  /** Whether a row would continue from a row with another source. */
  changes(parents: readonly number[]): boolean;
  /** Replaces row i by row `parents[i]`. */
  reorder(parents: readonly number[]): void;
  /** i32 [batch = rows, length]: 1 at the tokens of each row's source. */
  mask(axes: readonly { readonly name: string }[]): HostTensor;
}

export function sourcePlaces(rows: number): SourcePlaces {
  let owners: readonly number[] = [];
  let masks: readonly Int32Array[] = [];
  return {
    get areKnown() {
      return owners.length > 0;
    },
    encoded(batch, length, mask) {
      if (mask && mask.data.length !== batch * length)
        throw new UsageError(
          `the source's mask has ${mask.data.length / batch} tokens, but the encoder returns ${length}: give encoder_attention_mask for the tokens that it returns`,
        );
      owners = Array.from({ length: rows }, (_, row) => Math.floor((row * batch) / rows));
      masks = owners.map((owner) =>
        Int32Array.from({ length }, (_, i) => (mask ? Number(mask.data[owner * length + i]) : 1)),
      );
    },
    changes: (parents) => parents.some((parent, row) => owners[parent] !== owners[row]),
    reorder(parents) {
      owners = parents.map((parent) => owners[parent]!);
      masks = parents.map((parent) => masks[parent]!);
    },
    mask(axes) {
      const length = masks[0]!.length;
      const data = new Int32Array(rows * length);
      for (const [row, own] of masks.entries()) data.set(own, row * length);
      const sizes = [rows, length];
      return hostTensor(
        "i32",
        axes.map(({ name }, i): SizedAxis => ({ name, size: sizes[i]! })),
        data,
      );
    },
  };
}
