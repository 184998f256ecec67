// The types of headway-progress.js, and what the element takes and tells.

import type { Client, GetTicket, JobState, Problem, Unreachable } from "./headway.js";

/**
 * A job's progress bar, `<headway-progress job="/jobs/…">`. Importing the module defines it.
 *
 * Around a form whose `action` is `/jobs/{type}`, it submits the form as a job and shows that one: numbers, checkboxes
 * and files become the input's numbers, booleans and uploads, everything else text; empty fields are left out.
 *
 * As part of a form (`name`), its value is the job's id; with `required`, the form is valid once the job has completed.
 *
 * Parts: `bar`, `fill`, `text`, and in it `status`, `percent` and `message`. Custom properties: `--headway-height`,
 * `--headway-track`, and the colours `--headway-running`, `--headway-completed`, `--headway-failed`,
 * `--headway-stopping` and `--headway-idle` (queued and cancelled). States for `:state()`: the job's status, `stopping`,
 * `indeterminate`, `lost` (no connection), `problem`.
 */
export class HeadwayProgress extends HTMLElement {
  /** The attribute: the job's URL, with `?ticket=` if it needs one. Another one begins anew; removing it stops. */
  job: string | null;
  /** The newest state. Set it to show states that come from elsewhere; then the element needs no `job`. */
  state: JobState | null;
  /** Why the job is no longer followed, or the form could not be submitted. */
  readonly problem: Problem | Unreachable | null;
  /** For a server with a key, or with options of your own; otherwise elements of a server share one. */
  client?: Client;
  getTicket?: GetTicket;
  /** The job's id; "" before the first state. */
  readonly value: string;
  readonly form: HTMLFormElement | null;
  readonly validity: ValidityState;
  readonly validationMessage: string;
  checkValidity(): boolean;
  reportValidity(): boolean;

  /** "state": each newer state. "end": the last one. "problem": see `problem`. */
  addEventListener<Name extends keyof HeadwayProgressEvents>(
    name: Name,
    listener: (this: HeadwayProgress, event: HeadwayProgressEvents[Name]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    name: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

export interface HeadwayProgressEvents extends HTMLElementEventMap {
  state: CustomEvent<JobState>;
  end: CustomEvent<JobState>;
  problem: CustomEvent<Problem | Unreachable>;
}

declare global {
  interface HTMLElementTagNameMap {
    "headway-progress": HeadwayProgress;
  }
}
