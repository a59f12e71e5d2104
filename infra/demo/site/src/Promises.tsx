const PROMISES = [
  ["Never half there", "A visitor gets the old release or the new one, whole. The change between them is a single statement."],
  ["Never taken on trust", "Live means seen live: the public address had to answer with this very release first."],
  ["Never a dead end", "Earlier releases are kept, so going back needs no build. A failure says what broke, where, and what to do."],
] as const;

/** A chunk of its own, fetched when a reader asks for it. */
export default function Promises() {
  return (
    <dl className="promises">
      {PROMISES.map(([promise, meaning]) => (
        <div key={promise}>
          <dt>{promise}</dt>
          <dd>{meaning}</dd>
        </div>
      ))}
    </dl>
  );
}
