import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const git = (...args: string[]) => execFileSync("git", args, { cwd: root, encoding: "utf8", maxBuffer: 2 ** 26 });

/** Every file that is committed or would be by `git add .`. */
const files = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
  .split("\0")
  .filter((path) => path !== "" && existsSync(join(root, path)));

const text = (path: string) => readFileSync(join(root, path), "utf8");

const binary = /\.(png|webp|jpe?g|safetensors|onnx|npy|bin)$/;

/**
 * Absolute paths of somebody's machine: a home, a temporary folder, a workplace. Relative ones with these names are
 * fine.
 */
const machinePath = /(?<![\w.~@)}\]-])\/(?:home|Users|root|tmp|work|mnt)\/[\w.-]+|\b[A-Z]:\\\\?Users\\/;

describe("the tree", () => {
  test("has files to check", () => {
    expect(files.length).toBeGreaterThan(20);
  });

  test("holds no file over a megabyte", () => {
    expect(files.filter((path) => statSync(join(root, path)).size > 2 ** 20)).toEqual([]);
  });

  test("holds no mark of a merge that was not ended", () => {
    const left = files.filter((path) => !binary.test(path) && /^(<{7}|>{7}) /m.test(text(path)));
    expect(left).toEqual([]);
  });

  test("names no absolute path of a machine", () => {
    const found = files
      .filter((path) => !binary.test(path) && path !== "test/architecture/tree.test.ts")
      .flatMap((path) => {
        const match = machinePath.exec(text(path));
        return match ? [`${path}: ${match[0]}`] : [];
      });
    expect(found).toEqual([]);
  });

  test("would notice a path of a machine, and lets a relative one be", () => {
    for (const bad of ['"/home/ada/heddle"', "see /tmp/example", "=/work/example", "C:\\Users\\ada"])
      expect(bad).toMatch(machinePath);
    for (const good of ["runs/tmp/x", "./work/example", "https://example.org/home/page"])
      expect(good).not.toMatch(machinePath);
  });
});

describe("the lock file", () => {
  const lock = JSON.parse(text("package-lock.json")) as {
    packages: Record<string, { resolved?: string; version?: string }>;
  };

  test("names no registry host, so that it installs from any", () => {
    const named = Object.entries(lock.packages).filter(([, one]) => one.resolved !== undefined);
    expect(named).toEqual([]);
    expect(text("package-lock.json")).not.toMatch(/registry\.|:\/\/[^"]*\.tgz/);
  });

  test("fits package.json, where every version is exact", () => {
    const manifest = JSON.parse(text("package.json")) as Record<string, Record<string, string>>;
    const asked = { ...manifest.dependencies, ...manifest.optionalDependencies, ...manifest.devDependencies };
    for (const [name, version] of Object.entries(asked)) {
      expect(version, name).toMatch(/^(npm:[a-z/@-]+@)?\d+\.\d+\.\d+$/);
      expect(lock.packages[`node_modules/${name}`]?.version, name).toBe(version.replace(/^npm:.+@/, ""));
    }
  });
});

describe("the package", () => {
  const manifest = JSON.parse(text("package.json")) as { exports: Record<string, string | { default: string }> };

  test.each(Object.entries(manifest.exports))("opens %s on a door that is there", (_, target) => {
    if (typeof target === "string") return expect(existsSync(join(root, target))).toBe(true);
    const built = target.default.replace("./dist/", "");
    const sources = [built, built.replace(/\.js$/, ".ts")]; // run.js of a bundle is copied as it is
    return expect(sources.some((source) => files.includes(source))).toBe(true);
  });
});
