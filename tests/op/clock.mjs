// The provider's clock, which a test may set wrong. Imported before all else, so that nobody has read the time yet.

const RealDate = Date;
let offsetSeconds = Number(process.env.CLOCK_OFFSET || 0);

class WrongDate extends RealDate {
  constructor(...moment) {
    super(...(moment.length === 0 ? [WrongDate.now()] : moment));
  }

  static now() {
    return RealDate.now() + offsetSeconds * 1000;
  }
}

globalThis.Date = WrongDate;

// Sets it while the provider runs.
export function setClock(seconds) {
  if (!Number.isFinite(seconds)) throw new Error('`clock` is a number of seconds');
  offsetSeconds = seconds;
}

// The machine's time as Unix time in seconds, for what is told to a test.
export const machineTime = () => RealDate.now() / 1000;
