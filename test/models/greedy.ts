/**
 * Greedy writing with a prefill and a step graph, as a runtime would: the step is fed what the run before remembered.
 */
import { type Graph, type HostTensor, hostTensor, type SizedAxis } from "../../compiler/index.ts";
import { type Executor, runOnce } from "./executors.ts";

export interface Writer {
  readonly prefill: Graph;
  readonly step: Graph;
  readonly prefillWeights: ReadonlyMap<string, HostTensor>;
  readonly stepWeights: ReadonlyMap<string, HostTensor>;
}

export interface Written {
  /** New ids of every row. */
  readonly ids: readonly (readonly number[])[];
  /** Scores before each new id, [batch, vocab] flat. */
  readonly logits: readonly ArrayLike<number>[];
}

const ints = (axes: readonly SizedAxis[], f: (i: number) => number): HostTensor =>
  hostTensor(
    "i32",
    axes,
    Int32Array.from({ length: axes.reduce((n, a) => n * a.size, 1) }, (_, i) => f(i)),
  );

/** Writes `count` tokens; prompts have no padding. */
export async function writeGreedily(
  executor: Executor,
  { prefill, step, prefillWeights, stepWeights }: Writer,
  feeds: Readonly<Record<string, HostTensor>>,
  count: number,
): Promise<Written> {
  const [batch, prompt] = feeds.input_ids!.axes.map((a) => a.size) as [number, number];
  const rows = { name: "batch", size: batch };
  const given = {
    attention_mask: ints([rows, { name: "key_token", size: prompt }], () => 1),
    position_ids: ints([rows, { name: "token", size: prompt }], (i) => i % prompt),
  };
  const ids: number[][] = Array.from({ length: batch }, () => []);
  const logits: ArrayLike<number>[] = [];
  let out = await runOnce(executor, prefill, { ...given, ...feeds }, prefillWeights);
  for (;;) {
    const scores = out.logits!;
    const vocab = scores.axes.at(-1)!.size;
    logits.push(scores.data);
    const chosen = ids.map((_, b) => argmax(scores.data.subarray(b * vocab, (b + 1) * vocab)));
    chosen.forEach((id, b) => {
      ids[b]!.push(id);
    });
    if (logits.length === count) return { ids, logits };
    const past = out["present.0.key"]!.axes[2]!.size;
    const remembered = Object.entries(out)
      .filter(([name]) => name.startsWith("present."))
      .map(([name, value]) => [name.replace("present", "past_key_values"), value] as const);
    const one = [rows, { name: "token", size: 1 }];
    const next = {
      input_ids: ints(one, (b) => chosen[b]!),
      position_ids: ints(one, () => past),
      attention_mask: ints([rows, { name: "key_token", size: past + 1 }], () => 1),
    };
    out = await runOnce(executor, step, { ...next, ...Object.fromEntries(remembered) }, stepWeights);
  }
}

const argmax = (x: ArrayLike<number>): number => {
  let best = 0;
  for (let i = 1; i < x.length; i++) if (x[i]! > x[best]!) best = i;
  return best;
};
