/** Pictures as a mode's model takes them. */
import { existsSync } from "node:fs";
import { extname } from "node:path";
import { FileError, type Graph, type HostTensor, UsageError } from "../../../compiler/index.ts";
import { type ImageStore, imageTensor } from "../../../data/index.ts";
import { feedNamed } from "./feeds.ts";

const endings: readonly string[] = [".png", ".jpg", ".jpeg", ".webp", ".svg"];

export const isPicture = (name: string): boolean => endings.includes(extname(name).toLowerCase());

/** Throws one FileError naming every picture that is not there, before anything slow is begun. */
export function requirePictures(paths: readonly string[]): void {
  const missing = paths.filter((path) => !existsSync(path));
  if (missing.length > 0) throw new FileError(`there is no picture ${missing.map((path) => `"${path}"`).join(", ")}`);
}

/** The side of the square that a graph's input "pixels" takes. */
export function imageSide(graph: Graph): number {
  const side = feedNamed(graph, "pixels").type.axes.find((a) => a.name === "row")?.size;
  if (typeof side === "number") return side;
  throw new UsageError(`graph @${graph.name} leaves the size of "pixels" open: set it with --set`);
}

/** Reads pictures batch by batch; repeated indices are decoded once. Throws FileError naming one that is broken. */
export function pictureFeeds(paths: readonly string[], store: ImageStore) {
  return async (rows: readonly number[]): Promise<{ readonly pixels: HostTensor }> => {
    const distinct = [...new Set(rows)];
    const decoded = await Promise.all(distinct.map((row) => store.read(paths[row]!)));
    const pictures = rows.map((row) => decoded[distinct.indexOf(row)]!);
    return { pixels: imageTensor(pictures, { size: store.geometry.size }) };
  };
}
