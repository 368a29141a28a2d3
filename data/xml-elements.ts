/**
 * Reads the elements of an XML document, as far as estimates need them: it does not judge whether it is well-formed.
 */

export interface XmlElement {
  /** Without the namespace's prefix. */
  readonly name: string;
  /** By name, without prefix, such as href for xlink:href. */
  readonly attributes: Readonly<Record<string, string | undefined>>;
  readonly children: XmlElement[];
  /** The text up to its first child or its end, without CDATA marks. */
  readonly text: string;
}

const plain = (name: string): string => name.slice(name.indexOf(":") + 1);

/** All elements of a document in their order, the root first. Linear in the length of the text. */
export function xmlElements(text: string): readonly XmlElement[] {
  const elements: XmlElement[] = [];
  const open: XmlElement[] = [];
  for (let at = text.indexOf("<"); at >= 0; at = text.indexOf("<", at)) {
    const end = tagEnd(text, at);
    if (end < 0) break;
    const tag = text.slice(at + 1, end);
    at = end + 1;
    if (tag.startsWith("/")) open.pop();
    const [, name] = /^([A-Za-z_][^\s/>]*)/.exec(tag) ?? [];
    if (name === undefined) continue; // a comment, a declaration or an end
    const element = { name: plain(name), attributes: attributesOf(tag), children: [], text: textAt(text, at) };
    elements.push(element);
    open.at(-1)?.children.push(element);
    if (!tag.endsWith("/")) open.push(element);
  }
  return elements;
}

/** Where the tag, comment or CDATA section that begins at `at` ends; -1 where it does not. */
function tagEnd(text: string, at: number): number {
  const until = (mark: string) => {
    const end = text.indexOf(mark, at);
    return end < 0 ? -1 : end + mark.length - 1;
  };
  if (text.startsWith("<!--", at)) return until("-->");
  if (text.startsWith("<![CDATA[", at)) return until("]]>");
  if (text.startsWith("<?", at)) return until("?>");
  let quote = "";
  for (let i = at + 1; i < text.length; i++) {
    const character = text[i]!;
    if (quote !== "") quote = character === quote ? "" : quote;
    else if (character === '"' || character === "'") quote = character;
    else if (character === ">") return i;
  }
  return -1;
}

/** Linear: a name is tried from its first character only. */
const attribute = /(?<![^\s=/"'<>])([^\s=/"'<>]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;

function attributesOf(tag: string): Record<string, string> {
  const attributes: Record<string, string> = Object.create(null);
  for (const [, name, double, single] of tag.matchAll(attribute))
    attributes[plain(name!)] = decoded(double ?? single ?? "");
  return attributes;
}

const predefined: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

/** Text with its character references replaced, and the entities that XML predefines; others stay. */
const decoded = (text: string): string =>
  text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]{2,4}));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return Object.hasOwn(predefined, name) ? predefined[name]! : whole;
    const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });

function textAt(text: string, at: number): string {
  const from = /^\s*<!\[CDATA\[/.exec(text.slice(at, at + 100))?.[0].length;
  const end = from === undefined ? text.indexOf("<", at) : text.indexOf("]]>", at);
  return text.slice(at + (from ?? 0), end < 0 ? text.length : end);
}
