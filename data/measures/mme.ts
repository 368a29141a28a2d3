/** MME scores: two questions about each image. Fu et al. 2023, arXiv:2306.13394, section 2.3. */
import { UsageError } from "../../compiler/index.ts";
import type { Verdict } from "./yes-no.ts";

/** The 14 sub-tasks, by folder name, grouped by what they test. */
export const mmeTasks = {
  perception: [
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
  ],
  cognition: ["commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"],
} as const;

export interface MmeAnswer {
  readonly picture: string;
  readonly right: Verdict;
  readonly said: Verdict | undefined;
}

export type MmeScore = {
  /** The fraction of questions answered correctly. */
  readonly accuracy: number;
  /** The fraction of images with all questions answered correctly. */
  readonly accuracyPlus: number;
  /** 100 × their sum: at most 200. */
  readonly score: number;
};

/** The score of one sub-task. Throws UsageError without answers. */
export function mmeScore(answers: readonly MmeAnswer[]): MmeScore {
  if (answers.length === 0) throw new UsageError("an MME subtask has no answers to score");
  const isRight = ({ right, said }: MmeAnswer) => right === said;
  const pictures = [...Map.groupBy(answers, ({ picture }) => picture).values()];
  const accuracy = answers.filter(isRight).length / answers.length;
  const accuracyPlus = pictures.filter((own) => own.every(isRight)).length / pictures.length;
  return { accuracy, accuracyPlus, score: 100 * (accuracy + accuracyPlus) };
}
