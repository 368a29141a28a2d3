/** Drops samples whose image is a near-duplicate of a given image, such as those of a test set. */
import { readdir } from "node:fs/promises";
import { join, parse } from "node:path";
import { FileError, UsageError } from "../../compiler/index.ts";
import { mapLimited } from "../concurrency.ts";
import { requirePath } from "../files.ts";
import { imageExtensions } from "../folders.ts";
import { defaultConcurrency } from "../images.ts";
import { hashIndex } from "./hash-index.ts";
import type { Judge } from "./judgement.ts";
import { perceptualHash } from "./perceptual-hash.ts";

/** Default number of the 64 bits that may differ between near-duplicates. */
const defaultBits = 8;
const mostBits = 15;

/**
 * `folder` or `folder:bits`: the images in a folder and its subfolders. FileError if one of them cannot be read, since
 * its duplicates would pass.
 */
export async function unlike(value: string, text: string): Promise<Judge> {
  const [, folder, given] = /^(.*?)(?::(\d+))?$/s.exec(value) as unknown as [string, string, string | undefined];
  const bits = given === undefined ? defaultBits : Number(given);
  if (bits > mostBits)
    throw new UsageError(`"${text}" allows ${bits} bits of difference, but at most ${mostBits} are useful`);
  await requirePath(folder, "folder", "image folder");
  const below = (await readdir(folder, { recursive: true })).sort();
  const pictures = below.filter((name) => imageExtensions.includes(parse(name).ext.toLowerCase()));
  if (pictures.length === 0)
    throw new FileError(`folder "${folder}" contains no images (${imageExtensions.join(", ")})`);
  const hashes = await mapLimited(pictures, defaultConcurrency, async (name) => {
    return [name, await perceptualHash(join(folder, name))] as const;
  });
  const index = hashIndex(hashes, bits);
  return async (raw) => {
    const found = raw.image === undefined ? undefined : index.near(await perceptualHash(raw.image));
    return found === undefined ? { kept: raw } : { dropped: `${text}: like "${found}"` };
  };
}
