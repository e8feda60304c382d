// The date form of HTTP headers (IMF-fixdate, RFC 9110 section 5.6.7), without the host's Date: the simulator runs
// this code too. Days to civil dates as in H. Hinnant's "chrono-compatible low-level date algorithms".
const DAYS = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** "Sun, 06 Nov 1994 08:49:37 GMT" of wall milliseconds since 1970, rounded down to the second. */
export function formatHttpDate(wallMs: number): string {
  const seconds = Math.floor(wallMs / 1000);
  const days = Math.floor(seconds / 86_400);
  const second = seconds - days * 86_400;
  const era = Math.floor((days + 719_468) / 146_097);
  const dayOfEra = days + 719_468 - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153); // months counted from March
  const day = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  const month = shifted < 10 ? shifted + 2 : shifted - 10;
  const year = yearOfEra + era * 400 + (month < 2 ? 1 : 0);
  const two = (value: number): string => String(value).padStart(2, "0");
  const time = [second / 3600, (second % 3600) / 60, second % 60]
    .map((part) => two(Math.floor(part)))
    .join(":");
  const weekday = DAYS[((days % 7) + 7) % 7]!;
  return `${weekday}, ${two(day)} ${MONTHS[month]!} ${String(year).padStart(4, "0")} ${time} GMT`;
}
