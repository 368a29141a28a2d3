/** Runs an exported file in onnxruntime and compares it with values computed otherwise. */
import { type DType, type HostTensor, UsageError } from "../../compiler/index.ts";
import {
  asStored,
  type OrtSession,
  type OrtTensor,
  openSession,
  type SessionSettings,
  wrap,
  wrapLong,
} from "./session.ts";

export interface OutputDifference {
  /** The largest |got − expected|; infinite where one is NaN and the other is not, or the shapes differ. */
  readonly maxAbsDiff: number;
  /** maxAbsDiff over the largest |expected| of the output. */
  readonly maxRelDiff: number;
}

/** The largest differences over all outputs, and those of each. */
export interface Verification extends OutputDifference {
  readonly perOutput: Readonly<Record<string, OutputDifference>>;
}

/**
 * Runs the model at `file` (or in memory) on `inputs` and compares its outputs with those of `expected` by name.
 * `inputs` holds what the file needs: feeds (i32 also where the file wants int64), and state that a training step
 * updates. Throws UsageError naming every missing input and every expected output that the file lacks.
 */
export async function verifyExport(
  file: string | Uint8Array,
  inputs: Readonly<Record<string, HostTensor>>,
  expected: Readonly<Record<string, HostTensor>>,
  settings: SessionSettings = {},
): Promise<Verification> {
  const session = await openSession(file, settings);
  try {
    const named = typeof file === "string" ? file : "the model";
    const mistakes = [
      ...session.inputNames.filter((n) => !inputs[n]).map((n) => `its input "${n}" is missing`),
      ...Object.keys(expected)
        .filter((n) => !session.outputNames.includes(n))
        .map((n) => `it has no output "${n}"`),
    ];
    if (mistakes.length > 0)
      throw new UsageError(`${named} cannot be verified:\n${mistakes.map((m) => `  ${m}`).join("\n")}`);
    const long = longInputs(session);
    const feeds = session.inputNames.map((n) => [n, asTensor(inputs[n]!, long.has(n))] as const);
    const made = await session.run(Object.fromEntries(feeds), Object.keys(expected));
    const perOutput = Object.fromEntries(
      Object.entries(expected).map(([name, want]) => [name, difference(made[name] as OrtTensor, want)]),
    );
    const all = Object.values(perOutput);
    return {
      maxAbsDiff: Math.max(0, ...all.map((d) => d.maxAbsDiff)),
      maxRelDiff: Math.max(0, ...all.map((d) => d.maxRelDiff)),
      perOutput,
    };
  } finally {
    await session.release();
  }
}

/** The inputs that the file wants as int64. */
const longInputs = ({ inputMetadata }: OrtSession): Set<string> =>
  new Set(inputMetadata.filter((m) => m.isTensor && m.type === "int64").map((m) => m.name));

function asTensor({ dtype, axes, data }: HostTensor, long: boolean): OrtTensor {
  const dims = axes.map((a) => a.size);
  return long ? wrapLong(data, dims) : wrap(dtype as DType, asStored(dtype, data), dims);
}

function difference(got: OrtTensor, want: HostTensor): OutputDifference {
  const data = got.data as ArrayLike<number | bigint>;
  if (data.length !== want.data.length || got.dims.some((d, i) => d !== want.axes[i]?.size)) {
    return { maxAbsDiff: Number.POSITIVE_INFINITY, maxRelDiff: Number.POSITIVE_INFINITY };
  }
  let [worst, largest] = [0, 0];
  for (let i = 0; i < data.length; i++) {
    const [a, b] = [Number(data[i]!), want.data[i]!];
    // NaN on both sides proves nothing. Equal infinities differ by nothing.
    if (Number.isNaN(a) || Number.isNaN(b)) worst = Number.POSITIVE_INFINITY;
    else if (a !== b) worst = Math.max(worst, Math.abs(a - b));
    if (Number.isFinite(b)) largest = Math.max(largest, Math.abs(b));
  }
  return { maxAbsDiff: worst, maxRelDiff: worst === 0 ? 0 : worst / largest };
}
