import { useEffect, useState } from "react";

const STILL = "(prefers-reduced-motion: reduce)";
const PACE_MS = 1100;

/**
 * Counts from 0 to `steps`, one at a time, from the first paint on.
 * Readers who ask for less motion get the end of the story at once.
 */
export function useSunrise(steps: number) {
  const [reached, setReached] = useState(() => (matchMedia(STILL).matches ? steps : 0));

  useEffect(() => {
    if (reached >= steps) return;
    const timer = setTimeout(() => setReached(reached + 1), PACE_MS);
    return () => clearTimeout(timer);
  }, [reached, steps]);

  return { reached, replay: () => setReached(0) };
}
