/**
 * Beam search over one prompt's beams, step for step as in Hugging Face transformers (`GenerationMixin._beam_search`,
 * version 5), so that the same scores give the same tokens. The only difference: sums are float64 here and float32
 * there.
 */
import { type RankedRow, tokenAt } from "./ranked-rows.ts";
import { largest } from "./scores.ts";

/** Options of beam search. */
export interface BeamSearch {
  readonly kind: "beam";
  readonly beams: number;
  /**
   * The exponent of the length by which a finished text's log-probability is divided; default 1; above 0 favours long
   * texts.
   */
  readonly lengthPenalty?: number;
  /**
   * When to stop, once there are as many finished texts as beams. true: at once. false, the default: when no open text,
   * at its current length, beats the worst of them. "never": when none could even at its full length.
   */
  readonly earlyStopping?: boolean | "never";
}

export interface Hypothesis {
  readonly tokens: readonly number[];
  /** Sum of log-probabilities while open; divided by length when finished. */
  readonly score: number;
}

/** Continuations considered in each step, for a number of beams and of end tokens. */
export const candidateCount = ({ beams }: BeamSearch, ends: number): number => Math.max(2, 1 + ends) * beams;

/** Penalty that excludes a hypothesis without removing it from its list. Any real score is far above it. */
const excluded = -1e9;

/** The beams of one prompt after some number of steps. */
export class Beams {
  /** Best first. */
  open: readonly Hypothesis[];
  /** Best first; as many as beams, padded with excluded hypotheses. */
  finished: readonly (Hypothesis & { readonly done: boolean })[];
  /** The finished texts can no longer change. */
  settled = false;
  private improvable = true;
  private readonly search: BeamSearch;
  private readonly most: number;
  private readonly eos: ReadonlySet<number>;

  constructor(search: BeamSearch, most: number, eos: readonly number[]) {
    this.search = search;
    this.most = most;
    this.eos = new Set(eos);
    // At first all beams are the same prompt, so only one of them may be continued.
    this.open = Array.from({ length: search.beams }, (_, i) => ({ tokens: [], score: i === 0 ? 0 : excluded }));
    this.finished = this.open.map(() => ({ tokens: [], score: excluded, done: false }));
  }

  /**
   * Takes each beam's log-probabilities of the next token, at least those of the `candidateCount` likeliest. Returns,
   * for each new beam, the index of the old one that it continues; the new beams' last tokens are the decoder's next
   * inputs.
   */
  advance(rows: readonly RankedRow[]): readonly number[] {
    const candidates = this.candidates(rows);
    const length = this.open[0]!.tokens.length + 1;
    const ends = candidates.map(({ tokens }) => length === this.most || this.eos.has(tokens.at(-1)!));
    const running = candidates.map((c, i) => ({ ...c, score: c.score + (ends[i] ? excluded : 0) }));
    const next = best(running, this.search.beams);
    this.finish(candidates, ends, length);
    this.open = next.map(({ tokens, score }) => ({ tokens, score }));
    this.improvable &&= this.canImprove(length);
    const full = this.finished.every((f) => f.done) && this.search.earlyStopping === true;
    this.settled = !this.improvable || full || ends.every(Boolean);
    return next.map((c) => c.parent);
  }

  /**
   * The best continuations of all beams: enough of them that a full set of beams remains even if every end token is
   * among them.
   */
  private candidates(rows: readonly RankedRow[]): Candidate[] {
    const starts = rows.map((_, beam) => rows.slice(0, beam).reduce((n, r) => n + r.scores.length, 0));
    const scores = new Float64Array(starts.at(-1)! + rows.at(-1)!.scores.length);
    for (const [beam, row] of rows.entries()) {
      const { score } = this.open[beam]!;
      for (let i = 0; i < row.scores.length; i++) scores[starts[beam]! + i] = row.scores[i]! + score;
    }
    return largest(scores, candidateCount(this.search, this.eos.size)).map((at) => {
      const parent = starts.findLastIndex((start) => start <= at);
      const token = tokenAt(rows[parent]!, at - starts[parent]!);
      return { parent, tokens: [...this.open[parent]!.tokens, token], score: scores[at]! };
    });
  }

  /** Moves candidates that ended to the finished texts; only those among the top `beams` candidates count. */
  private finish(candidates: readonly Candidate[], ends: readonly boolean[], length: number): void {
    const { beams, lengthPenalty = 1, earlyStopping } = this.search;
    const closed = !this.improvable || (earlyStopping === true && this.finished.every((f) => f.done));
    const ended = candidates.map(({ tokens, score }, i) => {
      const done = ends[i]! && i < beams;
      const barred = (done ? 0 : excluded) + (closed ? excluded : 0);
      return { tokens, score: score / length ** lengthPenalty + barred, done };
    });
    this.finished = best([...this.finished, ...ended], beams);
  }

  /** Whether the best open text, at the length that `earlyStopping` assumes, would beat the worst finished one. */
  private canImprove(length: number): boolean {
    const { lengthPenalty = 1, earlyStopping } = this.search;
    const supposed = earlyStopping === "never" && lengthPenalty > 0 ? this.most : length;
    const possible = this.open[0]!.score / supposed ** lengthPenalty;
    const worst = Math.min(...this.finished.map((f) => f.score));
    return this.finished.some((f) => possible > (f.done ? worst : excluded));
  }
}

interface Candidate extends Hypothesis {
  /** The beam that it continues. */
  readonly parent: number;
}

const best = <T extends Hypothesis>(all: readonly T[], count: number): T[] =>
  largest(
    all.map((h) => h.score),
    count,
  ).map((i) => all[i]!);
