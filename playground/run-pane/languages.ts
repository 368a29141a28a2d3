/** Languages of the emoji's names, and something to look for in each. */

const names = new Intl.DisplayNames("en", { type: "language" });

export const languageName = (code: string): string => names.of(code) ?? code;

export interface Suggestion {
  readonly language: string;
  readonly text: string;
}

/** One in each language in turn. */
export const suggestions: readonly Suggestion[] = [
  { language: "en", text: "fruit" },
  { language: "zh", text: "汽车" },
  { language: "ar", text: "قطة" },
  { language: "es", text: "corazón" },
  { language: "en", text: "sleeping face" },
  { language: "zh", text: "花" },
];
