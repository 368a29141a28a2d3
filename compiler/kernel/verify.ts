/**
 * Verifies that a kernel is well formed: names are bound once and before use, types agree, stores go to writable memory
 * only, matrix shapes match, and barriers and subgroup operations are in uniform control flow.
 */
import { InternalError } from "../diagnostics/error.ts";
import { printRegisterType, type RegisterType, widthOf } from "./expr.ts";
import { expressions, fragmentsOf, type Kernel, type Stmt, threadBuiltins } from "./kernel.ts";
import { printKernel } from "./print.ts";
import { declarationFaults } from "./verify/declarations.ts";
import { expressionFaults } from "./verify/expressions.ts";
import type { Fault, Report } from "./verify/fault.ts";
import { matrixFaults } from "./verify/matrices.ts";
import { uniformityFaults } from "./verify/uniformity.ts";

/** All faults of a kernel, check by check: declarations, body, matrices, uniformity. */
export function kernelFaults(kernel: Kernel): Fault[] {
  const faults: Fault[] = [];
  const report: Report = (at, message) => faults.push({ at, message });
  declarationFaults(kernel, report);
  new BodyCheck(kernel, report).block(kernel.body, new Set(threadBuiltins));
  matrixFaults(kernel, report);
  uniformityFaults(kernel, report);
  return faults;
}

/** Throws InternalError with every fault and the kernel's text. */
export function verifyKernel(kernel: Kernel): Kernel {
  const faults = kernelFaults(kernel);
  if (faults.length === 0) return kernel;
  const messages = [...new Set(faults.map((f) => f.message))].join("; ");
  throw new InternalError(`kernel "${kernel.name}" is malformed: ${messages}\n${printKernel(kernel)}`);
}

const typeText = (e: RegisterType) => printRegisterType(e);
const sameType = (a: RegisterType, b: RegisterType) => a.dtype === b.dtype && a.width === b.width;

class BodyCheck {
  private readonly kernel: Kernel;
  private readonly report: Report;
  private readonly bound: Set<string>;
  private readonly mutable = new Map<string, RegisterType>();

  constructor(kernel: Kernel, report: Report) {
    this.kernel = kernel;
    this.report = report;
    const declared = [...kernel.buffers, ...kernel.arrays, ...fragmentsOf(kernel)];
    this.bound = new Set([...threadBuiltins, ...declared.map((d) => d.name)]);
  }

  block(body: readonly Stmt[], outer: ReadonlySet<string>): void {
    const scope = new Set(outer);
    for (const s of body) {
      const collective = s.kind === "let" || s.kind === "var" || s.kind === "assign";
      for (const e of expressions(s)) expressionFaults(e, this.kernel, scope, collective, this.report);
      this.statement(s, scope);
    }
  }

  private bind(name: string, scope: Set<string>, at: Stmt): void {
    if (this.bound.has(name)) this.report(at, `${name} is bound twice`);
    this.bound.add(name);
    scope.add(name);
  }

  private statement(s: Stmt, scope: Set<string>): void {
    switch (s.kind) {
      case "let":
      case "var":
      case "assign":
        if (!sameType(s.target, s.value as RegisterType))
          this.report(
            s,
            `${s.target.name} is declared ${typeText(s.target)}, but its value is ${typeText(s.value as RegisterType)}`,
          );
        if (s.kind !== "assign") this.bind(s.target.name, scope, s);
        if (s.kind === "var") this.mutable.set(s.target.name, s.target);
        if (s.kind === "assign" && !(this.mutable.has(s.target.name) && scope.has(s.target.name)))
          this.report(s, `${s.target.name} is assigned, but it is not a variable (var)`);
        return;
      case "store":
      case "set":
        this.write(s);
        return;
      case "if":
        if (s.condition.dtype !== "bool") this.report(s, `a condition must be bool, not ${s.condition.dtype}`);
        this.block(s.body, scope);
        return;
      case "for": {
        if (!(Number.isInteger(s.step) && s.step > 0))
          this.report(s, `the step of a loop must be a positive integer, not ${s.step}`);
        for (const e of [s.from, s.to])
          if (e.dtype !== "i32" || widthOf(e)) this.report(e, `the bounds of a loop must be i32, not ${typeText(e)}`);
        const inner = new Set(scope);
        this.bind(s.index.name, inner, s);
        this.block(s.body, inner);
      }
    }
  }

  private write(s: Extract<Stmt, { kind: "store" | "set" }>): void {
    const name = s.kind === "store" ? s.buffer : s.array;
    const target =
      s.kind === "store"
        ? this.kernel.buffers.find((b) => b.name === name)
        : this.kernel.arrays.find((a) => a.name === name);
    if (s.index.dtype !== "i32" || widthOf(s.index))
      this.report(s.index, `an index must be i32, not ${typeText(s.index)}`);
    if (!target) {
      this.report(s, `store to ${name}, which is not declared`);
      return;
    }
    if ("access" in target && target.access !== "read_write") this.report(s, `store to ${name}, which is read-only`);
    if (!sameType(target, s.value as RegisterType))
      this.report(
        s,
        `store of ${typeText(s.value as RegisterType)} to ${name}, whose elements are ${typeText(target)}`,
      );
  }
}
