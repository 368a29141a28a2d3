/** Which files data lies in: any change is found, and named where files are few enough. */
import { appendFile, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type ListedFile, listingChange, listingOf, type OpenDataOptions, openData } from "../../data/index.ts";
import { isListing } from "../../data/listing.ts";
import { collect, picture, temporaryFolder, writeTar } from "./support.ts";

const files = (count: number): ListedFile[] =>
  Array.from({ length: count }, (_, i) => ({ name: `${String(i).padStart(5, "0")}.tar`, bytes: 100 + i }));

describe("listings", () => {
  it("name what was added, removed and changed in size", () => {
    const [first, second, ...rest] = files(6);
    const was = listingOf([first!, second!, ...rest]);
    expect(listingChange(was, [first!, second!, ...rest])).toBeUndefined();
    const now = [{ ...first!, bytes: 7 }, ...rest, { name: "new.tar", bytes: 1 }];
    expect(listingChange(was, now)).toBe(
      '6 files with 615 bytes before, 6 with 422 now; 1 file added: "new.tar"; 1 file removed: "00001.tar"; 1 file with another size: "00000.tar", 100 bytes before, 7 now',
    );
    expect(listingChange(was, [second!, first!, ...rest])).toBe("the same files are in another order");
    expect(listingChange(listingOf([]), files(5))).toMatch(
      /5 files added: "00000.tar", "00001.tar", "00002.tar", and 2 more$/,
    );
  });

  it("stay small for very many files, and say among which of them the change is", () => {
    const many = files(40_000);
    const was = JSON.parse(JSON.stringify(listingOf(many)));
    expect(isListing(was)).toBe(true);
    expect(was.blocks.length).toBeLessThan(10_000);
    expect(listingChange(was, many)).toBeUndefined();
    for (const changed of [
      many.toSpliced(20_000, 1),
      many.toSpliced(20_000, 0, { name: "20000a.tar", bytes: 1 }),
      many.with(20_000, { ...many[20_000]!, bytes: 1 }),
      many.with(20_000, { ...many[20_000]!, name: "20000a.tar" }),
    ]) {
      const [, from] = /differences are among \d+ starting at "(\d{5})a?\.tar"/.exec(listingChange(was, changed)!)!;
      expect(Math.abs(Number(from) - 20_000)).toBeLessThan(200);
    }
  });
});

const image = { size: 4, fit: "squash" as const };

describe("a run that goes on", () => {
  const opened = async (spec: string, options: Partial<OpenDataOptions<"pairs">> = {}) =>
    await openData([spec], "pairs", { batch: 2, seed: 5, image, workers: 0, ...options });
  const first = async (spec: string, cursor?: unknown, options: Partial<OpenDataOptions<"pairs">> = {}) => {
    const notes: string[] = [];
    const data = await opened(spec, options);
    try {
      const batches = await collect(
        data.batches(cursor, (text) => notes.push(text)),
        1,
      );
      return { cursor: JSON.parse(JSON.stringify(batches[0]!.cursor)), batch: batches[0]!, notes };
    } finally {
      await data.dispose();
    }
  };
  const shard = async (path: string, ...names: string[]) => {
    const bytes = await picture({ r: 9, g: 9, b: 9 });
    await writeTar(
      path,
      names.flatMap((name) => [[`${name}.png`, bytes] as const, [`${name}.txt`, name] as const]),
    );
  };

  it("is refused where shards were added, removed or changed, and names them", async () => {
    const folder = temporaryFolder();
    for (const name of ["a", "b", "c"]) await shard(join(folder, `${name}.tar`), `${name}1`, `${name}2`);
    const { cursor } = await first(folder);
    await first(folder, cursor);
    await shard(join(folder, "d.tar"), "d1");
    await expect(first(folder, cursor)).rejects.toThrow(
      /data changed since the checkpoint was saved: 3 files .* 1 file added: ".*d\.tar"\n {2}hint: restore the files/,
    );
    await rm(join(folder, "d.tar"));
    await first(folder, cursor);
    await rm(join(folder, "b.tar"));
    await expect(first(folder, cursor)).rejects.toThrow(/1 file removed: ".*b\.tar"/);
    await shard(join(folder, "b.tar"), "b1", "b2", "b3");
    await expect(first(folder, cursor)).rejects.toThrow(
      /1 file with another size: ".*b\.tar", \d+ bytes before, \d+ now/,
    );
    const { batch, notes } = await first(folder, cursor, { onChange: "next epoch" });
    expect(batch.cursor.places[0]!.epoch).toBe(1);
    expect(notes.join()).toContain("continuing with the current files");
    // The files that it went on with are those that it is compared with from then on.
    await first(folder, JSON.parse(JSON.stringify(batch.cursor)));
  });

  it("is refused where pictures or captions of a folder are others, and not for files that are not read", async () => {
    const folder = temporaryFolder();
    await mkdir(join(folder, "other"));
    for (const name of ["a", "b", "c"]) {
      await writeFile(join(folder, `${name}.png`), await picture({ r: 1, g: 2, b: 3 }));
      await writeFile(join(folder, `${name}.txt`), `a caption of ${name}`);
    }
    const { cursor } = await first(folder);
    await writeFile(join(folder, "README.txt"), "read by nobody");
    await first(folder, cursor);
    await appendFile(join(folder, "b.txt"), "\nanother");
    await expect(first(folder, cursor)).rejects.toThrow(/another size: ".*b\.txt", 14 bytes before, 22 now/);
  });

  it("counts what was skipped from its beginning on, each sample once over all epochs", async () => {
    const folder = temporaryFolder();
    await shard(join(folder, "a.tar"), "a1", "a2", "a3", "a4");
    await writeTar(join(folder, "b.tar"), [
      ["x.png", "no picture"],
      ["x.txt", "x"],
      ["y.png", await picture({ r: 1, g: 1, b: 1 })],
    ]);
    const batches = async (count: number, cursor?: unknown) => {
      const data = await opened(folder);
      try {
        return await collect(
          data.batches(cursor, () => {}),
          count,
        );
      } finally {
        await data.dispose();
      }
    };
    const whole = await batches(9);
    expect(Object.values(whole.at(-1)!.cursor.skipped.reasons).map(({ count }) => count)).toEqual([1, 1]);
    for (const stop of [0, 1, 3, 6]) {
      const rest = await batches(8 - stop, JSON.parse(JSON.stringify(whole[stop]!.cursor)));
      expect(rest.at(-1)!.cursor).toEqual(whole.at(-1)!.cursor);
    }
  });
});
