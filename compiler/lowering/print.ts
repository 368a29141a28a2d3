/** Prints the schedules and kernels of a plan: what was chosen for each kernel shape and why, and its code. */
import { globMatches } from "../diagnostics/switches.ts";
import { kernelName } from "../fusion/index.ts";
import { printKernel } from "../kernel/index.ts";
import type { LoweredPlan, ScheduledPlan, ShapedKernel } from "./plan.ts";
import type { Program } from "./program.ts";
import { printChoice, printFact } from "./schedule.ts";

/** A kernel shape, named after the first kernel that has it, with the number of kernels that do. */
interface Shape {
  readonly key: string;
  readonly name: string;
  readonly kind: string;
  readonly count: number;
}

function shapesOf(shaped: readonly ShapedKernel[], pattern = "*"): Shape[] {
  const shapes = new Map<string, Shape>();
  for (const { fused, shape } of shaped) {
    const name = kernelName(fused);
    if (!globMatches(pattern, name)) continue;
    const known = shapes.get(shape.key);
    shapes.set(shape.key, {
      key: shape.key,
      kind: fused.kind,
      name: known?.name ?? name,
      count: (known?.count ?? 0) + 1,
    });
  }
  return [...shapes.values()];
}

const title = ({ name, kind, count }: Shape): string => `${count} × ${kind} "${name}"`;

/** For each kernel shape: the schedules chosen, with their assumptions, and why those ahead of them were rejected. */
export function printSchedules({ shaped, choices }: ScheduledPlan, pattern?: string): string {
  const blocks = shapesOf(shaped, pattern).map((shape) => {
    const { choices: chosen, refused } = choices.get(shape.key)!;
    const lines = chosen.map(({ schedule, settings, assuming }) => {
      const where = assuming.length > 0 ? ` where ${assuming.map(printFact).join(" and ")}` : "";
      return `  ${printChoice(schedule.name, settings)}${where}`;
    });
    return [title(shape), ...lines, ...refused.map((r) => `  not ${r.schedule}: ${r.reason}`)].join("\n");
  });
  return `${blocks.join("\n")}\n`;
}

/** The code of every variant of each kernel shape. */
export function printLowered({ shaped, lowered }: LoweredPlan, pattern?: string): string {
  const blocks = shapesOf(shaped, pattern).flatMap((shape) =>
    lowered
      .get(shape.key)!
      .variants.map((v) => `// ${title(shape)}, ${printChoice(v.schedule, v.settings)}\n${printKernel(v.kernel)}`),
  );
  return blocks.join("\n");
}

/** The code of every kernel of a program, in execution order; identical code is printed once. */
export function printProgram({ kernels }: Program, pattern = "*"): string {
  const seen = new Set<string>();
  const blocks = kernels.flatMap(({ name, special, ...general }) => {
    if (!globMatches(pattern, name)) return [];
    return [...special, general].flatMap(({ kernel, schedule, settings }) => {
      const text = printKernel({ ...kernel, name: "" });
      if (seen.has(text)) return [];
      seen.add(text);
      return [`// ${printChoice(schedule, settings)}\n${printKernel(kernel)}`];
    });
  });
  return blocks.join("\n");
}
