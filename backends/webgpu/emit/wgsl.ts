/** Emits kernel IR as WGSL. */
import { type BufferParam, InternalError, type Kernel, kernelIr, type Stmt } from "../../../compiler/index.ts";
import { Expressions, fixedLength } from "./expressions.ts";
import { stored, storedType, wgslName } from "./literals.ts";

/** Feature names in WebGPU and in WGSL `enable` directives. */
const features = {
  f16: { webgpu: "shader-f16", wgsl: "f16" },
  subgroups: { webgpu: "subgroups", wgsl: "subgroups" },
  subgroup_size: { webgpu: "subgroup-size-control", wgsl: "subgroup_size_control" },
  subgroup_matrix: { webgpu: "chromium-experimental-subgroup-matrix", wgsl: "chromium_experimental_subgroup_matrix" },
} as const satisfies Record<kernelIr.KernelFeature, object>;

/** The kernel features that a device supports, from its WebGPU feature names. */
export const kernelFeaturesOf = (device: ReadonlySet<string>): ReadonlySet<kernelIr.KernelFeature> =>
  new Set(kernelIr.kernelFeatures.filter((f) => device.has(features[f].webgpu)));

/** The WebGPU feature names that the emitted kernels require. */
export const deviceFeaturesOf = (kernels: readonly Kernel[], device: Device = {}): string[] =>
  [...new Set(kernels.flatMap((k) => enabledFeatures(k, device)))].map((f) => features[f].webgpu).sort();

/** The subgroup size need not be requested if the device has only one. */
const enabledFeatures = (kernel: Kernel, { subgroupSizes }: Device): readonly kernelIr.KernelFeature[] =>
  kernelIr
    .requiredFeatures(kernel)
    .filter((f) => f !== "subgroup_size" || !kernelIr.hasOnlySubgroupSize(subgroupSizes, kernel.subgroupSize));

const majors = { row_major: "row_major", column_major: "col_major" } as const;

class Emitter {
  readonly expressions: Expressions;
  private readonly clamped: ReadonlySet<kernelIr.Access>;
  private readonly fragments: ReadonlyMap<string, kernelIr.FragmentDecl>;
  /** Fragments emitted as `let` values instead of variables. */
  private readonly values: ReadonlySet<string>;

  constructor(kernel: Kernel, clamped: ReadonlySet<kernelIr.Access>) {
    this.expressions = new Expressions(kernel, clamped);
    this.clamped = clamped;
    this.fragments = new Map(kernelIr.fragmentsOf(kernel).map((f) => [f.name, f]));
    this.values = loadedOnce(kernel);
  }

  /** Declarations of the fragments that are variables of the entry point. */
  variables(): string[] {
    const names = [...this.fragments.keys()].filter((name) => !this.values.has(name));
    return names.map((name) => `  var ${wgslName(name)}: ${this.fragmentType(name)};`);
  }

  stmt(s: Stmt, indent: string): string[] {
    const text = (e: kernelIr.Expr) => this.expressions.of(e);
    switch (s.kind) {
      case "let":
      case "var":
      case "assign":
        return [
          ...this.asked(s.value, indent),
          `${indent}${s.kind === "assign" ? "" : `${s.kind} `}${wgslName(s.target.name)} = ${text(s.value)};`,
        ];
      case "for": {
        const i = wgslName(s.index.name);
        const open = `${indent}for (var ${i} = ${text(s.from)}; ${i} < ${text(s.to)}; ${i} += ${s.step}i) {`;
        return [open, ...this.block(s.body, indent), `${indent}}`];
      }
      case "if":
        return [`${indent}if (${text(s.condition)}) {`, ...this.block(s.body, indent), `${indent}}`];
      case "store":
        return [`${indent}${this.expressions.place(s, s.buffer)} = ${this.expressions.stored(s.value)};`];
      case "set":
        return [`${indent}${this.expressions.place(s, s.array)} = ${this.expressions.stored(s.value)};`];
      case "barrier":
        return [`${indent}workgroupBarrier();`, ...(s.buffers ? [`${indent}storageBarrier();`] : [])];
      case "fragment_fill":
        return [`${indent}${wgslName(s.fragment)} = ${this.fragmentType(s.fragment)}(${text(s.value)});`];
      case "fragment_load": {
        const type = `${this.fragmentType(s.fragment)}, ${majors[s.from.order]}`;
        const { place, stride } = this.place(s.from);
        const target = `${this.values.has(s.fragment) ? "let " : ""}${wgslName(s.fragment)}`;
        return [`${indent}${target} = subgroupMatrixLoad<${type}>(${place}, ${stride});`];
      }
      case "fragment_store": {
        const { place, stride } = this.place(s.to);
        return [`${indent}subgroupMatrixStore<${majors[s.to.order]}>(${place}, ${wgslName(s.fragment)}, ${stride});`];
      }
      case "fragment_multiply": {
        const [c, left, right] = [s.fragment, s.left, s.right].map(wgslName);
        return [`${indent}${c} = subgroupMatrixMultiplyAccumulate(${left}, ${right}, ${c});`];
      }
    }
  }

  /** Emits the vote before an `any`: each thread whose condition holds stores the number of the vote in the flag. */
  private asked(e: kernelIr.Expr, indent: string): string[] {
    if (e.kind !== "any") return [];
    const yes = `if (${this.expressions.of(e.value)}) { atomicMax(&any_flag, any_turn); }`;
    return [`${indent}any_turn += 1u;`, `${indent}${yes}`];
  }

  /** The type of a fragment; WGSL puts columns first. */
  fragmentType(name: string): string {
    const { role, dtype, rows, columns } = this.fragments.get(name)!;
    return `subgroup_matrix_${role}<${dtype}, ${columns}, ${rows}>`;
  }

  private place(from: kernelIr.MatrixPlace): { place: string; stride: string } {
    const { array, offset, stride } = from;
    if (this.clamped.has(from))
      throw new InternalError(`a matrix of ${array} is not provably within it, and a matrix cannot be clamped`);
    return {
      place: `&${wgslName(array)}, ${this.expressions.unsigned(offset)}`,
      stride: this.expressions.unsigned(stride),
    };
  }

  private block(body: readonly Stmt[], indent: string): string[] {
    return body.flatMap((t) => this.stmt(t, `${indent}  `));
  }
}

/** Thread builtins that a body may read, their WGSL expressions, and the entry point parameters they need. */
const prologue = [
  ["wid_x", "wid.x", ""],
  ["wid_y", "wid.y", ""],
  ["wid_z", "wid.z", ""],
  ["lid", "local", ""],
  ["subgroup_id", "sg_id", "@builtin(subgroup_id) sg_id: u32"],
  ["lane", "sg_lane", "@builtin(subgroup_invocation_id) sg_lane: u32"],
  ["subgroup_size", "sg_size", "@builtin(subgroup_size) sg_size: u32"],
] as const satisfies readonly (readonly [kernelIr.ThreadBuiltin, string, string])[];

const fragmentsIn = (s: Stmt): readonly string[] => {
  if (!("fragment" in s)) return [];
  return s.kind === "fragment_multiply" ? [s.fragment, s.left, s.right] : [s.fragment];
};

/** Fragments with a single load whose uses all follow it in the same block or in blocks nested there. */
function loadedOnce({ body }: Kernel): Set<string> {
  const count = (name: string, some: readonly Stmt[]): number =>
    [...kernelIr.statements(some)].flatMap(fragmentsIn).filter((f) => f === name).length;
  const loads = [...kernelIr.statements(body)].flatMap((s) => (s.kind === "fragment_load" ? [s.fragment] : []));
  const found = new Set<string>();
  const walk = (block: readonly Stmt[]): void => {
    for (const [i, s] of block.entries()) {
      if (s.kind === "for" || s.kind === "if") walk(s.body);
      if (s.kind !== "fragment_load" || loads.filter((name) => name === s.fragment).length > 1) continue;
      if (count(s.fragment, block.slice(i)) === count(s.fragment, body)) found.add(s.fragment);
    }
  };
  walk(body);
  return found;
}

/**
 * A static or reserved length is part of the type, so that indices within it need no clamp, which is costly on adapters
 * without robust access. Kernels with fragments are for adapters with it: there Dawn does not clamp an array without a
 * length at all, and it could not prove most of these kernels' indices in bounds.
 */
function bufferType(buffer: BufferParam, packed: boolean, isSized: boolean): string {
  const element = !packed ? storedType(buffer) : buffer.width === 4 ? "vec2<u32>" : "u32";
  const length = isSized ? fixedLength(buffer, packed) : undefined;
  return length === undefined ? `array<${element}>` : `array<${element}, ${length}>`;
}

/** Device properties that the text depends on: with a single subgroup size, the kernel does not request one. */
export interface Device {
  readonly subgroupSizes?: kernelIr.KernelFacts["subgroupSizes"];
  /** False if the device does not check bounds: accesses not proven in bounds are then clamped here. */
  readonly robust?: boolean;
}

/**
 * The WGSL module of one kernel, entry point `main`. Buffers are bindings 0, 1 ... of group 0 in order, followed by one
 * i32 uniform of symbolic sizes. The text does not depend on the kernel's name.
 */
export function emitWgsl(kernel: Kernel, device: Device = {}): string {
  const emitter = new Emitter(kernel, device.robust === false ? kernelIr.unprovenAccesses(kernel) : new Set());
  const enabled = enabledFeatures(kernel, device);
  const body = kernel.body.flatMap((s) => emitter.stmt(s, "  ")).join("\n"); // adds to the helpers
  const requested = enabled.includes("subgroup_size") ? ` @subgroup_size(${kernel.subgroupSize})` : "";
  return [
    ...enabled.map((f) => `enable ${features[f].wgsl};`),
    ...bindings(kernel),
    ...variables(kernel),
    ...[...emitter.expressions.helpers].sort(),
    `@compute @workgroup_size(${kernel.workgroup.join(", ")})${requested}`,
    ...entryPoint(kernel, emitter.variables(), body),
    "",
  ].join("\n");
}

/** Declarations of the buffers, and of the uniform that holds the sizes. */
function bindings(kernel: Kernel): string[] {
  const packed = kernelIr.packedBuffers(kernel);
  const isSized = kernelIr.fragmentsOf(kernel).length === 0;
  const declared = kernel.buffers.map((b, i) => {
    const type = bufferType(b, packed.has(b.name), isSized);
    return `@group(0) @binding(${i}) var<storage, ${b.access}> ${wgslName(b.name)}: ${type};`;
  });
  if (!kernelIr.bindsSizes(kernel)) return declared;
  const type = `array<vec4<i32>, ${Math.ceil(kernel.sizes.length / 4)}>`;
  return [...declared, `@group(0) @binding(${declared.length}) var<uniform> sizes: ${type};`];
}

/** Declarations of the private and workgroup arrays, and of the flag of `any`. */
function variables(kernel: Kernel): string[] {
  const arrays = kernel.arrays.map((a) => {
    const type = a.width ? storedType(a) : stored[a.dtype];
    return `var<${a.space}> ${wgslName(a.name)}: array<${type}, ${a.length / (a.width ?? 1)}>;`;
  });
  return kernelIr.usesWorkgroupAny(kernel) ? [...arrays, "var<workgroup> any_flag: atomic<u32>;"] : arrays;
}

/** The function `main`, with the thread builtins that its body reads. */
function entryPoint(kernel: Kernel, fragments: readonly string[], body: string): string[] {
  const used = prologue.filter(([name]) => new RegExp(`\\b${name}\\b`).test(body));
  const parameters = [
    "@builtin(workgroup_id) wid: vec3<u32>",
    "@builtin(local_invocation_index) local: u32",
    ...used.flatMap(([, , parameter]) => (parameter ? [parameter] : [])),
  ];
  // The remainders are no-ops that tell Dawn the bounds of the indices, which it does not know.
  const subgroups = Math.ceil(kernelIr.threadsOf(kernel) / (kernel.subgroupSize ?? 1));
  const bounds: Readonly<Record<string, number | undefined>> = { subgroup_id: subgroups, lane: kernel.subgroupSize };
  const below = (name: string) => (bounds[name] === undefined ? "" : ` % ${bounds[name]}u`);
  return [
    `fn main(${parameters.join(", ")}) {`,
    ...used.map(([name, value]) => `  let ${name} = i32(${value}${below(name)});`),
    // Votes are numbered, so that the flag need not be cleared between them.
    ...(kernelIr.usesWorkgroupAny(kernel) ? ["  var any_turn = 0u;"] : []),
    ...fragments,
    body,
    "}",
  ];
}
