/** How one message looks: a person's, a finished answer, or one in the making. */

import { element } from "./dom.js";
import { icon, iconButton } from "./icons.js";
import { editMessage } from "./message-editor.js";
import { fullTime, shortTime, timeElement } from "./time.js";

const COPIED_SECONDS = 1.5;

/** What models and people see of it. @param {Message} message */
export function effectiveContent(message) {
  return message.editedContent ?? message.content;
}

/** Text that mostly grows at its end: what stands there already is left alone, with its selection. */
const growingText = (/** @type {HTMLElement} */ place) => {
  let shown = "";
  return (/** @type {string} */ text) => {
    if (text === shown) return;
    if (text.startsWith(shown)) place.append(text.slice(shown.length));
    else place.replaceChildren(text);
    shown = text;
  };
};

/** @type {CreateMessageView} */
export const createMessageView = (role, author, actions) => {
  const name = element("p", { class: "author", dir: "auto" }, author);
  const content = element("div", { class: "content", dir: "auto" });
  const reasoning = element("div", { class: "reasoning-text", dir: "auto" });
  const thinking = element("details", { class: "reasoning" }, element("summary", {}, "Thinking"), reasoning);
  const marks = element("span", { class: "marks" });
  const buttons = element("span", { class: "actions" });
  const foot = element("footer", { class: "message-foot" }, marks, buttons);
  const article = element("article", { class: `message ${role}`, "aria-label": author }, content, foot);
  if (role === "assistant") article.prepend(name);
  const setContent = growingText(content);
  const setReasoning = growingText(reasoning);
  /** @type {{message: Message, author: string, isNewest: boolean} | null} */
  let stored = null;
  /** What the next frame shows. @type {Progress | null} */
  let waiting = null;

  const paint = () => {
    // What was shown stays until something takes its place.
    if (waiting?.content) setContent(waiting.content);
    if (waiting?.reasoning) {
      setReasoning(waiting.reasoning);
      if (!thinking.parentNode) name.after(thinking);
    }
    waiting = null;
  };

  /** @param {Message} message */
  const edit = (message) => {
    const close = () => {
      editor.form.replaceWith(content, foot);
      article.classList.remove("editing");
      article.querySelector("button")?.focus();
    };
    const editor = editMessage(effectiveContent(message), (text) => actions.onSave(message, text), close);
    foot.remove();
    content.replaceWith(editor.form);
    article.classList.add("editing");
    editor.focus();
  };

  /** @param {Message} message */
  const showMarks = ({ createdAt, editedAt, status }) => {
    marks.replaceChildren(timeElement(createdAt));
    if (editedAt) marks.append(element("span", { class: "mark", title: fullTime(editedAt) }, "edited"));
    if (status === "stopped") marks.append(element("span", { class: "mark" }, "stopped"));
  };

  /** @param {Message} message @param {boolean} isNewest */
  const showButtons = (message, isNewest) => {
    const copy = iconButton("Copy", "copy", async () => {
      if (!(await actions.onCopy(message))) return;
      copy.replaceChildren(icon("check"));
      setTimeout(() => copy.replaceChildren(icon("copy")), COPIED_SECONDS * 1000);
    });
    buttons.replaceChildren(copy);
    if (role === "user") buttons.append(iconButton("Edit", "edit", () => edit(message)));
    if (role === "assistant" && isNewest) {
      buttons.append(iconButton("Regenerate", "again", () => actions.onRegenerate(message)));
    }
    buttons.append(iconButton("Branch", "branch", () => actions.onBranch(message)));
  };

  return {
    element: article,
    showPending(text) {
      article.classList.add("pending");
      setContent(text);
    },
    showProgress(progress) {
      article.classList.add("running");
      article.setAttribute("aria-busy", "true");
      if (!waiting) requestAnimationFrame(paint);
      waiting = progress;
    },
    update(message, by, isNewest) {
      const old = stored;
      stored = { message, author: by, isNewest };
      if (old?.message === message && old.author === by && old.isNewest === isNewest) return;
      if (JSON.stringify(old) === JSON.stringify(stored)) return;
      paint();
      article.id = `m-${message.id}`;
      article.classList.remove("running", "pending");
      article.classList.toggle("newest", isNewest);
      article.removeAttribute("aria-busy");
      article.setAttribute("aria-label", `${by}, ${shortTime(message.createdAt)}`);
      name.textContent = by;
      setContent(effectiveContent(message));
      showMarks(message);
      showButtons(message, isNewest);
    },
  };
};
