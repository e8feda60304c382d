// Dates of HTTP headers (RFC 9110 section 5.6.7): written in one form, read in all three. Other text is no date.

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

const FIXDATE = /^[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT$/u;
const RFC850 = /^[A-Z][a-z]+, (\d\d)-([A-Z][a-z]{2})-(\d\d) (\d\d):(\d\d):(\d\d) GMT$/u;
const ASCTIME = /^[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\d{4})$/u;

/** Wall ms in whole seconds; undefined when the text is no HTTP date. */
export function parseHttpDate(text: string): number | undefined {
  const trimmed = text.trim().replace(/ (?:UTC|\+0000|-0000)$/u, " GMT");
  let match = FIXDATE.exec(trimmed);
  if (match) return utc(match[3]!, match[2]!, match[1]!, match.slice(4));
  match = RFC850.exec(trimmed);
  if (match) {
    const year = Number(match[3]);
    return utc(String(year < 70 ? 2000 + year : 1900 + year), match[2]!, match[1]!, match.slice(4));
  }
  match = ASCTIME.exec(trimmed);
  if (match) return utc(match[6]!, match[1]!, match[2]!.trim(), match.slice(3, 6));
  return undefined;
}

function utc(
  year: string,
  month: string,
  day: string,
  time: readonly string[],
): number | undefined {
  const monthIndex = MONTHS.indexOf(month);
  if (monthIndex < 0) return undefined;
  const [hour, minute, second] = time.map(Number);
  return Date.UTC(Number(year), monthIndex, Number(day), hour, minute, second);
}

/** As Last-Modified carries it: "Sun, 06 Nov 1994 08:49:37 GMT". */
export function formatHttpDate(ms: number): string {
  return new Date(ms).toUTCString();
}

/** As XML carries it: "1994-11-06T08:49:37.000Z". */
export function formatIsoDate(ms: number): string {
  return new Date(ms).toISOString();
}
