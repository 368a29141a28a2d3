/** What Vite makes of files by the ends of their names. */
declare module "*?raw" {
  const text: string;
  export default text;
}

declare module "*?worker&url" {
  const url: string;
  export default url;
}
