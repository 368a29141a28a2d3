/** What the command line shares with the package in Node: job settings, tuning results, versions. */
export { checkJobSettings, settingsOfRun } from "./job-settings.ts";
export { cachePath, findingsPath, keepFindings, knownFindings, measuredOn, tunedOptions } from "./node-tuning.ts";
export { heddleVersion, versions } from "./node-versions.ts";
