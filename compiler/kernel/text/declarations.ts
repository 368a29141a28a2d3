/** Parses the declarations before a kernel's body: its name, memory, fragments and workgroup. */
import { type Expr, int, type Range, sizeSymbol, type Width, widths } from "../expr.ts";
import { type KernelFeature, kernelFeatures } from "../features.ts";
import {
  type ArrayDecl,
  type BufferParam,
  type FragmentDecl,
  fragmentRoles,
  type Kernel,
  type KernelKind,
  kernelKinds,
} from "../kernel.ts";
import { ExpressionReader } from "./expression.ts";
import type { LineReader } from "./reader.ts";
import type { Scope } from "./scope.ts";
import { KernelSyntaxFault, spanOf, type Token } from "./tokens.ts";

/** The declarations parsed so far. */
export interface Head {
  name: string;
  kind: KernelKind;
  readonly buffers: BufferParam[];
  readonly arrays: ArrayDecl[];
  readonly fragments: FragmentDecl[];
  workgroup: Kernel["workgroup"];
  grid: Kernel["grid"];
  subgroupSize: number | undefined;
  requires: { readonly features: readonly KernelFeature[]; readonly at: Token } | undefined;
  /** Whether the workgroup line was found. */
  complete: boolean;
}

export const emptyHead = (): Head => ({
  name: "",
  kind: "elementwise",
  buffers: [],
  arrays: [],
  fragments: [],
  workgroup: [1, 1, 1],
  grid: [int(1), int(1), int(1)],
  subgroupSize: undefined,
  requires: undefined,
  complete: false,
});

/** `kernel contraction "qkv/contract"`. */
export function readTitle(line: LineReader, head: Head): void {
  line.expect("kernel");
  head.kind = line.word(kernelKinds, "a kind of kernel");
  const token = line.peek();
  if (token.kind !== "text") line.fail("a name in quotes");
  try {
    head.name = JSON.parse(line.next().image) as string;
  } catch {
    throw new KernelSyntaxFault(spanOf(token), "a string with an unknown escape sequence");
  }
  line.end();
}

/** Parses one line between the title and the body. */
export function readDeclaration(line: LineReader, head: Head, scope: Scope): void {
  const first = line.peek();
  if (line.is("workgroup") && line.is("[", 1)) readShape(line, head, scope);
  else if (line.is("sizes") && line.is("$", 1)) readSizes(line, scope);
  else if (line.is("requires") && line.peek(1).kind === "name") readFeatures(line, head);
  else if ((line.is("workgroup") || line.is("private")) && line.peek(1).kind === "name") {
    const array = readArray(line);
    head.arrays.push(scope.placed(array, first, line.last()));
    scope.bind(array.name, { kind: "array", array });
  } else if (line.is("fragment") && line.peek(1).kind === "name") {
    const fragment = readFragment(line);
    head.fragments.push(scope.placed(fragment, first, line.last()));
    scope.bind(fragment.name, { kind: "fragment", fragment });
  } else {
    const buffer = readBuffer(line, scope);
    head.buffers.push(scope.placed(buffer, first, line.last()));
    scope.bind(buffer.name, { kind: "buffer", buffer });
  }
  line.end();
}

/** Notes the name that a malformed declaration would have declared. */
export function breakDeclaration(line: LineReader, scope: Scope): void {
  const named = line.is("workgroup") || line.is("private") || line.is("fragment") ? line.peek(1) : line.peek();
  scope.broken.add(named.image);
}

const readBy = (line: LineReader): { width?: Width } => {
  if (!line.take("by")) return {};
  const token = line.peek();
  const count = line.integer();
  const width = widths.find((w) => w === count);
  if (!width)
    throw new KernelSyntaxFault(
      spanOf(token),
      `memory is accessed by ${widths.join(", ")} elements, not by ${token.image}`,
    );
  return { width };
};

const readReserved = (line: LineReader): { reserved?: number } => (line.take("of") ? { reserved: line.integer() } : {});

/** `b0: read f32[80] by 4`, `b1: read f32[($tokens * 8)] of 1024`. */
function readBuffer(line: LineReader, scope: Scope): BufferParam {
  const name = line.name("a declaration");
  line.expect(":");
  const access = line.word(["read", "read_write"], "an access mode");
  const dtype = line.dtype();
  line.expect("[");
  const size = new ExpressionReader(line, scope).read();
  line.expect("]");
  return { name: name.image, dtype, access, size, ...readReserved(line), ...readBy(line) };
}

/** `workgroup slab: f16[5120] by 8`. */
function readArray(line: LineReader): ArrayDecl {
  const space = line.word(["private", "workgroup"], "a space");
  const name = line.name();
  line.expect(":");
  const dtype = line.dtype();
  line.expect("[");
  const length = line.integer();
  line.expect("]");
  return { name: name.image, dtype, length, space, ...readBy(line) };
}

/** `fragment a: left f16[16, 8]`: rows, then columns. */
function readFragment(line: LineReader): FragmentDecl {
  line.expect("fragment");
  const name = line.name();
  line.expect(":");
  const role = line.word(fragmentRoles, "a role");
  const dtype = line.dtype();
  line.expect("[");
  const rows = line.integer();
  line.expect(",");
  const columns = line.integer();
  line.expect("]");
  return { name: name.image, role, dtype, rows, columns };
}

/** An integer, or `inf` for no bound. */
function readBound(line: LineReader): number {
  const unlimited = line.is("inf") || (line.is("-") && line.is("inf", 1));
  if (!unlimited) return line.integer();
  const sign = line.take("-") ? -1 : 1;
  line.next();
  return sign * Infinity;
}

/** ` in 0 .. 8`: a half-open range. */
export function readRange(line: LineReader): Range | undefined {
  if (!line.take("in")) return undefined;
  const min = readBound(line);
  line.expect("..");
  return { min, max: readBound(line) - 1 };
}

/** `sizes $tokens in 1 .. 2049, $batch`. */
function readSizes(line: LineReader, scope: Scope): void {
  line.expect("sizes");
  do {
    line.expect("$");
    const name = line.name("the name of a size");
    const range = readRange(line);
    scope.sizes.set(name.image, { ...sizeSymbol(name.image), ...(range && { range }) });
  } while (line.take(","));
}

function readFeatures(line: LineReader, head: Head): void {
  const at = line.expect("requires");
  const features: KernelFeature[] = [];
  do features.push(line.word(kernelFeatures, "a feature"));
  while (line.take(","));
  head.requires = { features, at };
}

/** `workgroup [128, 1, 1] subgroup 32 grid [4, 2, 1]`. */
function readShape(line: LineReader, head: Head, scope: Scope): void {
  const first = line.expect("workgroup");
  head.complete = true;
  scope.placed(head, first, first);
  const triple = <T>(one: () => T): [T, T, T] => {
    line.expect("[");
    const x = one();
    line.expect(",");
    const y = one();
    line.expect(",");
    const z = one();
    line.expect("]");
    return [x, y, z];
  };
  head.workgroup = triple(() => line.integer());
  if (line.take("subgroup")) head.subgroupSize = line.integer();
  line.expect("grid");
  head.grid = triple<Expr>(() => new ExpressionReader(line, scope).read());
  scope.placed(head, first, line.last());
}
