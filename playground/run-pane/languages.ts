/** Languages of the emoji's names, with example queries. */

const names = new Intl.DisplayNames("en", { type: "language" });

export const languageName = (code: string): string => names.of(code) ?? code;

export interface Suggestion {
  readonly language: string;
  readonly text: string;
}

/** Alternating between the languages. */
export const suggestions: readonly Suggestion[] = [
  { language: "en", text: "fruit" },
  { language: "zh", text: "汽车" },
  { language: "ar", text: "قطة" },
  { language: "es", text: "corazón" },
  { language: "en", text: "sleeping face" },
  { language: "zh", text: "花" },
];
