// What the guide says that the client can do, typed, and run in each environment: `use(base)` says what came of it.

import { Client, Job, Problem, type JobEvent, type JobState } from "@headway/client";
import type { HeadwayProgress } from "@headway/client/progress";

interface Steps {
  steps: number;
}

export async function use(base: string) {
  const client = new Client(base);
  const job: Job<Steps> = await client.submit<Steps>("steady", { steps: 3, log_lines: 2 }, { label: "typed" });
  const lines: string[] = [];
  const seen = new Set<JobEvent["type"]>();
  let resumed = 0;
  let id = "";
  for await (const event of job.events({ onConnection: (state, everyS = 0) => void [state, everyS] })) {
    if (event.type === "log") lines.push(event.line.message);
    if (event.type !== "reset") id = event.id;
    seen.add(event.type);
  }
  for await (const event of job.events({ lastEventId: id })) resumed += event ? 1 : 0;

  const again: Job<Steps> = client.job<Steps>(job.state!.statusUrl);
  const states: JobState<Steps>[] = [];
  const ended: JobState<Steps> = await again.wait({ onState: (state) => states.push(state) });
  const steps: number = (await again.result()).steps;

  const endless = await client.submit("steady", { steps: 100_000 }, { metadata: { order: "4711" } });
  const stop = new AbortController();
  const reason = await endless
    .wait({ signal: stop.signal, onState: () => stop.abort("enough") })
    .catch((error: unknown) => error);
  await endless.cancel();
  const cancelled: JobState = await endless.wait();
  const repeated = await endless.retry({ input: { steps: 2 }, label: "shorter" });

  const many = await Promise.all(Array.from({ length: 12 }, () => client.submit<Steps>("steady", { steps: 2 })));
  const results: Steps[] = await Promise.all(many.map((each) => each.result()));

  const table = await client.submit("csv-report", {}, { files: { file: new Blob(["a,b\n1,2\n"]) } });
  const { files } = await table.wait();
  const size = (await (await table.file(files![0].name)).arrayBuffer()).byteLength;

  const refused = await client.submit("steady", { steps: 0 }).catch((problem: Problem) => problem);
  const deleted: boolean = await table.delete();
  const missing = await table.read().catch((problem: Problem) => problem);

  return {
    lines,
    seen: [...seen].sort(),
    resumed,
    ended: [ended.status, ended.progress, ended.label, ended.result?.steps],
    ordered: states.every((state, index) => index === 0 || state.version > states[index - 1].version),
    steps,
    reason,
    cancelled: [cancelled.status, cancelled.metadata.order],
    repeated: (await repeated.result()) as Steps,
    results: results.length,
    whole: size === files![0].sizeBytes,
    pointers: refused instanceof Problem && refused.errors.map(({ pointer }) => pointer),
    deleted,
    missing: missing instanceof Problem && [missing.status, missing.type],
  };
}

export function element(progress: HeadwayProgress) {
  progress.job = "/jobs/id";
  progress.getTicket = async () => "hwt_";
  progress.addEventListener("end", ({ detail }) => void (detail.status === "completed"));
  document.querySelector("headway-progress")!.addEventListener("problem", ({ detail }) => void detail.message);
  // @ts-expect-error it is read-only
  progress.value = "id";
}

export function mistakes(client: Client, job: Job<Steps>) {
  // @ts-expect-error the options' names are known
  void client.submit("steady", {}, { lable: "typed" });
  // @ts-expect-error a result has the type that was named
  void job.result().then((result) => result.stepz);
  // @ts-expect-error a job's state has no such field
  void job.state?.percent;
  // @ts-expect-error a ticket is a text, or comes from getTicket
  client.job("id", { ticket: () => "hwt_" });
}
