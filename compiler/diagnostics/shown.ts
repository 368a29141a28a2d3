/** A value from a file or a command line, as an error shows it: what is long is cut. */
export function shown(value: unknown): string {
  const text = jsonOf(value);
  return text.length <= 120 ? text : `${text.slice(0, 120)}…`;
}

/** JSON.parse reads what is nested more deeply than JSON.stringify goes. */
function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return "a value nested too deeply to show";
  }
}
