/** The random inputs of a graph that is not a training step, such as one that validates. */
import {
  type Distribution,
  dimValue,
  elementCount,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  loneSymbol,
  type SizedAxis,
  type Sizes,
  sourceOf,
} from "../../compiler/index.ts";
import { randomStream } from "../random/streams.ts";

type Feeds = Readonly<Record<string, HostTensor>>;

/** What the values depend on, besides their input's name. */
export interface Draw {
  readonly seed: number;
  /** Prefix of the names of streams. */
  readonly stream: string;
  /** The number of the run. */
  readonly step: number;
}

/** Values of a graph's random inputs, whose sizes are those of its feeds. */
export function drawnBeside(graph: Graph, feeds: Feeds, { seed, stream, step }: Draw): Feeds {
  const sizes = sizesIn(graph, feeds);
  const drawn = graph.inputs
    .filter((node) => sourceOf(node) === "random")
    .map((node) => {
      const axes = node.type.axes.map(({ name, size }): SizedAxis => ({ name, size: dimValue(size, sizes) }));
      const of = randomStream(seed, `${stream} ${inputName(node)}`);
      const values = of.fill(node.attrs.dist as unknown as Distribution, elementCount(axes), step);
      return [inputName(node), hostTensor("f32", axes, values)] as const;
    });
  return Object.fromEntries(drawn);
}

/** The symbolic sizes that feeds have. */
function sizesIn({ inputs }: Graph, feeds: Feeds): Sizes {
  const pairs = inputs.flatMap((node) =>
    node.type.axes.flatMap(({ name, size }) => {
      const [symbol, fed] = [loneSymbol(size), feeds[inputName(node)]?.axes.find((axis) => axis.name === name)];
      return symbol && fed ? [[symbol.name, fed.size] as const] : [];
    }),
  );
  return Object.fromEntries(pairs);
}
