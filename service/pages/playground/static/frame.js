/**
 * Drawing once a frame, however much arrives: whoever asks for a size after each change has the browser lay the page out
 * each time.
 */

/**
 * `draw`, to be asked for at any time and called once in a frame: the next one, or the first one `pause` milliseconds
 * after the last. A hidden page draws when it is shown again.
 */
export function oncePerFrame(draw, pause = 0) {
  let asked = false;
  let free = 0; // when it may draw again
  const next = () => requestAnimationFrame((now) => {
    asked = false;
    free = now + pause;
    draw();
  });
  return () => {
    if (asked) return;
    asked = true;
    const wait = free - performance.now();
    if (wait > 0) setTimeout(next, wait);
    else next();
  };
}

/**
 * Keeps `scroller` at the end of `content`, whatever makes that longer, unless the reader has scrolled up; `told` is
 * called with whether it does. Returns a function that goes to the end.
 */
export function stayAtEnd(scroller, content, told = () => {}) {
  let stays;
  let seen = {}; // the sizes at the last look
  let touched = -Infinity; // when the reader's hand was last on it
  const look = () => {
    const { scrollTop, scrollHeight, clientHeight } = scroller;
    return { scrollTop, scrollHeight, clientHeight, left: scrollHeight - scrollTop - clientHeight };
  };
  const stay = (yes) => {
    if (yes !== stays) told(yes);
    stays = yes;
    scroller.style.overflowAnchor = yes ? "none" : ""; // else the browser holds on to what it shows when older rows go
  };
  const goToEnd = () => {
    stay(true);
    scroller.scrollTop = scroller.scrollHeight;
    seen = look();
  };
  for (const type of ["wheel", "touchmove", "pointerdown", "keydown"]) {
    scroller.addEventListener(type, () => (touched = performance.now()), { passive: true });
  }
  scroller.addEventListener("scroll", () => {
    const now = look();
    // Where sizes have changed, the browser may have moved it.
    const isReader = performance.now() - touched < 1000 || (now.scrollHeight === seen.scrollHeight && now.clientHeight === seen.clientHeight);
    if (now.scrollTop < seen.scrollTop && now.left > 1 && isReader) stay(false);
    else if (now.left < 60) stay(true);
    seen = now;
  });
  stay(true);
  // Called when the browser has laid out a frame, so that sizes cost nothing.
  const observer = new ResizeObserver(() => {
    if (stays) goToEnd();
  });
  observer.observe(scroller);
  observer.observe(content);
  return goToEnd;
}

const BLOCK = 4000; // characters after which a block ends with its line
const MAX_IN_FRAME = 50_000;
const LONGEST_BLOCK = 20_000; // characters after which it ends in any case

/** Text at the end of `element` that grows. It stands in blocks, since the browser lays all of one out at each change. */
export class GrowingText {
  text = "";
  #waiting = "";
  #end;
  #drawSoon = oncePerFrame(() => this.draw());

  constructor(element) {
    this.#end = element.appendChild(document.createTextNode(""));
  }

  add(text) {
    this.text += text;
    this.#waiting += text;
    this.#drawSoon();
  }

  /** Whether more waits than is to be drawn at once, which would keep keys and clicks waiting. */
  get isBehind() {
    return this.#waiting.length > MAX_IN_FRAME;
  }

  draw() {
    let rest = this.#waiting;
    this.#waiting = "";
    for (let end = this.#endOfBlock(rest); end >= 0; end = this.#endOfBlock(rest)) {
      this.#end.appendData(rest.slice(0, end));
      rest = rest.slice(rest[end] === "\n" ? end + 1 : end);
      const block = document.createElement("span");
      block.className = "block";
      this.#end.replaceWith(block);
      block.append(this.#end);
      this.#end = document.createTextNode("");
      block.after(this.#end);
    }
    this.#end.appendData(rest);
  }

  /** Where in `rest` the present block ends; -1 if it goes on. */
  #endOfBlock(rest) {
    const room = LONGEST_BLOCK - this.#end.length;
    const line = rest.slice(0, room).indexOf("\n", BLOCK - this.#end.length);
    if (line >= 0 || rest.length <= room) return line;
    const splitsPair = /^[\uDC00-\uDFFF]/.test(rest.slice(room, room + 1));
    return Math.max(0, splitsPair ? room - 1 : room);
  }
}
