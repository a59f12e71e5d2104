import { lazy, Suspense, useState } from "react";
import mark from "./assets/mark.svg";
import { Horizon } from "./Horizon";
import { STEPS } from "./steps";
import { useSunrise } from "./useSunrise";

const Promises = lazy(() => import("./Promises"));

const nightByDefault = () => matchMedia("(prefers-color-scheme: dark)").matches;
const stateOf = (index: number, reached: number) =>
  index < reached ? "done" : index === reached ? "now" : "ahead";

export function App() {
  const { reached, replay } = useSunrise(STEPS.length);
  const [ripples, setRipples] = useState(0);
  const [night, setNight] = useState(nightByDefault);
  const [closer, setCloser] = useState(false);

  const turn = () => {
    document.documentElement.dataset.sky = night ? "day" : "night";
    setNight(!night);
  };

  return (
    <>
      <header className="bar">
        <span className="name">
          <img src={mark} alt="" width="34" height="34" />
          Zepid demo
        </span>
        <button type="button" className="quiet" onClick={turn}>
          {night ? "Make it day" : "Make it night"}
        </button>
      </header>

      <main>
        <section className="sky">
          <div className="words">
            <h1>It's live.</h1>
            <p className="lead">
              A moment ago this page was a folder of source files. Six steps later, you are reading it.
            </p>
            <div className="actions">
              <button type="button" className="bold" onClick={() => setRipples(ripples + 1)}>
                Send a ripple
              </button>
              <output className="count">
                {ripples} {ripples === 1 ? "ripple" : "ripples"} sent
              </output>
            </div>
          </div>
          <Horizon reached={reached} ripples={ripples} />
        </section>

        <section className="sea" aria-labelledby="how">
          <div className="glitter" aria-hidden="true">
            {[0, 1, 2, 3, 4].map((line) => (
              <i key={line} />
            ))}
          </div>
          <div className="log">
            <div className="log-head">
              <h2 id="how">How it got here</h2>
              <button type="button" className="quiet" onClick={replay} disabled={reached < STEPS.length}>
                Watch again
              </button>
            </div>
            <ol className="steps">
              {STEPS.map((step, index) => (
                <li key={step.name} data-state={stateOf(index, reached)}>
                  <h3>{step.name}</h3>
                  <p>{step.done}</p>
                </li>
              ))}
            </ol>
            <button type="button" className="quiet" aria-expanded={closer} onClick={() => setCloser(!closer)}>
              What it promises
            </button>
            <Suspense fallback={<p className="wait">One moment…</p>}>{closer && <Promises />}</Suspense>
          </div>
        </section>
      </main>
    </>
  );
}
