/** Emits kernel IR expressions as WGSL. */
import {
  type BufferParam,
  type DType,
  type Expr,
  InternalError,
  isFloat,
  type Kernel,
  kernelIr,
  opRecord,
} from "../../../compiler/index.ts";
import { bitsLiteral, fromBits, literal, storedType, wgslName } from "./literals.ts";

const infix = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  mod: "%",
  lt: "<",
  le: "<=",
  eq: "==",
  ne: "!=",
  and: "&&",
  or: "||",
} as const;

const subgroupFunctions = {
  add: "subgroupAdd",
  max: "subgroupMax",
  min: "subgroupMin",
  exclusive_add: "subgroupExclusiveAdd",
  broadcast: "subgroupBroadcast",
  shuffle: "subgroupShuffle",
  shuffle_xor: "subgroupShuffleXor",
} as const satisfies Record<kernelIr.SubgroupOp, string>;

/**
 * shuffle_xor by mask in a four-lane subgroup: one instruction on SwiftShader, where a shuffle takes many.
 */
const quadSwaps: readonly (string | undefined)[] = [undefined, "quadSwapX", "quadSwapY", "quadSwapDiagonal"];

/** f16 that a kernel only widens is read as packed words, two halves each, which needs no `shader-f16`. */
const packedHelpers = {
  half: "fn half(word: u32, index: i32) -> f32 { return unpack2x16float(word)[index & 1]; }",
  halves:
    "fn halves(words: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)); }",
} as const;

/**
 * The element count in a buffer's array type, if it has one. A static or reserved length is part of the type, so that
 * indices within it need no clamp, which is costly on adapters without robust access.
 */
export function fixedLength({ size, reserved, width }: BufferParam, packed: boolean): number | undefined {
  const length = size.kind === "const" ? size.value : reserved;
  const each = packed ? (width === 4 ? 4 : 2) : (width ?? 1); // two halves per word
  return length === undefined ? undefined : Math.ceil(length / each);
}

function castText(a: Expr, to: kernelIr.RegisterType, text: string): string {
  if (to.dtype !== "bool") return `${storedType(to)}(${text})`;
  const zero = { f32: "0.0f", f16: "0.0", i32: "0i", u32: "0u", bool: "false" }[a.dtype];
  // NaN converts to true; the negated equality keeps that, while `!=` might treat NaN as 0.
  return a.dtype === "f32" || a.dtype === "f16" ? `!(${text} == ${zero})` : `(${text} != ${zero})`;
}

const lanes = (width: number): string[] => Array.from({ length: width }, (_, i) => "xyzw"[i]!);

export class Expressions {
  /** Helper functions that the expressions call, emitted before the entry point. */
  readonly helpers = new Set<string>();
  private readonly kernel: Kernel;
  private readonly packed: ReadonlySet<string>;
  /** Whether the kernel uses the f16 type; if not, every f16 is widened as it is read. */
  private readonly halves: boolean;
  /**
   * Whether to emit index arithmetic whose bounds Dawn can derive. If Dawn cannot prove a matrix access in bounds, it
   * checks offset and stride at run time, which hides the constant stride from the driver.
   */
  private readonly proves: boolean;

  /** Accesses whose index must be clamped here, as the device does not check it. */
  private readonly clamped: ReadonlySet<kernelIr.Access>;

  constructor(kernel: Kernel, clamped: ReadonlySet<kernelIr.Access>) {
    this.kernel = kernel;
    this.clamped = clamped;
    this.packed = kernelIr.packedBuffers(kernel);
    this.halves = kernelIr.requiredFeatures(kernel).includes("f16");
    this.proves = kernelIr.fragmentsOf(kernel).length > 0;
  }

  of(e: Expr): string {
    switch (e.kind) {
      case "const":
        return this.constant(e.value, e.dtype);
      case "var":
        return wgslName(e.name);
      case "size":
        return this.size(e.name);
      case "arith":
        if (e.op === "min" || e.op === "max") return `${e.op}(${this.of(e.a)}, ${this.of(e.b)})`;
        if (this.proves && e.op === "mod") return this.remainder(e);
        return `(${this.of(e.a)} ${infix[e.op]} ${this.of(e.b)})`;
      case "compare":
      case "logic":
        return `(${this.of(e.a)} ${infix[e.op]} ${this.of(e.b)})`;
      case "op":
        return this.op(e);
      case "builtin":
        return `${e.fn}(${e.args.map((a) => this.of(a)).join(", ")})`;
      case "load":
        return this.load(e);
      case "construct":
        return this.construct(e);
      case "component":
        return this.component(e);
      case "element": {
        const text = this.place(e, e.array);
        return e.dtype === "bool" ? `(${text} != 0u)` : text;
      }
      case "select":
        return `select(${this.of(e.no)}, ${this.of(e.yes)}, ${this.of(e.condition)})`;
      case "cast":
        return castText(e.a, e, this.of(e.a));
      case "subgroup": {
        const swap = e.op === "shuffle_xor" && this.kernel.subgroupSize === 4 && e.lane!.kind === "const";
        if (swap && quadSwaps[e.lane.value]) return `${quadSwaps[e.lane.value]}(${this.of(e.value)})`;
        const lane = e.lane
          ? `, ${e.op === "shuffle_xor" || e.op === "shuffle" ? this.unsigned(e.lane) : this.of(e.lane)}`
          : "";
        return `${subgroupFunctions[e.op]}(${this.of(e.value)}${lane})`;
      }
      case "any":
        return "(workgroupUniformLoad(&any_flag) == any_turn)";
    }
  }

  private constant(value: number, dtype: DType): string {
    if (dtype !== "f32" || Number.isFinite(Math.fround(value))) return literal(value, dtype);
    this.helpers.add(fromBits);
    return bitsLiteral(value);
  }

  /** A value in its memory representation. */
  stored(value: Expr): string {
    const text = this.of(value);
    return value.dtype === "bool" ? `select(0u, 1u, ${text})` : text;
  }

  /** A nonnegative index as u32. */
  unsigned(e: Expr): string {
    return e.kind === "const" && e.value >= 0 ? `${e.value}u` : `u32(${this.of(e)})`;
  }

  /** Emits an unsigned remainder where it is equivalent: Dawn then knows its bounds whatever those of the dividend. */
  private remainder({ dtype, a, b }: Extract<Expr, { kind: "arith" }>): string {
    if (dtype === "i32" && b.kind === "const" && b.value > 0 && kernelIr.rangeOf(a).min >= 0)
      return `i32(${this.unsigned(a)} % ${b.value}u)`;
    return `(${this.of(a)} % ${this.of(b)})`;
  }

  /** An array element; `halved` if the array packs two elements into a word. */
  place(access: Exclude<kernelIr.Access, kernelIr.MatrixPlace>, memory: string, halved = false): string {
    const name = wgslName(memory);
    const index = this.of(access.index);
    if (!this.clamped.has(access)) return `${name}[${halved ? `(${index}) >> 1u` : index}]`;
    const word = `u32(${index})${halved ? " >> 1u" : ""}`; // negative indices wrap to beyond the end
    const length = this.lengthOf(memory);
    return `${name}[min(${word}, ${length === undefined ? `arrayLength(&${name}) - 1u` : `${length - 1}u`})]`;
  }

  private lengthOf(memory: string): number | undefined {
    const array = this.kernel.arrays.find((a) => a.name === memory);
    if (array) return array.length / (array.width ?? 1);
    return fixedLength(this.kernel.buffers.find((b) => b.name === memory)!, this.packed.has(memory));
  }

  private load(e: Extract<Expr, { kind: "load" }>): string {
    if (!this.packed.has(e.buffer)) {
      const text = this.place(e, e.buffer);
      return e.dtype === "bool" ? `(${text} != 0u)` : text;
    }
    if (e.width === 4) return this.helped("halves", this.place(e, e.buffer));
    if (e.width === 2) return `unpack2x16float(${this.place(e, e.buffer)})`;
    return this.helped("half", `${this.place(e, e.buffer, true)}, ${this.of(e.index)}`);
  }

  private construct(e: Extract<Expr, { kind: "construct" }>): string {
    const parts = e.parts.map((p) => this.of(p));
    if (e.width !== 8) return `${storedType(e)}(${parts.join(", ")})`;
    const at = (i: number) => parts[parts.length === 1 ? 0 : i]!;
    const words = [0, 2, 4, 6].map((i) => `bitcast<u32>(vec2<f16>(${at(i)}, ${at(i + 1)}))`);
    return `vec4<u32>(${words.join(", ")})`;
  }

  private component({ vector, lane }: Extract<Expr, { kind: "component" }>): string {
    const text = this.of(vector);
    if (kernelIr.widthOf(vector) !== 8) return `${text}.${"xyzw"[lane]}`;
    const word = `${text}.${"xyzw"[lane >> 1]}`;
    return `${this.halves ? `bitcast<vec2<f16>>(${word})` : `unpack2x16float(${word})`}.${"xy"[lane & 1]}`;
  }

  private size(name: string): string {
    const at = this.kernel.sizes.indexOf(name);
    return `sizes[${at >> 2}].${"xyzw"[at & 3]}`;
  }

  private helped(name: keyof typeof packedHelpers, args: string): string {
    this.helpers.add(packedHelpers[name]);
    return `${name}(${args})`;
  }

  private op(e: Extract<Expr, { kind: "op" }>): string {
    const args = e.args.map((a) => this.of(a));
    return e.width ? `${this.vectorHelper(e, e.width)}(${args.join(", ")})` : `(${this.scalarOp(e, args)})`;
  }

  /** The op's WGSL; helpers compute in f32, so f16 arguments are widened and the result narrowed. */
  private scalarOp(e: Extract<Expr, { kind: "op" }>, args: readonly string[]): string {
    const texts = opRecord(e.op).wgsl;
    const wgsl = e.args.some((a) => isFloat(a.dtype)) ? (texts?.float ?? texts) : texts;
    if (!wgsl) throw new InternalError(`op "${e.op}" reached the WGSL emitter but its record has no WGSL text`);
    if (!wgsl.helper) return wgsl.call(...args);
    this.helpers.add(wgsl.helper);
    const half = (i: number) => e.args[i]!.dtype === "f16";
    const text = wgsl.call(...args.map((a, i) => (half(i) ? `f32(${a})` : a)));
    return e.dtype === "f16" ? `f16(${text})` : text;
  }

  /** Emits a function that applies an op elementwise to vectors. */
  private vectorHelper(e: Extract<Expr, { kind: "op" }>, width: kernelIr.Width): string {
    const types = e.args.map((a) => storedType({ dtype: a.dtype, width }));
    const name = `${e.op}_${e.args.map((a) => a.dtype).join("_")}x${width}`;
    const parameters = types.map((type, i) => `x${i}: ${type}`).join(", ");
    const each = lanes(width).map((lane) =>
      this.scalarOp(
        e,
        types.map((_, i) => `x${i}.${lane}`),
      ),
    );
    const result = storedType({ dtype: e.dtype as DType, width });
    this.helpers.add(`fn ${name}(${parameters}) -> ${result} { return ${result}(${each.join(", ")}); }`);
    return name;
  }
}
