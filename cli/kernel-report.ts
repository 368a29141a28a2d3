/**
 * A report of a program's kernels: the schedule of each, why those before it were rejected, and its memory traffic and
 * operations.
 */
import {
  dimValue,
  gridOf,
  type KernelVariant,
  kernelIr,
  lowering,
  type Program,
  type ProgramKernel,
  type Sizes,
  variantFor,
} from "../compiler/index.ts";
import {
  type KernelWork,
  type KnownCeilings,
  type LeastTime,
  leastTime,
  printLeast,
  printRates,
  type Rates,
  ratesOf,
} from "./kernel-rates.ts";
import { bytes, short, wrap } from "./output.ts";

/** A variant of a kernel shape: runs if its assumptions hold for a run's sizes, or as the fallback. */
interface VariantReport {
  readonly schedule: string;
  readonly settings: Readonly<Record<string, number>>;
  /** "batch*tokens <= 8". */
  readonly assuming: readonly string[];
  /** Whether it is selected at the given sizes. */
  readonly taken: boolean;
  readonly workgroups: readonly number[];
  readonly threads: number;
}

/** Kernels of one shape: the same code with other bindings. */
export interface ShapeReport {
  readonly count: number;
  /** Their names; those that differ only in layer numbers are listed once, with a star for the number. */
  readonly names: readonly { readonly name: string; readonly count: number }[];
  readonly kind: string;
  /** In the order in which they are tried; the last has no assumptions. */
  readonly variants: readonly VariantReport[];
  readonly refused: readonly { readonly schedule: string; readonly reason: string }[];
  /** For one kernel at the given sizes: bytes, and operations of its reductions. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly operations: number;
  /** The lower bound of one kernel's time; absent if the adapter's ceilings are unknown. */
  readonly least?: LeastTime;
  /** Measured rates of one kernel, or why it was not timed. */
  readonly rates?: Rates | { readonly failure: string };
}

/** What was measured of the adapter. */
export interface Measured {
  readonly ceilings: KnownCeilings;
  /** Its number of multiprocessors, if its class is known. */
  readonly units?: number | undefined;
  /** Nanoseconds of each kernel shape, keyed by the kernels' shared statements; or why it was not timed. */
  readonly times?: ReadonlyMap<unknown, number | string>;
}

/** The kernels grouped by shape, in the order in which the first of each runs. */
export function shapesOf(kernels: readonly ProgramKernel[], sizes: Sizes, measured?: Measured): readonly ShapeReport[] {
  // Kernels of one shape are lowered once: they share their statements.
  return [...Map.groupBy(kernels, (k) => k.kernel.body).values()].map((same) => shapeReport(same, sizes, measured));
}

function shapeReport(same: readonly ProgramKernel[], sizes: Sizes, measured?: Measured): ShapeReport {
  const [first] = same as [ProgramKernel];
  const taken = variantFor(first, sizes);
  const named = Map.groupBy(same, ({ name }) => withoutNumbers(name));
  return {
    count: same.length,
    names: [...named].map(([name, all]) => ({ name: all.length > 1 ? name : all[0]!.name, count: all.length })),
    kind: first.kind,
    variants: [...first.special, first].map((v) => variantReport(v, v === taken, sizes)),
    refused: first.refused,
    bytesRead: dimValue(first.bytesRead, sizes),
    bytesWritten: dimValue(first.bytesWritten, sizes),
    operations: dimValue(first.flops, sizes),
    ...(measured && speedOf(first, sizes, measured)),
  };
}

/** A kernel's bound and measured rates. */
function speedOf(
  kernel: ProgramKernel,
  sizes: Sizes,
  { ceilings, units, times }: Measured,
): Pick<ShapeReport, "least" | "rates"> {
  const taken = variantFor(kernel, sizes);
  const work: KernelWork = {
    kind: kernel.kind,
    bytes: dimValue(kernel.bytesRead, sizes) + dimValue(kernel.bytesWritten, sizes),
    operations: dimValue(kernel.flops, sizes),
    workgroups: gridOf(taken.kernel, sizes).reduce((n, g) => n * g, 1),
    onMatrices: kernelIr.fragmentsOf(taken.kernel).length > 0,
    noMatrices: kernel.refused.find((r) => /matri/.test(r.schedule))?.reason,
    waste: taken.waste,
  };
  const least = leastTime(work, ceilings);
  const time = times?.get(kernel.kernel.body);
  const rates = typeof time === "string" ? { failure: time } : time && ratesOf(work, time / 1e9, ceilings, units);
  return { ...(least && { least }), ...(rates && { rates }) };
}

const variantReport = (v: KernelVariant, taken: boolean, sizes: Sizes): VariantReport => ({
  schedule: v.schedule,
  settings: v.settings,
  assuming: v.assuming.map(lowering.printFact),
  taken,
  workgroups: gridOf(v.kernel, sizes),
  threads: kernelIr.threadsOf(v.kernel),
});

/** blocks.*.attn/contract: a name with a star for each part that is a number. */
const withoutNumbers = (name: string): string => name.replace(/(?<=^|[./])\d+(?=[./]|$)/g, "*");

/** The report for a terminal of 80 columns. */
export function printKernels(
  program: Program,
  shapes: readonly ShapeReport[],
  sizes: Sizes,
  { adapter, notes }: { readonly adapter: string; readonly notes: readonly string[] },
): string {
  const count = shapes.reduce((n, s) => n + s.count, 0);
  const open = program.symbols.map((s) => `${s} = ${sizes[s]}`).join(", ");
  const heading = [
    `${program.graph.name}: ${counted(count, "kernel")} of ${counted(shapes.length, "shape")}, for ${adapter}`,
    ...notes.flatMap((note) => wrap(note)),
    ...(open === "" ? [] : wrap(`sizes are symbolic; the figures are for ${open} (--batch, --size)`)),
  ];
  return `${[heading, ...shapes.map(printShape), legend(shapes)].map((lines) => lines.join("\n")).join("\n\n")}\n`;
}

function printShape(shape: ShapeReport): string[] {
  const { names, kind, variants, refused, count } = shape;
  const each = count > 1 ? "each reads" : "reads";
  const figures = [
    `${each} ${bytes(shape.bytesRead)}, writes ${bytes(shape.bytesWritten)}`,
    ...(shape.operations > 0 ? [`${short(shape.operations)} operations`, `${intensity(shape)} a byte`] : []),
  ];
  const { workgroups, threads } = variants.find((v) => v.taken)!;
  const dispatched = `${workgroups.join(" x ")} workgroups of ${threads} threads`;
  return [
    ...names.map((n) => `${n.count} x ${n.name}`),
    ...printVariants(kind.replace("_", " "), variants),
    ...refused.flatMap((r) => wrap(`not ${r.schedule}: ${r.reason}`, "    ")),
    ...wrap(figures.join(", "), "  "),
    `  ${dispatched}`,
    ...speedLines(shape).flatMap((line) => wrap(line, "  ")),
  ];
}

/** Arithmetic intensity: operations per byte read or written, counting each tensor once. */
const intensity = ({ operations, bytesRead, bytesWritten }: ShapeReport): string =>
  String(Number((operations / (bytesRead + bytesWritten)).toPrecision(2)));

function speedLines({ least, rates }: ShapeReport): string[] {
  if (rates) return "failure" in rates ? [`not timed: ${rates.failure}`] : printRates(rates);
  return least ? [printLeast(least)] : [];
}

function printVariants(kind: string, variants: readonly VariantReport[]): string[] {
  const [only, ...more] = variants as [VariantReport];
  if (more.length === 0) return wrap(`${kind} by ${printChoice(only)}`, "  ");
  const conditions = variants.map((v) => (v.assuming.length > 0 ? `if ${v.assuming.join(" and ")}` : "else"));
  const width = Math.max(...conditions.map((c) => c.length));
  const lines = variants.map((v, i) => `    ${conditions[i]!.padEnd(width)}  ${printChoice(v)}${v.taken ? " <-" : ""}`);
  return [`  ${kind} by the first variant whose condition holds (<- at these sizes):`, ...lines];
}

const printChoice = ({ schedule, settings }: VariantReport): string => lowering.printChoice(schedule, settings);

/** Descriptions of the schedules named. */
function legend(shapes: readonly ShapeReport[]): string[] {
  const known = Object.entries(lowering.scheduleTables).flatMap(([kind, table]) => {
    const own = shapes.filter((s) => s.kind === kind);
    const named = new Set(own.flatMap((s) => [...s.variants, ...s.refused].map((v) => v.schedule)));
    const all: readonly { name: string; summary: string }[] = table.schedules;
    return all.filter((s) => named.has(s.name));
  });
  return ["schedules:", ...known.flatMap((s) => wrap(`${s.name}: ${s.summary}`, "  "))];
}

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
