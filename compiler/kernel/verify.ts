/** Checks that a kernel is well formed: every name bound once and before use, dtypes agreeing, stores to writable buffers only. */
import { InternalError } from "../diagnostics/error.ts";
import { children, type Expr } from "./expr.ts";
import { expressions, type Kernel, type Stmt, threadBuiltins } from "./kernel.ts";
import { printKernel } from "./print.ts";

/** Throws InternalError with every fault and the kernel's text. */
export function verifyKernel(kernel: Kernel): Kernel {
  const faults: string[] = [];
  const buffers = new Map(kernel.buffers.map((b) => [b.name, b]));
  const arrays = new Map(kernel.arrays.map((a) => [a.name, a]));
  const everBound = new Set<string>([...threadBuiltins, ...buffers.keys(), ...arrays.keys()]);
  const mutable = new Set<string>();
  const visited = new WeakMap<Expr, Set<string>>();

  const checkExpr = (e: Expr, scope: Set<string>): void => {
    if (visited.get(e) === scope) return;
    visited.set(e, scope);
    for (const c of children(e)) checkExpr(c, scope);
    if (e.kind === "var" && !scope.has(e.name)) faults.push(`${e.name} is read before it is bound`);
    if (e.kind === "size" && !kernel.sizes.includes(e.name)) faults.push(`$${e.name} is not among the sizes`);
    if (e.kind === "load" && buffers.get(e.buffer)?.dtype !== e.dtype)
      faults.push(`a ${e.dtype} load of buffer ${e.buffer}`);
    if (e.kind === "load4" && buffers.get(e.buffer)?.width !== 4)
      faults.push(`a wide load of narrow buffer ${e.buffer}`);
    if (e.kind === "load" && buffers.get(e.buffer)?.width === 4)
      faults.push(`a narrow load of wide buffer ${e.buffer}`);
    if (e.kind === "component" && e.vector.kind !== "load4" && e.vector.kind !== "var")
      faults.push(`a lane of ${e.vector.kind}`);
    if (e.kind === "element" && arrays.get(e.array)?.dtype !== e.dtype)
      faults.push(`a ${e.dtype} load of array ${e.array}`);
    if ((e.kind === "load" || e.kind === "element") && e.index.dtype !== "i32")
      faults.push(`an index of dtype ${e.index.dtype}`);
    if ((e.kind === "arith" || e.kind === "compare" || e.kind === "logic") && e.a.dtype !== e.b.dtype) {
      faults.push(`${e.op} of ${e.a.dtype} and ${e.b.dtype}`);
    }
    if (e.kind === "select" && (e.condition.dtype !== "bool" || e.yes.dtype !== e.no.dtype))
      faults.push("a select of unlike dtypes");
    if (e.kind === "const" && e.dtype !== "f32" && !Number.isFinite(e.value)) faults.push(`the constant ${e.value}`);
  };

  const bind = (name: string, scope: Set<string>): void => {
    if (everBound.has(name)) faults.push(`${name} is bound twice`);
    everBound.add(name);
    scope.add(name);
  };

  const checkBlock = (body: readonly Stmt[], outer: ReadonlySet<string>): void => {
    const scope = new Set(outer);
    for (const s of body) {
      for (const e of expressions(s)) checkExpr(e, new Set(scope));
      checkStmt(s, scope);
    }
  };

  const checkStmt = (s: Stmt, scope: Set<string>): void => {
    if ((s.kind === "let" || s.kind === "var" || s.kind === "assign") && s.target.dtype !== s.value.dtype) {
      faults.push(`${s.target.name} is ${s.target.dtype}, its value ${s.value.dtype}`);
    }
    if (s.kind === "let" || s.kind === "var") bind(s.target.name, scope);
    if (s.kind === "var") mutable.add(s.target.name);
    if (s.kind === "assign" && !(mutable.has(s.target.name) && scope.has(s.target.name))) {
      faults.push(`${s.target.name} is assigned but is no variable`);
    }
    if (s.kind === "store4") {
      const target = buffers.get(s.buffer);
      if (target?.access !== "read_write" || target.width !== 4) faults.push(`a wide store to ${s.buffer}`);
    }
    if (s.kind === "store") {
      const target = buffers.get(s.buffer);
      if (target?.access !== "read_write") faults.push(`a store to ${s.buffer}, which is not writable`);
      else if (target.dtype !== s.value.dtype)
        faults.push(`a store of ${s.value.dtype} to ${target.dtype} ${s.buffer}`);
    }
    if (s.kind === "set" && arrays.get(s.array)?.dtype !== s.value.dtype)
      faults.push(`a store of ${s.value.dtype} to array ${s.array}`);
    if (s.kind === "if") checkBlock(s.body, scope);
    if (s.kind === "for") {
      const inner = new Set(scope);
      bind(s.index.name, inner);
      checkBlock(s.body, inner);
    }
  };

  checkBlock(kernel.body, new Set(threadBuiltins));
  if (faults.length === 0) return kernel;
  throw new InternalError(
    `kernel "${kernel.name}" is malformed: ${[...new Set(faults)].join("; ")}\n${printKernel(kernel)}`,
  );
}
