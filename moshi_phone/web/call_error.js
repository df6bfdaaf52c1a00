/** An error that the user can correct; the message says how. */
export class CallError extends Error {}
