/** Files that are dropped on the page. */

/**
 * Gives files that are dropped on an element to a function. Dropped elsewhere they do nothing: by default, a browser
 * would open them in the place of the page.
 */
export function onDroppedFile(target: HTMLElement, take: (file: File) => void): void {
  document.addEventListener("dragover", (event) => {
    if (!event.defaultPrevented && event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    const file = event.dataTransfer?.files[0];
    if (event.defaultPrevented || !file) return;
    event.preventDefault();
    if (target.contains(event.target as Node)) take(file);
  });
}
