import { STEPS } from "./steps";

const WIDTH = 960;
const HEIGHT = 480;
const CENTRE = WIDTH / 2;
const SUN = 92;
const BAND = 62;

const outer = (index: number) => SUN + BAND * (index + 1);
const arc = (radius: number) =>
  `M ${CENTRE - radius} ${HEIGHT} A ${radius} ${radius} 0 0 1 ${CENTRE + radius} ${HEIGHT}`;

interface Props {
  /** How many steps are behind us; a band of light for each. */
  reached: number;
  /** How many ripples were sent; each new one crosses the sky once. */
  ripples: number;
}

/** The picture: a sun that rises over the sea, one band of light a step. The list beside it says the same in words. */
export function Horizon({ reached, ripples }: Props) {
  return (
    <svg className="horizon" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
      <defs>
        <pattern id="engraving" width="6" height="6" patternUnits="userSpaceOnUse">
          <path d="M0 3.5h6" className="engraving" />
        </pattern>
        {STEPS.map((step, index) => (
          <path key={step.name} id={`arc-${step.name}`} d={arc(outer(index) - BAND * 0.62)} />
        ))}
      </defs>

      {STEPS.map((_, fromOutside) => STEPS.length - 1 - fromOutside).map((index) => (
        <g key={STEPS[index].name} className="band" data-lit={index < reached} data-band={index + 1}>
          <circle cx={CENTRE} cy={HEIGHT} r={outer(index)} />
          <circle cx={CENTRE} cy={HEIGHT} r={outer(index)} fill="url(#engraving)" className="hatch" />
        </g>
      ))}

      {STEPS.map((step, index) => (
        <text key={step.name} className="arc-name" data-lit={index < reached} data-now={index === reached}>
          <textPath href={`#arc-${step.name}`} startOffset="50%" textAnchor="middle">
            {step.name}
          </textPath>
        </text>
      ))}

      <circle
        className="sun"
        cx={CENTRE}
        cy={HEIGHT}
        r={SUN}
        style={{ transform: `translateY(${SUN * 0.82 * (1 - reached / STEPS.length)}px)` }}
      />
      {ripples > 0 && <circle key={ripples} className="ripple" cx={CENTRE} cy={HEIGHT} r={outer(STEPS.length - 1)} />}
    </svg>
  );
}
