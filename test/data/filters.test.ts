import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { FileError, UsageError } from "../../compiler/index.ts";
import { captionFaults, holdsAnyOf } from "../../data/filters/caption-checks.ts";
import { judge, readFilters } from "../../data/filters/filter.ts";
import { hashIndex } from "../../data/filters/hash-index.ts";
import { distance, type Hash, hashOfGrey, perceptualHash } from "../../data/filters/perceptual-hash.ts";
import { type RawSample, seededRandom } from "../../data/index.ts";
import { picture, temporaryFolder } from "./support.ts";

const sample = (texts: readonly string[], rest: Partial<RawSample> = {}): RawSample => ({
  name: "s",
  group: "s",
  texts: { en: texts },
  fields: {},
  ...rest,
});

async function judged(filter: string | readonly string[], raw: RawSample) {
  const judgement = await judge(await readFilters([filter].flat()), raw);
  return "dropped" in judgement ? judgement.dropped : (judgement.kept.texts?.en ?? "kept");
}

describe("filters", () => {
  it("keep the captions that pass, and drop a sample without any", async () => {
    const raw = sample(["a dog", "a dog on a beach", "汽车停在路边"]);
    expect(await judged("caption.words>=3", raw)).toEqual(["a dog on a beach", "汽车停在路边"]);
    expect(await judged("caption.characters<=6", raw)).toEqual(["a dog", "汽车停在路边"]);
    expect(await judged("caption.characters = 5", raw)).toEqual(["a dog"]);
    expect(await judged(["caption.words<3", "caption.characters>5"], raw)).toBe("caption.characters>5");
  });

  it("bound the numbers of a sample's json, and drop samples that lack them", async () => {
    const raw = sample(["x"], { fields: { aesthetic: 4.5, punsafe: "0.1", clip: { b32: 0.3 }, bad: "" } });
    for (const filter of ["score.aesthetic>=4.5", "score.punsafe<0.5", "score.clip.b32>0.2"]) {
      expect(await judged(filter, raw)).toEqual(["x"]);
    }
    expect(await judged("score.aesthetic>4.5", raw)).toBe("score.aesthetic>4.5");
    for (const name of ["missing", "bad", "clip", "constructor", "clip.toString"]) {
      expect(await judged(`score.${name}>0`, raw)).toBe(`score.${name}>0: its JSON has no number "${name}"`);
    }
  });

  it("bound the sides of a picture", async () => {
    const bytes = await picture({ r: 1, g: 2, b: 3 }, { width: 40, height: 10 });
    const raw = sample(["x"], { image: { name: "p", bytes } });
    for (const filter of ["image.width>=40", "image.height<11", "image.side=10", "image.aspect<=4"]) {
      expect(await judged(filter, raw)).toEqual(["x"]);
    }
    expect(await judged("image.aspect<3", raw)).toBe("image.aspect<3");
    const broken = sample(["x"], { image: { name: "p", bytes: Buffer.from("?") } });
    await expect(judged("image.side>1", broken)).rejects.toThrow(FileError);
  });

  it("take a share of the samples by their names, wherever these lie, with smaller shares in larger ones", async () => {
    const kept = async (share: string, folder: string) => {
      const names = Array.from({ length: 400 }, (_, i) => `${folder}/${i}.jpg`);
      const found = await Promise.all(names.map((name) => judged(`share=${share}`, sample(["x"], { name }))));
      return names.flatMap((_, i) => (Array.isArray(found[i]) ? [i] : []));
    };
    const [quarter, eighth] = [await kept("1/4", "a"), await kept("0.125", "b/c")];
    expect(quarter.length).toSatisfy((n: number) => n > 80 && n < 120);
    expect(eighth.length).toSatisfy((n: number) => n > 35 && n < 65);
    expect(await kept("1/8", "a")).toEqual(eighth);
    expect(eighth.filter((i) => !quarter.includes(i))).toEqual([]);
    expect(await kept("1", "a")).toHaveLength(400);
    for (const wrong of ["0", "2", "1/0", "x"])
      await expect(readFilters([`share=${wrong}`])).rejects.toThrow(
        /is not a fraction between 0 and 1, such as 1\/16 or 0.5/,
      );
  });

  it("judge the answers of a conversation together", async () => {
    const turns = [
      { role: "user", text: "what is this?" },
      { role: "assistant", text: "a long answer of many words" },
      { role: "assistant", text: "no" },
    ] as const;
    const raw = { name: "c", group: "c", turns, fields: {} };
    expect(await judged("caption.words>=1", raw)).toBe("kept");
    expect(await judged("caption.words>=2", raw)).toBe("caption.words>=2");
  });

  it("may be listed in a file, with word lists", async () => {
    const folder = temporaryFolder();
    await writeFile(join(folder, "words.txt"), "bad word\r\n\nugly\n坏\n");
    await writeFile(join(folder, "filters.json"), JSON.stringify(["caption.words>=2", `without=${folder}/words.txt`]));
    const file = join(folder, "filters.json");
    expect(
      await judged(file, sample(["nice car", "BAD  word here", "an Ugly one", "car", "uglyish car", "好坏 坏人"])),
    ).toEqual(["nice car", "uglyish car"]);
    await writeFile(join(folder, "wrong.json"), "{}");
    await expect(readFilters([join(folder, "wrong.json")])).rejects.toThrow(/is not an array of filters/);
    await writeFile(join(folder, "empty.txt"), " \n");
    await expect(readFilters([`without=${folder}/empty.txt`])).rejects.toThrow(/is empty: write one word per line/);
  });

  it("are refused where they mean nothing, with what there is", async () => {
    for (const text of [
      "",
      "caption",
      "caption.words>",
      "caption.words>=many",
      "caption.wrods>=3",
      "no=spam",
      "toString>1",
      "constructor=1",
    ]) {
      await expect(readFilters([text]), text).rejects.toThrow(UsageError);
    }
    await expect(readFilters(["no=spam"])).rejects.toThrow(/one of broken-off, unreadable, gibberish/);
    await expect(readFilters(["unlike=/nowhere"])).rejects.toThrow(/image folder "\/nowhere" cannot be read/);
  });
});

describe("caption faults", () => {
  const fine = [
    "A brown dog runs along the beach at sunset.",
    "Two people, one with a red hat, stand in front of the Eiffel Tower",
    "Photo of a black cat on a sofa",
    "Ein Hund läuft über die Wiese",
    "一只狗在草地上奔跑",
    "собака бежит по траве",
    "कुत्ता घास पर दौड़ रहा है",
    "Rhythm and strengths of NYC in 1999",
    "the Smiths' house (built 1920) in winter",
    "image of a function room with class",
  ];
  const faulty: Readonly<Record<keyof typeof captionFaults, readonly string[]>> = {
    "broken-off": ["A brown dog runs along the", "a view of…", "red, green and", "a house (built in 1920"],
    unreadable: ["1234 5678 90 $$ !!", "caf\uFFFD terrace", "x".repeat(50)],
    gibberish: ["asdfghjkl qwrtpsdf", "zzzzzzzz", "B00K7Q2X9L a1b2c3d4"],
    boilerplate: ["404 Error", "Home | Shop | About | Contact", "Add to Cart", "Please sign in to continue"],
    repetition: ["red car red car", "buy now buy now buy now buy now", "big big big big dog"],
    placeholder: [
      "IMG_2034",
      "image 3",
      "DSC01234.JPG",
      "untitled",
      "Click to enlarge",
      "no image available",
      "Lorem ipsum dolor",
    ],
    code: ["<img src='x'>", "function f() { return 1; }", "Tom &amp; Jerry", "SELECT a FROM b WHERE c"],
  };
  for (const [name, examples] of Object.entries(faulty)) {
    const isFaulty = captionFaults[name as keyof typeof captionFaults];
    it(`${name} is found, and nothing in fine captions`, () => {
      for (const caption of examples) expect(isFaulty(caption), caption).toBe(true);
      for (const caption of fine) expect(isFaulty(caption), caption).toBe(false);
    });
  }

  it("take no longer for long captions than a glance", () => {
    const hostile = [
      "a".repeat(100_000),
      "a ".repeat(50_000),
      "{:".repeat(50_000),
      "<a".repeat(50_000),
      "(".repeat(100_000),
      "image".repeat(20_000),
      "select from ".repeat(9_000),
    ];
    const begun = performance.now();
    for (const caption of hostile) for (const isFaulty of Object.values(captionFaults)) isFaulty(caption);
    expect(performance.now() - begun).toBeLessThan(60_000);
    expect(holdsAnyOf(["(a+)+$"])(hostile[0]!)).toBe(false);
  });
});

describe("perceptual hashes", () => {
  /** A picture of soft blotches, which is what photographs look like from afar. */
  const shapes = (seed: number, width = 96, height = 64) => {
    const random = seededRandom(seed);
    const data = Uint8Array.from({ length: 9 * 9 * 3 }, () => 256 * random());
    return sharp(data, { raw: { width: 9, height: 9, channels: 3 } }).resize(width, height, { fit: "fill" });
  };

  it("agree with the DCT written out in float64", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1024, maxLength: 1024 }), (grey) => {
        const values: number[] = [];
        for (let v = 0; v < 8; v += 1) {
          for (let u = 0; u < 8; u += 1) {
            let sum = 0;
            for (let y = 0; y < 32; y += 1) {
              for (let x = 0; x < 32; x += 1) {
                sum +=
                  grey[y * 32 + x]! *
                  Math.cos(((2 * x + 1) * u * Math.PI) / 64) *
                  Math.cos(((2 * y + 1) * v * Math.PI) / 64);
              }
            }
            values.push(sum);
          }
        }
        const sorted = [...values].sort((a, b) => a - b);
        const median = (sorted[31]! + sorted[32]!) / 2;
        const ones = values.filter((value) => value > median).length;
        const { high, low } = hashOfGrey(grey);
        expect(distance({ high, low }, { high: 0, low: 0 })).toBe(ones);
        const bit = (v: number, u: number) =>
          ((u * 8 + v < 32 ? high >>> (u * 8 + v) : low >>> (u * 8 + v - 32)) & 1) === 1;
        for (let v = 0; v < 8; v += 1) {
          for (let u = 0; u < 8; u += 1) {
            const value = values[v * 8 + u]!;
            if (Math.abs(value - median) > 1e-6) expect(bit(v, u)).toBe(value > median);
          }
        }
      }),
      { numRuns: 10 },
    );
  });

  it("hardly change with size and compression, and differ between pictures", async () => {
    const hash = async (bytes: Buffer) => await perceptualHash({ name: "x", bytes });
    const original = await hash(await shapes(3).png().toBuffer());
    const smaller = await hash(await shapes(3, 40, 30).jpeg({ quality: 40 }).toBuffer());
    expect(distance(original, smaller)).toBeLessThanOrEqual(4);
    for (const other of [5, 9, 14])
      expect(distance(original, await hash(await shapes(other).png().toBuffer()))).toBeGreaterThan(8);
  });

  it("are found by the index wherever a search of all finds one", () => {
    const hashes = fc.record({
      high: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      low: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    });
    const flip = ({ high, low }: Hash, bits: readonly number[]): Hash => ({
      high: bits.reduce((h, bit) => (bit < 32 ? h ^ (1 << bit) : h), high) >>> 0,
      low: bits.reduce((l, bit) => (bit < 32 ? l : l ^ (1 << (bit - 32))), low) >>> 0,
    });
    fc.assert(
      fc.property(
        fc.array(hashes, { maxLength: 40 }),
        fc.integer({ min: 0, max: 15 }),
        hashes,
        fc.uniqueArray(fc.integer({ min: 0, max: 63 }), { maxLength: 16 }),
        (all, bound, some, bits) => {
          const named = [...all, some].map((hash, i) => [String(i), hash] as const);
          const query = flip(some, bits);
          const nearest = named
            .map(([name, hash]) => ({ name, away: distance(hash, query) }))
            .filter(({ away }) => away <= bound)
            .sort((a, b) => a.away - b.away || Number(a.name) - Number(b.name))[0];
          expect(hashIndex(named, bound).near(query)).toBe(nearest?.name);
        },
      ),
    );
  });

  it("drop what looks like a picture of a test set", async () => {
    const folder = temporaryFolder();
    await mkdir(join(folder, "deep"));
    await writeFile(join(folder, "deep", "test.png"), await shapes(3).png().toBuffer());
    const like = sample(["x"], { image: { name: "a", bytes: await shapes(3, 48, 32).jpeg().toBuffer() } });
    const other = sample(["x"], { image: { name: "b", bytes: await shapes(9).png().toBuffer() } });
    expect(await judged(`unlike=${folder}`, like)).toBe(`unlike=${folder}: like "deep/test.png"`);
    expect(await judged(`unlike=${folder}:6`, other)).toEqual(["x"]);
    await expect(readFilters([`unlike=${folder}:16`])).rejects.toThrow(/at most 15/);
    await writeFile(join(folder, "broken.png"), "");
    await expect(readFilters([`unlike=${folder}`])).rejects.toThrow(/broken\.png.*cannot be read/);
  });
});
