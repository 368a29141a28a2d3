/**
 * Estimates the work of an SVG drawing's filters. librsvg has no time limit and cannot be interrupted, and a file of a
 * hundred bytes can ask for hours of filtering, so such drawings are refused before they are rendered.
 */
import { FileError, type Sides } from "../compiler/index.ts";
import { type XmlElement, xmlElements } from "./xml-elements.ts";

/** A pixel of a Gaussian blur takes about 0.15 µs: half a minute. */
const mostWork = 200_000_000;
/** librsvg itself refuses deeper documents. */
const deepest = 1000;

/** Throws FileError where a drawing of these sides, in pixels, would take far too long to filter. */
export function checkFilterWork(svg: string, sides: Sides): void {
  if (!/filter/i.test(svg)) return;
  const work = filterWork(svg, sides);
  if (work <= mostWork) return;
  const found = Number.isFinite(work) ? `about ${work.toPrecision(2)}` : "far more";
  throw new FileError(
    `its filters would process ${found} pixels; at most ${mostWork} are accepted: convert it to PNG, or remove filters`,
  );
}

/**
 * How many pixels the filters of a drawing process, in units of the work that a blur has with one pixel. Each element
 * that names a filter counts, once for each `use` that repeats it.
 */
export function filterWork(svg: string, sides: Sides): number {
  const elements = xmlElements(svg);
  const byId = new Map(elements.flatMap((one) => (one.attributes.id === undefined ? [] : [[one.attributes.id, one]])));
  const pixels = sides.width * sides.height;
  const view = viewOf(elements[0], svg, sides);
  const workOf = new Map<XmlElement, number>();
  const filters = new Map<XmlElement, number>();

  const ofFilter = (filter: XmlElement): number => {
    const known = filters.get(filter);
    if (known !== undefined) return known;
    const primitives = filter.children.reduce((sum, one) => sum + primitiveWork(one, sides.width / view.width), 0);
    const work = primitives * pixels * regionShare(filter, view);
    filters.set(filter, work);
    return work;
  };
  const ofValue = (value: string): number => {
    const named = idsIn(value).flatMap((id) => byId.get(id) ?? []);
    const functions = value.replace(address, "").match(filterFunction)?.length ?? 0;
    return named.reduce((sum, filter) => sum + ofFilter(filter), 2 * functions * pixels);
  };
  const ofElement = (element: XmlElement, depth: number): number => {
    const known = workOf.get(element);
    if (known !== undefined) return known;
    if (depth > deepest) return Number.POSITIVE_INFINITY;
    workOf.set(element, 0); // a `use` of itself is not rendered
    const used = element.name === "use" ? byId.get((element.attributes.href ?? "").replace(/^#/, "")) : undefined;
    const parts = used === undefined ? element.children : [...element.children, used];
    const own = filterValues(element).reduce((sum, value) => sum + ofValue(value), 0);
    const work = parts.reduce((sum, one) => sum + ofElement(one, depth + 1), own);
    workOf.set(element, work);
    return work;
  };
  const styled = elements.reduce((sum, { name, text }) => sum + (name === "style" ? ofValue(declared(text)) : 0), 0);
  return (elements[0] ? ofElement(elements[0], 0) : 0) + styled * elements.length; // a rule may match every element
}

// These patterns take linear time: a match never begins inside of what another attempt has read.
const filterFunction = /(?<![a-z-])[a-z-]+\(/g;
const address = /url\(\s*(?:"([^"]*)|'([^']*)|([^"'()\s]*))/g;

/** The ids in url(#id), url('#id') and url(file.svg#id). */
const idsIn = (value: string): string[] =>
  [...value.matchAll(address)].flatMap(([, double, single, plain]) => {
    const [, id] = (double ?? single ?? plain!).split("#", 2);
    return id === undefined ? [] : [id.trim()];
  });

/** The values of `filter` of an element: its attribute, and its style. */
const filterValues = ({ attributes }: XmlElement): readonly string[] =>
  [attributes.filter ?? "", declared(attributes.style ?? "")].filter((value) => value !== "");

/** The values of `filter` in CSS declarations. */
const declared = (css: string): string =>
  [...css.matchAll(/(?:^|[;{\s])filter\s*:([^;}]*)/g)].map(([, value]) => value).join(" ");

/** The work per pixel of a filter primitive, relative to a blur; `scale` is in pixels per unit. */
function primitiveWork({ name, attributes }: XmlElement, scale: number): number {
  const numbers = (value: string | undefined, otherwise: number) => {
    const [x, y = x] = (value ?? "").split(/[\s,]+/).flatMap((part) => (part === "" ? [] : [Number(part)]));
    return [x ?? otherwise, y ?? otherwise].map((n) => (Number.isFinite(n) ? Math.max(0, n) : otherwise));
  };
  if (!name.startsWith("fe")) return 0;
  if (name === "feMorphology") {
    const [x, y] = numbers(attributes.radius, 0) as [number, number];
    return Math.max(1, ((2 * x * scale + 1) * (2 * y * scale + 1)) / 9);
  }
  if (name === "feConvolveMatrix") {
    const [x, y] = numbers(attributes.order, 3) as [number, number];
    return Math.max(1, (2 * x * y) / 9);
  }
  return name === "feTurbulence" ? Math.max(1, numbers(attributes.numOctaves, 1)[0]!) : 1;
}

/** The size of the drawing in its own units. Scaled parts may be larger than they say, and are taken for whole ones. */
function viewOf(root: XmlElement | undefined, svg: string, sides: Sides): Sides & { readonly isScaled: boolean } {
  const [, , width, height] = (root?.attributes.viewBox ?? "").split(/[\s,]+/).map(Number);
  const isScaled = /\b(scale|matrix)\s*\(/.test(svg) || (svg.match(/viewBox/g)?.length ?? 0) > 1;
  return width! > 0 && height! > 0 ? { width: width!, height: height!, isScaled } : { ...sides, isScaled };
}

/** The share of the drawing that a filter's region has: known where it is in the drawing's own units. */
function regionShare({ attributes }: XmlElement, view: ReturnType<typeof viewOf>): number {
  if (attributes.filterUnits !== "userSpaceOnUse" || view.isScaled) return 1;
  const share = (Number(attributes.width) * Number(attributes.height)) / (view.width * view.height);
  return share >= 0 ? Math.min(1, share) : 1;
}
