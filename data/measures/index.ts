/** The measures of evaluations, each as its reference implementation has it. */
export { type TopClasses, type TopClassesCount, topClasses } from "./top-classes.ts";
