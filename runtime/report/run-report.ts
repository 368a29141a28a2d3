/** The report of a run: one page, which can be regenerated at any time from the files in the run's folder. */
import { basename, fileSystem, join, resolve } from "#host";
import { HeddleError } from "../../compiler/index.ts";
import { isRecord } from "../cached-file.ts";
import { explainingFaults, fileError } from "../file-errors.ts";
import { isThere, writeFileAtomically } from "../files.ts";
import { isRunFolder, metricsFile } from "../training/run-folder.ts";
import { readRunSettings } from "../training/run-settings.ts";
import { readSources } from "../training/sources-file.ts";
import { toldFile } from "../training/told-file.ts";
import { aboutFile, readAbout, readJson } from "./about.ts";
import { jobReportFile, readJobReport } from "./job-report.ts";
import { type PageContent, reportPage } from "./page.ts";
import { readFigures } from "./read-figures.ts";

const reportFile = "report.html";

/** Writes the report of a folder's run, and returns its path. Throws FileError for a folder that is not a run's. */
export async function writeRunReport(folder: string): Promise<string> {
  if (!(await isRunFolder(folder)))
    throw fileError(folder, "it is not a run's folder", "name one that heddle train created");
  const path = join(folder, reportFile);
  await writeFileAtomically(path, reportPage(await contentOf(folder, basename(resolve(folder)))));
  return path;
}

/** The content of a folder's files; damaged files are reported on the page. */
async function contentOf(folder: string, name: string): Promise<PageContent> {
  const faults: string[] = [];
  const orFault = async <T>(file: string, read: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await read();
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      faults.push(`${file} cannot be shown: ${error instanceof HeddleError ? text.split("\n")[0]! : text}`);
      return undefined;
    }
  };
  return {
    name,
    about: await orFault(aboutFile, () => readAbout(folder)),
    settings: await orFault("run.json", () => readRunSettings(folder)),
    sources: await orFault("sources.json", () => readSources(folder)),
    said: await orFault(jobReportFile, () => readJobReport(folder)),
    summary: await orFault("summary.json", () => readRecord(folder, "summary.json")),
    told: await orFault(toldFile, () => readRecord(folder, toldFile)),
    figures: await orFault("metrics.jsonl", () => readFigures(metricsFile(folder))),
    parts: await Promise.all((await partsOf(folder)).map((part) => contentOf(join(folder, part), part))),
    faults,
  };
}

async function readRecord(folder: string, name: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const read = await readJson(folder, name);
  if (read === undefined || isRecord(read)) return read;
  throw new TypeError("it is not a JSON object");
}

/** Subfolders with metrics of their own, such as those of consecutive stages. */
async function partsOf(folder: string): Promise<readonly string[]> {
  const names = await explainingFaults("read", folder, () => fileSystem.readdir(folder));
  const areParts = await Promise.all(names.map((name) => isThere(metricsFile(join(folder, name)))));
  return names.filter((_, i) => areParts[i]).sort(new Intl.Collator("en", { numeric: true }).compare);
}
