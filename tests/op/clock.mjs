// The provider's clock, which a test may set wrong. Imported before all else, so that nobody has read the time yet.

const RealDate = Date;
const offsetSeconds = Number(process.env.CLOCK_OFFSET || 0);

class WrongDate extends RealDate {
  constructor(...moment) {
    super(...(moment.length === 0 ? [WrongDate.now()] : moment));
  }

  static now() {
    return RealDate.now() + offsetSeconds * 1000;
  }
}

if (offsetSeconds) globalThis.Date = WrongDate;

// The machine's time as Unix time in seconds, for what is told to a test.
export const machineTime = () => RealDate.now() / 1000;
