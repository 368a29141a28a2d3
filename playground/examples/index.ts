/** Example models: files of the repository as shown in the editor, importing the package by name. */

import emojiModel from "../../examples/emoji-model.ts?raw";
import tinyVit from "../../examples/tiny-vit.ts?raw";
import emojiSearch from "./emoji-search.ts?raw";

export interface Example {
  readonly id: string;
  readonly title: string;
  readonly source: string;
}

const named = (source: string): string =>
  source
    .replace(/"(?:\.\.\/)+dsl\/index\.ts"/g, '"heddle"')
    .replace(/"(?:\.\.\/)+models\/index\.ts"/g, '"heddle/models"');

export const examples: readonly Example[] = [
  { id: "emoji-search", title: "Emoji search, written out", source: named(emojiSearch) },
  { id: "emoji-model", title: "InternVL-C, small", source: named(emojiModel) },
  { id: "tiny-vit", title: "Vision transformer", source: named(tinyVit) },
];
