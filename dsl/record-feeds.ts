/** Records as inputs: the fields of JSON objects become tensors of the types that the loss declares. */
import {
  allocate,
  type DType,
  didYouMean,
  FileError,
  findAxis,
  type HostData,
  type HostTensor,
  hostTensor,
  isSymbolic,
  printType,
  type SizedAxis,
  type TensorType,
  UsageError,
} from "../compiler/index.ts";
import { kindOfValue } from "./declared.ts";
import type { Padding, Paddings } from "./padding.ts";
import type { FeedContext, Feeds, NumericArray, RecordSample } from "./samples.ts";

const sampleAxis = "batch";

/** What fills one input. */
interface Target {
  readonly name: string;
  readonly type: TensorType;
  /** The axes of one record, in order, with the distance between neighbours in the tensor. */
  readonly axes: readonly (SizedAxis & { readonly stride: number })[];
  /** The distance between records. */
  readonly stride: number;
  readonly data: HostData;
  readonly padding?: Padding;
  readonly mask?: Target;
}

/**
 * The inputs of a batch: each is the field of its name, a number, nested lists in the order of the input's axes, or an
 * array with these dimensions. A text where integers are expected becomes its ids, BOS and EOS included, cut to the
 * axis. Fields that are no inputs are ignored. Throws FileError for a field that is missing or does not fit its input,
 * naming the record, and UsageError for a padding that does not fit the inputs.
 */
export function recordFeeds(rows: readonly RecordSample[], context: FeedContext, paddings: Paddings = {}): Feeds {
  const targets = targetsOf(context.inputs, paddings, rows.length);
  for (const [i, row] of rows.entries()) for (const target of targets) fillRow(target, row, i, context);
  const filled = targets.flatMap((target) => [target, ...(target.mask ? [target.mask] : [])]);
  return Object.fromEntries(filled.map((target) => [target.name, tensorOf(target, rows.length)]));
}

const tensorOf = ({ type, data }: Target, rows: number): HostTensor =>
  hostTensor(
    type.dtype,
    type.axes.map(({ name, size }) => ({ name, size: name === sampleAxis ? rows : (size as number) })),
    data,
  );

function targetsOf(inputs: FeedContext["inputs"], paddings: Paddings, rows: number): readonly Target[] {
  requireNames(Object.keys(paddings), inputs, "padding");
  const masks = Object.entries(paddings).flatMap(([name, { mask }]) => (mask === undefined ? [] : [{ name, mask }]));
  for (const { name, mask } of masks) requireNames([mask], inputs, `padding.${name}.mask`);
  return Object.entries(inputs)
    .filter(([name]) => !masks.some(({ mask }) => mask === name))
    .map(([name, type]) => {
      const padding = Object.hasOwn(paddings, name) ? paddings[name] : undefined;
      const own = targetOf(name, type, rows, padding);
      const { mask } = padding ?? {};
      return mask === undefined ? own : { ...own, mask: maskOf(own, targetOf(mask, inputs[mask]!, rows)) };
    });
}

function requireNames(names: readonly string[], inputs: FeedContext["inputs"], where: string): void {
  for (const name of names)
    if (!Object.hasOwn(inputs, name))
      throw new UsageError(
        `${where} names "${name}", which is no input of the loss${didYouMean(name, Object.keys(inputs))}`,
      );
}

function targetOf(name: string, type: TensorType, rows: number, padding?: Padding): Target {
  const isOfRecords =
    findAxis(type, sampleAxis) && type.axes.every((a) => a.name === sampleAxis || !isSymbolic(a.size));
  if (!isOfRecords)
    throw new UsageError(
      `input "${name}" ${printType(type)} cannot be filled by records: it needs the axis "batch", and sizes for all others; make it a constant of the model, or return it from \`feeds\``,
    );
  const axes = type.axes.map((a) => ({ name: a.name, size: a.name === sampleAxis ? rows : (a.size as number) }));
  const stray = padding?.axes.find((axis) => axis === sampleAxis || !findAxis(type, axis));
  if (stray !== undefined)
    throw new UsageError(`padding.${name} names the axis "${stray}", which a record of ${printType(type)} lacks`);
  const strides = axes.map((_, i) => axes.slice(i + 1).reduce((n, { size }) => n * size, 1));
  const placed = axes.map((axis, i) => ({ ...axis, stride: strides[i]! }));
  const data = allocate(
    type.dtype,
    axes.reduce((n, { size }) => n * size, 1),
  ).fill(padding?.value ?? 0);
  const wrong = padding && misfit(type.dtype, padding.value);
  if (wrong !== undefined) throw new UsageError(`padding.${name}.value is ${wrong}`);
  return {
    ...{ name, type, data },
    axes: placed.filter((axis) => axis.name !== sampleAxis),
    stride: placed.find((axis) => axis.name === sampleAxis)!.stride,
    ...(padding && { padding }),
  };
}

/** A mask with the strides of its input's axes: 0 along those that it lacks. */
function maskOf(of: Target, mask: Target): Target {
  const stray = mask.axes.find(({ name, size }) => !of.axes.some((axis) => axis.name === name && axis.size === size));
  if (stray)
    throw new UsageError(
      `padding.${of.name}.mask is ${printType(mask.type)}, whose axis "${stray.name}" is not one of ${printType(of.type)}`,
    );
  const strideOf = (name: string) => mask.axes.find((axis) => axis.name === name)?.stride ?? 0;
  return { ...mask, axes: of.axes.map((axis) => ({ ...axis, stride: strideOf(axis.name) })) };
}

function fillRow(target: Target, { id, fields }: RecordSample, row: number, context: FeedContext): void {
  const { name, mask } = target;
  if (!Object.hasOwn(fields, name))
    throw new FileError(
      `${id}: it has no "${name}", which input ${described(target)} needs${didYouMean(name, Object.keys(fields))}`,
    );
  const fault = fill(
    target,
    fields[name],
    { axis: 0, at: row * target.stride, masked: row * (mask?.stride ?? 0) },
    context,
  );
  if (fault !== undefined) throw new FileError(`${id}: "${name}"${fault}`);
}

/** `"boxes" f32[batch=?, box=5, coordinate=4]` */
const described = ({ name, type }: Target) => `"${name}" ${printType(type)}`;

/** Where a nested list belongs: its axis, and the positions of its first element in the tensor and in the mask. */
interface Place {
  readonly axis: number;
  readonly at: number;
  readonly masked: number;
}

/** Writes a value and all within it; a message about the first that does not fit, beginning with its place. */
function fill(target: Target, given: unknown, place: Place, context: FeedContext): string | undefined {
  const { axes, type, data, mask } = target;
  const axis = axes[place.axis];
  if (place.axis === 0 && isArray(given)) return rankFault(target, given) ?? fillFrom(target, given, place, 0);
  const value = typeof given === "string" ? idsOf(target, given, place.axis, context) : given;
  if (!axis) {
    const wrong = misfit(type.dtype, value);
    if (wrong !== undefined) return ` is ${wrong}; input ${described(target)}`;
    data[place.at] = Number(value);
    if (mask) mask.data[place.masked] = 1;
    return undefined;
  }
  if (!Array.isArray(value)) return ` is ${kindOfValue(value)}; expected a list along ${alongOf(target, axis)}`;
  const wrong = lengthFault(target, value.length, axis);
  if (wrong !== undefined) return wrong;
  for (const [i, inner] of (value as readonly unknown[]).entries()) {
    const fault = fill(target, inner, within(target, place, i), context);
    if (fault !== undefined) return `[${i}]${fault}`;
  }
  return undefined;
}

const isArray = (value: unknown): value is NumericArray =>
  typeof value === "object" && value !== null && ArrayBuffer.isView((value as Partial<NumericArray>).values);

const rankFault = (target: Target, { shape }: NumericArray): string | undefined =>
  shape.length === target.axes.length
    ? undefined
    : ` has ${shape.length} dimensions, [${shape.join(", ")}]; expected ${target.axes.length}, those of input ${described(target)} without "${sampleAxis}"`;

/** Like `fill`, from an array whose elements for this place begin at `from`. */
function fillFrom(target: Target, array: NumericArray, place: Place, from: number): string | undefined {
  const { axes, type, data, mask } = target;
  const axis = axes[place.axis];
  if (!axis) {
    const value = array.values[from]!;
    const wrong = misfit(type.dtype, value);
    if (wrong !== undefined) return ` is ${wrong}; input ${described(target)}`;
    data[place.at] = value;
    if (mask) mask.data[place.masked] = 1;
    return undefined;
  }
  const length = array.shape[place.axis]!;
  const wrong = lengthFault(target, length, axis);
  if (wrong !== undefined) return wrong;
  for (let i = 0; i < length; i += 1) {
    const fault = fillFrom(target, array, within(target, place, i), from + i * array.strides[place.axis]!);
    if (fault !== undefined) return `[${i}]${fault}`;
  }
  return undefined;
}

/** The place of the i-th element along a place's axis. */
function within({ axes, mask }: Target, { axis, at, masked }: Place, i: number): Place {
  const step = mask ? mask.axes[axis]!.stride : 0;
  return { axis: axis + 1, at: at + i * axes[axis]!.stride, masked: masked + i * step };
}

const alongOf = (target: Target, { name }: SizedAxis): string => `axis "${name}" of input ${described(target)}`;

function lengthFault(target: Target, length: number, axis: SizedAxis): string | undefined {
  const { name, size } = axis;
  const isPadded = target.padding?.axes.includes(name) ?? false;
  if (length === size || (isPadded && length < size)) return undefined;
  const hint = isPadded
    ? `make the axis larger, or shorten the record`
    : length > size
      ? "fix the record, or the declaration of the input"
      : `fix the record, or declare the padding: { ${target.name}: { axes: ["${name}"], value: 0 } }`;
  const wanted = `${isPadded ? "at most " : ""}${size} along ${alongOf(target, axis)}`;
  return ` has length ${length}; expected ${wanted}\n  hint: ${hint}`;
}

/** The ids of a text along the last axis of integers; any other text is what it was. */
function idsOf({ name, type, axes }: Target, words: string, axis: number, context: FeedContext): unknown {
  if (axis !== axes.length - 1 || !(type.dtype === "i32" || type.dtype === "u32")) return words;
  const { size } = axes[axis]!;
  const ids = context.text.encode(words, Number.MAX_SAFE_INTEGER);
  if (ids.length <= size) return ids;
  context.count(`texts of "${name}" are cut to ${size} tokens`);
  return [...ids.slice(0, size - 1), context.text.eos];
}

const ranges: Readonly<Record<DType, readonly [least: number, most: number]>> = {
  f32: [-3.4028234663852886e38, 3.4028234663852886e38],
  f16: [-65504, 65504],
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  bool: [0, 1],
};

/** What is wrong with an element of a dtype; undefined if it is one. */
function misfit(dtype: DType, value: unknown): string | undefined {
  if (dtype === "bool" && typeof value === "boolean") return undefined;
  if (typeof value !== "number") return `${kindOfValue(value)}; expected a number`;
  if (!Number.isFinite(value)) return `${value}; expected a finite number`;
  const [least, most] = ranges[dtype];
  const isHeld = value >= least && value <= most && (dtype === "f32" || dtype === "f16" || Number.isInteger(value));
  return isHeld ? undefined : `${value}, which ${dtype} does not hold`;
}
