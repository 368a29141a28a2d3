/** Safetensors as bytes: eight bytes with the length of a header of JSON, the header, the tensors one after another. */
import { type HostTensor, hostTensor, UsageError } from "../../dsl/index.ts";

type Entry = {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
};

/** Writes f32 tensors, with what else is to be known of them as texts. */
export function writeSafetensors(
  tensors: ReadonlyMap<string, HostTensor>,
  about: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  let end = 0;
  const entries = [...tensors].map(([name, { axes, data }]): [string, Entry] => {
    const from = end;
    end += 4 * data.length;
    return [name, { dtype: "F32", shape: axes.map((a) => a.size), data_offsets: [from, end] }];
  });
  const text = JSON.stringify({ __metadata__: about, ...Object.fromEntries(entries) });
  const header = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const padded = Math.ceil(header.length / 8) * 8;
  const bytes = new Uint8Array(8 + padded + end).fill(0x20, 8, 8 + padded);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(header, 8);
  for (const [name, entry] of entries)
    bytes.set(bytesOf(Float32Array.from(tensors.get(name)!.data as Float32Array)), 8 + padded + entry.data_offsets[0]);
  return bytes;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

export interface ReadSafetensors {
  readonly tensors: ReadonlyMap<string, HostTensor>;
  readonly about: Readonly<Record<string, string>>;
}

/** Reads what `writeSafetensors` wrote, and other files of f32 tensors. Axes have no names in a file. Throws UsageError for what is none. */
export function readSafetensors(bytes: Uint8Array<ArrayBuffer>): ReadSafetensors {
  const refuse = (why: string) => new UsageError(`this is no safetensors file of f32 tensors: ${why}`);
  if (bytes.length < 8) throw refuse("it is shorter than 8 bytes");
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (length > BigInt(bytes.length - 8)) throw refuse("its header is longer than the file");
  const start = 8 + Number(length);
  let header: Record<string, Entry> & { __metadata__?: Record<string, string> };
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  } catch {
    throw refuse("its header is no JSON");
  }
  const { __metadata__: about = {}, ...entries } = header;
  const tensors = Object.entries(entries as Record<string, Entry>).map(([name, { dtype, shape, data_offsets }]) => {
    const [from, to] = data_offsets;
    const count = shape.reduce((n, size) => n * size, 1);
    if (dtype !== "F32") throw refuse(`"${name}" is ${dtype}`);
    if (to - from !== 4 * count || start + to > bytes.length) throw refuse(`"${name}" does not lie within the file`);
    const data = new Float32Array(bytes.slice(start + from, start + to).buffer);
    return [
      name,
      hostTensor(
        "f32",
        shape.map((size, i) => ({ name: `axis_${i}`, size })),
        data,
      ),
    ] as const;
  });
  return { tensors: new Map(tensors), about };
}
