/** Parsers of option values; each throws InvalidArgumentError, which commander reports with the option's name. */
import { InvalidArgumentError } from "commander";
import { type ImageSize, sizeOfSides } from "../../compiler/index.ts";
import type { MemoryBudget } from "../memory-budget.ts";

/** The values of an option that may be repeated. */
export const collect = (value: string, before: string[]): string[] => [...before, value];

/** The value of an option that may be given once: a second one would silently replace the first. */
export function once(value: string, before: string | undefined): string {
  if (before === undefined) return value;
  throw new InvalidArgumentError(`it can be given only once, and is already "${before}"`);
}

export function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError("must be an integer of at least 1");
}

export function seed(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new InvalidArgumentError("must be an integer of at least 0");
}

export function positiveNumber(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError("must be a number above 0");
}

/** 5GB, 500MB, 1.5 GiB, or plain bytes. */
export function byteCount(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([kMGT]?)(i?)B)?$/i.exec(text.trim());
  const power = match ? ["", "k", "m", "g", "t"].indexOf((match[2] ?? "").toLowerCase()) : -1;
  const value = power < 0 ? 0 : Math.floor(Number(match![1]) * (match![3] ? 1024 : 1000) ** power);
  if (value >= 1) return value;
  throw new InvalidArgumentError("must be a size, such as 5GB or 500MB");
}

/** 24GiB, or 0.8: bytes, or a fraction of the device's memory. */
export function memoryBudget(text: string): MemoryBudget {
  const share = /^(0?\.\d+|1|1\.0+)$/.test(text.trim()) ? Number(text) : 0;
  if (share > 0) return { share };
  if (/^[\d.]+$/.test(text.trim()) && Number(text) < 2 ** 20)
    throw new InvalidArgumentError("must be a fraction up to 1 or a size, such as 0.8 or 24GiB");
  return { bytes: byteCount(text) };
}

/** 60s, 5m, 1h, or plain seconds, in milliseconds. */
export function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)?$/.exec(text.trim());
  const value = match ? Number(match[1]) * { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[match[2] ?? "s"]! : 0;
  if (value >= 1) return value;
  throw new InvalidArgumentError("must be a time, such as 60s or 5m");
}

export function anyNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value)) return value;
  throw new InvalidArgumentError("must be a number");
}

/** 384x128, height × width, or 224 for a square. */
export function imageSize(text: string): ImageSize {
  const [height, width = height] =
    /^([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?$/.exec(text.trim())?.slice(1).filter(Boolean) ?? [];
  if (height !== undefined) return sizeOfSides({ height: Number(height), width: Number(width) });
  throw new InvalidArgumentError("must be a height and a width in pixels, such as 384x128, or one number for a square");
}

/** A number above 0 and up to 1. */
export function share(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 1) return value;
  throw new InvalidArgumentError("must be a number above 0 and at most 1");
}
