import { clone } from "models/dom";

const UNTITLED = "New chat";

/** What a row of the list, drawn by the server or here, stands for. */
export function rowOf(item) {
  const link = item.querySelector("a");
  return { id: item.dataset.id, title: link.textContent.trim(), url: link.getAttribute("href"), updated: item.dataset.updated };
}

/** Make the list in `box` that of `groups` ([{label, rows}]). Rows that stay keep their element, and so the focus in it. */
export function drawGroups(box, groups, current) {
  const items = new Map([...box.querySelectorAll("li")].map((item) => [item.dataset.id, item]));
  const sections = new Map([...box.children].map((section) => [section.dataset.label, section]));
  const drawn = groups.map(({ label, rows }) => {
    const section = sections.get(label) ?? newSection(label);
    place(section.querySelector("ul"), rows.map((row) => fill(items.get(row.id) ?? clone("conversation-item"), row, current)));
    return section;
  });
  place(box, drawn);
}

export function markCurrent(link, current) {
  if (current) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}

function newSection(label) {
  const section = clone("conversation-group");
  section.dataset.label = section.querySelector("h2").textContent = label;
  return section;
}

function fill(item, { id, title, url, updated }, current) {
  const [link] = item.getElementsByTagName("a");
  Object.assign(item.dataset, { id, updated });
  if (link.getAttribute("href") !== url) link.href = url;
  for (const part of item.querySelectorAll("a, [data-title]")) if (part.textContent.trim() !== (title || UNTITLED)) part.textContent = title || UNTITLED;
  markCurrent(link, id === current);
  return item;
}

/** The children of `parent`, in this order, moving as few as needed: what is moved loses the focus. */
function place(parent, children) {
  const focused = document.activeElement;
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, index) => child !== parent.children[index] && parent.insertBefore(child, parent.children[index] ?? null));
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus();
}
