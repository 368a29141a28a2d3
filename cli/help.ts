/** The common settings of every command's `--help`. */
import { Help, type HelpConfiguration, type Option } from "commander";

/** Trivial defaults, off and none, are not printed. */
const unsaid = (value: unknown): boolean => value === false || (Array.isArray(value) && value.length === 0);

export const helpStyle: HelpConfiguration = {
  optionDescription(option: Option): string {
    return unsaid(option.defaultValue) ? option.description : Help.prototype.optionDescription.call(this, option);
  },
};
