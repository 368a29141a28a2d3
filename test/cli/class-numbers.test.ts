/** Which label the folder of an image stands for: by its name, or by its place, and never by a guess. */
import { describe, expect, it } from "vitest";
import { classNumbers } from "../../cli/commands/evaluate/class-numbers.ts";
import { classPrompts } from "../../cli/commands/run/prompts.ts";

const inFolders = (...names: readonly string[]) =>
  names.map((className) => ({ name: `${className}/1.png`, className }));

describe("folders of classes", () => {
  it("are labels by name, in any order and any language", () => {
    const labels = { de: ["Hund", "Katze", "Fuchs"], en: ["dog", "cat", "fox"] };
    expect(classNumbers(inFolders("cat", "fox"), labels)).toEqual([1, 2]);
  });

  it("are labels by name where a file system decomposes accents", () => {
    const decomposed = "Café".normalize("NFD");
    expect(classNumbers(inFolders(decomposed, "猫"), { "": ["猫", "Café".normalize("NFC")] })).toEqual([1, 0]);
  });

  it("are labels by place where no name is a label of another place", () => {
    expect(classNumbers(inFolders("n2", "n1"), { "": ["cat", "dog"] })).toEqual([1, 0]);
    expect(classNumbers(inFolders("apple_pie", "pizza"), { "": ["apple pie", "pizza"] })).toEqual([0, 1]);
  });

  it.each([
    ["a misspelt label", ["fox", "cat", "dgo"], 'the folder "cat" in another place than the folder, and no name "dog"'],
    ["one label", ["cat"], 'there is one class, "cat": at least two are required'],
    ["too few labels", ["a", "b"], "3 class folders with images, but --labels has 2 names"],
  ])("are refused with %s", (_, names, message) => {
    expect(() => classNumbers(inFolders("cat", "dog", "fox"), { "": names })).toThrow(message);
  });

  it("are refused where the languages have different numbers of labels", () => {
    const labels = { en: ["cat", "dog", "fox"], de: ["Katze", "Fuchs"] };
    expect(() => classNumbers(inFolders("cat"), labels)).toThrow('there are 3 labels in "en", but 2 in "de"');
  });
});

it("a name is written into a template as it is", () => {
  const { prompts } = classPrompts({ "": ["A$$ and $& bills", "US$'"] }, { "": ["a {c}, {c}"] });
  expect(prompts).toEqual(["a A$$ and $& bills, A$$ and $& bills", "a US$', US$'"]);
});
