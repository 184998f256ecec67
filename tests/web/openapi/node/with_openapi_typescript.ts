// Submits a job, follows it, and reads its result, with the types of openapi-typescript. Argument: the server's URL.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const api = createClient<paths>({ baseUrl: process.argv[2] });
const submitted = await api.POST("/jobs/ping", {
  body: { message: "hello" },
  params: { query: { label: "by openapi-typescript" } },
});
const accepted: components["schemas"]["JobView"] | undefined = submitted.data;
if (accepted === undefined || submitted.response.status !== 202) throw new Error(JSON.stringify(submitted.error));

const path = { id: accepted.jobId };
const read = await api.GET("/jobs/{id}", { params: { path, query: { wait: 30 } } });
const result = await api.GET("/jobs/{id}/result", { params: { path } });
const unknown = await api.GET("/jobs/{id}", { params: { path: { id: "unknown" } } });
console.log(
  JSON.stringify({
    label: accepted.label,
    status: read.data?.status,
    progress: read.data?.progress,
    result: result.data,
    problem: unknown.error?.type,
  }),
);
