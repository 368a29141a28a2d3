/** Kernels as WGSL text. */
import { type DType, InternalError, opRecord } from "../../../compiler/index.ts";
import type { BufferParam, Expr, Kernel, Stmt } from "./kernel-types.ts";

/** The type a dtype has in memory: bool is not host-shareable and takes a u32. */
const stored = { f32: "f32", f16: "f16", i32: "i32", u32: "u32", bool: "u32" } as const satisfies Record<DType, string>;

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

/** A float literal. */
function floatText(value: number, dtype: DType): string {
  const text = String(dtype === "f16" ? value : Math.fround(value));
  return `${/[.e]/.test(text) ? text : `${text}.0`}${dtype === "f16" ? "h" : "f"}`;
}

function constText(value: number, dtype: DType): string {
  if (dtype === "bool") return value ? "true" : "false";
  if (dtype === "u32") return `${value}u`;
  if (dtype === "i32") return value === -(2 ** 31) ? "i32(-2147483647 - 1)" : value < 0 ? `(${value}i)` : `${value}i`;
  return value < 0 ? `(${floatText(value, dtype)})` : floatText(value, dtype);
}

function castText(a: Expr, dtype: DType, text: string): string {
  if (dtype === "bool")
    return a.dtype === "f32" ? `!(${text} == 0.0f)` : `(${text} != ${a.dtype === "u32" ? "0u" : "0i"})`;
  return `${stored[dtype]}(${text})`;
}

/** f16 that a kernel only reads is read as words, which needs no `shader-f16`: two of them in each, widened to f32. */
const isPacked = (b: BufferParam): boolean => b.dtype === "f16" && b.access === "read";

/** WGSL refuses literals that are infinite or nan; from bits that come as an argument it takes them. */
const bitsHelper = "fn from_bits(bits: u32) -> f32 { return bitcast<f32>(bits); }";
const bitsOf = (value: number): string => `0x${new Uint32Array(Float32Array.of(value).buffer)[0]!.toString(16)}u`;

const packedHelpers = {
  half: "fn half(word: u32, index: i32) -> f32 { return unpack2x16float(word)[index & 1]; }",
  halves:
    "fn halves(words: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)); }",
} as const;

class Emitter {
  readonly helpers = new Set<string>();
  private readonly kernel: Kernel;
  private readonly packed: ReadonlySet<string>;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
    this.packed = new Set(kernel.buffers.filter(isPacked).map((b) => b.name));
  }

  expr(e: Expr): string {
    switch (e.kind) {
      case "const": {
        if (e.dtype !== "f32" || Number.isFinite(Math.fround(e.value))) return constText(e.value, e.dtype);
        this.helpers.add(bitsHelper);
        return `from_bits(${bitsOf(e.value)})`;
      }
      case "var":
        return e.name;
      case "size":
        return this.sizeText(e.name);
      case "arith":
        if (e.op === "min" || e.op === "max") return `${e.op}(${this.expr(e.a)}, ${this.expr(e.b)})`;
        return `(${this.expr(e.a)} ${infix[e.op]} ${this.expr(e.b)})`;
      case "compare":
      case "logic":
        return `(${this.expr(e.a)} ${infix[e.op]} ${this.expr(e.b)})`;
      case "op":
        return this.opText(e.op, e.args);
      case "builtin":
        return `${e.fn}(${e.args.map((a) => this.expr(a)).join(", ")})`;
      case "load": {
        const index = this.expr(e.index);
        if (this.packed.has(e.buffer)) return this.helped("half", `${e.buffer}[(${index}) >> 1u], ${index}`);
        const text = `${e.buffer}[${index}]`;
        return e.dtype === "bool" ? `(${text} != 0u)` : text;
      }
      case "load4": {
        const text = `${e.buffer}[${this.expr(e.index)}]`;
        return this.packed.has(e.buffer) ? this.helped("halves", text) : text;
      }
      case "component":
        return `${this.expr(e.vector)}.${"xyzw"[e.lane]}`;
      case "element":
        return `${e.array}[${this.expr(e.index)}]`;
      case "select":
        return `select(${this.expr(e.no)}, ${this.expr(e.yes)}, ${this.expr(e.condition)})`;
      case "cast":
        return castText(e.a, e.dtype, this.expr(e.a));
    }
  }

  private helped(name: keyof typeof packedHelpers, args: string): string {
    this.helpers.add(packedHelpers[name]);
    return `${name}(${args})`;
  }

  private sizeText(name: string): string {
    const at = this.kernel.sizes.indexOf(name);
    return `sizes[${at >> 2}].${"xyzw"[at & 3]}`;
  }

  private opText(op: string, args: readonly Expr[]): string {
    const texts = opRecord(op).wgsl;
    const wgsl = args.some((a) => a.dtype === "f32") ? (texts?.float ?? texts) : texts;
    if (!wgsl) throw new InternalError(`op "${op}" reached the WGSL emitter but its record has no WGSL text`);
    if (wgsl.helper) this.helpers.add(wgsl.helper);
    return `(${wgsl.call(...args.map((a) => this.expr(a)))})`;
  }

  stmt(s: Stmt, indent: string): string[] {
    switch (s.kind) {
      case "let":
        return [`${indent}let ${s.target.name} = ${this.expr(s.value)};`];
      case "var":
        return [`${indent}var ${s.target.name} = ${this.expr(s.value)};`];
      case "assign":
        return [`${indent}${s.target.name} = ${this.expr(s.value)};`];
      case "for": {
        const i = s.index.name;
        const open = `${indent}for (var ${i} = ${this.expr(s.from)}; ${i} < ${this.expr(s.to)}; ${i} += ${s.step}i) {`;
        return [open, ...this.block(s.body, indent), `${indent}}`];
      }
      case "if":
        return [`${indent}if (${this.expr(s.condition)}) {`, ...this.block(s.body, indent), `${indent}}`];
      case "store": {
        const value = this.expr(s.value);
        return [
          `${indent}${s.buffer}[${this.expr(s.index)}] = ${s.value.dtype === "bool" ? `select(0u, 1u, ${value})` : value};`,
        ];
      }
      case "store4": {
        const type = stored[s.values[0]!.dtype];
        return [
          `${indent}${s.buffer}[${this.expr(s.index)}] = vec4<${type}>(${s.values.map((v) => this.expr(v)).join(", ")});`,
        ];
      }
      case "set":
        return [`${indent}${s.array}[${this.expr(s.index)}] = ${this.expr(s.value)};`];
      case "barrier":
        return [`${indent}workgroupBarrier();`];
    }
  }

  private block(body: readonly Stmt[], indent: string): string[] {
    return body.flatMap((t) => this.stmt(t, `${indent}  `));
  }
}

/** The names the entry point reads of its builtins. */
const prologue = [
  ["wid_x", "i32(wid.x)"],
  ["wid_y", "i32(wid.y)"],
  ["wid_z", "i32(wid.z)"],
  ["lid", "i32(local)"],
] as const;

/** A known length is part of the type: indices within it then need no clamp, which costs on adapters without robust access. */
function arrayType(buffer: BufferParam): string {
  const { dtype, size, width = 1 } = buffer;
  const packed = isPacked(buffer);
  const [one, four] = packed ? ["u32", "vec2<u32>"] : [stored[dtype], `vec4<${stored[dtype]}>`];
  const each = width === 4 ? 4 : packed ? 2 : 1; // elements of the tensor in one of the array
  const element = width === 4 ? four : one;
  return size.kind === "const" ? `array<${element}, ${Math.ceil(size.value / each)}>` : `array<${element}>`;
}

/**
 * The module of one kernel, entry point `main`. Buffers are bindings 0, 1 ... of group 0 in order; symbolic sizes follow
 * as one uniform of i32. Equal kernels give equal text whatever their names.
 */
export function emitWgsl(kernel: Kernel): string {
  const emitter = new Emitter(kernel);
  const body = kernel.body.flatMap((s) => emitter.stmt(s, "  ")).join("\n");
  const bindings = kernel.buffers.map(
    (b, i) => `@group(0) @binding(${i}) var<storage, ${b.access}> ${b.name}: ${arrayType(b)};`,
  );
  if (kernel.sizes.length > 0) {
    const vectors = Math.ceil(kernel.sizes.length / 4);
    bindings.push(`@group(0) @binding(${kernel.buffers.length}) var<uniform> sizes: array<vec4<i32>, ${vectors}>;`);
  }
  const arrays = kernel.arrays.map((a) => `var<${a.space}> ${a.name}: array<${stored[a.dtype]}, ${a.length}>;`);
  const builtins = prologue
    .filter(([name]) => new RegExp(`\\b${name}\\b`).test(body))
    .map(([n, v]) => `  let ${n} = ${v};`);
  return [
    ...(kernel.buffers.some((b) => b.dtype === "f16" && !isPacked(b)) ? ["enable f16;"] : []),
    ...bindings,
    ...arrays,
    ...[...emitter.helpers].sort(),
    `@compute @workgroup_size(${kernel.workgroup.join(", ")})`,
    "fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {",
    ...builtins,
    body,
    "}",
    "",
  ].join("\n");
}
