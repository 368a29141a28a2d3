/** Suggestions for a tensor that is not there, kept cheap when a file holds very many or very long names. */
import { nearest } from "../compiler/index.ts";

/** A suggestion must not take longer than the reading it excuses, so no more candidates than this are compared. */
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
