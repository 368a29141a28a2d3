/**
 * Matrices that the exporter stored twice. PyTorch's exporters fold the transposition of a tied matrix, an embedding
 * table that is also the last product's weight, into a copy under a made-up name. As a transposition of the first it is
 * one parameter again: it is trained as one, and stored once.
 */
import type { GraphMessage, NodeMessage, TensorMessage } from "./messages.ts";
import { isMadeUp } from "./weight-names.ts";
import { type ExternalReader, fileTensor } from "./weights.ts";

/** The graph with each such copy computed from its first. */
export async function withTies(graph: GraphMessage, external: ExternalReader | undefined): Promise<GraphMessage> {
  const given = new Set(graph.input.map((i) => i.name));
  const matrices = graph.initializer.filter((t) => isFloatMatrix(t) && !given.has(t.name));
  const ties = new Map<TensorMessage, TensorMessage>();
  for (const copy of matrices.filter((t) => isMadeUp(t.name)))
    for (const first of matrices)
      if (!ties.has(copy) && !isMadeUp(first.name) && (await isTransposed(first, copy, external)))
        ties.set(copy, first);
  if (ties.size === 0) return graph;
  const turned = [...ties].map(([copy, first]) => transposition(first.name, copy.name));
  return { ...graph, initializer: graph.initializer.filter((t) => !ties.has(t)), node: [...turned, ...graph.node] };
}

/** Float or float16 with two dimensions of more than one element. */
const isFloatMatrix = ({ dataType, dims }: TensorMessage): boolean =>
  (dataType === 1 || dataType === 10) && dims.length === 2 && dims.every((d) => d > 1);

async function isTransposed(
  first: TensorMessage,
  copy: TensorMessage,
  external: ExternalReader | undefined,
): Promise<boolean> {
  const [rows, columns] = first.dims as [number, number];
  if (first.dataType !== copy.dataType || copy.dims[0] !== columns || copy.dims[1] !== rows) return false;
  if (!external && [first, copy].some((t) => t.dataLocation === 1)) return false;
  const bits = async (count: number) =>
    Promise.all([first, copy].map(async (t) => bitPatterns(t, await fileTensor(t, external).bytes?.(count))));
  // Files are large, and the first elements of most pairs differ.
  const [start, other] = await bits(1);
  if (!start || !other || start[0] !== other[0]) return false;
  const [a, b] = await bits(rows * columns);
  if (a!.length !== rows * columns || b!.length !== a!.length) return false;
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) if (a![i * columns + j] !== b![j * rows + i]) return false;
  return true;
}

/** Elements as whole numbers, of which no two that are equal stand for different floats. */
function bitPatterns({ dataType }: TensorMessage, bytes: Uint8Array | undefined) {
  if (!bytes) return undefined;
  const aligned = new Uint8Array(bytes).buffer; // `slice` of a Buffer would be a view
  return dataType === 1
    ? new Uint32Array(aligned, 0, aligned.byteLength >> 2)
    : new Uint16Array(aligned, 0, aligned.byteLength >> 1);
}

const transposition = (from: string, to: string): NodeMessage => ({
  ...{ name: "", opType: "Transpose", domain: "", overload: "", attribute: [], metadataProps: [] },
  ...{ input: [from], output: [to] },
});
