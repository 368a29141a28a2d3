/** Prints how a test run ended as one plain line, "N passed, N failed", read from vitest's JSON report. */
import { readFileSync } from "node:fs";

/** The part of the report that is read. */
type Report = {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
};

const path = process.argv[2];
if (!path) throw new Error("usage: node scripts/closing-line.ts REPORT.json");
const report = JSON.parse(readFileSync(path, "utf8")) as Report;
// A file that does not even load has no tests to count and still failed.
const broken = report.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0);
const failed = report.numFailedTests + broken.length;
const skipped = report.numPendingTests > 0 ? `, ${report.numPendingTests} skipped` : "";
console.log(`${report.numPassedTests} passed, ${failed} failed${skipped}`);
if (failed > 0 || !report.success || report.numPassedTests === 0) process.exitCode = 1;
