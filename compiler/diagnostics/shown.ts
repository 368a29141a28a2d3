/** A value from a file or a command line as shown in an error: truncated to 120 characters. */
export function shown(value: unknown): string {
  const text = jsonOf(value);
  return text.length <= 120 ? text : `${text.slice(0, 120)}…`;
}

/** JSON.parse accepts deeper nesting than JSON.stringify, which may overflow the stack. */
function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return "a value nested too deeply to show";
  }
}
