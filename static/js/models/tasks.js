const BOX = /^\[([ xX])\][ \t]+/;

/** "- [x] done": items that begin with a box, as a markdown-it plugin. The box is a token `task`, the item has the class. */
export function tasks(md) {
  md.core.ruler.after("inline", "tasks", ({ tokens, Token }) => {
    tokens.forEach((token, index) => token.type === "inline" && begins(tokens, index) && mark(tokens, index, Token));
  });
  md.renderer.rules.task = (tokens, index) => `<span class="task-box">${tokens[index].content}</span>`;
}

function begins(tokens, index) {
  return tokens[index - 1]?.type === "paragraph_open" && tokens[index - 2]?.type === "list_item_open";
}

function mark(tokens, index, Token) {
  const [first] = tokens[index].children;
  const [whole, state] = (first?.type === "text" && first.content.match(BOX)) || [];
  if (!whole) return;
  first.content = first.content.slice(whole.length);
  tokens[index].children.unshift(Object.assign(new Token("task", "", 0), { content: state.toLowerCase() }));
  tokens[index - 2].attrJoin("class", "task");
}

/** The boxes as such: nobody can tick them, and a screen reader says which are. */
export function drawBoxes(fragment) {
  for (const place of fragment.querySelectorAll(".task-box")) {
    const done = place.textContent === "x";
    const box = Object.assign(document.createElement("input"), { type: "checkbox", disabled: true, defaultChecked: done });
    box.ariaLabel = done ? "Done" : "To do";
    place.replaceWith(box);
  }
}
