// Reads a stream with eventsource-parser and fetch: the program reconnects.
import { EventSourceParserStream } from "eventsource-parser/stream";

let lastEventId = "";
for (;;) {
  const headers = lastEventId ? { "Last-Event-ID": lastEventId } : {};
  const response = await fetch(process.argv[2], { headers });
  if (response.status === 204) break;
  const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  try {
    for await (const { event, id, data } of events) {
      console.log(JSON.stringify({ event: event ?? "message", data }));
      lastEventId = id || lastEventId;
    }
  } catch {
    continue; // the connection was cut
  }
}
