/** What `--help` of every command has in common. */
import { Help, type HelpConfiguration, type Option } from "commander";

/** Defaults that go without saying, off and none, are not printed. */
const unsaid = (value: unknown): boolean => value === false || (Array.isArray(value) && value.length === 0);

export const helpStyle: HelpConfiguration = {
  optionDescription(option: Option): string {
    return unsaid(option.defaultValue) ? option.description : Help.prototype.optionDescription.call(this, option);
  },
};
