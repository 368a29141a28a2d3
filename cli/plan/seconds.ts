/** 12.3 days, 4.5 hours, 1.2 s, 35 ms: durations to three digits. */
const units = [
  [86_400, "days"],
  [3_600, "hours"],
  [60, "minutes"],
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
] as const;

export function printSeconds(seconds: number): string {
  const [unit, name] = units.find(([u]) => seconds >= 2 * u) ?? [1e-6, "µs"];
  return `${Number((seconds / unit).toPrecision(3))} ${name}`;
}
