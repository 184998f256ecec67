// Reads a stream with eventsource, the EventSource of Node: it reconnects by itself and closes at a 204.
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
const tell = (event) => console.log(JSON.stringify({ event: event.type, data: event.data }));
source.addEventListener("message", tell);
source.addEventListener("log", tell);
source.addEventListener("reset", tell);

// A timer keeps the program alive between two connections, as other work does in a real one.
const alive = setInterval(() => source.readyState === EventSource.CLOSED && clearInterval(alive), 50);
