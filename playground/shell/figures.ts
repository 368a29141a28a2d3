/** Human-readable numbers. */

const units = ["", "k", "M", "G", "T"] as const;

/** 1234567 -> "1.23 M". */
export function short(value: number): string {
  let [scaled, unit] = [value, 0];
  while (Math.abs(scaled) >= 999.5 && unit + 1 < units.length) {
    scaled /= 1000;
    unit += 1;
  }
  const text = unit === 0 ? String(Math.round(scaled)) : scaled.toPrecision(3);
  return units[unit] === "" ? text : `${text} ${units[unit]}`;
}

const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

export function bytes(value: number): string {
  let [scaled, unit] = [value, 0];
  while (scaled >= 1023.5 && unit + 1 < byteUnits.length) {
    scaled /= 1024;
    unit += 1;
  }
  return `${unit === 0 || scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)} ${byteUnits[unit]}`;
}

export const percent = (share: number): string => `${Math.round(100 * share)} %`;

export const milliseconds = (value: number): string =>
  value >= 1000 ? `${(value / 1000).toFixed(1)} s` : value >= 10 ? `${Math.round(value)} ms` : `${value.toFixed(1)} ms`;
