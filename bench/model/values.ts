/** The weights and inputs of all contenders, determined by their names. */
import {
  elementCount,
  type HostTensor,
  hostTensor,
  inputName,
  type Node,
  type SizedAxis,
} from "../../compiler/index.ts";
import { fillRandom, initialValue, randomStream } from "../../runtime/index.ts";
import type { VitConfig } from "./vit.ts";

const seed = 20_261_123;

/** A weight in the peers' layout: matrices are [in, out], everything else has its declared axes. */
export interface PlainTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

/** `count` standard normal numbers. */
export const normals = (name: string, count: number): Float32Array<ArrayBuffer> =>
  fillRandom({ kind: "normal", mean: 0, std: 1 }, [count], seed, name) as Float32Array<ArrayBuffer>;

const sizes = (node: Node) => node.type.axes as readonly SizedAxis[];

/**
 * Every parameter by name: its initial value plus a little noise, so that a bias or scale that a contender omits shows
 * in the first output.
 */
export function drawWeights(parameters: readonly Node[]): Map<string, HostTensor> {
  return new Map(
    parameters.map((node) => {
      const name = inputName(node);
      const noise = normals(`noise of ${name}`, elementCount(sizes(node)));
      const data = Float32Array.from(initialValue(node, seed).data, (v, i) => v + 0.02 * noise[i]!);
      return [name, hostTensor("f32", sizes(node), data)];
    }),
  );
}

/** The weights in the layout of other libraries: `weight` [out..., in...] becomes [in, out], its bias [out]. */
export function plainWeights(weights: ReadonlyMap<string, HostTensor>): Map<string, PlainTensor> {
  return new Map(
    [...weights].map(([name, { axes, data }]) => {
      const values = Float32Array.from(data);
      const bias = /\.(weight|bias)$/.test(name) && weights.get(name.replace(/weight$/, "bias"));
      if (!bias) return [name, { shape: axes.map((a) => a.size), data: values }];
      if (bias.data.length === values.length) return [name, { shape: [values.length], data: values }];
      return [name, transposed(values, bias.data.length, values.length / bias.data.length)];
    }),
  );
}

function transposed(data: Float32Array, rows: number, columns: number): PlainTensor {
  const out = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = data[r * columns + c]!;
  return { shape: [columns, rows], data: out };
}

/** Images [batch, channel, row, column] of standard normal pixels, each with a random class. */
export function drawBatch(c: VitConfig): { readonly pixels: PlainTensor; readonly label: Int32Array<ArrayBuffer> } {
  const shape = [c.batch, 3, c.image, c.image];
  const pixels = { shape, data: normals("pixels", c.batch * 3 * c.image ** 2) };
  const labels = randomStream(seed, "label");
  return { pixels, label: Int32Array.from({ length: c.batch }, (_, i) => labels.integer(i, c.classes)) };
}
