/** Visual question answering protocols: POPE, VQA and MME. They differ only in scoring. */
import { basename } from "node:path";
import { FileError, UsageError } from "../../../compiler/index.ts";
import {
  mmeScore,
  mmeTasks,
  mmeVerdict,
  popeVerdict,
  type Question,
  readMme,
  readQuestions,
  saysNeither,
  skipCounts,
  spoken,
  type Verdict,
  vqaAccuracy,
  yesNoMeasures,
} from "../../../data/index.ts";
import { counted, type Reason } from "../data.ts";
import { modeOf, type NamedModel, say } from "../run/opened-model.ts";
import { type Asked, answerCards, askAll } from "./asking.ts";
import type { EvaluateOptions, Outcome, Protocol, Results } from "./options.ts";
import { readSamples } from "./samples.ts";

/** LLaVA-1.5's prompt for short answers. Liu et al. 2023, arXiv:2310.03744, section 3.2. */
export const usualSuffix = "Answer the question using a single word or phrase.";

interface Judgement {
  readonly summary: string;
  readonly read?: (folder: string, onSkip: Skips["add"]) => Promise<readonly Question[]>;
  /** Throws FileError for reference answers that it cannot score. */
  readonly check: (question: Question) => void;
  readonly isRight: (asked: Asked) => boolean;
  readonly results: (answers: readonly Asked[]) => Results;
}

type Skips = ReturnType<typeof skipCounts>;

const asking = ["images", "imageName", "answers", "suffix", "template", "maxTokens"] as const;

const protocol = (judgement: Judgement): Protocol => ({
  summary: judgement.summary,
  takes: judgement.read ? ["suffix", "template", "maxTokens"] : asking,
  run: async (named, options) => await evaluateAnswers(named, judgement, options),
});

async function evaluateAnswers(named: NamedModel, judgement: Judgement, options: EvaluateOptions): Promise<Outcome> {
  modeOf(named, "chat"); // fails before questions are read
  const skips = skipCounts();
  const { questions, skipped: unread } = await readAll(judgement, options, skips.add);
  const usable = questions.filter((question) => {
    try {
      judgement.check(question);
      return true;
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      skips.add({ name: question.name, reason: error.message });
      return false;
    }
  });
  const broken = counted(skips.counts());
  if (usable.length === 0)
    throw new FileError(`no question could be asked: ${broken[0]?.reason ?? "the data has none"}`);
  const unseen = usable.filter(({ image }) => image === undefined).length;
  if (unseen > 0) say(`${unseen} of ${usable.length} questions have no image: they are asked as text`);
  const suffix = options.suffix ?? usualSuffix;
  const { answers, skipped } = await askAll(named, usable, suffix, options);
  return {
    samples: answers.length,
    results: judgement.results(answers),
    asked: { suffix },
    skipped: [...unread, ...broken, ...skipped],
    answers: answers.map(({ question, said }) => ({
      name: question.name,
      question: question.text,
      said,
      right: question.answers,
    })),
    ...(options.out !== undefined && { sections: await answerCards(answers, judgement.isRight) }),
  };
}

/** Reads questions from files and from shards of conversations, tagged by file if there are several. */
async function readAll(
  { read }: Judgement,
  options: EvaluateOptions,
  onSkip: Skips["add"],
): Promise<{ readonly questions: readonly Question[]; readonly skipped: readonly Reason[] }> {
  const { data, images, imageName, answers } = options;
  const given = {
    ...(images !== undefined && { images }),
    ...(imageName !== undefined && { imageName }),
    ...(answers !== undefined && { answers }),
  };
  const isList = (spec: string) => /\.jsonl?$/i.test(spec);
  const questions: Question[] = [];
  for (const spec of read ? data : data.filter(isList)) {
    const own = read ? await read(spec, onSkip) : await readQuestions(spec, given, onSkip);
    const file = data.length > 1 && !read ? { category: basename(spec).replace(/\.jsonl?$/i, "") } : {};
    questions.push(...own.map((question) => ({ ...file, ...question })));
  }
  const others = read ? [] : data.filter((spec) => !isList(spec));
  if (others.length === 0) return { questions, skipped: [] };
  const { samples, skipped } = await readSamples("conversations", { ...options, data: others });
  for (const { name, image, turns } of samples) {
    const told = spoken(turns!);
    if (told) questions.push({ name, ...told, ...(image !== undefined && { image }) });
    else onSkip({ name, reason: "it has no question with an answer" });
  }
  return { questions, skipped };
}

/** Overall results, and those of each category if there are several. */
function byCategory(answers: readonly Asked[], of: (answers: readonly Asked[]) => Results): Results {
  const groups = Map.groupBy(answers, ({ question }) => question.category ?? "other");
  if (groups.size < 2) return { all: of(answers) };
  return { all: of(answers), ...Object.fromEntries([...groups].map(([name, own]) => [name, of(own)])) };
}

const rightVerdict = ({ answers }: Question): Verdict => {
  const word = answers[0]!.trim().toLowerCase();
  if (answers.length === 1 && (word === "yes" || word === "no")) return word;
  throw new FileError("its answer is neither yes nor no");
};

export const pope = protocol({
  summary: "yes/no questions: accuracy, precision, recall, F1, share of yes",
  check: (question) => {
    rightVerdict(question);
    if (question.image === undefined) throw new FileError("it has no image, which its question is about");
  },
  isRight: ({ question, said }) => popeVerdict(said) === rightVerdict(question),
  results: (answers) =>
    byCategory(answers, (own) => ({
      ...yesNoMeasures(
        own.map(({ said }) => popeVerdict(said)),
        own.map(({ question }) => rightVerdict(question)),
      ),
      neither: own.filter(({ said }) => saysNeither(said)).length / own.length,
    })),
});

const vqaOf = ({ question, said }: Asked): number => vqaAccuracy(said, question.answers);

export const vqa = protocol({
  summary: "questions with one or several human answers: VQA accuracy",
  check: () => {},
  isRight: (asked) => vqaOf(asked) >= 0.5,
  results: (answers) =>
    byCategory(answers, (own) => ({ accuracy: own.reduce((sum, asked) => sum + vqaOf(asked), 0) / own.length })),
});

const tasks: readonly string[] = Object.values(mmeTasks).flat();

export const mme = protocol({
  summary: "MME's folders of subtasks: accuracy, accuracy+ and score of each, and the sums",
  read: (folder, onSkip) => readMme(folder, tasks, onSkip),
  check: rightVerdict,
  isRight: ({ question, said }) => mmeVerdict(said) === rightVerdict(question),
  results: mmeResults,
});

function mmeResults(answers: readonly Asked[]): Results {
  const byTask = Map.groupBy(answers, ({ question }) => question.category!);
  const scored = (task: string) =>
    mmeScore(
      byTask.get(task)!.map(({ question, said }) => ({
        picture: question.name,
        right: rightVerdict(question),
        said: mmeVerdict(said),
      })),
    );
  const groups = Object.entries(mmeTasks).flatMap(([group, names]): [string, Results][] => {
    const own = names.filter((task) => byTask.has(task)).map((task) => [task, scored(task)] as const);
    if (own.length === 0) return [];
    const score = own.reduce((sum, [, result]) => sum + result.score, 0);
    return [[group, { score, subtasks: own.length, ...Object.fromEntries(own) }]];
  });
  if (groups.length > 0) return Object.fromEntries(groups);
  throw new UsageError("no subtask of MME was answered");
}
