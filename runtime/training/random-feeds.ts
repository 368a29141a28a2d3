/** A step's random inputs, drawn while earlier steps run. */

import { drawingThreads } from "#host";
import {
  type Distribution,
  dimValue,
  elementCount,
  type HostTensor,
  hostTensor,
  inputName,
  type Node,
  type SizedAxis,
  type Sizes,
  sourceOf,
} from "../../compiler/index.ts";
import type { DrawingThreads } from "../random/drawing.ts";
import { randomStream } from "../random/streams.ts";
import type { TrainingJob } from "./job.ts";
import { takeRows } from "./rows.ts";
import { fedInputs, type Piece, type SampleAxis, type Share, sampleAxis } from "./share.ts";

export interface RandomFeeds {
  /**
   * The values of the random inputs for the n-th micro-batch that this process computes in the run. They depend only on
   * the input's name and the rows of the global batch.
   */
  of(index: number): Promise<Readonly<Record<string, HostTensor>>>;
  dispose(): Promise<void>;
}

/** Elements from which on an input is drawn on a thread; smaller ones are drawn faster than they are transferred. */
const worthThread = 2 ** 16;

/** The values of a step's random inputs. A rank gets the same values that a single process would have in its rows. */
export function randomFeeds(
  { step, seed, sizes }: Pick<TrainingJob, "step" | "seed" | "sizes">,
  share?: Share,
): RandomFeeds {
  const bound = share ? { ...sizes, [share.symbol]: share.rows } : sizes;
  const inputs = fedInputs(step, "random").map((node) => ({
    ...described(node, bound),
    along: share && sampleAxis(node, share.symbol, bound),
  }));
  const ofPairs = wholeInputs(step).map((node) => described(node, sizes));
  /** Micro-batches of a step that this process computes. */
  const runs = share?.pieces.length ?? step.accumulation?.count ?? 1;
  const threads = drawingThreads(1);
  const { whole, rows } = drawing(seed, threads);
  const draw = async (index: number): Promise<Record<string, HostTensor>> => {
    const drawn = inputs.map(async (input) => {
      if (!share) return [input.name, await whole(input, index)] as const;
      const piece = share.pieces[index % runs]!;
      const batch = Math.floor(index / runs) * share.batches + piece.batch;
      return [input.name, await rows(input, batch, piece)] as const;
    });
    // Values of pairs of samples, which every rank has for the whole batch: read after the last micro-batch.
    const isLast = index % runs === runs - 1;
    const pairs = (isLast ? ofPairs : []).map(
      async (input) => [input.name, await whole(input, Math.floor(index / runs))] as const,
    );
    return Object.fromEntries(await Promise.all([...drawn, ...pairs]));
  };
  const of = inputs.length + ofPairs.length > 0 ? oneAhead(draw) : draw;
  return { of, dispose: () => threads.dispose() };
}

/** A random input with the sizes of its axes. */
interface RandomInput {
  readonly name: string;
  readonly distribution: Distribution;
  readonly axes: readonly SizedAxis[];
}

// A batch that is read twice gets the same values both times.
const described = (node: Node, sizes: Sizes): RandomInput => ({
  name: inputName(node),
  distribution: node.attrs.dist as unknown as Distribution,
  axes: node.type.axes.map((a): SizedAxis => ({ name: a.name, size: dimValue(a.size, sizes) })),
});

/** Draws the values of inputs, each from the stream of its name. */
function drawing(seed: number, threads: DrawingThreads) {
  const values = async ({ name, distribution }: RandomInput, step: number, start: number, count: number) =>
    count < worthThread
      ? randomStream(seed, name).fill(distribution, count, step, start)
      : await drawInThread(threads, { distribution, seed, stream: name, step, start, count });
  const whole = async (input: RandomInput, step: number): Promise<HostTensor> =>
    hostTensor("f32", input.axes, await values(input, step, 0, elementCount(input.axes)));
  /** If the samples' axis is outermost, only this piece's rows are drawn. */
  const rows = async (
    input: RandomInput & { readonly along: SampleAxis | undefined },
    step: number,
    { from, to }: Piece,
  ): Promise<HostTensor> => {
    const { axes, along } = input;
    if (!along) return await whole(input, step);
    const [first, end] = [from * along.each, to * along.each];
    if (!along.isFirst) return takeRows(await whole(input, step), along.axis, first, end);
    const row = elementCount(axes.slice(1));
    const drawn = await values(input, step, first * row, (end - first) * row);
    return hostTensor("f32", [{ name: along.axis, size: end - first }, ...axes.slice(1)], drawn);
  };
  return { whole, rows };
}

/** The same function, which begins with the following index before that is requested. */
function oneAhead<T>(draw: (index: number) => Promise<T>): (index: number) => Promise<T> {
  let following: { readonly index: number; readonly drawn: Promise<T> } | undefined;
  return (index) => {
    const drawn = following?.index === index ? following.drawn : draw(index);
    following = { index: index + 1, drawn: draw(index + 1) };
    following.drawn.catch(() => {}); // reported to whoever requests it
    return drawn;
  };
}

/** The random inputs of what compares the samples of a whole batch. */
const wholeInputs = ({ accumulation }: TrainingJob["step"]): Node[] =>
  (accumulation?.cached?.middle.inputs ?? []).filter((n) => sourceOf(n) === "random");

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
