/** Suggestions for a missing tensor, kept cheap for files with very many or very long names. */
import { nearest } from "../compiler/index.ts";

/** A limit on the candidates compared, so that a suggestion does not take longer than reading the file. */
const mostCandidates = 4000;
const longestCompared = 250;

/** The names nearest to `name`, nearest first; none when all differ in more than a third of it. */
export function nearestNames(name: string, candidates: Iterable<string>, most = 3): string[] {
  if (name.length > longestCompared) return [];
  const similar: string[] = [];
  for (const candidate of candidates) {
    const difference = Math.abs(candidate.length - name.length);
    if (difference <= Math.max(2, name.length / 3)) similar.push(candidate);
    if (similar.length === mostCandidates) break;
  }
  return nearest(name, similar, most);
}
