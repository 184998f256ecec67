// The same with a client that @hey-api/openapi-ts generates, and the job's stream as well. Argument: the server's URL.
import { client } from "./generated/client.gen.js";
import { readJob, readResult, submitPing, watchJob } from "./generated/sdk.gen.js";

client.setConfig({ baseUrl: process.argv[2] });
const submitted = await submitPing({ body: { message: "hello" }, query: { label: "by hey-api" } });
if (submitted.data === undefined) throw new Error(JSON.stringify(submitted.error));

const path = { id: submitted.data.jobId };
const watched = await watchJob({ path, sseMaxRetryAttempts: 1 });
const states: string[] = [];
for await (const event of watched.stream) {
  const state = event as unknown as { status?: string };
  if (state.status !== undefined) states.push(state.status);
  if (state.status === "completed") break;
}
const read = await readJob({ path, query: { wait: 30 } });
const result = await readResult({ path });
const unknown = await readJob({ path: { id: "unknown" } });
console.log(
  JSON.stringify({
    label: submitted.data.label,
    status: read.data?.status,
    progress: read.data?.progress,
    result: result.data,
    problem: unknown.error?.type,
    last: states.at(-1),
  }),
);
