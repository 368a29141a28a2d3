/** What is done to a file system to see that it behaves as a disk: in Node, in memory and in a page. */
import { errorCode, type FileSystem } from "../../runtime/file-system.ts";

/** What a deed gives, or the code of its fault. */
export const outcome = async (deed: () => Promise<unknown>) => {
  try {
    return (await deed()) ?? "done";
  } catch (error) {
    return errorCode(error) ?? `no code: ${error}`;
  }
};
const bytes = (text: string) => new TextEncoder().encode(text);

const write =
  (fs: FileSystem, path: string, text: string, at: number | null = null) =>
  async () => {
    const file = await fs.open(path, at === null ? "wx" : "r+");
    await file.write(bytes(text), 0, bytes(text).length, at);
    await file.close();
  };
const cut = (fs: FileSystem, path: string, length: number) => async () => {
  const file = await fs.open(path, "r+");
  await file.truncate(length);
  await file.close();
};
const read = (fs: FileSystem, path: string) => async () => {
  const file = await fs.open(path, "r");
  const [head, rest] = [new Uint8Array(3), new Uint8Array(20)];
  const first = await file.read(head, 0, 3, null);
  const then = await file.read(rest, 1, 10, null);
  const again = await file.read(rest, 12, 2, 1);
  const end = await file.read(rest, 0, 5, 1000);
  await file.close();
  return [...head, ...rest, ...[first, then, again, end].map(({ bytesRead }) => bytesRead)].join();
};
const stat = (fs: FileSystem, path: string) => async () => {
  const info = await fs.stat(path);
  return info.isFile() ? `file of ${info.size}` : info.isDirectory() ? "folder" : "neither";
};

/** Deeds in a folder, of which each file system makes the same. */
export const deeds = (fs: FileSystem, root: string): readonly (() => Promise<unknown>)[] => {
  const at = (path: string) => `${root}/${path}`;
  const names = (path: string) => async () => (await fs.readdir(at(path))).sort();
  return [
    () => fs.mkdir(at("a/b/c")),
    () => fs.mkdir(at("a/b")),
    write(fs, at("a/x"), "hello world"),
    write(fs, at("a/x"), "again"),
    write(fs, at("none/x"), "nowhere"),
    write(fs, at("a"), "a folder"),
    () => fs.mkdir(at("a/x")),
    () => fs.mkdir(at("a/x/y")),
    read(fs, at("a/x")),
    write(fs, at("a/x"), "HELLO", 3),
    write(fs, at("a/x"), "gap", 15),
    read(fs, at("a/x")),
    cut(fs, at("a/x"), 4),
    cut(fs, at("a/x"), 8),
    read(fs, at("a/x")),
    stat(fs, at("a/x")),
    stat(fs, at("a/./b/../b")),
    stat(fs, at("gone")),
    names("a"),
    names("a/x"),
    names("gone"),
    () => fs.rename(at("a/x"), at("a/b/y")),
    () => fs.rename(at("a/x"), at("a/z")),
    () => fs.rename(at("a/b"), at("a/b/c/d")),
    () => fs.rename(at("a/b/y"), at("a/b/c")),
    () => fs.rename(at("a/b"), at("moved")),
    () => fs.mkdir(at("full/one")),
    () => fs.rename(at("moved"), at("full")),
    names("moved"),
    read(fs, at("moved/y")),
    () => fs.remove(at("moved")),
    () => fs.remove(at("moved")),
    names("."),
    () => fs.syncFolder(at("a")),
    async () => (await fs.freeBytes(at("a"))) > 0,
  ];
};
