/**
 * Repeats `task`, which must not fail, as long as the page is looked at.
 *
 * @param {number} seconds from the end of one turn to the start of the next
 * @param {() => Promise<unknown>} task
 * @returns {() => void} takes the next turn at once
 */
export function repeatWhileVisible(seconds, task) {
  let timer = 0;
  let isRunning = false;
  let again = false;
  const now = async () => {
    clearTimeout(timer);
    again = true;
    if (isRunning) return;
    isRunning = true;
    while (again && !document.hidden) {
      again = false;
      await task();
    }
    isRunning = false;
    if (!document.hidden) timer = setTimeout(now, seconds * 1000);
  };
  document.addEventListener("visibilitychange", now);
  void now();
  return now;
}
