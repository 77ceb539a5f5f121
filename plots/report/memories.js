// The memory of a run by step: text, budget, prediction, feedback, and what changed because of it.
const VERDICTS = { right: ["right", "✓"], wrong: ["wrong", "✗"], unread: ["wrong", "?"], none: ["soft", "·"] };
const memoryFields = ["memory-run", "memory-stream", "memory-step"].map(byId);

function verdictOf(step) {
  if (!step.asked) return VERDICTS.none;
  if (step.predicted === null) return VERDICTS.unread;
  return step.right === null ? VERDICTS.none : VERDICTS[step.right ? "right" : "wrong"];
}

const written = (value) => (Array.isArray(value) ? value.join("; ") : String(value));

function predictionOf(step) {
  if (!step.asked) return "nothing asked";
  const truth = `the truth: ${written(step.truth)}`;
  return step.predicted === null ? `not readable: ${step.reply} (${truth})` : `predicted ${written(step.predicted)}, ${truth}`;
}

function budgetBar(tokens, budget) {
  const told = budget ? `${tokens} of ${budget} tokens` : `${tokens} tokens`;
  const bar = budget ? [make("meter", { min: 0, max: budget, value: tokens, "aria-label": told }), " "] : [];
  return make("p", {}, ...bar, make("span", { class: "soft", text: told }));
}

function labelled(name, text, attributes = {}) {
  return [make("p", { class: "label", text: name }), make("pre", { text, ...attributes })];
}

function versionOf(version) {
  const told = version.told ? `: ${version.told}` : "";
  const lines = version.diff.map((line) => make("span", { class: line[0] === "+" ? "came" : "went", text: `${line}\n` }));
  return [make("p", { class: "label", text: `memory ${version.reason}${told} (${version.tokens} tokens)` }), make("pre", { class: "diff" }, ...lines)];
}

function showMemory() {
  const [run, stream, slider] = memoryFields;
  const { budget, streams } = data.memories[run.value];
  const { steps } = streams[stream.value];
  const step = steps[slider.value];
  const [look, mark] = verdictOf(step);
  slider.setAttribute("aria-valuetext", `step ${step.step}, ${step.time}`);
  byId("memory-strip").replaceChildren(...steps.map((each, place) => {
    const [shade, sign] = verdictOf(each);
    return make("span", { class: `${shade}${place === Number(slider.value) ? " here" : ""}`, text: sign });
  }));
  const name = step.time === step.step ? `step ${step.step}` : `step ${step.step}, ${step.time}`;
  byId("memory").replaceChildren(make("article", { class: "sample memory" },
    make("h3", {}, name, make("span", { class: look, text: `${mark} ${predictionOf(step)}` })),
    ...labelled("input", step.input),
    ...labelled("carried into this step", step.carried || "nothing", { class: "carried" }), budgetBar(step.carried_tokens, budget),
    ...(step.feedback ? labelled("told afterwards", step.feedback) : []),
    ...step.versions.flatMap(versionOf)));
}

function chooseStream() {
  const [run, stream, slider] = memoryFields;
  slider.max = data.memories[run.value].streams[stream.value].steps.length - 1;
  slider.value = 0;
  showMemory();
}

function chooseRun() {
  const [run, stream] = memoryFields;
  stream.replaceChildren(...data.memories[run.value].streams.map((each, place) => make("option", { value: place, text: each.number })));
  chooseStream();
}

if (memoryFields[0]) {
  [chooseRun, chooseStream].forEach((choose, place) => memoryFields[place].addEventListener("change", choose));
  memoryFields[2].addEventListener("input", showMemory);
  chooseRun();
}
