/** Have the browser save a blob as a file. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser reads the blob asynchronously.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Return the name of a call's file, like the server's: 2026-01-31T12-30-05Z-call.wav. */
export function callFileName(began, ending) {
  return `${began.toISOString().slice(0, 19).replaceAll(":", "-")}Z-${ending}`;
}
