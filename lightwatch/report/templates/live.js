// ------------------------------------------------------------------ only in the page of a server: news during a run
const told = document.querySelector(".live");
const EVERY_MS = 4000, SHORTEST_MS = 15000, loaded = Date.now();
let stamp = null;
// somebody who looks at a point or a part of a chart is not thrown out of it
const busy = () => all.some((c) => c.at || c.group.view) || document.querySelector("details[open]:not(.verdict)") !== null;
async function ask() {
  const answer = await fetch("state", { cache: "no-store" });
  if (!answer.ok) throw new Error(String(answer.status));
  const state = await answer.json();
  told.hidden = false;
  told.textContent = state.text;
  if (stamp === null) stamp = state.stamp;
  if (state.stamp === stamp) return;
  if (!busy() && !document.hidden && Date.now() - loaded > SHORTEST_MS) return location.reload();
  const again = make("button", told, "There are new results: show them");
  again.type = "button";
  again.addEventListener("click", () => location.reload());
}
const askAgain = () => ask().catch(() => { told.hidden = false; told.textContent = "The server does not answer."; }).finally(() => setTimeout(askAgain, EVERY_MS));
askAgain();
