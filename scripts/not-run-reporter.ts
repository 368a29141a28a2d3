/** Says after a test run which tests were not run, and why; vitest's own summary only counts them. */
import type { Reporter, TestCase, TestModule } from "vitest/node";

/** Gathers the skipped tests of a run by the reason that they gave. */
function skippedByReason(modules: readonly TestModule[]): ReadonlyMap<string, readonly TestCase[]> {
  const groups = new Map<string, TestCase[]>();
  for (const module of modules) {
    for (const test of module.children.allTests()) {
      const result = test.result();
      if (result.state !== "skipped") continue;
      const reason = result.note ?? "skipped in its source, without a reason";
      groups.set(reason, [...(groups.get(reason) ?? []), test]);
    }
  }
  return groups;
}

export default class NotRunReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    for (const [reason, tests] of skippedByReason(modules)) {
      console.log(`NOT RUN (${tests.length}): ${reason}`);
      for (const test of tests) console.log(`  ${test.module.relativeModuleId} > ${test.fullName}`);
    }
  }
}
