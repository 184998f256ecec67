// Reads a stream with fetch-event-source, which reconnects after an error and is done when a stream has ended.
// It was made for pages: from a document it wants to know whether it is hidden, from a window its fetch and timers.
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
globalThis.window = globalThis;
const { fetchEventSource } = (await import("@microsoft/fetch-event-source")).default;

await fetchEventSource(process.argv[2], {
  onmessage: ({ event, data }) => console.log(JSON.stringify({ event: event || "message", data })),
});
