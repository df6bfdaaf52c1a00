/** Something that the caller can mend; its message says how. */
export class CallError extends Error {}
