const channel = globalThis.BroadcastChannel ? new BroadcastChannel("chatapp") : new EventTarget();

/** Tell the other tabs of this browser. `detail` names the person whom it is about. */
export function tellTabs(kind, detail) {
  channel.postMessage?.({ kind, ...detail });
}

/** `run(detail)` for what other tabs tell. Returns how to stop hearing. */
export function hearTabs(kind, run) {
  const hear = ({ data }) => data.kind === kind && run(data);
  channel.addEventListener("message", hear);
  return () => channel.removeEventListener("message", hear);
}
