/** Types of Vite's imports with query suffixes. */
declare module "*?raw" {
  const text: string;
  export default text;
}

declare module "*?worker&url" {
  const url: string;
  export default url;
}
