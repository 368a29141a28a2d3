/** Per-token cross-entropy of texts under a decoder, computed by its step with an empty past. */
import {
  elementCount,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  makeGraph,
  ops,
  type SizedAxis,
  UsageError,
} from "../../compiler/index.ts";
import { attendsToSource, outputNamed, pastPart, sizedStep } from "../generation/decoder-shape.ts";
import type { DeviceModel } from "./device-model.ts";

/** A window of tokens. */
export interface TextWindow {
  readonly ids: readonly number[];
  /** The first token to score; at least 1, since the first token has no context. */
  readonly from: number;
}

export interface TextLosses {
  /** For each window, -log p of each scored token, in nats. */
  of(windows: readonly TextWindow[]): Promise<readonly (readonly number[])[]>;
  dispose(): void;
}

const labels = "next_ids";

/** A session for up to `rows` windows of up to `tokens` tokens. */
export async function textLosses(
  model: DeviceModel,
  step: Graph,
  { rows, tokens }: { readonly rows: number; readonly tokens: number },
): Promise<TextLosses> {
  if (attendsToSource(step))
    throw new UsageError(
      `graph @${step.name} attends to a source by cross-attention, so that it has no losses of texts alone`,
    );
  // A decoder's step may require a past: one slot, which is masked out.
  const logits = outputNamed(sizedStep(step, rows, 1, tokens), "logits");
  const axes = logits.type.axes.filter(({ name }) => name !== "vocab");
  const next = ops.input(labels, "i32", axes);
  const graph = makeGraph(`${step.name}-losses`, [{ name: "losses", node: ops.crossEntropy(logits, next, "vocab") }]);
  const session = await model.session(graph);
  return {
    async of(windows) {
      const { data } = (await session.run(windowFeeds(graph, windows, rows, tokens))).losses!;
      return windows.map(({ ids, from }, row) =>
        Array.from({ length: ids.length - from }, (_, i) => Number(data[row * tokens + from - 1 + i])),
      );
    },
    dispose: session.dispose,
  };
}

/** The inputs of `graph` for up to `rows` windows, padded to `tokens`. A past that it requires is zeros, masked out. */
function windowFeeds(
  graph: Graph,
  windows: readonly TextWindow[],
  rows: number,
  tokens: number,
): Record<string, HostTensor> {
  const known = windowIds(windows, rows, tokens);
  return Object.fromEntries(
    graph.inputs.flatMap((node): [string, HostTensor][] => {
      const name = inputName(node);
      const axes = node.type.axes as readonly SizedAxis[];
      if (known[name]) return [[name, hostTensor("i32", axes, known[name])]];
      if (pastPart(node) === "") return [];
      return [[name, hostTensor("f32", axes, new Float32Array(elementCount(axes)))]];
    }),
  );
}

function windowIds(windows: readonly TextWindow[], rows: number, tokens: number): Readonly<Record<string, Int32Array>> {
  const ids = new Int32Array(rows * tokens);
  const following = new Int32Array(rows * tokens);
  const seen = new Int32Array(rows * (1 + tokens));
  for (const [row, window] of windows.entries()) {
    ids.set(window.ids, row * tokens);
    following.set(window.ids.slice(1), row * tokens);
    seen.fill(1, row * (1 + tokens) + 1, row * (1 + tokens) + 1 + window.ids.length);
  }
  const position = Int32Array.from(ids, (_, i) => i % tokens);
  return { input_ids: ids, position_ids: position, attention_mask: seen, [labels]: following };
}
