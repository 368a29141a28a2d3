/** Errors as the page shows them. */

/** A message of the compiler or runtime for the page: a sentence, the items it lists, and hints as sentences. */
export function sentences(message: string): string {
  const sentence = (text: string) =>
    `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.:?!]$/.test(text) ? "" : "."}`;
  const [what, ...others] = message.split("\n");
  return [
    sentence(what!),
    ...others.map((line) => (/^\s*hint: /.test(line) ? sentence(line.replace(/^\s*hint: /, "")) : line)),
  ].join("\n");
}
