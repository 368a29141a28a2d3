/** Merges low-rank updates (LoRA) into the weights that a run writes. */
import { type HostTensor, hostTensor } from "../../compiler/index.ts";

/** The parameters of one update: weight [to..., from...] + scale · up [to..., rank] · down [rank, from...]. */
export interface LowRankAdapter {
  readonly weight: string;
  readonly down: string;
  readonly up: string;
  readonly scale: number;
}

/** The weights with every update merged, summed in float64 and rounded once, and with the update matrices removed. */
export function mergedWeights(
  weights: ReadonlyMap<string, HostTensor>,
  adapters: readonly LowRankAdapter[],
): Map<string, HostTensor> {
  const all = new Map(weights);
  for (const { weight, down, up, scale } of adapters) {
    const [base, a, b] = [weight, down, up].map((name) => all.get(name)!) as [HostTensor, HostTensor, HostTensor];
    all.set(weight, hostTensor("f32", base.axes, merged(base, a, b, scale)));
    all.delete(down);
    all.delete(up);
  }
  return all;
}

function merged(base: HostTensor, down: HostTensor, up: HostTensor, scale: number): Float32Array {
  const rank = down.axes[0]!.size; // the first axis of `down`, the last of `up`
  const [columns, rows] = [down.data.length / rank, up.data.length / rank];
  const out = new Float32Array(base.data.length);
  const row = new Float64Array(columns);
  for (let i = 0; i < rows; i++) {
    row.set(base.data.subarray(i * columns, (i + 1) * columns));
    for (let r = 0; r < rank; r++) {
      const factor = scale * up.data[i * rank + r]!;
      for (let k = 0; k < columns; k++) row[k]! += factor * down.data[r * columns + k]!;
    }
    out.set(row, i * columns);
  }
  return out;
}
