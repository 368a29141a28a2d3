import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import sharp from "sharp";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { FileError } from "../../compiler/index.ts";
import { render } from "../../data/decoding/render.ts";
import { DecodingError, renderer, usualWorkers } from "../../data/decoding/threads.ts";
import { paddedSides } from "../../data/images.ts";
import { decodeImage, openData } from "../../data/index.ts";
import { temporaryFolder } from "./support.ts";

/** A picture each of whose pixels has a colour of its own. */
const ramp = (width: number, height: number) =>
  sharp(
    Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7 + Math.floor(i / 50)) % 256),
    { raw: { width, height, channels: 3 } },
  );

const grey = (width: number, height: number, at: (x: number, y: number) => number) =>
  sharp(
    Uint8Array.from({ length: width * height }, (_, i) => at(i % width, Math.floor(i / width))),
    { raw: { width, height, channels: 1 } },
  )
    .toColourspace("b-w")
    .png()
    .toBuffer();

const plain = { mean: [0, 0, 0], std: [1, 1, 1] } as const;

describe("render", () => {
  it("takes pixels, and no drawing, which one thread must decode alone", async () => {
    const bytes = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>');
    const image = { name: "x.png", bytes };
    for (const augmentation of [{}, { scale: [0.5, 1] as const }]) {
      const rendering = render({ image, seed: 1, keys: [] }, { size: 5, fit: "squash", augmentation });
      await expect(rendering).rejects.toThrow("it is a svg file; supported formats are png, jpg and webp");
    }
    expect((await decodeImage(image, { size: 5, fit: "squash" })).width).toBe(5);
  });

  it("shows what decodeImage decodes where nothing is drawn", async () => {
    const bytes = await ramp(13, 7).png().toBuffer();
    const shapes = [
      { fit: "squash", interpolation: "bilinear" },
      { fit: "crop" },
      { fit: "crop", cover: 6, interpolation: "lanczos" },
      { fit: "pad" },
    ] as const;
    for (const shape of shapes) {
      const image = { name: "x", bytes };
      const { pixels } = await render({ image, seed: 1, keys: [] }, { size: 5, ...shape, normalization: plain });
      const expected = await decodeImage(image, { size: 5, fill: [0, 0, 0], ...shape }); // the mean's colour
      const planes = [0, 1, 2].flatMap((channel) =>
        Array.from({ length: 25 }, (_, i) => expected.data[i * expected.channels + channel]! / 255),
      );
      for (const [i, value] of planes.entries()) expect(pixels[i]).toBeCloseTo(value, 6);
    }
  });

  it("cuts random windows from the picture itself, turned upright", async () => {
    // Orientation 6: what is stored as 40 x 20 is shown as 20 x 40.
    const bytes = await ramp(40, 20).jpeg().withMetadata({ orientation: 6 }).toBuffer();
    const image = { name: "x", bytes };
    const options = { size: 4, fit: "crop", augmentation: { scale: [1, 1], ratio: [0.5, 0.5] } } as const;
    const whole = await render({ image, seed: 1, keys: [3] }, options);
    const squashed = await render({ image, seed: 1, keys: [3] }, { size: 4, fit: "squash" });
    expect(whole.pixels).toEqual(squashed.pixels);
    const parts = await Promise.all(
      [1, 2, 3].map((key) =>
        render({ image, seed: 1, keys: [key] }, { ...options, augmentation: { scale: [0.1, 0.5] } }),
      ),
    );
    expect(new Set(parts.map(({ pixels }) => pixels.join())).size).toBe(3);
  });

  it("shows annotations as their pictures, with every fit, window and flip", async () => {
    const [width, height] = [11, 6];
    const classes = (x: number, y: number) => (x < 5 ? 0 : 100) + (y < 3 ? 0 : 50);
    const mask = { name: "mask", bytes: await grey(width, height, classes) };
    const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
      const pixel = Math.floor(i / 3);
      return classes(pixel % width, Math.floor(pixel / width));
    });
    const image = {
      name: "x",
      bytes: await sharp(data, { raw: { width, height, channels: 3 } })
        .png()
        .toBuffer(),
    };
    const variants = [
      { fit: "squash" },
      { fit: "crop" },
      { fit: "pad" },
      { fit: "crop", augmentation: { flip: 1 } },
      { fit: "crop", augmentation: { scale: [0.3, 1], flip: 0.5 } },
    ] as const;
    const normalization = { ...plain, mean: [0, 200.5 / 255, 0] } as const; // the colour of the padding
    for (const variant of variants) {
      for (const [rows, columns] of [
        [24, 24],
        [30, 14],
        [13, 40],
      ] as const) {
        for (const key of [1, 2, 3, 4]) {
          const job = { image, mask, seed: 4, keys: [key] };
          const shown = await render(job, { size: [rows, columns], normalization, ...variant });
          const count = rows * columns;
          expect([shown.pixels.length, shown.mask!.length]).toEqual([3 * count, count]);
          const green = shown.pixels.subarray(count, 2 * count);
          let same = 0;
          for (const [i, number] of shown.mask!.entries()) {
            const colour = number === 255 ? 200 : number;
            if (Math.abs(green[i]! * 255 + 200.5 - colour) < 26) same += 1;
          }
          const what = `${JSON.stringify(variant)} ${rows} ${columns} ${key}`;
          expect(same / count, what).toBeGreaterThan(0.75); // edges are blurred by resizing
          const sides = paddedSides({ width, height }, { width: columns, height: rows });
          const beside = variant.fit === "pad" ? 1 - (width * height) / (sides.width * sides.height) : 0;
          expect(shown.mask!.filter((n) => n === 255).length / count, what).toBeCloseTo(beside, 1);
        }
      }
    }
  });

  it("refuses annotations that are no class numbers, or of another size", async () => {
    const image = { name: "x", bytes: await ramp(4, 4).png().toBuffer() };
    const options = { size: 4, fit: "squash" } as const;
    const job = (bytes: Uint8Array) => ({ image, mask: { name: "m", bytes }, seed: 0, keys: [] });
    await expect(render(job(image.bytes), options)).rejects.toThrow(/an 8-bit PNG of class numbers/);
    await expect(render(job(await grey(5, 4, () => 0)), options)).rejects.toThrow(
      /4 x 4 pixels, but its mask has 5 x 4/,
    );
  });
});

describe("rendering threads", () => {
  it("give the same bits as this thread, whatever their number", async () => {
    const folder = temporaryFolder();
    await mkdir(join(folder, "images"));
    await mkdir(join(folder, "annotations"));
    for (let i = 0; i < 7; i += 1) {
      await writeFile(
        join(folder, "images", `${i}.jpg`),
        await ramp(20 + i, 17)
          .jpeg()
          .toBuffer(),
      );
      await writeFile(join(folder, "annotations", `${i}.png`), await grey(20 + i, 17, (x, y) => (x * y) % 9));
    }
    await writeFile(join(folder, "images", "broken.jpg"), "no picture");
    await writeFile(join(folder, "annotations", "broken.png"), await grey(3, 3, () => 0));
    const image = { size: 8, fit: "crop", augmentation: { scale: [0.3, 1], flip: 0.5 } } as const;
    const handed = vi.spyOn(Worker.prototype, "postMessage");
    onTestFinished(() => handed.mockRestore());
    /** The first batches, at least so many, and until threads that are ready have rendered some of them. */
    const run = async (workers: number, least: number) => {
      const data = await openData([folder], "masks", { batch: 3, seed: 2, image, workers });
      const batches = [];
      handed.mockClear();
      for await (const batch of data.batches(undefined, () => {})) {
        batches.push(batch);
        if (batches.length >= least && (workers === 0 || handed.mock.calls.length > 4)) break;
      }
      await data.dispose();
      return { batches, skipped: [...data.skipped()] };
    };
    const others = [await run(1, 8), await run(2, 8)];
    const none = await run(0, Math.max(...others.map(({ batches }) => batches.length)));
    for (const { batches, skipped } of others) {
      expect(batches).toEqual(none.batches.slice(0, batches.length));
      expect(skipped).toEqual(none.skipped);
    }
    expect(none.skipped).toHaveLength(1);
    expect(new Set(none.batches.flatMap(({ samples }) => samples.map((s) => s.mask.join()))).size).toBeGreaterThan(7);
  });

  it("tell once that one of them ended, and blame no sample for it", async () => {
    const image = { name: "x", bytes: await ramp(4, 4).png().toBuffer() };
    const pool = renderer({ size: 1.5, fit: "crop" }, 2); // a size that openData would have refused
    const ask = (key: number) => pool.render({ image, seed: 0, keys: [key] }).catch((error: unknown) => error);
    // Until its threads are ready pictures are rendered here, and each fails by itself.
    const reasons = await vi.waitFor(
      async () => {
        const found = await Promise.all([1, 2, 3].map(ask));
        expect(found[0]).toBeInstanceOf(DecodingError);
        return found;
      },
      { timeout: 30_000 },
    );
    expect(new Set(reasons).size).toBe(1);
    expect(reasons[0]).not.toBeInstanceOf(FileError);
    expect(String(reasons[0])).toMatch(/an image decoding thread ended: .*1\.5.*--resume/s);
    await expect(pool.render({ image, seed: 0, keys: [4] })).rejects.toBe(reasons[0]);
    await pool.dispose();
  });

  it("are none for small pictures on two cores, and else one fewer than cores", () => {
    const sizes = [8, 64, 65, 448];
    expect(sizes.map((size) => usualWorkers(size, 1))).toEqual([0, 0, 1, 1]);
    expect(sizes.map((size) => usualWorkers(size, 2))).toEqual([0, 0, 1, 1]);
    expect([usualWorkers([64, 16], 2), usualWorkers([16, 65], 2)]).toEqual([0, 1]);
    expect(sizes.map((size) => usualWorkers(size, 8))).toEqual([7, 7, 7, 7]);
  });
});
