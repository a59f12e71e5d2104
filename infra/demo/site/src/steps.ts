export interface Step {
  name: string;
  done: string;
}

/** The six steps of a deployment, in order, told after the fact. */
export const STEPS: readonly Step[] = [
  { name: "validate", done: "The project, its source and its settings were checked, and a plan for the build was made." },
  { name: "sandbox", done: "An isolated place was opened, with limits, so that unknown code could harm nothing." },
  { name: "sync", done: "Every file was brought in byte for byte, and checked against its digest." },
  { name: "build", done: "Dependencies were installed and the build ran. Its exit code had the last word." },
  { name: "deploy", done: "The release was stored for good, tried at its own address, then made the current one." },
  { name: "cleanup", done: "The sandbox was taken away and the record settled. What stayed is this page." },
];
