import { existsSync } from "node:fs";
import { chdir, cwd } from "node:process";
import { describe, expect, it, onTestFinished } from "vitest";
import { FileError, UsageError } from "../../compiler/index.ts";
import { byteTokenizer } from "../../data/index.ts";
import { artists } from "../../examples/emoji/artists.ts";
import { packageFolder } from "../../examples/emoji/packages.ts";
import { emojiItems, emojiSet } from "../../examples/emoji/set.ts";
import { temporaryFolder } from "../data/support.ts";

describe("emojiSet", () => {
  const loading = emojiSet();

  it("has more than 1,200 base emoji with four pictures and four names each", async () => {
    const { emoji, languages } = await loading;
    expect(emoji.length).toBe(1350); // of the pinned package versions
    expect(languages).toEqual(["en", "zh", "ar", "es"]);
    expect(new Set(emoji.map(({ id }) => id)).size).toBe(emoji.length);
    for (const { images, texts, id } of emoji) {
      expect(Object.keys(images)).toEqual(["twemoji", "openmoji", "fluent", "noto"]);
      for (const language of languages) expect(texts[language]?.[0], `${id} ${language}`).toBeTruthy();
    }
    const sample = emoji.filter((_, i) => i % 50 === 0).flatMap(({ images }) => Object.values(images));
    for (const file of sample) expect(existsSync(file), file).toBe(true);
  });

  it("names things as people do, with a name of its own for each emoji", async () => {
    const { emoji } = await loading;
    const cat = emoji.find(({ id }) => id === "1F431")!;
    expect(cat.characters).toBe("🐱");
    expect(cat.category).toBe("Animals & Nature");
    expect([cat.texts.en![0], cat.texts.zh![0], cat.texts.ar![0], cat.texts.es![0]]).toEqual([
      "cat face",
      "猫脸",
      "وجه قطة",
      "cara de gato",
    ]);
    expect(cat.texts.en).toContain("kitten");
    expect(cat.texts.en).not.toContain("face"); // more than a hundred emoji are tagged so
    for (const language of ["en", "zh", "ar", "es"]) {
      expect(new Set(emoji.map(({ texts }) => texts[language]![0])).size).toBe(emoji.length);
    }
    const longest = Math.max(...emoji.map(({ texts }) => byteTokenizer.encode(texts.ar![0]!, 1000).length));
    expect(longest).toBeLessThanOrEqual(65);
  });

  it("leaves out skin tones, flags and joined sequences, the latter unless asked for", async () => {
    const { emoji } = await loading;
    const ids = emoji.flatMap(({ id }) => id.split("-").map((hex) => Number.parseInt(hex, 16)));
    expect(ids.some((code) => code >= 0x1f3fb && code <= 0x1f3ff)).toBe(false);
    expect(ids.some((code) => code >= 0x1f1e6 && code <= 0x1f1ff)).toBe(false);
    expect(ids).not.toContain(0x200d);
    const more = await emojiSet({ languages: ["en"], sequences: true });
    expect(more.emoji.length).toBeGreaterThan(emoji.length);
    expect(more.emoji.some(({ id }) => id === "1F469-200D-1F680")).toBe(true); // woman astronaut
  });

  it("takes any language of CLDR and refuses others with the list", async () => {
    const { emoji } = await emojiSet({ languages: ["hi", "zh-Hant", "pt-PT"] }); // pt-PT says only where it differs from pt
    expect(emoji.length).toBeGreaterThan(1200);
    for (const language of ["xx", "../en", ""]) {
      const error = await emojiSet({ languages: [language] }).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(UsageError);
      expect((error as Error).message).toMatch(/it has af, .* zh, .* zu$/);
    }
  });

  it("becomes training items by artist and language", async () => {
    const set = await loading;
    const items = emojiItems(set, ["twemoji", "fluent"], ["en", "ar"]);
    expect(items.length).toBe(set.emoji.length);
    expect(items[7]).toEqual({
      group: set.emoji[7]!.id,
      images: [set.emoji[7]!.images.twemoji, set.emoji[7]!.images.fluent],
      texts: { en: set.emoji[7]!.texts.en, ar: set.emoji[7]!.texts.ar },
    });
  });

  it("credits every artist and the names", async () => {
    const { credits } = await loading;
    expect(credits.map(({ name }) => name)).toEqual([
      "Twemoji",
      "OpenMoji",
      "Fluent Emoji 3D",
      "Noto Emoji",
      "Unicode CLDR annotations",
    ]);
    for (const { author, link, license, licenseLink } of credits) {
      expect(author && license).toBeTruthy();
      expect(link).toMatch(/^https:/);
      expect(licenseLink).toMatch(/^https:/);
    }
  });
});

describe("packageFolder", () => {
  it("finds the artists' packages wherever the command runs", () => {
    const before = cwd();
    onTestFinished(() => chdir(before));
    chdir(temporaryFolder());
    for (const artist of Object.values(artists)) expect(existsSync(packageFolder(artist.package))).toBe(true);
  });

  it("names a missing package and the command that installs it", () => {
    expect(() => packageFolder("emoji-by-nobody")).toThrow(FileError);
    expect(() => packageFolder("emoji-by-nobody")).toThrow(
      'the npm package "emoji-by-nobody" is not installed; install it with: npm install --save-dev emoji-by-nobody',
    );
  });
});
