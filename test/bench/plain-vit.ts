/** The measured vision transformer in plain loops and float64, from the tensors that the bench hands to its peers. */
import type { PlainTensor } from "../../bench/model/values.ts";
import type { BlockConfig, VitConfig } from "../../bench/model/vit.ts";

type Weights = ReadonlyMap<string, PlainTensor>;
type Row = readonly number[];
/** [token, width] of one image. */
type Tokens = readonly Row[];

const sum = (values: Row): number => values.reduce((a, b) => a + b, 0);
const dot = (a: Row, b: Row): number => sum(a.map((v, i) => v * b[i]!));
const plus = (a: Row, b: Row): Row => a.map((v, i) => v + b[i]!);
const values = (w: Weights, name: string): Row => Array.from(w.get(name)!.data);

function linear(w: Weights, name: string, x: Row): Row {
  const { shape, data } = w.get(`${name}.weight`)!;
  const [inputs, outputs] = shape as [number, number];
  const column = (o: number) => Array.from({ length: inputs }, (_, i) => data[i * outputs + o]!);
  return values(w, `${name}.bias`).map((b, o) => b + dot(x, column(o)));
}

function layerNorm(w: Weights, name: string, x: Row): Row {
  const mean = sum(x) / x.length;
  const variance = sum(x.map((v) => (v - mean) ** 2)) / x.length;
  const [weight, bias] = [values(w, `${name}.weight`), values(w, `${name}.bias`)];
  return x.map((v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * weight[i]! + bias[i]!);
}

function softmax(x: Row): Row {
  const exponentials = x.map((v) => Math.exp(v - Math.max(...x)));
  return exponentials.map((e) => e / sum(exponentials));
}

/** The error function by its Taylor series, exact to rounding for the small arguments of these tests. */
function erf(x: number): number {
  let [term, total] = [x, x];
  for (let n = 1; n < 100; n++) {
    term *= (-x * x) / n;
    total += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}

const gelu = (x: number): number => (x / 2) * (1 + erf(x / Math.SQRT2));

function attention(qkv: Tokens, { width, heads }: BlockConfig): Tokens {
  const size = width / heads;
  const part = (row: Row, role: number, head: number) => row.slice(role * width + head * size).slice(0, size);
  return qkv.map((query) =>
    Array.from({ length: heads }, (_, h) => {
      const weights = softmax(qkv.map((key) => dot(part(query, 0, h), part(key, 1, h)) / Math.sqrt(size)));
      const mixed: Tokens = qkv.map((value, t) => part(value, 2, h).map((v) => v * weights[t]!));
      return mixed.reduce(plus);
    }).flat(),
  );
}

/** One block on the tokens of one image; `prefix` begins the names of its weights. */
export function plainBlock(w: Weights, prefix: string, x: Tokens, c: BlockConfig): Tokens {
  const qkv = x.map((row) => linear(w, `${prefix}attn.qkv`, layerNorm(w, `${prefix}norm1`, row)));
  const mixed = attention(qkv, c).map((row) => linear(w, `${prefix}attn.proj`, row));
  const y = x.map((row, t) => plus(row, mixed[t]!));
  return y.map((row) => {
    const inner = linear(w, `${prefix}mlp.fc1`, layerNorm(w, `${prefix}norm2`, row)).map(gelu);
    return plus(row, linear(w, `${prefix}mlp.fc2`, inner));
  });
}

/** The cross-entropy of one image, pixels [channel, row, column]. */
export function plainLoss(w: Weights, pixels: Row, label: number, c: VitConfig): number {
  const positions = values(w, "positions");
  const embedded = [values(w, "class_token"), ...patches(pixels, c).map((p) => linear(w, "patch", p))];
  let x: Tokens = embedded.map((row, t) => plus(row, positions.slice(t * c.width)));
  for (let i = 0; i < c.depth; i++) x = plainBlock(w, `blocks.${i}.`, x, c);
  return -Math.log(softmax(linear(w, "head", layerNorm(w, "norm", x[0]!)))[label]!);
}

/** Patches row by row, each [channel, row, column]. */
function patches(pixels: Row, { image, patch }: VitConfig): Row[] {
  const grid = image / patch;
  return Array.from({ length: grid * grid }, (_, n) =>
    Array.from({ length: 3 * patch * patch }, (_, i) => {
      const channel = Math.floor(i / patch ** 2);
      const row = Math.floor(n / grid) * patch + (Math.floor(i / patch) % patch);
      return pixels[(channel * image + row) * image + (n % grid) * patch + (i % patch)]!;
    }),
  );
}
