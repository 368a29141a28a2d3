/** Checks that weights are finite while they are written, and reports every tensor that is not. */
import { FileError, type HostData } from "../../compiler/index.ts";
import { quoted } from "../file-errors.ts";
import { encode, type StoredDType, storedDTypes, ValueFault } from "./stored-dtype.ts";
import type { TensorToWrite } from "./writer.ts";

/** A tensor with a value that is not finite, or that its stored type cannot represent. */
export class NotFinite extends FileError {
  readonly tensor: string;
  /** Which element, and why. */
  readonly fault: string;

  constructor(message: string, tensor: string, fault: string) {
    super(message);
    this.tensor = tensor;
    this.fault = fault;
  }
}

const notFinite = (tensor: string, element: number, why: string): NotFinite => {
  const fault = `tensor ${quoted(tensor)}, element ${element}: ${why}`;
  return new NotFinite(fault, tensor, fault);
};

/** Tensors listed in one message; the rest are counted. */
const mostShown = 10;

/**
 * Writes tensors, checking them on the way. If one has a value that is NaN or infinite, or becomes so in its stored
 * type, the error from `write` is replaced by a FileError that names every such tensor with its first such value.
 * `write` must leave nothing behind when it throws.
 */
export async function writeFinite<T>(
  path: string,
  tensors: readonly TensorToWrite[],
  write: (checked: readonly TensorToWrite[]) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const checked = tensors.map((tensor) => ({ ...tensor, data: () => checkedPieces(tensor) }));
  try {
    return await write(checked);
  } catch (error) {
    if (!(error instanceof NotFinite)) throw error;
    throw allOf(path, await faultsOf(checked, error, signal));
  }
}

/** Pieces, converted to their stored type and checked. */
async function* checkedPieces({ name, dtype, data }: TensorToWrite): AsyncGenerator<HostData> {
  let element = 0;
  for await (const piece of data()) {
    const bytes = storedBytes(name, dtype, piece, element);
    const at = firstNonFinite(dtype, bytes);
    if (at >= 0) throw notFinite(name, element + at, "it is NaN or infinite, but weights must be finite");
    element += bytes.length / storedDTypes[dtype].bytes;
    yield bytes;
  }
}

function storedBytes(name: string, dtype: StoredDType, piece: HostData, element: number): Uint8Array {
  try {
    return encode(dtype, piece);
  } catch (error) {
    if (error instanceof ValueFault) throw notFinite(name, element + error.index, error.message);
    throw error;
  }
}

/** Exponent masks of float types; the other types are always finite. */
const exponents: Partial<
  Record<StoredDType, { readonly words: "16" | "32"; readonly step: number; readonly mask: number }>
> = {
  F16: { words: "16", step: 1, mask: 0x7c00 },
  BF16: { words: "16", step: 1, mask: 0x7f80 },
  F32: { words: "32", step: 1, mask: 0x7f800000 },
  F64: { words: "32", step: 2, mask: 0x7ff00000 }, // the upper word of each
};

/** The first element whose exponent bits are all ones; −1 if none. */
function firstNonFinite(dtype: StoredDType, bytes: Uint8Array): number {
  const found = exponents[dtype];
  if (!found) return -1;
  const { words, step, mask } = found;
  const size = words === "16" ? 2 : 4;
  const { buffer, byteOffset, length } = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const bits =
    words === "16" ? new Uint16Array(buffer, byteOffset, length / 2) : new Uint32Array(buffer, byteOffset, length / 4);
  for (let i = step - 1; i < bits.length; i += step) if ((bits[i]! & mask) === mask) return (i - step + 1) / step;
  return -1;
}

/** Every tensor that is not finite; `first` is already known. */
async function faultsOf(
  checked: readonly TensorToWrite[],
  first: NotFinite,
  signal?: AbortSignal,
): Promise<NotFinite[]> {
  const faults: NotFinite[] = [];
  for (const tensor of checked) {
    signal?.throwIfAborted();
    if (tensor.name === first.tensor) faults.push(first);
    else {
      const fault = await faultOf(tensor);
      if (fault) faults.push(fault);
    }
  }
  return faults;
}

async function faultOf(tensor: TensorToWrite): Promise<NotFinite | undefined> {
  try {
    for await (const _ of tensor.data());
    return undefined;
  } catch (error) {
    if (error instanceof NotFinite) return error;
    throw error;
  }
}

function allOf(path: string, faults: readonly NotFinite[]): FileError {
  const shown = faults.slice(0, mostShown).map(({ fault }) => `    ${fault}`);
  const rest = faults.length > mostShown ? [`    and ${faults.length - mostShown} more`] : [];
  const what = faults.length === 1 ? "one tensor cannot" : `${faults.length} tensors cannot`;
  const hint =
    "  hint: use an earlier checkpoint if weights are NaN or infinite, and f32 or bf16 if the range of f16 is too small";
  return new FileError([`${path} was not written, because ${what} be stored:`, ...shown, ...rest, hint].join("\n"));
}
