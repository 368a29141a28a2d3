/** A step's random inputs, drawn while steps before it run. */
import {
  bindDim,
  type Distribution,
  elementCount,
  type HostTensor,
  hostTensor,
  inputName,
  type Node,
  type SizedAxis,
  sourceOf,
} from "../../compiler/index.ts";
import { type DrawingThreads, drawingThreads } from "../random/drawing-threads.ts";
import { fillRandom } from "../random/streams.ts";
import type { TrainingJob } from "./job.ts";

export interface RandomFeeds {
  /** Numbers for the random inputs, addressed by the input's name and the micro-batch of the run. */
  of(index: number): Promise<Readonly<Record<string, HostTensor>>>;
  dispose(): Promise<void>;
}

/** Values from which on an input is drawn by a thread of its own: fewer take less than handing them over. */
const worthThread = 2 ** 16;

export function randomFeeds({ step, seed, sizes }: Pick<TrainingJob, "step" | "seed" | "sizes">): RandomFeeds {
  // A batch that is read twice has the same numbers both times.
  const read = [...step.graph.inputs, ...(step.accumulation?.cached?.features.inputs ?? [])];
  const inputs = [...new Map(read.map((n) => [inputName(n), n])).values()]
    .filter((n) => sourceOf(n) === "random")
    .map((node) => ({
      name: inputName(node),
      distribution: distributionOf(node),
      axes: node.type.axes.map((a): SizedAxis => ({ name: a.name, size: bindDim(a.size, sizes) as number })),
    }));
  const threads = drawingThreads(1);
  const draw = async (index: number): Promise<Record<string, HostTensor>> => {
    const drawn = inputs.map(async ({ name, distribution, axes }) => {
      const count = elementCount(axes);
      const values =
        count < worthThread
          ? fillRandom(distribution, [count], seed, name, index)
          : await drawInThread(threads, { distribution, seed, stream: name, step: index, count });
      return [name, hostTensor("f32", axes, values)] as const;
    });
    return Object.fromEntries(await Promise.all(drawn));
  };
  let following: { readonly index: number; readonly feeds: ReturnType<typeof draw> } | undefined;
  return {
    of: (index) => {
      const feeds = following?.index === index ? following.feeds : draw(index);
      if (inputs.length > 0) following = { index: index + 1, feeds: draw(index + 1) };
      following?.feeds.catch(() => {}); // whoever asks for it is told
      return feeds;
    },
    dispose: () => threads.dispose(),
  };
}

const distributionOf = (node: Node): Distribution => node.attrs.dist as unknown as Distribution;

async function drawInThread(
  threads: DrawingThreads,
  what: Omit<Parameters<DrawingThreads["draw"]>[0], "dtype">,
): Promise<Float32Array> {
  const values = new Float32Array(what.count);
  const bytes = new Uint8Array(values.buffer);
  let at = 0;
  for await (const piece of threads.draw({ ...what, dtype: "F32" })) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return values;
}
