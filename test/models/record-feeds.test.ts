/**
 * Records become inputs by the names, axes and dtypes that the loss declares; what does not fit is named with its
 * place.
 */
import { describe, expect, it } from "vitest";
import { type DType, tensorType } from "../../compiler/index.ts";
import { byteTokenizer } from "../../data/index.ts";
import { type FeedContext, type Paddings, recordFeeds, stageData } from "../../dsl/index.ts";

const counted: string[] = [];
const size = (name: string, size: number) => ({ name, size });
const [batch, box, coordinate] = [size("batch", 2), size("box", 3), size("coordinate", 2)];
const contextOf = (inputs: FeedContext["inputs"]): FeedContext => ({
  inputs,
  text: byteTokenizer,
  random: () => 0,
  count: (what) => counted.push(what),
  written: () => undefined,
});
const record = (fields: object, line = 1) => ({ id: `data.jsonl:${line}`, fields: { ...fields } });
const boxes = tensorType("f32", [batch, box, coordinate]);

/** The values of an input for some fields, each of one record. */
const filled = (type: typeof boxes, values: readonly unknown[], padding?: Paddings[string]) => {
  const rows = values.map((x, i) => record({ x }, i + 1));
  return [...recordFeeds(rows, contextOf({ x: type }), padding && { x: padding }).x!.data];
};

describe("values", () => {
  it("are numbers and nested lists in the order of the axes, wherever the samples' axis is", () => {
    const [a, b] = [
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      [
        [7, 8],
        [9, 10],
        [11, 12],
      ],
    ];
    expect(filled(boxes, [a, b])).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    const last = tensorType("f32", [box, coordinate, batch]);
    expect(filled(last, [a, b])).toEqual([1, 7, 2, 8, 3, 9, 4, 10, 5, 11, 6, 12]);
    expect(filled(tensorType("f32", [batch]), [0.5, -1])).toEqual([0.5, -1]);
  });

  it("have the dtype of the input", () => {
    const made = (dtype: DType, values: readonly unknown[]) => filled(tensorType(dtype, [batch]), values);
    expect(made("i32", [-3, 4])).toEqual([-3, 4]);
    expect(made("u32", [0, 2 ** 32 - 1])).toEqual([0, 2 ** 32 - 1]);
    expect(made("f16", [0.5, 65504])).toEqual([0.5, 65504]);
    expect(made("bool", [true, 0])).toEqual([1, 0]);
  });

  it("are padded where that is declared, and a mask says which are the record's", () => {
    const inputs = { boxes, is_box: tensorType("f32", [batch, box]), certainty: tensorType("f32", [batch]) };
    const rows = [record({ boxes: [[1, 2]], certainty: 0.5, note: "ignored" }), record({ boxes: [], certainty: 1 })];
    const padding = { boxes: { axes: ["box"], value: -1, mask: "is_box" } };
    const feeds = recordFeeds(rows, contextOf(inputs), padding);
    expect(Object.fromEntries(Object.entries(feeds).map(([name, { data }]) => [name, [...data]]))).toEqual({
      boxes: [1, 2, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1],
      is_box: [1, 0, 0, 0, 0, 0],
      certainty: [0.5, 1],
    });
  });

  it("may be ragged along several axes", () => {
    const mask = tensorType("bool", [batch, coordinate]);
    const padding = { axes: ["box", "coordinate"], value: 0, mask: "mask" };
    const { x, mask: present } = recordFeeds(
      [record({ x: [[1], [2]] }), record({ x: [[], [3, 4]] })],
      contextOf({ x: boxes, mask }),
      { x: padding },
    );
    expect([...x!.data]).toEqual([1, 0, 2, 0, 0, 0, 0, 0, 3, 4, 0, 0]);
    expect([...present!.data]).toEqual([1, 0, 1, 1]);
  });

  it("are taken from arrays in any order of their elements, and padded like lists", () => {
    const rows = { shape: [3, 2], strides: [2, 1], values: Float64Array.of(1, 2, 3, 4, 5, 6) };
    const columns = { shape: [3, 2], strides: [1, 3], values: Uint8Array.of(1, 3, 5, 2, 4, 6) };
    expect(filled(boxes, [rows, columns])).toEqual([1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]);
    const last = tensorType("f32", [coordinate, batch, box]);
    const turned = { ...rows, shape: [2, 3], strides: [1, 2] };
    expect(filled(last, [turned, turned])).toEqual([1, 3, 5, 1, 3, 5, 2, 4, 6, 2, 4, 6]);
    const short = { ...rows, shape: [1, 2] };
    const mask = tensorType("f32", [batch, box]);
    const padding = { x: { axes: ["box"], value: 9, mask: "mask" } };
    const fed = recordFeeds([record({ x: short })], contextOf({ x: boxes, mask }), padding);
    expect(Object.values(fed).map(({ data }) => [...data].slice(0, 6))).toEqual([
      [1, 2, 9, 9, 9, 9],
      [1, 0, 0],
    ]);
  });

  it("that are texts become ids, cut to the axis and counted", () => {
    const ids = tensorType("i32", [batch, size("token", 5)]);
    expect(filled(ids, ["ab", [1, 9, 2]], { axes: ["token"], value: 0 })).toEqual([1, 100, 101, 2, 0, 1, 9, 2, 0, 0]);
    expect(filled(ids, ["abcdef", "abc"])).toEqual([1, 100, 101, 102, 2, 1, 100, 101, 102, 2]);
    expect(counted).toEqual(['texts of "x" are cut to 5 tokens']);
  });
});

describe("an error names the record, the place, the axis and the input", () => {
  const refused = (value: unknown, padding?: Paddings[string], type = boxes) => {
    try {
      filled(type, [value], padding);
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };
  const input = 'input "x" f32[batch=2, box=3, coordinate=2]';
  const padded = { axes: ["box"], value: 0 };

  it.each([
    [[[1, 2], [3, 4], [5]], `data.jsonl:1: "x"[2] has length 1; expected 2 along axis "coordinate" of ${input}`],
    [[[1, 2]], '  hint: fix the record, or declare the padding: { x: { axes: ["box"], value: 0 } }'],
    [[[1, 2], 3, [5, 6]], `data.jsonl:1: "x"[1] is the number 3; expected a list along axis "coordinate" of ${input}`],
    [
      [
        [1, null],
        [3, 4],
        [5, 6],
      ],
      `data.jsonl:1: "x"[0][1] is null; expected a number; ${input}`,
    ],
    [
      [
        [1, [2]],
        [3, 4],
        [5, 6],
      ],
      `"x"[0][1] is a list; expected a number; ${input}`,
    ],
    [
      [
        [1, 1e39],
        [3, 4],
        [5, 6],
      ],
      `"x"[0][1] is 1e+39, which f32 does not hold; ${input}`,
    ],
    ["a text", `"x" is the string "a text"; expected a list along axis "box" of ${input}`],
  ])("%j", (value, message) => expect(refused(value)).toContain(message));

  it("for more values than fit", () => {
    const four = Array.from({ length: 4 }, () => [0, 0]);
    expect(refused(four, padded)).toBe(
      `data.jsonl:1: "x" has length 4; expected at most 3 along axis "box" of ${input}\n  hint: make the axis larger, or shorten the record`,
    );
  });

  it.each([
    ["i32", 1.5],
    ["i32", 2 ** 31],
    ["u32", -1],
    ["f16", 1e5],
    ["bool", 2],
    ["f32", 1e39],
  ] as const)("for what %s does not hold: %d", (dtype, value) => {
    expect(refused(value, undefined, tensorType(dtype, [batch]))).toContain(
      `is ${value}, which ${dtype} does not hold`,
    );
  });

  it("for arrays of other ranks, sizes and values", () => {
    const array = (shape: number[], values: number[]) => ({
      shape,
      strides: [2, 1],
      values: Float32Array.from(values),
    });
    expect(refused(array([6], [1, 2, 3, 4, 5, 6]))).toBe(
      `data.jsonl:1: "x" has 1 dimensions, [6]; expected 2, those of ${input} without "batch"`,
    );
    expect(refused(array([1, 2], [1, 2]))).toContain('"x" has length 1; expected 3 along axis "box" of input');
    expect(refused(array([3, 2], [1, 2, 3, Number.NaN, 5, 6]))).toContain('"x"[1][1] is NaN; expected a finite number');
    const ids = tensorType("i32", [batch, size("token", 2)]);
    expect(refused({ shape: [2], strides: [1], values: Float32Array.of(1, 0.5) }, undefined, ids)).toContain(
      '"x"[1] is 0.5, which i32 does not hold',
    );
  });

  it("for a field that is missing, and one that every object inherits", () => {
    const asked = (name: string) => () => recordFeeds([record({ boxs: [] })], contextOf({ [name]: boxes }));
    expect(asked("boxes")).toThrow(
      'data.jsonl:1: it has no "boxes", which input "boxes" f32[batch=2, box=3, coordinate=2] needs; did you mean "boxs"?',
    );
    expect(asked("constructor")).toThrow('it has no "constructor"');
  });

  it("for inputs that records cannot fill, and padding that does not fit them", () => {
    const feed = (inputs: FeedContext["inputs"], padding?: Paddings) => () =>
      recordFeeds([record({})], contextOf(inputs), padding);
    const x = { axes: ["box"], value: 0 };
    expect(feed({ anchors: tensorType("f32", [box]) })).toThrow('it needs the axis "batch"');
    expect(feed({ boxes }, { boxs: x })).toThrow('padding names "boxs", which is no input of the loss; did you mean');
    expect(feed({ x: boxes }, { x: { ...x, axes: ["bix"] } })).toThrow('padding.x names the axis "bix"');
    expect(feed({ x: boxes }, { x: { ...x, mask: "y" } })).toThrow('padding.x.mask names "y", which is no input');
    const mask = tensorType("f32", [batch, size("box", 4)]);
    expect(feed({ x: boxes, mask }, { x: { ...x, mask: "mask" } })).toThrow('whose axis "box" is not one of f32[');
    expect(feed({ x: tensorType("i32", [batch, box]) }, { x: { ...x, value: 0.5 } })).toThrow("padding.x.value is 0.5");
  });
});

it("refuses misspelt padding where it is declared, and padding of other kinds", () => {
  const declared = (more: object) => () => stageData<"records">({ kind: "records", ...more });
  const padding = (one: object) => declared({ padding: { boxes: one } });
  expect(declared({})).not.toThrow();
  expect(padding({ axes: ["box"], value: 0, masks: "m" })).toThrow('padding.boxes has no field "masks"; did you mean');
  expect(padding({ axis: "box", value: 0 })).toThrow("padding.boxes needs `axes`, a list of axis names, got undefined");
  expect(padding({ axes: ["box"] })).toThrow("padding.boxes needs `value`, a number, got undefined");
  expect(declared({ padding: ["box"] })).toThrow("padding must be an object");
  expect(declared({ kind: "labels", feeds: () => ({}), padding: {} })).toThrow(
    "padding is for records, not for labels",
  );
  expect(declared({ feeds: () => ({}), padding: {} })).toThrow("padding is not read with `feeds`");
  expect(declared({ kind: "labels" })).toThrow("needs `feeds`");
});
