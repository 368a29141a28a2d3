/** Videos as folders of frames: class/video/frame, with frames in name order. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { FileError } from "../compiler/index.ts";
import { listFolder } from "./files.ts";
import { isPicture } from "./sources/folder-parts.ts";

export interface Video {
  /** Its folder's path. */
  readonly name: string;
  readonly className: string;
  /** Paths, in order. */
  readonly frames: readonly string[];
}

/**
 * The videos in a folder, class by class. FileError when there is none: each class is a folder, and each video a folder
 * in it.
 */
export async function readVideos(folder: string): Promise<readonly Video[]> {
  await listFolder(folder, "video folder");
  const videos: Video[] = [];
  for (const className of await foldersOf(folder))
    for (const name of await foldersOf(join(folder, className))) {
      const place = join(folder, className, name);
      const frames = (await readdir(place)).filter(isPicture).sort().sort(byNumber); // equal numbers keep their order
      if (frames.length > 0) videos.push({ name: place, className, frames: frames.map((frame) => join(place, frame)) });
    }
  if (videos.length > 0) return videos;
  throw new FileError(
    `"${folder}" contains no videos: each class must be a folder, and each video a folder of frames in it`,
  );
}

const byNumber = new Intl.Collator("en", { numeric: true }).compare;

const foldersOf = async (folder: string): Promise<readonly string[]> =>
  (await readdir(folder, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();

/** Samples the middle of each of `count` equal segments; frames repeat if there are fewer. */
export const spreadFrames = (frames: readonly string[], count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => frames[Math.floor(((i + 0.5) * frames.length) / count)]!);
