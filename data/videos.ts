/** Videos as folders of frames: class/video/frame, with frames in name order. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { FileError } from "../compiler/index.ts";
import { listFolder, type OnSkip } from "./files.ts";
import { isFolder, isPicture } from "./sources/folder-parts.ts";

export interface Video {
  /** Its folder's path. */
  readonly name: string;
  readonly className: string;
  /** Paths, in order. */
  readonly frames: readonly string[];
}

/**
 * The videos in a folder, class by class. FileError when there is none: each class is a folder, and each video a folder
 * in it. Videos without frames, and classes without videos, are reported to `onSkip`.
 */
export async function readVideos(folder: string, onSkip: OnSkip): Promise<readonly Video[]> {
  await listFolder(folder, "video folder");
  const videos: Video[] = [];
  for (const className of await foldersOf(folder)) {
    const names = await foldersOf(join(folder, className));
    if (names.length === 0)
      onSkip({ name: join(folder, className), reason: "the class folder has no folder of frames" });
    for (const name of names) {
      const place = join(folder, className, name);
      const frames = (await readdir(place)).filter(isPicture).sort().sort(byNumber); // equal numbers keep their order
      if (frames.length > 0) videos.push({ name: place, className, frames: frames.map((frame) => join(place, frame)) });
      else onSkip({ name: place, reason: "the video's folder has no images" });
    }
  }
  if (videos.length > 0) return videos;
  throw new FileError(
    `"${folder}" contains no videos: each class must be a folder, and each video a folder of frames in it`,
  );
}

const byNumber = new Intl.Collator("en", { numeric: true }).compare;

/** Links to folders are followed; hidden ones are not read. */
const foldersOf = async (folder: string): Promise<readonly string[]> =>
  (await readdir(folder)).filter((name) => !name.startsWith(".") && isFolder(join(folder, name))).sort();

/** Samples the middle of each of `count` equal segments; frames repeat if there are fewer. */
export const spreadFrames = (frames: readonly string[], count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => frames[Math.floor(((i + 0.5) * frames.length) / count)]!);
