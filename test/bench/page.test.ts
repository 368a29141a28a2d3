import { InvalidArgumentError } from "commander";
import { expect, test } from "vitest";
import { needPeers, subjectNames, subjectsNamed } from "../../bench/page/subject.ts";

test("--only heddle needs no other library installed", () => {
  expect(subjectsNamed("heddle")).toEqual(["heddle, bundle", "heddle, session"]);
  expect(needPeers(subjectsNamed("heddle"))).toBe(false);
  expect(needPeers(subjectsNamed("onnx"))).toBe(true);
  expect(needPeers(subjectNames)).toBe(true);
});

test("--only of no name lists the names", () => {
  expect(() => subjectsNamed("hedle")).toThrow(InvalidArgumentError);
  expect(() => subjectsNamed("hedle")).toThrow('"heddle, bundle", "heddle, session"');
});
