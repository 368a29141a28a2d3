/** Drawings whose filters would take minutes are refused before they are rendered; others are not. */
import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { decodeImage } from "../../data/index.ts";
import { filterWork } from "../../data/svg-filters.ts";
import { xmlElements } from "../../data/xml-elements.ts";

const sides = { width: 100, height: 50 };
const pixels = 5000;
const drawing = (body: string, attributes = 'width="100" height="50"') =>
  `<?xml version="1.0"?><!-- a <filter> --><svg xmlns="http://www.w3.org/2000/svg" ${attributes}>${body}</svg>`;
const blur = (n: number, attributes = "") =>
  `<filter id="f" ${attributes}>${'<feGaussianBlur stdDeviation="2"/>'.repeat(n)}</filter>`;
const workOf = (body: string, attributes?: string) => filterWork(drawing(body, attributes), sides) / pixels;

it("reads elements, attributes and texts, and skips comments and CDATA", () => {
  const [svg, style, g, use] = xmlElements(
    `<svg:svg a='1>2'><!-- <x/> --><style><![CDATA[.a > .b {}]]></style><g><use xlink:href="#g"/></g></svg:svg>`,
  );
  expect([svg!.name, svg!.attributes.a, style!.text]).toEqual(["svg", "1>2", ".a > .b {}"]);
  expect([svg!.children, g!.children, use!.attributes.href]).toEqual([[style, g], [use], "#g"]);
  expect(xmlElements("<svg><g a='").map(({ name }) => name)).toEqual(["svg"]);
});

it.each([
  ["none where no element names a filter", blur(3), 0],
  ["an attribute", `${blur(3)}<rect filter="url(#f)"/>`, 3],
  ["a style, beside others", `${blur(2)}<rect style="fill:red; filter: url('#f')"/>`, 2],
  ["a rule of a style sheet, which may match each element", `<style>.a{filter:url(#f)}</style>${blur(1)}<rect/>`, 5],
  ["none", `${blur(2)}<rect filter="none"/>`, 0],
  ["an id with parentheses, in quotes", `${blur(3).replace('id="f"', 'id="f(1)"')}<rect filter="url('#f(1)')"/>`, 3],
  ["character references", `${blur(3)}<rect filter="u&#x72;l(&#35;f)"/>`, 3],
  ["a function", '<rect filter="blur(3px)"/>', 2],
  ["one that is not there", '<rect filter="url(#g)"/>', 0],
  ["a property of another name", `${blur(2)}<rect color-interpolation-filters="sRGB" data-filter="url(#f)"/>`, 0],
  [
    "each use, also of uses",
    `${blur(1)}<g id="a"><rect id="r" filter="url(#f)"/><use href="#r"/></g><use href="#a"/>`,
    4,
  ],
  ["a use of itself, which is not rendered", `${blur(1)}<g id="a" filter="url(#f)"><use href="#a"/></g>`, 1],
  ["morphology by its radius", '<filter id="f"><feMorphology radius="4"/></filter><rect filter="url(#f)"/>', 9],
  ["convolutions by their order", '<filter id="f"><feConvolveMatrix order="9"/></filter><rect filter="url(#f)"/>', 18],
  ["noise by its octaves", '<filter id="f"><feTurbulence numOctaves="5"/></filter><rect filter="url(#f)"/>', 5],
])("counts %s", (_, body, work) => {
  expect(workOf(body)).toBe(work);
});

it("counts the region of a filter where it is known", () => {
  const region = 'filterUnits="userSpaceOnUse" width="20" height="10"';
  const body = `${blur(10, region)}<rect filter="url(#f)"/>`;
  expect(workOf(body, 'viewBox="0 0 200 100"')).toBeCloseTo(0.1);
  expect(workOf(`${body}<g transform="scale(9)"/>`, 'viewBox="0 0 200 100"')).toBe(10);
});

it.each([
  ["a long name in a tag", `<g ${"a".repeat(600_000)}/>`],
  ["a long word in a style", `<g style="filter:${"a".repeat(600_000)}"/>`],
  ["addresses without end", `<g filter="${"url(".repeat(150_000)}"/>`],
  ["spaces in an address", `<g filter="url(${" ".repeat(600_000)}"/>`],
  ["a filter of many parts, named many times", `${blur(10_000)}<g filter="${"url(#f)".repeat(60_000)}"/>`],
])("takes linear time for %s", (_, body) => {
  expect(workOf(body)).toBe(body.includes("#f") ? 600_000_000 : 0); // in quadratic time this would take minutes
});

it("refuses nesting without end instead of overflowing the stack", () => {
  expect(workOf("<g>".repeat(5_000))).toBe(Number.POSITIVE_INFINITY);
});

it("refuses drawings that would take too long, compressed or not", async () => {
  const uses = Array.from({ length: 20 }, (_, i) => `<g id="g${i + 1}"><use href="#g${i}"/><use href="#g${i}"/></g>`);
  const text = drawing(`${blur(1)}<rect id="g0" width="9" height="9" filter="url(#f)"/>${uses.join("")}`);
  for (const bytes of [Buffer.from(text), gzipSync(text)]) {
    const decoding = decodeImage({ name: "uses.svg", bytes }, { size: 50, fit: "squash" });
    await expect(decoding).rejects.toThrow(
      /"uses.svg" cannot be read: its filters would process about 1.0e\+10 pixels/,
    );
  }
  const one = Buffer.from(drawing(`${blur(1)}<rect width="9" height="9" filter="url(#f)"/>`));
  expect((await decodeImage({ name: "one.svg", bytes: one }, { size: 50, fit: "squash" })).width).toBe(50);
});
